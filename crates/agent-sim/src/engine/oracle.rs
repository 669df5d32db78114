//! A second engine, in tests alone: an oracle for the first.
//!
//! One loop over an event heap, without actors, futures or a clock, asks the same decisions (permits,
//! ledger, retry policy, queue, estimator, prices) and the same script and provider. What happens
//! must be the same, to the nanosecond and the nano-dollar. So whatever an actor adds by being one
//! (a message lost, late or twice, a timer too many, a wait counted double) shows.
//!
//! Not compared: the ids of calls, which the runtime draws one after the other, and the order within
//! one nanosecond. Jitter is drawn by seed, task and attempt, so it is the same here.
//!
//! Left out, and refused where a scenario has it:
//!
//! - **Supervision**: nothing panics in a simulation, and restarts have tests and models of their own.
//! - **Ends from outside**: deadlines of tasks, `until`, budgets that stop the run. They cut off what
//!   is under way wherever it is, which an actor's `Drop` does and a loop would have to imitate.
//! - **Money that waits for its window**, and lower `max_tokens` for want of it: the queue for money
//!   has a model of its own in agent-core. Money that waits for what is in flight is here.
//! - **Workers that refuse** rather than rest (`mode = "reject"`), and more than 10,000 workers, of
//!   which the last have no actor while they are idle and so stand behind the others.
//! - **Bounds that are counted or learned**: simulated fleets use the strict one.
//! - **Keys out of service**: a simulation has one key, and nobody who pays its bill.

mod agenda;
mod attempt;
mod crowd;
mod play;
mod tests;
mod till;

use std::sync::Arc;
use std::time::Duration;

use agent_core::agent::AgentSpec;
use agent_core::clock::Timestamp;
use agent_core::config::Fleet;
use agent_core::estimate::{Bounding, Estimator};
use agent_core::ledger::OnExhausted;
use agent_core::money::NanoUsd;
use agent_core::permits::{LimitMode, Permits};
use agent_core::store::Entry;
use agent_core::task::ErrorCode;

use super::provider::World;
use super::script::Script;
use crate::scenario::{Arrival, Effect, Scenario};
use agenda::Agenda;
use crowd::Crowd;
use play::Play;
use till::Till;

/// Something that happened to a task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Event {
    /// When, in nanoseconds since the start.
    at: u64,
    task: String,
    what: What,
    /// Nano-dollars: the bound of an attempt that opens, what is charged for one that closes, or
    /// for the whole task.
    charged: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Opened { attempt: u32 },
    Closed { attempt: u32, error: Option<String>, tokens: [u64; 4] },
    Ended(Option<ErrorCode>),
}

/// What a run came to.
#[derive(Debug)]
pub(super) struct Ran {
    /// In their order.
    events: Vec<Event>,
    makespan: Duration,
    charged: NanoUsd,
}

/// The event of an entry that the runtime writes, where it is one.
fn event(entry: &Entry, start: Timestamp) -> Option<Event> {
    let since = |at: Timestamp| at.since(start).as_nanos() as u64;
    let event = |at, task: &str, what, charged: NanoUsd| Event {
        at: since(at),
        task: task.to_owned(),
        what,
        charged: charged.nanos(),
    };
    match entry {
        Entry::AttemptOpened(open) => {
            let what = What::Opened { attempt: open.attempt };
            Some(event(open.at, open.subject.task_id.as_deref()?, what, open.bound))
        }
        Entry::AttemptClosed(record) => {
            let what = What::Closed {
                attempt: record.attempt,
                error: record.error.clone(),
                tokens: counts(record.usage),
            };
            let charged = record.cost.saturating_add(record.presumed);
            Some(event(record.at, record.subject.task_id.as_deref()?, what, charged))
        }
        Entry::TaskEnded { outcome, .. } => {
            let what = What::Ended(outcome.error.as_ref().map(|error| error.code));
            let charged = outcome.cost_usd.saturating_add(outcome.presumed_cost_usd);
            Some(event(outcome.finished_at, outcome.task_id.as_str(), what, charged))
        }
        _ => None,
    }
}

fn counts(usage: agent_core::usage::TokenCounts) -> [u64; 4] {
    [
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_creation_input_tokens,
        usage.cache_read_input_tokens,
    ]
}

/// Runs a scenario through the heap.
///
/// # Panics
///
/// If it has what is left out here.
pub(super) fn run(scenario: &Scenario, seed: u64) -> Ran {
    refuse_what_is_left_out(scenario);
    let mut heap = Heap::new(scenario, seed);
    heap.bring_all();
    while let Some(due) = heap.agenda.next() {
        heap.happens(due);
    }
    heap.ran()
}

fn refuse_what_is_left_out(scenario: &Scenario) {
    let Fleet { agent, budget, group, .. } = &scenario.fleet;
    let rejects = |it: &AgentSpec| {
        it.rate_limit.as_ref().is_some_and(|limit| limit.mode == LimitMode::Reject)
    };
    assert!(!agent.iter().any(rejects), "mode = \"reject\" is left out");
    assert!(!agent.iter().any(|it| it.clamp_max_tokens || it.bounding != Bounding::Strict));
    assert!(!budget.iter().any(|it| it.on_exhausted == OnExhausted::StopRun));
    assert!(group.is_empty() && scenario.run.until.is_none() && scenario.workers() <= 10_000);
    assert!(scenario.workload.iter().all(|it| it.like.deadline.is_none() && it.given.is_empty()));
    let billing = |effect: Effect| matches!(effect, Effect::Status { status: 402, .. });
    assert!(!scenario.fault.iter().any(|fault| billing(fault.effect)));
}

/// Times of arrival that are left, or how many users' tasks are.
struct Source {
    times: Box<dyn Iterator<Item = u64>>,
    next: u64,
    count: u64,
    lasts: Timestamp,
}

/// The whole of a run: decisions, and what is to come.
struct Heap<'a> {
    scenario: &'a Scenario,
    start: Timestamp,
    /// What jitter is drawn by.
    seed: u64,
    script: Arc<Script>,
    sources: Vec<Source>,
    agenda: Agenda,
    crowd: Crowd,
    permits: Permits,
    waiting: std::collections::BTreeMap<agent_core::permits::WaiterId, u64>,
    ring_at: Option<Timestamp>,
    till: Till,
    estimator: Estimator,
    world: World,
    plays: Vec<Play>,
    events: Vec<Event>,
}

impl<'a> Heap<'a> {
    fn new(scenario: &'a Scenario, seed: u64) -> Heap<'a> {
        let (start, fleet) = (scenario.run.start, &scenario.fleet);
        let script = Arc::new(Script::new(scenario, seed));
        let source = |(number, workload): (u64, &crate::scenario::Workload)| Source {
            times: match &workload.arrival {
                Arrival::Open(process) => Box::new(process.arrivals(seed, number)),
                Arrival::Trace(tasks) => {
                    let times: Vec<u64> = tasks.iter().map(|task| task.at_ns).collect();
                    Box::new(times.into_iter())
                }
                Arrival::Closed { .. } => Box::new(std::iter::empty()),
            },
            next: 0,
            count: workload.count.unwrap_or(u64::MAX),
            lasts: workload.lasts.map_or(Timestamp::NEVER, |lasts| start + lasts),
        };
        Heap {
            scenario,
            start,
            // As the system draws it from the seed that it is given.
            seed: fastrand::Rng::with_seed(seed).u64(..),
            sources: (0..).zip(&scenario.workload).map(source).collect(),
            script,
            agenda: Agenda::new(start),
            crowd: Crowd::new(fleet.agent.iter().map(|agent| agent.count.get())),
            permits: Permits::new(fleet.limits.clone()),
            waiting: Default::default(),
            ring_at: None,
            till: Till::new(fleet.budget.clone()),
            estimator: Estimator::new(),
            world: World::new(scenario, seed, start),
            plays: Vec::new(),
            events: Vec::new(),
        }
    }

    fn note(&mut self, task: u64, what: What, charged: NanoUsd) {
        let at = self.agenda.now().since(self.start).as_nanos() as u64;
        let task = self.plays[task as usize].task.id.as_str().to_owned();
        self.events.push(Event { at, task, what, charged: charged.nanos() });
    }

    fn ran(self) -> Ran {
        let is_end = |event: &&Event| matches!(event.what, What::Ended(_));
        let ends = self.events.iter().filter(is_end);
        assert_eq!(ends.clone().count(), self.plays.len(), "every task ends once");
        let last = ends.map(|event| event.at).max().unwrap_or_default();
        let charged = self.plays.iter().map(|play| play.charged);
        Ran {
            makespan: Duration::from_nanos(last),
            charged: charged.fold(NanoUsd::ZERO, NanoUsd::saturating_add),
            events: self.events,
        }
    }
}
