//! Taking tasks in: checked, made durable, then queued.

use std::sync::Arc;

use actix::dev::{MessageResponse, OneshotSender};
use actix::{Addr, AsyncContext, Context, Handler, Message};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{Coordinator, Entry, Intake, shared};
use crate::clock::Timestamp;
use crate::ledger::ScopeKind;
use crate::permits::LimitMode;
use crate::queue::TaskNumber;
use crate::store::{self, Store, StoreError, WriteThen};
use crate::task::{ErrorCode, Outcome, Task, TaskError, TaskId};
use crate::worker::job::{Assignment, Tally, ended};

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

/// A task was accepted: it is on disk, and will end exactly once.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) outcome: oneshot::Receiver<Arc<Outcome>>,
}

// === Submit ===

/// Accepts a task. Answers when it is durable.
#[derive(Debug, Message)]
#[rtype(result = "Result<Accepted, SubmitError>")]
pub(crate) struct Submit {
    pub(crate) task: Arc<Task>,
    /// Sent straight to its agent: refused where its worker may not call, rather than queued.
    pub(crate) direct: bool,
    pub(crate) place: Option<OwnedSemaphorePermit>,
}

impl Handler<Submit> for Coordinator {
    type Result = Submitted;

    fn handle(&mut self, msg: Submit, ctx: &mut Context<Self>) -> Submitted {
        let Submit { task, direct, place } = msg;
        if self.intake != Intake::Open {
            return Submitted::Refused(SubmitError::Closed);
        }
        if self.numbers.contains_key(&task.id) {
            return Submitted::Refused(SubmitError::Duplicate(task.id.clone()));
        }
        let mode = if direct { LimitMode::Reject } else { LimitMode::Wait };
        let (number, now) = (self.next_number, self.services.clock.now());
        let entry = self.enter(task, number, mode, Tally::default(), now);
        let (tell, outcome) = oneshot::channel();
        entry.waiters.push(tell);
        entry._place = place;
        let entries = vec![store::Entry::TaskAccepted {
            at: now,
            seq: number,
            task: Arc::clone(&entry.assignment.task),
            run_id: Arc::clone(&self.plan.run_id),
        }];
        let (store, coordinator) = (self.services.store.clone(), ctx.address());
        Submitted::Writes { entries, number, outcome, store, coordinator }
    }
}

/// The answer to [`Submit`]: given when the task is durable.
#[derive(Debug)]
pub(crate) enum Submitted {
    Refused(SubmitError),
    Writes {
        entries: Vec<store::Entry>,
        number: TaskNumber,
        outcome: oneshot::Receiver<Arc<Outcome>>,
        store: Addr<Store>,
        coordinator: Addr<Coordinator>,
    },
}

impl MessageResponse<Coordinator, Submit> for Submitted {
    fn handle(
        self,
        _ctx: &mut Context<Coordinator>,
        submitter: Option<OneshotSender<Result<Accepted, SubmitError>>>,
    ) {
        // Who does not wait any more need not be told.
        let tell = |answer| _ = submitter.map(|submitter| submitter.send(answer));
        let (entries, task, outcome, store, coordinator) = match self {
            Submitted::Refused(error) => return tell(Err(error)),
            Submitted::Writes { entries, number, outcome, store, coordinator } => {
                (entries, number, outcome, store, coordinator)
            }
        };
        store.do_send(WriteThen::new(entries, move |written| {
            coordinator.do_send(Written { task, durable: written.is_ok() });
            tell(match written {
                Ok(()) => Ok(Accepted { outcome }),
                Err(StoreError::Closed) => Err(SubmitError::Closed),
                Err(error) => Err(SubmitError::Store(Arc::new(error))),
            });
        }));
    }
}

impl Coordinator {
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
        let assignment = Assignment { task, tally: shared(tally), deadline, mode };
        let entry = Entry {
            assignment,
            accepted_at: submitted,
            agent,
            worker: None,
            crashes: 0,
            cancelled: false,
            ending: false,
            waiters: Vec::new(),
            _place: None,
        };
        self.tasks.entry(number).or_insert(entry)
    }

    fn agent(&self, name: &str) -> Option<u32> {
        (0..).zip(&self.plan.agents).find(|(_, spec)| spec.name == name).map(|(agent, _)| agent)
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
    durable: bool,
}

impl Handler<Written> for Coordinator {
    type Result = ();

    fn handle(&mut self, Written { task, durable }: Written, ctx: &mut Context<Self>) {
        let Some(entry) = self.tasks.get(&task) else { return };
        if !durable {
            self.numbers.remove(&entry.assignment.task.id);
            self.tasks.remove(&task);
            return;
        }
        let assignment = entry.assignment.clone();
        match self.fault(&assignment.task) {
            Some(fault) => {
                let outcome = ended(&assignment, self.services.clock.now(), Err(fault));
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
    /// Tasks not ended: their order, and what they have taken.
    pub(crate) open: Vec<(u64, Task, Tally, Timestamp)>,
    /// Tasks that ended.
    pub(crate) ended: Vec<Outcome>,
    /// What those that ended took.
    pub(crate) calls: Tally,
    /// Restarts of workers.
    pub(crate) restarts: u64,
}

impl Handler<Restore> for Coordinator {
    type Result = ();

    fn handle(&mut self, msg: Restore, ctx: &mut Context<Self>) {
        let Restore { open, ended: done, calls, restarts } = msg;
        self.services.add(|taken| taken.add(&calls));
        self.stats.restarts += restarts;
        let mut numbers = Vec::new();
        for (number, task, tally, submitted) in open {
            self.services.add(|taken| taken.add(&tally));
            self.enter(Arc::new(task), number, LimitMode::Wait, tally, submitted);
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
