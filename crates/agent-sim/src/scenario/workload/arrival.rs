//! The `arrival` of a workload: when its tasks come.

use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;

use agent_core::config::ConfigError;
use agent_core::config::read::{Field, Section};

use super::super::distribution::{Unit, distribution, out_of_range};
use super::super::read::beside;
use super::{Arrival, Recorded, Turn, Workload};
use crate::draws::{Process, Step};
use crate::trace::{Format, Replay, Request, Trace};

/// Most users of one workload.
const MAX_USERS: u64 = 1_000_000;

pub(super) fn arrival(field: &Field<'_>, folder: Option<&Path>) -> Result<Arrival, ConfigError> {
    let keys: [(&str, &[&str]); 7] = [
        ("batch", &["kind"]),
        ("poisson", &["kind", "rate"]),
        ("gamma", &["kind", "rate", "cv"]),
        ("weibull", &["kind", "rate", "shape"]),
        ("profile", &["kind", "steps", "cv", "repeat"]),
        ("closed", &["kind", "users", "think"]),
        ("trace", &["kind", "file", "format", "speed", "scale", "limit"]),
    ];
    let all: Vec<&str> = keys.iter().flat_map(|(_, keys)| keys.iter().copied()).collect();
    let words: Vec<(&str, &[&str])> = keys.to_vec();
    let form = "which kind, such as \"poisson\"";
    let known = field.section(&all)?.need("kind", form, |it| it.one_of(&words))?;
    let kind = field.section(&all)?.need("kind", form, Field::text)?;
    let table = field.section(known)?;
    let form = "tasks a second, such as 2.5";
    let number = |key: &str, form: &str| table.need(key, form, Field::float);
    let process = match kind.as_str() {
        "batch" => Process::batch(),
        "poisson" => Process::poisson(number("rate", form)?).map_err(out_of_range(field))?,
        "gamma" => Process::gamma(number("rate", form)?, number("cv", "its spread, such as 4.0")?)
            .map_err(out_of_range(field))?,
        "weibull" => {
            let shape = number("shape", "its shape, such as 0.5")?;
            Process::weibull(number("rate", form)?, shape).map_err(out_of_range(field))?
        }
        "profile" => profile(field, &table)?,
        "closed" => {
            let users = table.need("users", "how many, such as 50", |it| match it.count()? {
                users if NonZeroU64::get(users) <= MAX_USERS => Ok(users),
                _ => Err(it.wrong(format_args!("is too large; write at most {MAX_USERS}"))),
            })?;
            let think = table.or("think", Workload::default().tool_gap, |it| {
                distribution(it, Unit::Seconds, folder)
            })?;
            return Ok(Arrival::Closed { users: users.get(), think });
        }
        _ => return recorded(field, &table, folder).map(Arrival::Trace),
    };
    Ok(Arrival::Open(process))
}

fn profile(field: &Field<'_>, table: &Section<'_>) -> Result<Process, ConfigError> {
    let steps = table.need("steps", "a list such as [{ for = \"1h\", rate = 2.0 }]", |it| {
        let step = |it: &Field<'_>| {
            let step = it.section(&["for", "rate"])?;
            let lasts = step.need("for", "how long, such as \"1h\"", Field::duration)?;
            let for_ns = u64::try_from(lasts.as_nanos()).unwrap_or(u64::MAX);
            Ok(Step { for_ns, per_second: step.need("rate", "tasks a second", Field::float)? })
        };
        it.items("a list of steps")?.iter().map(step).collect::<Result<Vec<_>, ConfigError>>()
    })?;
    let (cv, repeats) =
        (table.or("cv", 1.0, Field::float)?, table.or("repeat", false, Field::boolean)?);
    Process::profile(&steps, cv, repeats).map_err(out_of_range(field))
}

fn recorded(
    at: &Field<'_>,
    table: &Section<'_>,
    folder: Option<&Path>,
) -> Result<Arc<[Recorded]>, ConfigError> {
    let file = table
        .need("file", "the trace's file in quotes", |it| Ok((beside(it, folder)?, it.text()?)))?;
    let format = table.maybe("format", |it| {
        let known: Vec<_> = Format::ALL.iter().map(|it| (it.name(), *it)).collect();
        it.one_of(&known)
    })?;
    let replay = Replay {
        speed: table.or("speed", 1.0, Field::float)?,
        scale: table.or("scale", 1.0, Field::float)?,
        limit: table.maybe("limit", Field::count::<NonZeroU64>)?.map(|it| it.get() as usize),
        ..Replay::default()
    };
    let wrong = |error: &dyn std::fmt::Display| at.wrong(format_args!("cannot be used: {error}"));
    let (path, _) = file;
    let trace = Trace::open(&path, format).map_err(|error| wrong(&error))?;
    let trace = replay.apply(trace).map_err(|error| wrong(&error))?;
    Ok(tasks(&trace).into())
}

/// A task for each session of a trace, and for each request that belongs to none.
fn tasks(trace: &Trace) -> Vec<Recorded> {
    let turn = |request: &Request| Turn {
        input: request.input.map(u64::from),
        cached: request.cached.map(u64::from),
        written: None,
        output: u64::from(request.output),
        gap_ns: request.gap_ns,
    };
    let sessions = trace.sessions().into_values();
    let mut tasks: Vec<Recorded> = sessions
        .map(|requests| Recorded {
            at_ns: requests.iter().map(|request| request.at_ns).min().unwrap_or_default(),
            turns: requests.into_iter().map(turn).collect(),
        })
        .collect();
    let alone = trace.requests.iter().filter(|request| request.session.is_none());
    tasks
        .extend(alone.map(|request| Recorded { at_ns: request.at_ns, turns: vec![turn(request)] }));
    tasks.sort_by_key(|task| task.at_ns);
    tasks
}
