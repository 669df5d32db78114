//! Sub-agents as their parent holds them: tasks go in, answers come out, and an end is a notice.

use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use thiserror::Error;
use tokio::sync::oneshot;

use super::Output;
use crate::clock::Sleep;
use crate::pricing::PricingError;
use crate::task::{ErrorCode, Task, TaskError};

/// How many sub-agents a task may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChildLimits {
    /// Generations below the task's own worker. Default: 8.
    pub depth: NonZeroU32,
    /// Workers of all sub-agents of one task that are there at once. Default: 256.
    pub workers: NonZeroU32,
    /// Tasks that may wait for one sub-agent, beside those its workers are at. Default: 1,024.
    pub waiting: NonZeroU32,
}

impl Default for ChildLimits {
    fn default() -> ChildLimits {
        ChildLimits {
            depth: const { NonZeroU32::new(8).expect("8 is not zero") },
            workers: const { NonZeroU32::new(256).expect("256 is not zero") },
            waiting: const { NonZeroU32::new(1_024).expect("1,024 is not zero") },
        }
    }
}

/// Why a sub-agent was not started.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// It would be one generation too many.
    #[error("a sub-agent {limit} generations below its task has none of its own")]
    TooDeep {
        /// The limit on generations.
        limit: u32,
    },
    /// The task has as many as it may have.
    #[error("the task may have {limit} workers of sub-agents at once")]
    TooMany {
        /// The limit on workers.
        limit: u32,
    },
    /// Its name would be read as that of a sub-agent's sub-agent.
    #[error("the name {0:?} has a \">\" in it, which stands between an agent and its sub-agents")]
    Name(String),
    /// Its model has no known price, so that its calls cannot be bounded.
    #[error("its model cannot be priced")]
    Price(#[from] PricingError),
}

impl From<SpawnError> for TaskError {
    fn from(error: SpawnError) -> TaskError {
        let message = match &error {
            SpawnError::Price(price) => price.to_string(),
            error => error.to_string(),
        };
        TaskError::new(ErrorCode::InvalidTask, message)
    }
}

/// How a sub-agent ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChildEnd {
    /// Every worker of it crashed more often than it may be restarted.
    GaveUp {
        /// What the last crash said.
        reason: String,
    },
    /// Its parent stopped it, or ended itself.
    Stopped,
}

impl fmt::Display for ChildEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChildEnd::GaveUp { reason } => write!(f, "it crashed too often, last with: {reason}"),
            ChildEnd::Stopped => f.write_str("it was stopped"),
        }
    }
}

/// Why a sub-agent has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChildError {
    /// The sub-task failed; the sub-agent goes on.
    #[error(transparent)]
    Failed(TaskError),
    /// The sub-agent ended before the sub-task did.
    #[error("sub-agent {name} has ended: {end}")]
    Ended {
        /// Its name.
        name: String,
        /// How it ended.
        end: ChildEnd,
    },
    /// As many sub-tasks wait for it as may.
    #[error("{limit} sub-tasks wait for sub-agent {name}, which is the limit")]
    Full {
        /// Its name.
        name: String,
        /// The limit.
        limit: u32,
    },
}

impl From<ChildError> for TaskError {
    /// The error in which the parent's task ends where it does nothing about it.
    fn from(error: ChildError) -> TaskError {
        match error {
            ChildError::Failed(error) => error,
            ChildError::Ended { .. } => TaskError::new(ErrorCode::WorkerCrashed, error.to_string()),
            ChildError::Full { .. } => TaskError::new(ErrorCode::InvalidTask, error.to_string()),
        }
    }
}

/// A sub-agent, played by whichever of its workers is idle. Survives their restarts.
///
/// It may be kept beyond the task that it was spawned for: then it has ended, and says so.
#[derive(Clone)]
pub struct Child(Rc<dyn Children>);

impl Child {
    pub(crate) fn new(children: Rc<dyn Children>) -> Child {
        Child(children)
    }

    /// Its name after its parents': `lead>researcher`.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Has it work on a part of its parent's task, at once or when a worker of it is idle.
    ///
    /// Who pays, on whose behalf and how urgently is as in the parent's task; the deadline is the
    /// earlier of the two, and where it comes before a worker is idle the sub-task is not begun.
    /// Where its worker crashes, it is done again, at most `poison_limit` times. A sub-task has no
    /// outcome of its own: what it takes is a part of its parent's.
    pub fn execute(&self, task: Task) -> Execution {
        let Submitted { number, answer, expiry } = self.0.submit(task);
        Execution { number, answer, expiry, children: Rc::clone(&self.0) }
    }

    /// Waits for its end; told at once where it has ended.
    pub fn ended(&self) -> impl Future<Output = ChildEnd> + use<> {
        let told = self.0.watch();
        async move { told.await.unwrap_or(ChildEnd::Stopped) }
    }

    /// From now on its parent crashes with it where it gives up, as if it had panicked itself:
    /// its parent's own restart rule decides what follows.
    pub fn link(&self) {
        self.0.link();
    }

    /// Ends it now, as the end of its parent would. Its sub-tasks are told so.
    pub fn stop(&self) {
        self.0.stop();
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// A sub-task under way: resolves to its answer. It goes on by itself; dropped, it is cancelled, and
/// what of it has left for the provider is charged at its bound.
#[must_use = "a sub-task that is dropped is cancelled"]
pub struct Execution {
    number: u64,
    answer: oneshot::Receiver<Result<Output, ChildError>>,
    /// When it is too late to begin; none where its parent's task ends first.
    expiry: Option<Sleep>,
    children: Rc<dyn Children>,
}

impl Future for Execution {
    type Output = Result<Output, ChildError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Some(expiry) = &mut this.expiry
            && Pin::new(expiry).poll(cx).is_ready()
        {
            this.expiry = None;
            this.children.expire(this.number);
        }
        Pin::new(&mut this.answer).poll(cx).map(|answer| {
            answer.unwrap_or_else(|_| {
                let name = this.children.name().to_owned();
                Err(ChildError::Ended { name, end: ChildEnd::Stopped })
            })
        })
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        self.children.withdraw(self.number);
    }
}

impl fmt::Debug for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.children.name();
        f.debug_struct("Execution").field("child", &name).finish_non_exhaustive()
    }
}

/// A sub-task that was handed in.
pub(crate) struct Submitted {
    pub(crate) number: u64,
    /// The answer, once there is one.
    pub(crate) answer: oneshot::Receiver<Result<Output, ChildError>>,
    /// Its own deadline, where that is earlier than its parent's.
    pub(crate) expiry: Option<Sleep>,
}

/// What the workers of a sub-agent do for the handle to it.
pub(crate) trait Children {
    fn name(&self) -> &str;
    fn submit(&self, task: Task) -> Submitted;
    /// Its deadline has come: it ends, unless it has begun.
    fn expire(&self, number: u64);
    /// Nobody waits for the sub-task any more.
    fn withdraw(&self, number: u64);
    fn watch(&self) -> oneshot::Receiver<ChildEnd>;
    fn link(&self);
    fn stop(&self);
}
