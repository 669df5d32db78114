//! The journal: runs, tasks and attempts as they begin and end, folded again after a restart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::backend::Backend;
use super::codec;
use super::entry::{CallStats, Entry, LeftTask, Recovered, RunStatus, UnfinishedRun};
use super::error::StoreError;
use super::live::{Live, OpenTask};
use crate::clock::Timestamp;
use crate::money::NanoUsd;
use crate::record::{CallId, OpenAttempt, UsageRecord};
use crate::task::{Outcome, Task, TaskId};
use crate::usage::TokenCounts;

/// One line of the journal. Appended only: the order is part of the store's format.
///
/// Tasks and outcomes stand as JSON, since they leave out and flatten fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Line {
    RunStarted {
        run_id: Arc<str>,
        at: Timestamp,
        fleet: Option<String>,
    },
    RunFinished {
        run_id: Arc<str>,
        at: Timestamp,
        status: RunStatus,
    },
    TaskAccepted {
        run_id: Arc<str>,
        at: Timestamp,
        seq: u64,
        json: String,
    },
    TaskEnded {
        run_id: Arc<str>,
        json: String,
    },
    Opened(Arc<OpenAttempt>),
    Closed(Closed),
    /// The submitter was told that it was not accepted.
    TaskWithdrawn {
        run_id: Arc<str>,
        task_id: Arc<str>,
    },
    /// The attempt never left.
    Withdrawn {
        call_id: CallId,
        attempt: u32,
    },
}

/// The end of an attempt, as far as the run needs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Closed {
    pub(crate) call_id: CallId,
    pub(crate) attempt: u32,
    pub(crate) run_id: Arc<str>,
    pub(crate) task_id: Option<Arc<str>>,
    pub(crate) failed: bool,
    pub(crate) usage: TokenCounts,
    pub(crate) cost: NanoUsd,
    pub(crate) presumed: NanoUsd,
}

impl From<&UsageRecord> for Closed {
    fn from(record: &UsageRecord) -> Closed {
        Closed {
            call_id: record.call_id,
            attempt: record.attempt,
            run_id: record.subject.run_id.clone(),
            task_id: record.subject.task_id.clone(),
            failed: record.error.is_some(),
            usage: record.usage,
            cost: record.cost,
            presumed: record.presumed,
        }
    }
}

impl Line {
    /// The line of an entry; audit events have none.
    pub(crate) fn of(entry: &Entry) -> Result<Option<Line>, StoreError> {
        let json = |text: serde_json::Result<String>| {
            text.map_err(|error| StoreError::value(error.to_string()))
        };
        Ok(Some(match entry {
            Entry::RunStarted { run_id, at, fleet } => {
                Line::RunStarted { run_id: run_id.clone(), at: *at, fleet: fleet.clone() }
            }
            Entry::RunFinished { run_id, at, status } => {
                Line::RunFinished { run_id: run_id.clone(), at: *at, status: *status }
            }
            Entry::TaskAccepted { run_id, at, seq, task } => Line::TaskAccepted {
                run_id: run_id.clone(),
                at: *at,
                seq: *seq,
                json: json(serde_json::to_string(task))?,
            },
            Entry::TaskEnded { run_id, outcome } => Line::TaskEnded {
                run_id: run_id.clone(),
                json: json(serde_json::to_string(outcome))?,
            },
            Entry::AttemptOpened(open) => Line::Opened(open.clone()),
            Entry::AttemptClosed(record) => Line::Closed(Closed::from(record)),
            Entry::AttemptWithdrawn { call_id, attempt } => {
                Line::Withdrawn { call_id: *call_id, attempt: *attempt }
            }
            Entry::Audit(_) => return Ok(None),
        }))
    }
}

/// The journal so far, since the start of the last run.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    pub(crate) open: BTreeMap<(CallId, u32), Arc<OpenAttempt>>,
    run: Option<Run>,
}

#[derive(Debug)]
struct Run {
    id: Arc<str>,
    started_at: Timestamp,
    /// How long the parts before the last one took.
    took_before: Duration,
    /// When the last part began.
    began_at: Timestamp,
    /// The last sign of life.
    seen_at: Timestamp,
    fleet: Option<String>,
    status: Option<RunStatus>,
    tasks: BTreeMap<TaskId, LeftTask>,
    ended: BTreeMap<TaskId, Arc<Outcome>>,
    calls: CallStats,
}

impl Run {
    fn new(id: Arc<str>, at: Timestamp, fleet: Option<String>) -> Run {
        Run {
            id,
            started_at: at,
            took_before: Duration::ZERO,
            began_at: at,
            seen_at: at,
            fleet,
            status: None,
            tasks: BTreeMap::new(),
            ended: BTreeMap::new(),
            calls: CallStats::default(),
        }
    }

    fn took(&self) -> Duration {
        self.took_before + self.seen_at.since(self.began_at)
    }

    fn seen(&mut self, at: Timestamp) {
        self.seen_at = self.seen_at.max(at);
    }

    /// It goes on.
    fn resumed(&mut self, at: Timestamp) {
        self.took_before = self.took();
        (self.began_at, self.seen_at) = (at, at);
        self.status = None;
    }
}

impl Fold {
    /// Folds the journal from commit `start` on.
    pub(crate) fn read(backend: &dyn Backend, start: u64) -> Result<Fold, StoreError> {
        let mut fold = Fold::default();
        codec::read_items(backend, codec::JOURNAL, (start, u64::MAX), &mut |_, _, line| {
            fold.line(line)?;
            Ok(true)
        })?;
        Ok(fold)
    }

    fn run(&mut self, id: &str) -> Option<&mut Run> {
        self.run.as_mut().filter(|run| *run.id == *id)
    }

    fn line(&mut self, line: Line) -> Result<(), StoreError> {
        match line {
            Line::RunStarted { run_id, at, fleet } => match self.run(&run_id) {
                Some(run) => run.resumed(at),
                None => self.run = Some(Run::new(run_id, at, fleet)),
            },
            Line::RunFinished { run_id, at, status } => {
                if let Some(run) = self.run(&run_id) {
                    run.seen(at);
                    run.status = Some(status);
                }
            }
            Line::TaskAccepted { run_id, at, seq, json } => {
                let task: Arc<Task> = parse(&json)?;
                if let Some(run) = self.run(&run_id) {
                    run.seen(at);
                    let spent = CallStats::default();
                    let id = task.id.clone();
                    run.tasks.insert(id, LeftTask { seq, accepted_at: at, task, spent });
                }
            }
            Line::TaskEnded { run_id, json } => {
                let outcome: Arc<Outcome> = parse(&json)?;
                if let Some(run) = self.run(&run_id) {
                    run.seen(outcome.finished_at);
                    run.tasks.remove(&outcome.task_id);
                    run.ended.insert(outcome.task_id.clone(), outcome);
                }
            }
            Line::Opened(open) => {
                if let Some(run) = self.run(&open.subject.run_id) {
                    run.seen(open.at);
                }
                self.open.insert((open.call_id, open.attempt), open);
            }
            Line::Closed(closed) => {
                self.open.remove(&(closed.call_id, closed.attempt));
                self.closed(&closed);
            }
            Line::TaskWithdrawn { run_id, task_id } => {
                if let Some(run) = self.run(&run_id) {
                    run.tasks.remove(&TaskId::from(task_id));
                }
            }
            Line::Withdrawn { call_id, attempt } => {
                self.open.remove(&(call_id, attempt));
            }
        }
        Ok(())
    }

    fn closed(&mut self, closed: &Closed) {
        let Some(run) = self.run(&closed.run_id) else { return };
        run.calls.add(closed);
        let task = closed.task_id.as_deref().map(TaskId::from);
        if let Some(task) = task.and_then(|id| run.tasks.get_mut(&id)) {
            task.spent.add(closed);
        }
    }

    /// What the writer must know from here on.
    pub(crate) fn live(&self) -> Live {
        Live {
            run: self.run.as_ref().map(|run| run.id.clone()),
            open: self.open.iter().map(|(id, open)| (*id, open.clone())).collect(),
            tasks: self
                .run
                .iter()
                .flat_map(|run| &run.tasks)
                .map(|(id, left)| (id.clone(), OpenTask::from(left)))
                .collect(),
        }
    }

    /// What the system must know at its start.
    pub(crate) fn recovered(self) -> Recovered {
        let mut open_attempts: Vec<_> = self.open.into_values().collect();
        open_attempts.sort_by_key(|open| (open.at, open.call_id, open.attempt));
        let last = self.run.map(|run| {
            let took = run.took();
            let mut tasks: Vec<_> = run.tasks.into_values().collect();
            tasks.sort_by_key(|task| task.seq);
            UnfinishedRun {
                run_id: run.id,
                started_at: run.started_at,
                took,
                seen_at: run.seen_at,
                fleet: run.fleet,
                status: run.status,
                tasks,
                ended: run.ended,
                calls: run.calls,
            }
        });
        let (run, finished) = match last.as_ref().and_then(|run| run.status) {
            Some(RunStatus::Finished) => (None, last),
            Some(RunStatus::Discarded) => (None, None),
            Some(RunStatus::Interrupted | RunStatus::Stopped) | None => (last, None),
        };
        Recovered { run, finished, open_attempts }
    }
}

pub(super) fn parse<T: for<'de> Deserialize<'de>>(json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|error| StoreError::value(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_took_what_its_parts_took_each_up_to_its_end_or_its_last_sign_of_life() {
        let at = |seconds| Timestamp::from_millis(1_000 * seconds);
        let run_id: Arc<str> = "r".into();
        let started =
            |seconds| Line::RunStarted { run_id: run_id.clone(), at: at(seconds), fleet: None };
        let finished =
            |seconds, status| Line::RunFinished { run_id: run_id.clone(), at: at(seconds), status };
        let accepted = |seconds| Line::TaskAccepted {
            run_id: run_id.clone(),
            at: at(seconds),
            seq: seconds,
            json: format!("{{\"id\":{seconds}}}"),
        };
        let mut fold = Fold::default();
        let mut lines = vec![started(10), accepted(11), finished(15, RunStatus::Interrupted)];
        // Killed at some time after 103.
        lines.extend([started(100), accepted(103)]);
        lines.extend([started(200), finished(206, RunStatus::Interrupted)]);
        lines.push(finished(207, RunStatus::Finished));
        for line in lines {
            fold.line(line).unwrap();
        }
        let run = fold.recovered().finished.unwrap();
        assert_eq!((run.took, run.seen_at), (Duration::from_secs(5 + 3 + 7), at(207)));
    }
}
