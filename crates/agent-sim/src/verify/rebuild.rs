//! From what the store has of a run to a scenario that repeats it.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use agent_core::config::{ConfigError, Fleet};
use agent_core::pricing;
use agent_core::record::UsageRecord;
use agent_core::store::{PastRun, PastTask};
use agent_core::task::Task;
use agent_core::usage::TokenCounts;

use super::VerifyError;
use super::figures::Figures;
use crate::calibrate::Failed;
use crate::latency::Catalogue;
use crate::mock::Limits;
use crate::scenario::{
    Arrival, Effect, Fault, Goal, LatencyChoice, ProviderSpec, Recorded, RunSpec, Scenario, Turn,
    When, Workload,
};

/// Longer than any run.
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

/// A run that can be simulated, and what it really came to.
pub(super) struct Rebuilt {
    pub(super) scenario: Scenario,
    pub(super) real: Figures,
    pub(super) models: BTreeSet<Arc<str>>,
    pub(super) notes: Vec<String>,
}

/// The records of each task, by the time at which they were opened.
type ByTask<'a> = BTreeMap<&'a str, Vec<&'a UsageRecord>>;

pub(super) fn rebuild(
    run: &PastRun,
    (records, failures): (&[UsageRecord], &[Failed]),
    fleet: Option<Fleet>,
    models: Catalogue,
    seeds: NonZeroU32,
) -> Result<Rebuilt, VerifyError> {
    let mut by_task = ByTask::new();
    for record in records {
        if let Some(task) = record.subject.task_id.as_deref() {
            by_task.entry(task).or_default().push(record);
        }
    }
    let can =
        |task: &&PastTask| task.outcome.is_some() && by_task.contains_key(task.task.id.as_str());
    let mut tasks: Vec<&PastTask> = run.tasks.iter().filter(can).collect();
    tasks.sort_by_key(|task| task.accepted_at);
    let Some(first) = tasks.first().map(|task| task.accepted_at) else {
        return Err(VerifyError::Nothing { id: run.run_id.to_string() });
    };
    let mut notes = notes(run, tasks.len());
    let played: Vec<&UsageRecord> =
        tasks.iter().flat_map(|task| &by_task[task.task.id.as_str()]).copied().collect();
    let fleet = match (fleet, &run.fleet) {
        (Some(fleet), _) => fleet,
        (None, Some(text)) => parse(text, &format!("the fleet of run {}", run.run_id))?,
        (None, None) => {
            notes.push(
                "the run had no fleet file: workers are those that made calls, without limits and \
                 budgets"
                    .to_owned(),
            );
            derived(&played)?
        }
    };
    let workload = workload(&tasks, &by_task, mean(&played), &fleet);
    let simulated: BTreeSet<&str> = tasks.iter().map(|task| task.task.id.as_str()).collect();
    let failures: Vec<&Failed> = failures
        .iter()
        .filter(|it| it.subject.task_id.as_deref().is_some_and(|id| simulated.contains(id)))
        .collect();
    // Some that failed have a record too.
    let recorded = played.iter().map(|record| (Some(record.call_id), record.attempt));
    let failed = failures.iter().map(|failed| (failed.call, failed.attempt));
    let attempts = recorded.chain(failed).collect::<BTreeSet<_>>().len();
    let fault = faults(&failures, attempts, &mut notes);
    let run = RunSpec { replicas: seeds, start: first, sensitivity: false, ..RunSpec::default() };
    Ok(Rebuilt {
        real: Figures::real(&tasks, &played, attempts),
        models: played.iter().filter_map(|record| record.subject.model.clone()).collect(),
        notes,
        scenario: scenario(fleet, run, workload, models, fault)?,
    })
}

/// The tasks as they came, each with its calls.
fn workload(
    tasks: &[&PastTask],
    by_task: &ByTask<'_>,
    mean: (u64, u64),
    fleet: &Fleet,
) -> Workload {
    let first = tasks.first().map_or_else(Default::default, |task| task.accepted_at);
    let recorded = |task: &&PastTask| Recorded {
        at_ns: u64::try_from(task.accepted_at.since(first).as_nanos()).unwrap_or(u64::MAX),
        turns: turns(&by_task[task.task.id.as_str()], mean),
    };
    let given = |task: &&PastTask| as_played(&task.task, by_task, fleet);
    Workload {
        name: "run".to_owned(),
        count: Some(tasks.len() as u64),
        arrival: Arrival::Trace(tasks.iter().map(recorded).collect()),
        given: tasks.iter().map(given).collect(),
        ..Workload::default()
    }
}

/// The provider admits everything: its limits are not known, and what it refused is a fault.
fn scenario(
    mut fleet: Fleet,
    run: RunSpec,
    workload: Workload,
    models: Catalogue,
    fault: Vec<Fault>,
) -> Result<Scenario, VerifyError> {
    fleet.task = Vec::new();
    let builtin = pricing::Catalogue::builtin();
    let prices = match fleet.prices.is_empty() {
        true => builtin,
        false => Arc::new(builtin.with(&fleet.prices)?),
    };
    let latency = LatencyChoice::ByModel;
    let provider =
        ProviderSpec { latency, models, load: None, limits: Limits::default(), headers: true };
    Ok(Scenario {
        name: "past run".to_owned(),
        fleet,
        prices,
        run,
        goal: Goal::default(),
        workload: vec![workload],
        provider,
        fault,
    })
}

fn notes(run: &PastRun, simulated: usize) -> Vec<String> {
    let mut notes = Vec::new();
    if run.parts > 1 {
        notes.push(format!(
            "the run has {} parts: what lay between them is in the real times, not in the \
             predicted ones",
            run.parts
        ));
    }
    let left_out = run.tasks.len() - simulated;
    if left_out > 0 {
        notes.push(format!(
            "{left_out} of {} tasks are left out on both sides: without an outcome, or without a \
             call on record",
            run.tasks.len()
        ));
    }
    notes
}

fn parse(text: &str, name: &str) -> Result<Fleet, ConfigError> {
    // What a shell holds today is not what it held then.
    Fleet::parse(text, name, &|_| None)
}

/// The agents that made calls, each with as many workers as did.
fn derived(records: &[&UsageRecord]) -> Result<Fleet, ConfigError> {
    #[derive(Default)]
    struct Seen<'a> {
        workers: BTreeSet<&'a str>,
        models: BTreeMap<&'a str, u64>,
        max_tokens: u32,
    }
    let mut agents: BTreeMap<&str, Seen<'_>> = BTreeMap::new();
    for record in records {
        let seen = agents.entry(player(record)).or_default();
        let worker = record.subject.agent_id.as_deref().unwrap_or("1");
        seen.workers.insert(worker.split('>').next().unwrap_or(worker));
        *seen.models.entry(record.subject.model.as_deref().unwrap_or_default()).or_default() += 1;
        seen.max_tokens = seen.max_tokens.max(record.max_tokens);
    }
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let table = |(name, seen): (&str, Seen<'_>)| {
        let model = seen.models.iter().max_by_key(|(_, calls)| **calls).map_or("", |(it, _)| *it);
        format!(
            "[[agent]]\nname = {}\ncount = {}\nmodel = {}\nmax_tokens = {}\n\
             rate_limit = {{ calls = 1000000, per = \"1m\" }}\n",
            quoted(name),
            seen.workers.len(),
            quoted(model),
            seen.max_tokens.max(1)
        )
    };
    let agents: String = agents.into_iter().map(table).collect();
    parse(&format!("[limits]\nmax_concurrent = 1000000\n{agents}"), "the agents of the run")
}

/// The agent of the fleet whose worker made the call, for itself or for a sub-agent.
fn player(record: &UsageRecord) -> &str {
    let agent = record.subject.agent.as_deref().unwrap_or("agent");
    agent.split('>').next().unwrap_or(agent)
}

/// The task, with the agent that really played it, where the fleet has it.
fn as_played(task: &Task, by_task: &ByTask<'_>, fleet: &Fleet) -> Task {
    let mut task = task.clone();
    let records = by_task.get(task.id.as_str());
    let agent = records.and_then(|records| records.last()).map(|record| player(record));
    if let Some(agent) = agent.filter(|name| fleet.agent.iter().any(|agent| agent.name == **name)) {
        task.agent = Some(agent.to_owned());
    }
    task
}

/// Input and output of a call that was never answered: as long as the others are on average.
fn mean(records: &[&UsageRecord]) -> (u64, u64) {
    let answered = || records.iter().filter(|record| record.error.is_none());
    let count = (answered().count() as u64).max(1);
    let input: u64 = answered().map(|record| input(record)).sum();
    let output: u64 = answered().map(|record| record.usage.output_tokens).sum();
    (input / count, output / count)
}

fn input(record: &UsageRecord) -> u64 {
    let usage = &record.usage;
    usage.input_tokens + usage.cache_creation_input_tokens + usage.cache_read_input_tokens
}

/// The calls of a task, one after the other.
fn turns(records: &[&UsageRecord], mean: (u64, u64)) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    let mut before = None;
    let mut ended = None;
    for record in records {
        let answered = record.error.is_none();
        let (tokens, output) = match answered {
            true => (input(record), record.usage.output_tokens),
            false => mean,
        };
        let usage = if answered { record.usage } else { TokenCounts::default() };
        let (input, cached) = (Some(tokens), Some(usage.cache_read_input_tokens));
        let written = Some(usage.cache_creation_input_tokens);
        if before == Some(record.call_id) {
            // The next attempt of the call: what it needs is known when it is answered.
            if let Some(turn) = turns.last_mut().filter(|_| answered) {
                *turn = Turn { input, cached, written, output, ..*turn };
            }
        } else {
            let waited = Duration::from_millis(record.permit_wait_ms + record.money_wait_ms);
            let asked = record.opened_at.saturating_sub(waited);
            // Before a second attempt lies the pause of a retry, not of a tool.
            let gap =
                ended.filter(|_| record.attempt == 1).map(|ended| asked.since(ended).as_nanos());
            let gap_ns = gap.map(|gap| u64::try_from(gap).unwrap_or(u64::MAX));
            turns.push(Turn { input, cached, written, output, gap_ns });
        }
        before = Some(record.call_id);
        ended = ended.max(Some(record.at));
    }
    turns
}

/// What attempts failed with, each as often as it was, at any time.
fn faults(failures: &[&Failed], attempts: usize, notes: &mut Vec<String>) -> Vec<Fault> {
    let mut counts: BTreeMap<(Option<u16>, &str), u64> = BTreeMap::new();
    for failed in failures {
        *counts.entry((failed.status, failed.kind.as_str())).or_default() += 1;
    }
    if !failures.is_empty() {
        notes.push(format!(
            "{} of {attempts} attempts failed; in the simulation each fails with that chance, at \
             any time",
            failures.len()
        ));
    }
    let mut left = attempts as f64;
    let fault = |((status, kind), count): ((Option<u16>, &str), u64)| {
        // The first that hits is taken: the next has its share of what is left.
        let share = (count as f64 / left).min(1.0);
        left = (left - count as f64).max(1.0);
        let effect = match (status, kind) {
            (Some(status @ 400..=599), _) => Effect::Status { status, retry_after: None },
            (_, "timeout") => Effect::Hang,
            (_, "not_sent") => Effect::Outage,
            _ => Effect::Reset,
        };
        Fault { when: When::At { from: Duration::ZERO, length: FOR_EVER }, effect, share }
    };
    counts.into_iter().map(fault).collect()
}
