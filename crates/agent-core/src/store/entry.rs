//! What is written to the store, and what is found in it after a restart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::audit::AuditEvent;
use crate::clock::Timestamp;
use crate::money::NanoUsd;
use crate::record::{CallId, OpenAttempt, UsageRecord};
use crate::task::{Outcome, Task, TaskId};
use crate::usage::TokenCounts;

/// How a run ended. Appended only: the order is part of the store's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// Every task has its outcome.
    Finished,
    /// Told to end; can be resumed.
    Interrupted,
    /// A budget stopped it; can be resumed.
    Stopped,
    /// Given up by the owner; what was not done will not be done.
    Discarded,
}

/// One thing to write down.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Entry {
    /// A run begins, or goes on where the last one has the same id.
    RunStarted {
        /// Which run.
        run_id: Arc<str>,
        /// When.
        at: Timestamp,
        /// The fleet file, where there is one.
        fleet: Option<String>,
    },
    /// A run ends.
    RunFinished {
        /// Which run.
        run_id: Arc<str>,
        /// When.
        at: Timestamp,
        /// How.
        status: RunStatus,
    },
    /// A task is accepted and will have an outcome.
    TaskAccepted {
        /// In which run.
        run_id: Arc<str>,
        /// When.
        at: Timestamp,
        /// Its place in the order of acceptance.
        seq: u64,
        /// The task.
        task: Arc<Task>,
    },
    /// A task has its outcome. A second one is ignored.
    TaskEnded {
        /// In which run.
        run_id: Arc<str>,
        /// How it ended.
        outcome: Arc<Outcome>,
    },
    /// An attempt is about to leave.
    AttemptOpened(Arc<OpenAttempt>),
    /// An attempt ended. Ignored where it is not open: each is accounted for once.
    AttemptClosed(UsageRecord),
    /// An attempt that was opened never left. Ignored where it is not open.
    AttemptWithdrawn {
        /// Which call.
        call_id: CallId,
        /// Which attempt of it.
        attempt: u32,
    },
    /// An audit event.
    Audit(AuditEvent),
}

impl Entry {
    /// Whether it is kept for ever, beside the journal: usage and what happened.
    pub(super) fn is_filed(&self) -> bool {
        match self {
            Entry::AttemptClosed(record) => record.is_usage(),
            Entry::Audit(_) => true,
            _ => false,
        }
    }

    /// Whether it is kept in memory while the store is down, instead of being refused.
    pub fn is_kept(&self) -> bool {
        match self {
            Entry::RunFinished { .. }
            | Entry::TaskEnded { .. }
            | Entry::AttemptClosed(_)
            | Entry::AttemptWithdrawn { .. }
            | Entry::Audit(_) => true,
            Entry::RunStarted { .. } | Entry::TaskAccepted { .. } | Entry::AttemptOpened(_) => {
                false
            }
        }
    }
}

/// What an earlier process left.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recovered {
    /// The last run, where it can be resumed.
    pub run: Option<UnfinishedRun>,
    /// The last run, where it has finished: nothing of it is left to do.
    pub finished: Option<UnfinishedRun>,
    /// Attempts whose fate is unknown, oldest first.
    pub open_attempts: Vec<Arc<OpenAttempt>>,
}

/// A run; as a rule one that has not finished and was not discarded.
#[derive(Debug, Clone, PartialEq)]
pub struct UnfinishedRun {
    /// Which run.
    pub run_id: Arc<str>,
    /// When it first started.
    pub started_at: Timestamp,
    /// How long its parts took, each up to its last line in the journal.
    pub took: Duration,
    /// That of the last part.
    pub seen_at: Timestamp,
    /// The fleet file that it was started with.
    pub fleet: Option<String>,
    /// `None` where the process was killed.
    pub status: Option<RunStatus>,
    /// Tasks without an outcome, in the order of their acceptance.
    pub tasks: Vec<LeftTask>,
    /// Tasks with one.
    pub ended: BTreeMap<TaskId, Arc<Outcome>>,
    /// All attempts of the run so far.
    pub calls: CallStats,
}

/// An accepted task without an outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftTask {
    /// Its place in the order of acceptance.
    pub seq: u64,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The task.
    pub task: Arc<Task>,
    /// What it took so far; counts towards its cost guard.
    pub spent: CallStats,
}

/// Attempts that ended, and what they took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallStats {
    /// All of them.
    pub attempts: u64,
    /// Those with an answer.
    pub succeeded: u64,
    /// Those without one.
    pub failed: u64,
    /// Those that were not the first of their call.
    pub retried: u64,
    /// The four token counts.
    pub usage: TokenCounts,
    /// What is known to be billed.
    pub cost: NanoUsd,
    /// What is charged because it may have been billed.
    pub presumed: NanoUsd,
}

impl CallStats {
    /// Counts one attempt.
    pub(crate) fn add(&mut self, record: &super::journal::Closed) {
        self.attempts += 1;
        self.succeeded += u64::from(!record.failed);
        self.failed += u64::from(record.failed);
        self.retried += u64::from(record.attempt > 1);
        self.usage += record.usage;
        self.cost = self.cost.saturating_add(record.cost);
        self.presumed = self.presumed.saturating_add(record.presumed);
    }
}
