//! What a behaviour may do: make calls, run tools, and have sub-agents.

use std::fmt;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use super::child::{Child, Children, SpawnError};
use super::{AgentSpec, Output};
use crate::clock::{Clock, Timestamp};
use crate::doing::AtTool;
use crate::llm::{Answer, Request};
use crate::panics;
use crate::supervision::Supervision;
use crate::task::{Task, TaskError};

/// What a behaviour may do while it works on one task.
///
/// Every call counts towards the task: its cost guard, its budgets, its outcome.
pub struct Scene {
    backstage: Rc<dyn Backstage>,
}

impl Scene {
    pub(crate) fn new(backstage: Rc<dyn Backstage>) -> Scene {
        Scene { backstage }
    }

    /// The worker's name, such as `backend-3`; that of a sub-agent's worker names its parents
    /// first: `lead-1>researcher-1`.
    pub fn name(&self) -> &str {
        self.backstage.name()
    }

    /// When the task must have ended; [`Timestamp::NEVER`] where it has no deadline. The
    /// performance is dropped then.
    pub fn deadline(&self) -> Timestamp {
        self.backstage.deadline()
    }

    /// Waits for `duration`. As long as it does, the worker is not taken for wedged, however long
    /// that is.
    pub async fn sleep(&self, duration: Duration) {
        self.backstage.sleep(duration).await;
    }

    /// The system's clock: waits on it are right in virtual time too. A wait in one piece that may
    /// be longer than [`wedged_after`](Supervision::wedged_after) belongs to [`sleep`](Scene::sleep).
    pub fn clock(&self) -> &Clock {
        self.backstage.clock()
    }

    /// The request of the default performance, to be sent or added to: the agent's model, system
    /// prompt and settings, and `task` as data, cleaned and fenced, as the user's turn.
    ///
    /// # Errors
    ///
    /// `INVALID_TASK` where the task's text tries to give orders and the policy is to reject it.
    pub fn opening(&self, task: &Task) -> Result<Request, TaskError> {
        self.backstage.opening(task)
    }

    /// The default performance: one call with the [`opening`](Scene::opening) of `task`, and its
    /// answer.
    ///
    /// # Errors
    ///
    /// Those of [`complete`](Scene::complete), and `INVALID_TASK`.
    pub async fn answer(&self, task: &Task) -> Result<Output, TaskError> {
        let request = self.opening(task)?;
        self.complete(request).await.map(Output::from)
    }

    /// Makes one call with a whole conversation, in as many attempts as it takes.
    ///
    /// Each attempt is guarded, limited, paid for, journalled and recorded like that of any agent.
    /// A request without a model or `max_tokens` takes those of the task or its agent. Several may
    /// be made at once; what the others may still cost counts towards `max_cost_per_task`, and a
    /// call that fits beside what they turn out to cost waits for it.
    ///
    /// Where the store is down or the run stops it does not return: the performance is dropped, and
    /// the task goes back to the queue.
    ///
    /// # Errors
    ///
    /// The error in which a task that makes but this call would end. The behaviour may go on.
    pub fn complete(&self, request: Request) -> LocalBoxFuture<'_, Result<Answer, TaskError>> {
        self.backstage.complete(request)
    }

    /// Runs a synchronous tool on this thread, where nothing else runs meanwhile: work of more than
    /// a moment belongs elsewhere. While it runs, a thread that is held up is reported by its name.
    ///
    /// # Panics
    ///
    /// Where `run` does; what is said of the worker's restart names the tool then.
    pub fn tool<T>(&self, name: &str, run: impl FnOnce() -> T) -> T {
        let _at_hand = self.backstage.at_tool(name);
        match panics::contain(run) {
            Ok(value) => value,
            Err(reason) => resume_unwind(Box::new(format!("tool {name}: {reason}"))),
        }
    }

    /// Starts a sub-agent: as many workers as its `count` says, on this thread, each with a
    /// behaviour of its own. They are supervised as the system's workers are, by the agent's own
    /// restart rule, and end with this performance at the latest: in reverse order of their start,
    /// their own sub-agents first, before anything is told of its end.
    ///
    /// Its calls count for the task and for every scope of it, and for `agent:` of this agent
    /// beside its own. Records name it after its parents, `lead>researcher`; its workers' own
    /// limits are kept under such names, so agents are best named by what they do, not by the task.
    ///
    /// # Errors
    ///
    /// [`SpawnError`] where there would be too many or too deep, or its model has no price.
    pub fn spawn(&self, agent: AgentSpec) -> Result<Child, SpawnError> {
        self.backstage.spawn(agent, None).map(Child::new)
    }

    /// The same, with an intensity and a backoff of its own instead of the system's.
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Scene::spawn).
    pub fn spawn_under(
        &self,
        agent: AgentSpec,
        supervision: Supervision,
    ) -> Result<Child, SpawnError> {
        self.backstage.spawn(agent, Some(supervision)).map(Child::new)
    }
}

impl fmt::Debug for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scene").field("worker", &self.name()).finish_non_exhaustive()
    }
}

/// What the worker does for its behaviour.
pub(crate) trait Backstage {
    fn name(&self) -> &str;
    fn deadline(&self) -> Timestamp;
    fn clock(&self) -> &Clock;
    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'_, ()>;
    fn opening(&self, task: &Task) -> Result<Request, TaskError>;
    fn complete(&self, request: Request) -> LocalBoxFuture<'_, Result<Answer, TaskError>>;
    /// Notes that a tool runs, until what it returns is dropped.
    fn at_tool(&self, name: &str) -> AtTool;
    fn spawn(
        &self,
        agent: AgentSpec,
        supervision: Option<Supervision>,
    ) -> Result<Rc<dyn Children>, SpawnError>;
}
