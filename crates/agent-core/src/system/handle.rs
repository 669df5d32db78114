//! The handle to a running system.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::audit::{AuditEvent, AuditKind};
use crate::budget::{Budget, GetBalances};
use crate::clock::{Clock, Timestamp};
use crate::coordinator::{
    AgentNames, AgentView, Answer, CancelTask, Coordinator, Ended, GetSnapshot, Inbox, Inspect,
    LAST_WRITES, LifecycleDesk, Lifecycles, Shutdown, Snapshot, Stop, Submission, SubmitError,
    Subscribe, Told, WaitForStop,
};
use crate::ledger::Balance;
use crate::llm::LlmClient;
use crate::panics::log;
use crate::permits::PairHeadroom;
use crate::rate_limiter::{self, GetHeadroom, RateLimiter};
use crate::record::Subject;
use crate::store::{self, Store, StoreError, UsageQuery, UsageReport};
use crate::system::builder::AgentSystemBuilder;
use crate::system::start::Thread;
use crate::task::{Outcome, Task, TaskId};

/// A running system; cheap to clone, and usable from any thread.
///
/// Where it has a thread of its own, that thread lives as long as a handle does.
#[derive(Debug, Clone)]
pub struct AgentSystem {
    pub(super) coordinator: Addr<Coordinator>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) lifecycle: LifecycleDesk,
    pub(super) store: Addr<Store>,
    pub(super) run_id: Arc<str>,
    pub(super) clock: Clock,
    pub(super) grace: Duration,
    pub(super) resumed: Arc<Resumed>,
    pub(super) agents: Arc<AgentNames>,
    pub(super) budget: Addr<Budget>,
    pub(super) limiter: Addr<RateLimiter>,
    #[expect(dead_code, reason = "what it does is done when the last handle drops it")]
    pub(super) life: Arc<Life>,
}

/// Lives as long as any handle; the actors end with it.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) coordinator: Addr<Coordinator>,
    pub(super) _thread: Option<Arc<Thread>>,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.coordinator.do_send(Stop);
    }
}

/// What an earlier part of a resumed run had come to.
#[derive(Debug, Default)]
pub struct Resumed {
    /// When the run first started; [`Timestamp::EPOCH`] where it was not resumed.
    pub started_at: Timestamp,
    /// How long its parts took so far; one that was killed counts up to its last sign of life.
    pub took: Duration,
    /// Outcomes of the tasks that had ended.
    pub ended: Vec<Outcome>,
    /// Ids of the tasks that had been accepted and had not ended; they go on by themselves.
    pub open: Vec<TaskId>,
}

impl AgentSystem {
    /// Starts to build a system that calls `client`.
    pub fn builder(client: impl LlmClient + 'static) -> AgentSystemBuilder {
        AgentSystemBuilder::new(Arc::new(client))
    }

    /// Starts to build a system that calls a client shared with others.
    pub fn builder_shared(client: Arc<dyn LlmClient>) -> AgentSystemBuilder {
        AgentSystemBuilder::new(client)
    }

    /// The run's name in records.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// What an earlier part of this run had come to, where it was resumed.
    pub fn resumed(&self) -> &Resumed {
        &self.resumed
    }

    /// Submits a task; when this returns, it is on disk and will end exactly once.
    ///
    /// Waits while as many tasks are open as may be: that is the back-pressure. The ids of all tasks
    /// that were accepted are kept as long as the run lasts.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] where its id was used before, the run is ending or the store is down.
    pub async fn submit(&self, task: Task) -> Result<TaskHandle, SubmitError> {
        self.send(task, false, self.inbox.place().await?).await
    }

    /// Submits a task, or refuses it where as many tasks are open as may be.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Full`], and those of [`submit`](AgentSystem::submit).
    pub async fn try_submit(&self, task: Task) -> Result<TaskHandle, SubmitError> {
        self.send(task, false, self.inbox.place_now()?).await
    }

    async fn send(
        &self,
        task: Task,
        direct: bool,
        place: OwnedSemaphorePermit,
    ) -> Result<TaskHandle, SubmitError> {
        let (accepted, told) = oneshot::channel();
        let outcome = self.put(task, direct, place, Some(accepted));
        told.await.map_err(|_| SubmitError::Closed)??;
        Ok(TaskHandle { outcome })
    }

    fn put(
        &self,
        task: Task,
        direct: bool,
        place: OwnedSemaphorePermit,
        accepted: Option<oneshot::Sender<Result<(), SubmitError>>>,
    ) -> oneshot::Receiver<Answer> {
        let (outcome, told) = oneshot::channel();
        let submission = Submission { task: Arc::new(task), direct, place, accepted, outcome };
        self.inbox.submit(submission, &self.coordinator);
        told
    }

    /// Submits a task and waits for its outcome; it is on disk before it begins.
    ///
    /// # Errors
    ///
    /// Those of [`submit`](AgentSystem::submit); [`SubmitError::Closed`] too where the run ended
    /// before the task did.
    pub fn run(&self, task: Task) -> impl Future<Output = Result<Arc<Outcome>, SubmitError>> {
        self.answer(task, false)
    }

    fn answer(&self, task: Task, direct: bool) -> impl Future<Output = Answer> {
        let sent = async move {
            let place = self.inbox.place().await?;
            Ok::<_, SubmitError>(self.put(task, direct, place, None))
        };
        // In a box of its own: a task that was sent is no part of whoever waits for its outcome.
        let sent = Box::pin(sent);
        async { answered(sent.await?).await }
    }

    /// A handle to the agent of this name, where there is one.
    pub fn agent(&self, name: &str) -> Option<AgentHandle> {
        let is_there = self.agents.contains_key(name);
        is_there.then(|| AgentHandle { system: self.clone(), name: name.to_owned() })
    }

    /// Cancels a task: it ends as `CANCELLED`, unless it ends by itself first. What of it has left
    /// for the provider is charged at its bound. `false` where no such task is open.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Closed`] where the system is gone.
    pub async fn cancel(&self, id: TaskId) -> Result<bool, SubmitError> {
        self.coordinator.send(CancelTask(id)).await.map_err(|_| SubmitError::Closed)
    }

    /// Every outcome from now on, each after it is durable.
    ///
    /// An outcome that is not taken keeps the place of its task among those that may be open at
    /// once, so whoever asks for outcomes must take them, or [`submit`](AgentSystem::submit) waits.
    pub fn outcomes(&self) -> Outcomes {
        let (subscriber, outcomes) = mpsc::unbounded_channel();
        self.coordinator.do_send(Subscribe(subscriber));
        Outcomes(outcomes)
    }

    /// What the run has come to so far, and what it is doing.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Closed`] where the system is gone.
    pub async fn snapshot(&self) -> Result<Snapshot, SubmitError> {
        let mut snapshot =
            self.coordinator.send(GetSnapshot).await.map_err(|_| SubmitError::Closed)?;
        let budgets = self.budget.send(GetBalances { named: true }).await;
        snapshot.budgets = budgets.map_err(|_| SubmitError::Closed)?;
        snapshot.limits = self.headroom().await?;
        Ok(snapshot)
    }

    /// One agent in detail: its workers, what each busy one does, its queue, its last failure.
    /// `None` where there is none of this name.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Closed`] where the system is gone.
    pub async fn inspect(&self, agent: &str) -> Result<Option<AgentView>, SubmitError> {
        let inspect = Inspect(agent.to_owned());
        self.coordinator.send(inspect).await.map_err(|_| SubmitError::Closed)
    }

    /// What happens from now on to workers, tasks and the run; what happens to sub-agents is in the
    /// audit trail. Nothing waits for who watches: one that falls more than
    /// [`BEHIND`](crate::coordinator::BEHIND) events behind misses some.
    pub fn lifecycle(&self) -> Lifecycles {
        self.lifecycle.watch()
    }

    /// What was spent and used, from the store's totals; nothing in a system [without
    /// records](AgentSystemBuilder::without_records).
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    pub async fn usage(&self, query: UsageQuery) -> Result<UsageReport, StoreError> {
        match self.store.send(store::GetUsage(query)).await {
            Ok(report) => report,
            Err(_) => Err(StoreError::Closed),
        }
    }

    /// How every budget stands.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Closed`] where the system is gone.
    pub async fn balances(&self) -> Result<Vec<Balance>, SubmitError> {
        self.budget.send(GetBalances { named: false }).await.map_err(|_| SubmitError::Closed)
    }

    /// How every limit stands.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Closed`] where the system is gone.
    pub async fn headroom(&self) -> Result<Vec<PairHeadroom>, SubmitError> {
        self.limiter.send(GetHeadroom).await.map_err(|_| SubmitError::Closed)
    }

    /// Records an event that a program around the system has seen.
    pub fn audit(&self, kind: AuditKind) {
        let subject = Subject { run_id: Arc::clone(&self.run_id), ..Subject::default() };
        let event = AuditEvent {
            timestamp: self.clock.now(),
            call_id: None,
            subject: Arc::new(subject),
            kind,
        };
        event.trace();
        self.store.do_send(store::Note { entries: vec![store::Entry::Audit(event)] });
    }

    /// A key was changed: the account is in service again.
    pub fn restore_account(&self, account: &str) {
        self.limiter.do_send(rate_limiter::Restore { account: account.to_owned() });
    }

    /// Waits until the run stops itself: a budget with `stop_run` is used up, a group at the top or a
    /// shared actor has failed, or the store stays down. What was in flight has had the grace period
    /// and was then cancelled; only code that does not yield may still be at work.
    pub async fn stopped(&self) -> Ended {
        self.coordinator.send(WaitForStop).await.unwrap_or(Ended::Stopped)
    }

    /// Ends the run as finished, or as interrupted where accepted tasks have not ended: see
    /// [`interrupt`](AgentSystem::interrupt) for what happens to those. A run that was interrupted or
    /// has stopped finishes too, where all that was accepted has ended.
    pub async fn finish(&self) -> Ended {
        self.shutdown(Ended::Finished, self.grace).await
    }

    /// Ends the run before its tasks have: nothing new begins, what is in flight gets the grace
    /// period and is then cancelled and charged at its bound, and everything is flushed. What was
    /// accepted is kept, and goes on where the run is resumed.
    pub async fn interrupt(&self) -> Ended {
        self.shutdown(Ended::Interrupted, self.grace).await
    }

    /// Like [`interrupt`](AgentSystem::interrupt), with a grace period of its own; a run that had
    /// stopped itself before keeps the one that it began. All three need the timers of the caller's
    /// runtime (`enable_time`).
    pub async fn shutdown(&self, how: Ended, grace: Duration) -> Ended {
        self.inbox.shut();
        // Where the actors have ended, nobody knows of any task that it has.
        let how = self.coordinator.send(Shutdown { how, grace }).await.unwrap_or(Ended::Stopped);
        let status = match how {
            Ended::Finished => store::RunStatus::Finished,
            Ended::Interrupted => store::RunStatus::Interrupted,
            Ended::Stopped => store::RunStatus::Stopped,
        };
        let (run_id, at) = (Arc::clone(&self.run_id), self.clock.now());
        let finished = store::Entry::RunFinished { run_id, at, status };
        // Nobody waits for it here: where the store is down, the flush says so at once.
        self.store.do_send(store::Note { entries: vec![finished] });
        match self.clock.timeout(at + LAST_WRITES, pin!(self.store.send(store::Flush))).await {
            Ok(Ok(Err(error))) => {
                log!(error, %error, "the run's end could not be made durable");
            }
            Err(_) => log!(error, "the disk hangs: the run's end may not be durable"),
            Ok(Ok(Ok(())) | Err(_)) => {}
        }
        how
    }
}

/// A task that was accepted.
#[derive(Debug)]
pub struct TaskHandle {
    outcome: oneshot::Receiver<Answer>,
}

impl TaskHandle {
    /// Waits for its outcome.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Closed`] where the run ended before the task did.
    pub async fn outcome(self) -> Result<Arc<Outcome>, SubmitError> {
        answered(self.outcome).await
    }
}

async fn answered(outcome: oneshot::Receiver<Answer>) -> Answer {
    outcome.await.unwrap_or(Err(SubmitError::Closed))
}

/// One agent, played by whichever of its workers may call. Survives their restarts.
#[derive(Debug, Clone)]
pub struct AgentHandle {
    system: AgentSystem,
    name: String,
}

impl AgentHandle {
    /// Sends a task straight to this agent and waits for its outcome.
    ///
    /// Where none of its workers may call by its own limit, the task does not wait: it fails with
    /// `AGENT_RATE_LIMIT_EXCEEDED`.
    ///
    /// # Errors
    ///
    /// Those of [`AgentSystem::run`].
    pub async fn execute(&self, mut task: Task) -> Result<Arc<Outcome>, SubmitError> {
        task.agent = Some(self.name.clone());
        self.system.answer(task, true).await
    }

    /// The same, but refused where as many tasks are open as may be.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Full`], and those of [`execute`](AgentHandle::execute).
    pub async fn try_execute(&self, mut task: Task) -> Result<Arc<Outcome>, SubmitError> {
        task.agent = Some(self.name.clone());
        let place = self.system.inbox.place_now()?;
        answered(self.system.put(task, true, place, None)).await
    }
}

/// Every outcome of a run, as tasks end.
#[derive(Debug)]
pub struct Outcomes(mpsc::UnboundedReceiver<Told>);

impl Outcomes {
    /// Waits for the next; `None` where the run has ended, or the system is gone.
    pub async fn next(&mut self) -> Option<Arc<Outcome>> {
        self.0.recv().await.map(|told| told.outcome)
    }

    /// The next, where one has come already.
    pub fn try_next(&mut self) -> Option<Arc<Outcome>> {
        self.0.try_recv().ok().map(|told| told.outcome)
    }
}
