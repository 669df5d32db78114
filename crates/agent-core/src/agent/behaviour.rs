//! What a worker does with a task: user code that the worker runs under its guard.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use super::Scene;
use crate::llm::{Answer, StopReason};
use crate::task::{Task, TaskError};

/// What a worker does with a task.
///
/// A worker makes its behaviour with the agent's factory, on its own thread, before its first task;
/// what it holds belongs to that worker and lasts from task to task. It is made anew after a panic,
/// and where a performance was cut off in the middle (cancelled, or its deadline came), so that
/// nothing half-changed is ever met again; also where its worker was restarted with a group, or had
/// been idle so long that its actor was given up
/// ([`eager_workers`](crate::system::AgentSystemBuilder::eager_workers)).
///
/// The work itself is `async` and shares its thread with other workers: it must not block.
///
/// # What a panic costs
///
/// A panic in the factory, in `perform`, in a tool, in a client that it calls, or in the drop of the
/// behaviour costs this worker one restart. Its sub-agents end, what has left for the provider is
/// charged at its bound, permits go back, and the task goes back to the queue, at most
/// `poison_limit` times. A panic in a drop is contained even while another panic unwinds, but only
/// in that of the behaviour itself: a local variable of `perform` whose drop panics while a panic
/// unwinds through it ends the process, as everywhere in Rust.
///
/// Neither can these be contained: a stack overflow, an abort, a build with `panic = "abort"`, and
/// code that never yields, which holds up its thread for as long as it runs.
///
/// # Examples
///
/// A behaviour that lets a small model decide whether the large one is needed:
///
/// ```
/// use agent_core::agent::{AgentSpec, Behaviour, Output, Scene};
/// use agent_core::llm::Message;
/// # use agent_core::llm::{Answer, Block, LlmClient, LlmError, Request};
/// use agent_core::system::AgentSystem;
/// use agent_core::task::{Task, TaskError};
/// # use futures_util::future::LocalBoxFuture;
///
/// #[derive(Default)]
/// struct Triage {
///     seen: u32,
/// }
///
/// impl Behaviour for Triage {
///     async fn perform(&mut self, scene: &Scene, task: &Task) -> Result<Output, TaskError> {
///         self.seen += 1;
///         let mut question = scene.opening(task)?;
///         question.model = "claude-haiku-4-5".into();
///         question.messages.push(Message::user("Is this urgent? Answer yes or no."));
///         let verdict = scene.complete(question).await?;
///         if verdict.text().contains("yes") {
///             return scene.answer(task).await;
///         }
///         Ok(format!("filed as number {}", self.seen).into())
///     }
/// }
/// # #[derive(Debug)]
/// # struct Calm;
/// # impl LlmClient for Calm {
/// #     fn complete<'a>(&'a self, _: &'a Request) -> LocalBoxFuture<'a, Result<Answer, LlmError>> {
/// #         let content = vec![Block::Text { text: "no".into() }];
/// #         Box::pin(async { Ok(Answer { content, ..Answer::default() }) })
/// #     }
/// #     fn provider(&self) -> &str {
/// #         "calm"
/// #     }
/// # }
/// # actix::System::new().block_on(async {
///
/// let clerk = AgentSpec::new("clerk", "claude-sonnet-4-5").behaviour(Triage::default);
/// let system = AgentSystem::builder(Calm).agent(clerk).start().await.unwrap();
/// let outcome = system.run(Task::new("1", "A letter")).await.unwrap();
/// assert_eq!(outcome.output.as_deref(), Some("filed as number 1"));
/// # });
/// ```
pub trait Behaviour: 'static {
    /// Works on one task, until there is an answer or an error. Default: one call, as
    /// [`Scene::answer`] makes it.
    ///
    /// It is dropped at an `await` where the task is cancelled, its deadline comes, or the run
    /// stops; and it is run again from the start where its worker crashed.
    ///
    /// # Errors
    ///
    /// The error in which the task ends.
    fn perform(
        &mut self,
        scene: &Scene,
        task: &Task,
    ) -> impl Future<Output = Result<Output, TaskError>> {
        async { scene.answer(task).await }
    }
}

/// What a performance came to: the answer of a task, or of a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// The text.
    pub text: String,
    /// Why the model stopped, where a model wrote it.
    pub stop_reason: Option<StopReason>,
}

impl From<String> for Output {
    fn from(text: String) -> Output {
        Output { text, stop_reason: None }
    }
}

impl From<&str> for Output {
    fn from(text: &str) -> Output {
        text.to_owned().into()
    }
}

impl From<Answer> for Output {
    fn from(answer: Answer) -> Output {
        Output { text: answer.text(), stop_reason: answer.stop_reason }
    }
}

/// [`Behaviour`] as a worker holds it, whatever its type.
pub(crate) trait Play {
    /// Nothing of the behaviour's own code runs before the first poll.
    fn play<'a>(
        &'a mut self,
        scene: &'a Scene,
        task: &'a Task,
    ) -> LocalBoxFuture<'a, Result<Output, TaskError>>;
}

impl<B: Behaviour> Play for B {
    fn play<'a>(
        &'a mut self,
        scene: &'a Scene,
        task: &'a Task,
    ) -> LocalBoxFuture<'a, Result<Output, TaskError>> {
        Box::pin(async move { self.perform(scene, task).await })
    }
}

/// Makes the behaviour of each worker of an agent. Two are equal where one is a clone of the other.
#[derive(Clone)]
pub struct Factory(Arc<dyn Fn() -> Box<dyn Play> + Send + Sync>);

impl Factory {
    /// A factory that calls `make` on the thread of each worker.
    pub fn new<B: Behaviour>(make: impl Fn() -> B + Send + Sync + 'static) -> Factory {
        Factory(Arc::new(move || Box::new(make())))
    }

    pub(crate) fn make(&self) -> Box<dyn Play> {
        (self.0)()
    }
}

impl fmt::Debug for Factory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Factory").finish_non_exhaustive()
    }
}

impl PartialEq for Factory {
    fn eq(&self, other: &Factory) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
