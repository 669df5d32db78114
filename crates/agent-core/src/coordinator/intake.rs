//! Taking tasks in: checked, made durable, then queued.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use actix::{Addr, AsyncContext, Context, Handler, Message};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};

use super::{Coordinator, Entry, Intake, Lifecycle};
use crate::clock::Timestamp;
use crate::ledger::ScopeKind;
use crate::permits::LimitMode;
use crate::queue::TaskNumber;
use crate::store::{self, StoreError, WriteThen};
use crate::task::{ErrorCode, Outcome, Task, TaskError, TaskId};
use crate::worker::job::{Assignment, Tally, ended};
use crate::worker::progress::{Hand, Standing};
use crate::worker::services::lock;

/// Why a task was not accepted.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// A task of this id was accepted before.
    #[error("task {0} was submitted before; give each task an id of its own")]
    Duplicate(TaskId),
    /// As many tasks are open as may be.
    #[error("{limit} tasks are open, which is the limit; submit again when some have ended")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The run is ending.
    #[error("the run is ending and accepts no more tasks")]
    Closed,
    /// The store could not make it durable.
    #[error("the task could not be made durable")]
    Store(#[source] Arc<StoreError>),
}

impl SubmitError {
    fn unwritten(error: StoreError) -> SubmitError {
        match error {
            StoreError::Closed => SubmitError::Closed,
            error => SubmitError::Store(Arc::new(error)),
        }
    }
}

/// The outcome of a task, told to who submitted it; or why it was not accepted.
pub(crate) type Answer = Result<Arc<Outcome>, SubmitError>;

/// Submissions taken in at a time: what comes between two bites waits no longer than one.
const BITE: usize = 64;

/// A task on its way in.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) task: Arc<Task>,
    /// Sent straight to its agent: refused where its worker may not call, rather than queued.
    pub(crate) direct: bool,
    /// Its place among the tasks that may be open at once.
    pub(crate) place: OwnedSemaphorePermit,
    /// Told when it is durable, and will end exactly once; none where only the outcome is waited
    /// for.
    pub(crate) accepted: Option<oneshot::Sender<Result<(), SubmitError>>>,
    /// Told how it ended.
    pub(crate) outcome: oneshot::Sender<Answer>,
}

/// Where tasks wait until they are taken in, bounded by their places. They do not wait in the
/// coordinator's mailbox, so that a flood of them does not hold up whoever wants to cancel or to see.
#[derive(Debug)]
pub(crate) struct Inbox {
    waiting: Mutex<Option<VecDeque<Submission>>>,
    /// Of the tasks that may be open at once.
    places: Arc<Semaphore>,
    limit: usize,
}

impl Inbox {
    /// One for as many tasks as may be open at once.
    pub(crate) fn open(limit: usize) -> Inbox {
        let places = Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
        Inbox { waiting: Mutex::new(Some(VecDeque::new())), places, limit }
    }

    /// A place for a task, as soon as there is one.
    pub(crate) async fn place(&self) -> Result<OwnedSemaphorePermit, SubmitError> {
        Arc::clone(&self.places).acquire_owned().await.map_err(|_| SubmitError::Closed)
    }

    /// A place for a task, where there is one.
    pub(crate) fn place_now(&self) -> Result<OwnedSemaphorePermit, SubmitError> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|error| match error {
            TryAcquireError::NoPermits => SubmitError::Full { limit: self.limit },
            TryAcquireError::Closed => SubmitError::Closed,
        })
    }

    /// Nobody gets a place any more; who waits for one is told so.
    pub(crate) fn shut(&self) {
        self.places.close();
    }

    /// Puts a submission in; whether it is the first, so that [`TakeIn`] must be sent. Dropped, and
    /// with it told so, where the coordinator is gone.
    fn push(&self, submission: Submission) -> bool {
        let mut waiting = lock(&self.waiting);
        let Some(waiting) = waiting.as_mut() else { return false };
        waiting.push_back(submission);
        waiting.len() == 1
    }

    /// The next bite, and whether more is left.
    fn bite(&self) -> (Vec<Submission>, bool) {
        let mut waiting = lock(&self.waiting);
        let Some(waiting) = waiting.as_mut() else { return (Vec::new(), false) };
        let bite = waiting.len().min(BITE);
        (waiting.drain(..bite).collect(), !waiting.is_empty())
    }

    /// Lets go of all that waits, and of all that will come.
    pub(super) fn close(&self) {
        self.shut();
        drop(lock(&self.waiting).take());
    }

    /// Submits to `coordinator`.
    pub(crate) fn submit(&self, submission: Submission, coordinator: &Addr<Coordinator>) {
        if self.push(submission) {
            coordinator.do_send(TakeIn);
        }
    }
}

// === TakeIn ===

/// Something is in the inbox.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct TakeIn;

impl Handler<TakeIn> for Coordinator {
    type Result = ();

    fn handle(&mut self, _msg: TakeIn, ctx: &mut Context<Self>) {
        let (bite, more) = self.inbox.bite();
        if more {
            // Behind whatever is in the mailbox by now.
            ctx.address().do_send(TakeIn);
        }
        for submission in bite {
            self.take_in(submission, ctx);
        }
    }
}

impl Coordinator {
    /// Accepts a task; its submitter is told when it is durable.
    fn take_in(&mut self, submission: Submission, ctx: &mut Context<Self>) {
        let Submission { task, direct, place, accepted, outcome } = submission;
        // Who does not wait any more need not be told.
        let tell = |written| _ = accepted.map(|accepted| accepted.send(written));
        if let Some(refusal) = self.refusal(&task.id) {
            tell(Err(refusal.clone()));
            _ = outcome.send(Err(refusal));
            return;
        }
        let mode = if direct { LimitMode::Reject } else { LimitMode::Wait };
        let (number, now) = (self.next_number, self.services.clock.now());
        let entry = self.enter(task, number, mode, Tally::default(), now);
        (entry.waiter, entry.place) = (Some(outcome), Some(place));
        let task = Arc::clone(&entry.assignment.task);
        let entries = || {
            let run_id = Arc::clone(&self.plan.run_id);
            vec![store::Entry::TaskAccepted { at: now, seq: number, task, run_id }]
        };
        match self.services.write_now(entries) {
            Ok(written) => {
                let written = written.map_err(SubmitError::unwritten);
                tell(written.clone());
                self.written(Written { task: number, written }, ctx);
            }
            Err((entries, store)) => {
                let coordinator = ctx.address();
                store.do_send(WriteThen::new(entries, move |written| {
                    let written = written.map_err(SubmitError::unwritten);
                    coordinator.do_send(Written { task: number, written: written.clone() });
                    tell(written);
                }));
            }
        }
    }
}

impl Coordinator {
    /// Why a task of this id is not accepted.
    fn refusal(&self, id: &TaskId) -> Option<SubmitError> {
        if self.intake != Intake::Open {
            return Some(SubmitError::Closed);
        }
        self.numbers.contains_key(id).then(|| SubmitError::Duplicate(id.clone()))
    }

    /// Enters a task into the books; it is not in the queue yet.
    fn enter(
        &mut self,
        task: Arc<Task>,
        number: TaskNumber,
        mode: LimitMode,
        tally: Tally,
        submitted: Timestamp,
    ) -> &mut Entry {
        self.next_number = self.next_number.max(number + 1);
        self.numbers.insert(task.id.clone(), number);
        let deadline = task.deadline.map_or(Timestamp::NEVER, |d| d.moment(submitted));
        let agent = task.agent.as_deref().and_then(|name| self.agent(name));
        let mode = match agent {
            // An agent in mode `reject` refuses queued tasks too.
            Some(agent) if mode == LimitMode::Wait => {
                self.plan.agents[agent as usize].rate_limit.clone().unwrap_or_default().mode
            }
            _ => mode,
        };
        let (standing, hand) = (Arc::new(Standing::new(tally)), Hand::default());
        let assignment = Assignment { task, standing, deadline, mode, hand };
        let entry = Entry {
            assignment,
            accepted_at: submitted,
            agent,
            worker: None,
            given_at: submitted,
            crashes: 0,
            cancelled: false,
            ending: false,
            waiter: None,
            place: None,
        };
        self.tasks.entry(number).or_insert_with(|| Box::new(entry))
    }

    pub(super) fn agent(&self, name: &str) -> Option<u32> {
        self.plan.names.get(name).copied()
    }

    /// What is wrong with a task, before anything is taken for it.
    fn fault(&self, task: &Task) -> Option<TaskError> {
        let invalid = |message: String| Some(TaskError::new(ErrorCode::InvalidTask, message));
        let blank = |text: &Option<String>| text.as_ref().is_none_or(|t| t.trim().is_empty());
        if blank(&task.title) && blank(&task.description) {
            return invalid(format!("task {} has neither a title nor a description", task.id));
        }
        if self.plan.project_required && blank(&task.project_id) {
            return invalid(format!(
                "task {} has no project_id, and the fleet has a budget of {} scope; name the \
                 project that pays",
                task.id,
                ScopeKind::Project.as_str()
            ));
        }
        if let Some(name) = &task.agent
            && self.agent(name).is_none()
        {
            let known: Vec<_> = self.plan.agents.iter().map(|spec| spec.name.as_str()).collect();
            return invalid(format!(
                "task {} names the agent {name:?}, and there is none; known: {}",
                task.id,
                known.join(", ")
            ));
        }
        if task.max_tokens == Some(0) {
            return invalid(format!("task {} has max_tokens 0; at least 1 is needed", task.id));
        }
        None
    }
}

// === Written ===

/// A task that was submitted is durable, or could not be made so.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Written {
    task: TaskNumber,
    written: Result<(), SubmitError>,
}

impl Handler<Written> for Coordinator {
    type Result = ();

    fn handle(&mut self, msg: Written, ctx: &mut Context<Self>) {
        self.written(msg, ctx);
    }
}

impl Coordinator {
    fn written(&mut self, Written { task, written }: Written, ctx: &mut Context<Self>) {
        let Err(error) = written else { return self.accepted(task, ctx) };
        let Some(entry) = self.tasks.remove(&task) else { return };
        self.numbers.remove(&entry.assignment.task.id);
        if let Some(waiter) = entry.waiter {
            _ = waiter.send(Err(error));
        }
    }

    /// A task is as durable as it will be: it goes to a worker, or into the queue.
    fn accepted(&mut self, task: TaskNumber, ctx: &mut Context<Self>) {
        let Some(entry) = self.tasks.get(&task) else { return };
        let work = &entry.assignment.task;
        self.tell(|| Lifecycle::TaskAccepted { task: work.id.clone() });
        match self.fault(work) {
            Some(fault) => {
                let outcome = ended(&entry.assignment, self.services.clock.now(), Err(fault));
                self.end(task, Arc::new(outcome), ctx);
            }
            None if self.is_cancelled(task) => self.end_cancelled(task, ctx),
            None => self.place(task, ctx),
        }
    }
}

// === Restore ===

/// Takes over what an earlier part of this run left, before anything is submitted.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Restore {
    /// Tasks not ended.
    pub(crate) open: Vec<Left>,
    /// Tasks that ended.
    pub(crate) ended: Vec<Outcome>,
    /// What those that ended took.
    pub(crate) calls: Tally,
    /// Restarts of workers.
    pub(crate) restarts: u64,
}

/// A task that an earlier part of the run left open.
#[derive(Debug)]
pub(crate) struct Left {
    /// Its place in the order of acceptance.
    pub(crate) number: TaskNumber,
    pub(crate) task: Task,
    /// What it has taken.
    pub(crate) tally: Tally,
    pub(crate) submitted: Timestamp,
    /// Its place among those that may be open at once; none where fewer may be than there are.
    pub(crate) place: Option<OwnedSemaphorePermit>,
}

impl Handler<Restore> for Coordinator {
    type Result = ();

    fn handle(&mut self, msg: Restore, ctx: &mut Context<Self>) {
        let Restore { open, ended: done, calls, restarts } = msg;
        self.services.add(|taken| taken.add(&calls));
        self.stats.restarts += restarts;
        let mut numbers = Vec::new();
        for Left { number, task, tally, submitted, place } in open {
            self.services.add(|taken| taken.add(&tally));
            let entry = self.enter(Arc::new(task), number, LimitMode::Wait, tally, submitted);
            entry.place = place;
            numbers.push(number);
        }
        for outcome in done {
            self.stats.count(&outcome);
            self.numbers.insert(outcome.task_id, self.next_number);
            self.next_number += 1;
        }
        for task in numbers {
            let assignment = self.tasks[&task].assignment.clone();
            match self.fault(&assignment.task) {
                Some(fault) => {
                    let now = self.services.clock.now();
                    self.end(task, Arc::new(ended(&assignment, now, Err(fault))), ctx);
                }
                None => self.place(task, ctx),
            }
        }
    }
}
