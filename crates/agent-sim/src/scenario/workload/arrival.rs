//! The `arrival` of a workload: when its tasks come.

use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent_core::config::ConfigError;
use agent_core::config::read::{Field, Section};

use super::super::distribution::{Unit, distribution, out_of_range};
use super::super::read::{beside, unusable};
use super::{Arrival, Recorded, Turn, Workload};
use crate::draws::{Process, Step};
use crate::trace::{Format, Replay, Request, Trace};

/// Most users of one workload.
const MAX_USERS: u64 = 1_000_000;

/// The longest pause between two calls of a recorded session.
const LONGEST_PAUSE: Duration = Duration::from_secs(366 * 86_400);

/// Reads an arrival, and what a report has to say about its trace.
pub(super) fn arrival(
    field: &Field<'_>,
    folder: Option<&Path>,
) -> Result<(Arrival, Vec<String>), ConfigError> {
    let kinds: [(&str, &[&str]); 7] = [
        ("batch", &["kind"]),
        ("poisson", &["kind", "rate"]),
        ("gamma", &["kind", "rate", "cv"]),
        ("weibull", &["kind", "rate", "shape"]),
        ("profile", &["kind", "steps", "cv", "repeat"]),
        ("closed", &["kind", "users", "think"]),
        ("trace", &["kind", "file", "format", "speed", "scale", "limit"]),
    ];
    let (kind, table) = field.of_kind(&kinds, "which kind, such as \"poisson\"")?;
    let form = "tasks a second, such as 2.5";
    let number = |key: &str, form: &str| table.need(key, form, Field::float);
    let process = match kind {
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
            return Ok((Arrival::Closed { users: users.get(), think }, Vec::new()));
        }
        _ => return recorded(field, &table, folder),
    };
    Ok((Arrival::Open(process), Vec::new()))
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
) -> Result<(Arrival, Vec<String>), ConfigError> {
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
    let (path, _) = file;
    let trace = Trace::open(&path, format).map_err(|error| unusable(at, &error))?;
    let trace = replay.apply(trace).map_err(|error| unusable(at, &error))?;
    let mut notes = trace.notes.clone();
    let lost = trace.requests.iter().filter(|request| is_lost(request)).count();
    if lost > 0 {
        notes.push(format!(
            "{lost} calls that failed are left out: how long they were was not recorded"
        ));
    }
    let tasks: Arc<[Recorded]> = tasks(&trace).into();
    if tasks.is_empty() {
        return Err(at.wrong("cannot be used: all calls of the trace failed"));
    }
    let pauses = tasks.iter().flat_map(|task| &task.turns).filter_map(|turn| turn.gap_ns);
    let longest = Duration::from_nanos(pauses.max().unwrap_or_default());
    if longest > LONGEST_PAUSE {
        return Err(at.wrong(format_args!(
            "cannot be used: a session of the trace rests for {} days between two calls; at most \
             {} are played again, so write a higher speed",
            longest.as_secs() / 86_400,
            LONGEST_PAUSE.as_secs() / 86_400
        )));
    }
    Ok((Arrival::Trace(tasks), notes))
}

/// A call that failed, of which there is nothing to play again.
fn is_lost(request: &Request) -> bool {
    request.failed && request.input.is_none()
}

/// The calls of a session without those that are lost; what lay before these lies before the next.
fn turns(requests: &[&Request]) -> Vec<Turn> {
    let mut before: Option<u64> = None;
    let mut turns = Vec::with_capacity(requests.len());
    for request in requests {
        let gap_ns = match (before, request.gap_ns) {
            (Some(before), gap) => Some(gap.unwrap_or_default().saturating_add(before)),
            (None, gap) => gap,
        };
        match is_lost(request) {
            true => before = gap_ns,
            false => {
                before = None;
                turns.push(Turn { gap_ns, ..turn(request) });
            }
        }
    }
    turns
}

fn turn(request: &Request) -> Turn {
    Turn {
        input: request.input.map(u64::from),
        cached: request.cached.map(u64::from),
        written: None,
        output: u64::from(request.output),
        gap_ns: request.gap_ns,
    }
}

/// A task for each session of a trace, and for each request that belongs to none.
fn tasks(trace: &Trace) -> Vec<Recorded> {
    let sessions = trace.sessions().into_values();
    let mut tasks: Vec<Recorded> = sessions
        .map(|requests| Recorded {
            at_ns: requests.iter().map(|request| request.at_ns).min().unwrap_or_default(),
            turns: turns(&requests),
            failures: Vec::new(),
        })
        .filter(|task| !task.turns.is_empty())
        .collect();
    let alone = trace.requests.iter().filter(|it| it.session.is_none() && !is_lost(it));
    tasks.extend(alone.map(|request| Recorded {
        at_ns: request.at_ns,
        turns: vec![turn(request)],
        failures: Vec::new(),
    }));
    tasks.sort_by_key(|task| task.at_ns);
    tasks
}
