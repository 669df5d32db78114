//! What happens in the lives of workers and tasks, told to whoever watches.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};

use super::{Coordinator, Ended};
use crate::clock::Timestamp;
use crate::task::{ErrorCode, TaskId};

/// Events that a watcher may be behind by; beyond that the oldest are lost to it, and counted.
pub const BEHIND: usize = 4_096;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LifecycleEvent {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: Lifecycle,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lifecycle {
    /// A worker got its actor.
    WorkerStarted {
        /// Which worker.
        worker: Arc<str>,
    },
    /// A worker had been idle for long, and its actor was given up.
    WorkerPassivated {
        /// Which worker.
        worker: Arc<str>,
    },
    /// A worker panicked.
    WorkerPanicked {
        /// Which worker.
        worker: Arc<str>,
        /// What the panic said, redacted.
        reason: String,
        /// When it goes on; `None` where it stays down.
        pause: Option<Duration>,
    },
    /// Nothing moved any more at a worker's task: it was stopped, and is replaced.
    WorkerWedged {
        /// Which worker.
        worker: Arc<str>,
        /// For how long nothing had moved that should have.
        since: Duration,
        /// When another goes on in its place; `None` where it stays down.
        pause: Option<Duration>,
    },
    /// A worker was stopped because another of its group panicked; it goes on with the group.
    WorkerStopped {
        /// Which worker.
        worker: Arc<str>,
    },
    /// A worker goes on after a panic, or another in its place.
    WorkerRestarted {
        /// Which worker.
        worker: Arc<str>,
    },
    /// A worker ended for good.
    WorkerGone {
        /// Which worker.
        worker: Arc<str>,
    },
    /// A worker of a group died, and the group restarts some of its workers.
    GroupRestarts {
        /// Which group.
        group: Arc<str>,
        /// Who died.
        died: Arc<str>,
        /// How many workers are restarted.
        workers: usize,
        /// When they go on.
        pause: Duration,
    },
    /// A group at the top restarted its workers too often; the run stops.
    GroupFailed {
        /// Which group.
        group: Arc<str>,
    },
    /// A task was accepted, and is durable.
    TaskAccepted {
        /// Which task.
        task: TaskId,
    },
    /// A worker was given a task.
    TaskStarted {
        /// Which task.
        task: TaskId,
        /// Which worker.
        worker: Arc<str>,
    },
    /// A task came back to the queue: its worker crashed, or could not go on.
    TaskRequeued {
        /// Which task.
        task: TaskId,
        /// Crashes over it so far.
        crashes: u32,
    },
    /// A task ended, and its outcome is durable.
    TaskEnded {
        /// Which task.
        task: TaskId,
        /// The code of its error, where it failed.
        error: Option<ErrorCode>,
    },
    /// A task could not reach a worker; see [`Snapshot::dead_letters`](super::Snapshot).
    DeadLetter {
        /// Which task.
        task: TaskId,
        /// Why.
        reason: &'static str,
    },
    /// A thread of workers does not come to anything else: code on it does not yield.
    ThreadBlocked {
        /// Whose code runs there, where it is a worker's.
        worker: Option<Arc<str>>,
        /// The tool that it runs, where it is one.
        tool: Option<String>,
        /// For how long so far.
        since: Duration,
    },
    /// Nothing new is begun any more.
    RunStopping {
        /// How the run will have ended.
        how: Ended,
    },
}

/// Where events come from; nothing is made of them where nobody watches.
#[derive(Debug, Clone)]
pub(crate) struct LifecycleSource(broadcast::Sender<LifecycleEvent>);

impl LifecycleSource {
    pub(crate) fn new() -> LifecycleSource {
        LifecycleSource(broadcast::Sender::new(BEHIND))
    }

    pub(crate) fn desk(&self) -> LifecycleDesk {
        LifecycleDesk(self.0.downgrade())
    }

    pub(crate) fn tell(&self, event: impl FnOnce() -> LifecycleEvent) {
        if self.0.receiver_count() > 0 {
            // An error means that the last watcher has just gone.
            _ = self.0.send(event());
        }
    }
}

/// Where events are asked for. Whoever watches is told of the source's end, however long this is
/// kept.
#[derive(Debug, Clone)]
pub(crate) struct LifecycleDesk(broadcast::WeakSender<LifecycleEvent>);

impl LifecycleDesk {
    pub(crate) fn watch(&self) -> Lifecycles {
        let source = self.0.upgrade().unwrap_or_else(|| broadcast::Sender::new(1));
        Lifecycles { events: source.subscribe(), missed: 0 }
    }
}

/// The events of a run from when it was asked for.
#[derive(Debug)]
pub struct Lifecycles {
    events: broadcast::Receiver<LifecycleEvent>,
    missed: u64,
}

impl Lifecycles {
    /// Waits for the next; `None` where the system is gone.
    pub async fn next(&mut self) -> Option<LifecycleEvent> {
        loop {
            match self.events.recv().await {
                Ok(event) => return Some(event),
                Err(RecvError::Lagged(lost)) => self.missed += lost,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// The next, where one has come already.
    pub fn try_next(&mut self) -> Option<LifecycleEvent> {
        loop {
            match self.events.try_recv() {
                Ok(event) => return Some(event),
                Err(TryRecvError::Lagged(lost)) => self.missed += lost,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
            }
        }
    }

    /// Events that were lost because this fell more than [`BEHIND`] behind.
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

impl Coordinator {
    pub(super) fn tell(&self, what: impl FnOnce() -> Lifecycle) {
        self.lifecycle.tell(|| LifecycleEvent { at: self.services.clock.now(), what: what() });
    }
}
