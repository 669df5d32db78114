//! The `[[workload]]` tables: which tasks come when, and what each of them asks of the provider.

mod arrival;

use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent_core::agent::AgentSpec;
use agent_core::config::read::{Field, Section};
use agent_core::config::{ConfigError, Fleet};
use agent_core::ledger::{BudgetSpec, ScopeKind};
use agent_core::task::{Deadline, Priority, Task};

use super::distribution::{Unit, distribution};
use super::faults::Effect;
use crate::draws::{Distribution, Process};
use arrival::arrival;

/// Most tasks of one workload.
const MAX_TASKS: u64 = 100_000_000;

/// Most calls of one task.
pub(crate) const MOST_TURNS: u64 = 10_000;

/// Most input of one call, in tokens: several times as much as the largest body of a request holds.
const MOST_INPUT: u64 = 50_000_000;

/// The longest time in which all tasks arrive, in seconds: a hundred years.
const LONGEST: f64 = 100.0 * 365.25 * 86_400.0;

/// Tasks of one kind.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Names it in reports and begins the ids of its tasks.
    pub name: String,
    /// The agent that plays it; none: any.
    pub agent: Option<String>,
    /// How many tasks at most; none: as many as arrive.
    pub count: Option<u64>,
    /// When they come.
    pub arrival: Arrival,
    /// When they stop coming, since the start.
    pub lasts: Option<Duration>,
    /// Calls of a task, at least 1.
    pub turns: Distribution,
    /// Input of its first call, in tokens.
    pub input: Distribution,
    /// Tokens that its context gains before each further call, the previous answer among them.
    pub growth: Distribution,
    /// Output of each call, in tokens; cut at the agent's `max_tokens`.
    pub output: Distribution,
    /// The share of what was sent before that is read from the cache, 0 to 1; the same share of
    /// what is new is written to it, for five minutes.
    pub cached_share: f64,
    /// Seconds between an answer and the next call: tools.
    pub tool_gap: Distribution,
    /// What its tasks have in common: project, user, priority, deadline, model.
    pub like: Task,
    /// Tasks that are written out in the fleet.
    pub given: Vec<Task>,
    /// What a report has to say about how its tasks come, as sentences.
    pub notes: Vec<String>,
}

/// When the tasks of a workload come.
#[derive(Debug, Clone)]
pub enum Arrival {
    /// Whether or not earlier ones have ended.
    Open(Process),
    /// From so many users, each of whom sends the next a while after the last has ended.
    Closed {
        /// How many.
        users: u64,
        /// Seconds that each thinks.
        think: Distribution,
    },
    /// As they were recorded.
    Trace(Arc<[Recorded]>),
}

/// A task of a trace: a session, or a single call.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// When it came, in nanoseconds since the start.
    pub at_ns: u64,
    /// Its calls, one at least.
    pub turns: Vec<Turn>,
    /// The attempts of these calls that failed, and fail again.
    pub failures: Vec<Failure>,
}

/// An attempt of a recorded task that failed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Failure {
    /// Of which call, from 0.
    pub turn: u32,
    /// Which attempt of it, from 1.
    pub attempt: u32,
    /// What it met.
    pub effect: Effect,
    /// How long after it had left.
    pub after: Duration,
}

/// A call of a recorded task; what is not known is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Input tokens, cached ones among them.
    pub input: Option<u64>,
    /// Those that were read from the cache.
    pub cached: Option<u64>,
    /// Those that were written to it; not known: what the next call reads more than this one.
    pub written: Option<u64>,
    /// Output tokens.
    pub output: u64,
    /// Nanoseconds between the answer before and this call.
    pub gap_ns: Option<u64>,
}

/// The workloads of a scenario, those of the fleet's own tasks first.
pub(super) fn workloads(
    top: &Section<'_>,
    fleet: &Fleet,
    given: Vec<Task>,
    folder: Option<&Path>,
) -> Result<Vec<Workload>, ConfigError> {
    let mut all = Vec::new();
    if !given.is_empty() {
        all.push(Workload::written(given)?);
    }
    if let Some(field) = top.field("workload") {
        for item in field.items("[[workload]] tables")? {
            let workload = workload(&item, fleet, folder)?;
            if all.iter().any(|other: &Workload| other.name == workload.name) {
                return Err(item.wrong(format_args!(
                    "is the second workload named \"{}\"; give each its own name",
                    workload.name
                )));
            }
            all.push(workload);
        }
    }
    if all.is_empty() {
        top.need("workload", "a [[workload]] with a name and a count, or a [[task]]", |_| Ok(()))?;
    }
    Ok(all)
}

impl Workload {
    /// The id of its task of this number, from 1.
    pub(crate) fn id(&self, number: u64) -> String {
        [&self.name, "-", itoa::Buffer::new().format(number)].concat()
    }

    /// Whether a task that it brings by itself has this id.
    pub(super) fn brings(&self, id: &str) -> bool {
        let number = id.rsplit_once('-').and_then(|(_, number)| number.parse().ok());
        let Some(number) = number.filter(|number| *number > 0) else { return false };
        let comes = self.given.is_empty() && self.count.is_none_or(|count| number <= count);
        comes && id == self.id(number)
    }

    /// Tasks that a fleet file has, as a batch.
    fn written(given: Vec<Task>) -> Result<Workload, ConfigError> {
        Ok(Workload {
            name: "tasks".to_owned(),
            count: Some(given.len() as u64),
            given,
            ..Workload::default()
        })
    }
}

impl Default for Workload {
    /// One call of a thousand tokens and a quarter as many back, as agents' calls are; a batch.
    fn default() -> Workload {
        let log_normal = |median, sigma| {
            Distribution::log_normal(median, sigma).expect("the parameters are in range")
        };
        let constant = |value| Distribution::constant(value).expect("the value is in range");
        Workload {
            name: String::new(),
            agent: None,
            count: None,
            arrival: Arrival::Open(Process::batch()),
            lasts: None,
            turns: constant(1.0),
            input: log_normal(1_000.0, 0.8),
            growth: constant(0.0),
            output: log_normal(250.0, 0.8),
            cached_share: 0.0,
            tool_gap: constant(0.0),
            like: Task::new("", ""),
            given: Vec::new(),
            notes: Vec::new(),
        }
    }
}

const KEYS: [&str; 15] = [
    "name",
    "agent",
    "count",
    "arrival",
    "for",
    "turns",
    "input",
    "growth",
    "output",
    "cached_share",
    "tool_gap",
    "project_id",
    "user_id",
    "priority",
    "deadline",
];

fn workload(
    field: &Field<'_>,
    fleet: &Fleet,
    folder: Option<&Path>,
) -> Result<Workload, ConfigError> {
    let table = field.section(&KEYS)?;
    let default = Workload::default();
    let priorities =
        [("low", Priority::Low), ("normal", Priority::Normal), ("high", Priority::High)];
    let name = table.need("name", "a name in quotes, such as \"coder\"", Field::text)?;
    let count = table.maybe("count", |it| {
        let count = it.count::<NonZeroU64>()?.get();
        if count > MAX_TASKS {
            return Err(it.wrong(format_args!("is too large; write at most {MAX_TASKS}")));
        }
        Ok(count)
    })?;
    let lasts = table.maybe("for", Field::duration)?;
    let (arrival, notes) = table.or("arrival", (default.arrival, Vec::new()), |it| {
        let (arrival, notes) = arrival(it, folder)?;
        comes_to_an_end(&arrival, count, lasts).map_err(|problem| it.wrong(problem))?;
        let ends = ends_before(&arrival, count);
        Ok((arrival, notes.into_iter().chain(ends).collect()))
    })?;
    let needs_count = match &arrival {
        Arrival::Trace(_) => false,
        Arrival::Open(process) => {
            process.is_batch() || (lasts.is_none() && process.in_all().is_none())
        }
        Arrival::Closed { .. } => lasts.is_none(),
    };
    if count.is_none() && needs_count {
        let form = "how many tasks, or an arrival such as { kind = \"poisson\", rate = 2.5 } and for = \"1h\"";
        table.need("count", form, |_| Ok(()))?;
    }
    let tokens =
        |key: &str, default| table.or(key, default, |it| distribution(it, Unit::Number, folder));
    let input = |key: &str, default| {
        let what = "tokens is more than any request holds";
        table.or(key, default, |it| usual(it, folder, MOST_INPUT, what))
    };
    let turns =
        |it: &Field<'_>| usual(it, folder, MOST_TURNS, "calls is more than a task may make");
    let mut like = Task::new("", "");
    like.project_id = project(&table, &fleet.budget)?;
    like.user_id = table.maybe("user_id", Field::text)?;
    like.priority = table.or("priority", Priority::default(), |it| it.one_of(&priorities))?;
    like.deadline = table.maybe("deadline", |it| it.duration().map(Deadline::After))?;
    let agent = table.maybe("agent", |it| known_agent(it, &fleet.agent))?;
    like.agent.clone_from(&agent);
    Ok(Workload {
        name,
        agent,
        count,
        arrival,
        lasts,
        turns: table.or("turns", default.turns, turns)?,
        input: input("input", default.input)?,
        growth: input("growth", default.growth)?,
        output: tokens("output", default.output)?,
        cached_share: table.or("cached_share", 0.0, share)?,
        tool_gap: table
            .or("tool_gap", default.tool_gap, |it| distribution(it, Unit::Seconds, folder))?,
        like,
        given: Vec::new(),
        notes,
    })
}

/// What is wrong with an arrival that would never bring all tasks, or bring too many.
fn comes_to_an_end(
    arrival: &Arrival,
    count: Option<u64>,
    lasts: Option<Duration>,
) -> Result<(), String> {
    let Arrival::Open(process) = arrival else { return Ok(()) };
    match (count, lasts) {
        (Some(count), None) if process.lasts(count) > Some(LONGEST) => Err(format!(
            "is too slow: {count} tasks would take more than 100 years; write a higher rate"
        )),
        (None, None) if process.in_all() > Some(MAX_TASKS as f64) => Err(format!(
            "is too fast: more than {MAX_TASKS} tasks would come; write lower rates, or a count"
        )),
        (None, Some(lasts)) if process.expected(lasts) > MAX_TASKS as f64 => Err(format!(
            "is too fast: more than {MAX_TASKS} tasks would come in {}; write a lower rate, or a count",
            humantime::format_duration(lasts)
        )),
        _ => Ok(()),
    }
}

/// What is to be said of a profile that is over before so many have come as were asked for.
fn ends_before(arrival: &Arrival, count: Option<u64>) -> Option<String> {
    let Arrival::Open(process) = arrival else { return None };
    let (all, count) = (process.in_all()?, count?);
    (all < count as f64).then(|| {
        format!("its profile ends after about {all:.0} tasks, before all {count} have come")
    })
}

/// A distribution whose middle is at most `most`, of which `what` is said where it is not.
fn usual(
    field: &Field<'_>,
    folder: Option<&Path>,
    most: u64,
    what: &str,
) -> Result<Distribution, ConfigError> {
    let drawn = distribution(field, Unit::Number, folder)?;
    let middle = drawn.middle();
    if middle > most as f64 {
        return Err(
            field.wrong(format_args!("cannot be used: {middle} {what}; write at most {most}"))
        );
    }
    Ok(drawn)
}

/// Who pays: asked for where a project has a budget, since tasks without one are refused there.
fn project(table: &Section<'_>, budgets: &[BudgetSpec]) -> Result<Option<String>, ConfigError> {
    let of_project = |budget: &&BudgetSpec| budget.scope.kind() == ScopeKind::Project;
    let Some(budget) = budgets.iter().find(of_project) else {
        return table.maybe("project_id", Field::text);
    };
    let form = format!("the project that pays; the fleet has a budget of {}", budget.scope);
    table.need("project_id", &form, |it| it.text().map(Some))
}

fn known_agent(field: &Field<'_>, agents: &[AgentSpec]) -> Result<String, ConfigError> {
    let name = field.text()?;
    if agents.iter().any(|agent| agent.name == name) {
        return Ok(name);
    }
    let names: Vec<_> = agents.iter().map(|agent| agent.name.as_str()).collect();
    Err(field.wrong(format_args!("names no agent of the fleet; write one of {}", names.join(", "))))
}

/// A number from 0 to 1.
pub(super) fn share(field: &Field<'_>) -> Result<f64, ConfigError> {
    let share = field.float()?;
    if (0.0..=1.0).contains(&share) {
        return Ok(share);
    }
    Err(field.wrong("is out of range; write a number from 0 to 1"))
}
