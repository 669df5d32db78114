//! From what the store has of a run to a scenario that repeats it.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use agent_core::config::{ConfigError, Fleet};
use agent_core::pricing;
use agent_core::record::{Subject, UsageRecord};
use agent_core::store::{PastRun, PastTask};
use agent_core::task::Task;

use super::VerifyError;
use super::attempts::{Attempts, Typical};
use super::figures::Figures;
use crate::calibrate::Failed;
use crate::latency::Catalogue;
use crate::mock::Limits;
use crate::scenario::{Arrival, Goal, LatencyChoice, ProviderSpec, RunSpec, Scenario, Workload};

/// Below this a call takes not much longer than what goes on around it.
const SHORT: Duration = Duration::from_millis(100);

/// A run that can be simulated, and what it really came to.
pub(super) struct Rebuilt {
    pub(super) scenario: Scenario,
    pub(super) real: Figures,
    pub(super) models: BTreeSet<Arc<str>>,
    pub(super) notes: Vec<String>,
}

/// What each task attempted.
type ByTask<'a> = BTreeMap<&'a str, Attempts<'a>>;

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
            by_task.entry(task).or_default().answered(record);
        }
    }
    for failed in failures {
        if let Some(task) = failed.subject.task_id.as_deref() {
            by_task.entry(task).or_default().failed(failed);
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
    let of = |task: &&PastTask| &by_task[task.task.id.as_str()];
    let played: Vec<&UsageRecord> = tasks.iter().flat_map(|task| of(task).records()).collect();
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
    let workload = workload(&tasks, &by_task, Typical::of(&played), &fleet);
    let attempts = tasks.iter().map(|task| of(task).count()).sum();
    let failed: usize = tasks.iter().map(|task| of(task).failures()).sum();
    if failed > 0 {
        notes.push(format!(
            "{failed} of {attempts} attempts failed; in the simulation the same ones fail, as long \
             after they left and with the same retry-after"
        ));
    }
    notes.extend(short(&played));
    let run = RunSpec { replicas: seeds, start: first, sensitivity: false, ..RunSpec::default() };
    Ok(Rebuilt {
        real: Figures::real(&tasks, &played, attempts),
        models: played.iter().filter_map(|record| record.subject.model.clone()).collect(),
        notes,
        scenario: scenario(fleet, run, workload, models)?,
    })
}

/// The tasks as they came, each with its calls.
fn workload(
    tasks: &[&PastTask],
    by_task: &ByTask<'_>,
    typical: Typical,
    fleet: &Fleet,
) -> Workload {
    let first = tasks.first().map_or_else(Default::default, |task| task.accepted_at);
    let recorded = |task: &&PastTask| {
        let at_ns = u64::try_from(task.accepted_at.since(first).as_nanos()).unwrap_or(u64::MAX);
        by_task[task.task.id.as_str()].replayed(at_ns, typical)
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

/// The provider admits everything: its limits are not known, and what it refused is on record.
fn scenario(
    mut fleet: Fleet,
    run: RunSpec,
    workload: Workload,
    models: Catalogue,
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
        fault: Vec::new(),
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

/// That calls are so short that what no simulation has weighs beside them.
fn short(records: &[&UsageRecord]) -> Option<String> {
    let took = |record: &&UsageRecord| record.at.since(record.opened_at);
    let mut took: Vec<Duration> =
        records.iter().filter(|it| it.error.is_none()).map(took).collect();
    took.sort_unstable();
    let middle = took.get(took.len() / 2).filter(|middle| **middle < SHORT)?;
    Some(format!(
        "calls took about {} ms: the journal, the disk and the processor, which take a task some \
         milliseconds more, are not simulated and weigh here",
        middle.as_millis()
    ))
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
        let seen = agents.entry(player(&record.subject)).or_default();
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
fn player(subject: &Subject) -> &str {
    let agent = subject.agent.as_deref().unwrap_or("agent");
    agent.split('>').next().unwrap_or(agent)
}

/// The task, with the agent that really played it, where the fleet has it.
fn as_played(task: &Task, by_task: &ByTask<'_>, fleet: &Fleet) -> Task {
    let mut task = task.clone();
    let subject = by_task.get(task.id.as_str()).and_then(Attempts::subject);
    let agent = subject.map(player);
    if let Some(agent) = agent.filter(|name| fleet.agent.iter().any(|agent| agent.name == **name)) {
        task.agent = Some(agent.to_owned());
    }
    task
}
