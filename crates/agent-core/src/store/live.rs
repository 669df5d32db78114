//! What is open now: tasks and attempts that have not ended.

use std::collections::hash_map::Entry as MapEntry;
use std::sync::Arc;

use super::entry::{CallStats, Entry, LeftTask};
use crate::clock::Timestamp;
use crate::lookup::Lookup;
use crate::money::NanoUsd;
use crate::record::{CallId, OpenAttempt, UsageRecord};
use crate::task::TaskId;

/// What is open now: the guard against a second end of anything.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Live {
    pub(crate) run: Option<Arc<str>>,
    pub(crate) open: Lookup<(CallId, u32), Arc<OpenAttempt>>,
    pub(crate) tasks: Lookup<TaskId, OpenTask>,
}

/// A task that has not ended, and what it has spent so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenTask {
    pub(crate) id: TaskId,
    pub(crate) accepted_at: Timestamp,
    pub(crate) cost: NanoUsd,
    pub(crate) presumed: NanoUsd,
}

impl From<&LeftTask> for OpenTask {
    fn from(left: &LeftTask) -> OpenTask {
        let CallStats { cost, presumed, .. } = left.spent;
        OpenTask { id: left.task.id.clone(), accepted_at: left.accepted_at, cost, presumed }
    }
}

impl Live {
    /// Whether an entry is to be kept: not a second end of anything. Notes what opens and ends.
    pub(crate) fn admit(&mut self, entry: &Entry) -> bool {
        match entry {
            Entry::RunStarted { run_id, .. } => {
                if self.run.as_ref() != Some(run_id) {
                    self.run = Some(run_id.clone());
                    self.tasks.clear();
                }
                true
            }
            Entry::TaskAccepted { task, at, .. } => match self.tasks.entry(task.id.clone()) {
                MapEntry::Occupied(_) => false,
                MapEntry::Vacant(place) => {
                    let (cost, presumed) = (NanoUsd::ZERO, NanoUsd::ZERO);
                    let id = task.id.clone();
                    place.insert(OpenTask { id, accepted_at: *at, cost, presumed });
                    true
                }
            },
            Entry::TaskEnded { outcome, .. } => self.tasks.remove(&outcome.task_id).is_some(),
            Entry::AttemptOpened(open) => {
                self.open.insert((open.call_id, open.attempt), open.clone());
                true
            }
            Entry::AttemptClosed(record) => {
                let was_open = self.open.remove(&(record.call_id, record.attempt)).is_some();
                if was_open && self.run.as_ref() == Some(&record.subject.run_id) {
                    self.charge(record);
                }
                was_open
            }
            Entry::AttemptWithdrawn { call_id, attempt } => {
                self.open.remove(&(*call_id, *attempt)).is_some()
            }
            Entry::RunFinished { .. } | Entry::Audit(_) => true,
        }
    }

    fn charge(&mut self, record: &UsageRecord) {
        let task = record.subject.task_id.clone().map(TaskId::from);
        if let Some(task) = task.and_then(|id| self.tasks.get_mut(&id)) {
            task.cost = task.cost.saturating_add(record.cost);
            task.presumed = task.presumed.saturating_add(record.presumed);
        }
    }

    /// What is open, the oldest first.
    pub(crate) fn open_attempts(&self) -> Vec<Arc<OpenAttempt>> {
        let mut open: Vec<_> = self.open.values().cloned().collect();
        open.sort_by_key(|open| (open.at, open.call_id, open.attempt));
        open
    }
}
