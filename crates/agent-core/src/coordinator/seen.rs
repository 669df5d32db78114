//! What a run is doing, at one moment: all of it in figures, one agent in detail.

use std::sync::Arc;

use actix::{Context, Handler, Message, MessageResult};

use super::roster::{Counts, State};
use super::{Coordinator, Summary};
use crate::clock::Timestamp;
use crate::ledger::Balance;
use crate::permits::PairHeadroom;
use crate::queue::Lengths;
use crate::task::TaskId;

/// How many workers are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WorkerCounts {
    /// Idle, and may call.
    pub ready: usize,
    /// Idle, and may not call yet by their own limit.
    pub resting: usize,
    /// Playing a task.
    pub busy: usize,
    /// Pausing after a panic.
    pub down: usize,
    /// Ended for good.
    pub gone: usize,
}

impl From<Counts> for WorkerCounts {
    fn from(Counts { ready, resting, busy, down, gone }: Counts) -> WorkerCounts {
        WorkerCounts { ready, resting, busy, down, gone }
    }
}

/// What a run is doing at one moment.
///
/// All but the last two fields are of one moment between two messages of the coordinator: every
/// accepted task is counted once, as queued, running, on its way to an end, or ended. The budgets and
/// the limits are asked for next, and may be a few messages younger. It costs the same however many
/// tasks and workers there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// The moment.
    pub at: Timestamp,
    /// What it has come to so far.
    pub summary: Summary,
    /// Tasks that wait for a worker.
    pub queued: usize,
    /// The same by priority.
    pub queues: Lengths,
    /// Tasks that a worker is playing.
    pub running: usize,
    /// Attempts in flight: those of the summary that have neither succeeded nor failed.
    pub in_flight: u64,
    /// The workers by state.
    pub workers: WorkerCounts,
    /// Workers that have an actor; the others get theirs at their next task.
    pub actors: usize,
    /// Tasks that could not reach a worker: none was left for them, or its actor had gone. Each of
    /// them ended or was queued again.
    pub dead_letters: u64,
    /// The budgets that the fleet names. Those of `x:*` are in
    /// [`AgentSystem::balances`](crate::system::AgentSystem::balances).
    pub budgets: Vec<Balance>,
    /// What is used and left of the provider's limits, by key and model.
    pub limits: Vec<PairHeadroom>,
}

/// One agent, in detail.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentView {
    /// Its name.
    pub name: String,
    /// Its workers by state.
    pub workers: WorkerCounts,
    /// What each busy one is doing, in the order of the workers.
    pub working: Vec<Working>,
    /// Tasks that wait for one of its workers, not counting those that any agent may play.
    pub queued: usize,
    /// Restarts of its workers.
    pub restarts: u64,
    /// What the last panic of a worker said, redacted.
    pub last_failure: Option<String>,
}

/// A busy worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Working {
    /// Which worker.
    pub worker: String,
    /// At which task.
    pub task: TaskId,
    /// Since when.
    pub since: Timestamp,
    /// Crashes of workers over this task so far.
    pub crashes: u32,
}

/// What an agent's workers have been through.
#[derive(Debug, Clone, Default)]
pub(super) struct Fortunes {
    pub(super) restarts: u64,
    pub(super) last_failure: Option<Arc<str>>,
}

// === GetSnapshot ===

/// What a run has come to so far, and what it is doing; budgets and limits are left out.
#[derive(Debug, Message)]
#[rtype(result = "Snapshot")]
pub(crate) struct GetSnapshot;

impl Handler<GetSnapshot> for Coordinator {
    type Result = MessageResult<GetSnapshot>;

    fn handle(&mut self, _msg: GetSnapshot, _ctx: &mut Context<Self>) -> Self::Result {
        let (counts, summary) = (self.roster.counts(), self.summary());
        let ended = summary.calls.succeeded + summary.calls.failed;
        MessageResult(Snapshot {
            at: self.services.clock.now(),
            queued: self.queue.len(),
            queues: self.queue.lengths(),
            running: counts.busy,
            in_flight: summary.calls.attempts.saturating_sub(ended),
            summary,
            workers: counts.into(),
            actors: self.troupe.actors(),
            dead_letters: self.dead_letters,
            ..Snapshot::default()
        })
    }
}

impl Coordinator {
    fn summary(&self) -> Summary {
        let open = self.tasks.len() as u64;
        let warnings = self.services.warnings();
        Summary {
            run_id: self.plan.run_id.to_string(),
            // Those of sub-agents too, which restart without it.
            restarts: warnings.get("worker_restarted").copied().unwrap_or_default(),
            agents: self.roster.len() as u64,
            audit_warnings: warnings.into_iter().map(|(name, n)| (name.to_owned(), n)).collect(),
            ..self.stats.summary(self.services.taken(), open)
        }
    }
}

// === Inspect ===

/// One agent in detail; `None` where there is none of this name. Looks at each of its workers.
#[derive(Debug, Message)]
#[rtype(result = "Option<AgentView>")]
pub(crate) struct Inspect(pub(crate) String);

impl Handler<Inspect> for Coordinator {
    type Result = Option<AgentView>;

    fn handle(&mut self, Inspect(name): Inspect, _ctx: &mut Context<Self>) -> Option<AgentView> {
        let agent = self.agent(&name)?;
        let fortunes = self.fortunes.get(&agent).cloned().unwrap_or_default();
        let mut view = AgentView {
            name,
            queued: self.queue.len_of(Some(agent)),
            restarts: fortunes.restarts,
            last_failure: fortunes.last_failure.map(|reason| reason.to_string()),
            ..AgentView::default()
        };
        for worker in self.roster.workers_of(agent) {
            match self.roster.state(worker) {
                State::Ready(_) => view.workers.ready += 1,
                State::Resting { .. } => view.workers.resting += 1,
                State::Down => view.workers.down += 1,
                State::Gone => view.workers.gone += 1,
                State::Busy(task) => {
                    view.workers.busy += 1;
                    let Some(entry) = self.tasks.get(&task) else { continue };
                    view.working.push(Working {
                        worker: self.name(worker),
                        task: entry.assignment.task.id.clone(),
                        since: entry.given_at,
                        crashes: entry.crashes,
                    });
                }
            }
        }
        Some(view)
    }
}
