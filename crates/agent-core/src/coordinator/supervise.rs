//! What happens when a worker fails: it pauses and goes on, and its task is queued again.

use std::cell::RefCell;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix::{Context, Handler, Message, Recipient};
use futures_util::future::{LocalBoxFuture, select};
use tokio::sync::Semaphore;

use super::{Coordinator, Lifecycle, State};
use crate::audit::AuditKind;
use crate::clock::Clock;
use crate::doing::Doing;
use crate::guard::Watcher;
use crate::queue::TaskNumber;
use crate::record::Subject;
use crate::supervision::{Restart, RestartHistory, Supervision};
use crate::task::ErrorCode;
use crate::worker::WorkerIndex;
use crate::worker::job::millis;
use crate::worker::services::Services;

/// What the watches of all workers have in common.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) policy: Supervision,
    pub(super) services: Arc<Services>,
    pub(super) coordinator: Recipient<Down>,
    /// Closed when the system is over: nobody pauses any longer then.
    pub(super) open: Arc<Semaphore>,
}

/// Watches one worker: decides on its restarts, and reports them to the coordinator.
pub(super) struct Watch {
    worker: WorkerIndex,
    /// Which of the actors that it has had.
    life: u32,
    restart: Restart,
    /// Whether its group decides when it goes on, and with whom.
    is_grouped: bool,
    history: RefCell<RestartHistory>,
    link: Arc<Link>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("worker", &self.worker).finish_non_exhaustive()
    }
}

impl Watch {
    pub(super) fn new(
        worker: WorkerIndex,
        life: u32,
        restart: Restart,
        is_grouped: bool,
        history: RestartHistory,
        link: Arc<Link>,
    ) -> Watch {
        Watch { worker, life, restart, is_grouped, history: RefCell::new(history), link }
    }

    fn report(&self, what: What) {
        self.link.coordinator.do_send(Down { worker: self.worker, life: self.life, what });
    }
}

impl Watcher for Watch {
    fn clock(&self) -> &Clock {
        &self.link.services.clock
    }

    fn runs(&self, now: bool) {
        Doing::runs(now.then_some(self.worker));
    }

    fn panicked(&self, reason: &str) -> Option<Duration> {
        if self.is_grouped && self.restart != Restart::Temporary {
            // Its actor ends, and its group starts another.
            self.report(What::Failed { reason: crate::llm::redact(reason) });
            return None;
        }
        let Link { policy, services, .. } = &*self.link;
        let pause = match self.restart {
            Restart::Temporary => None,
            Restart::Permanent | Restart::Transient => {
                self.history.borrow_mut().restart(services.clock.now(), policy, services.jitter())
            }
        };
        self.report(What::Panicked { reason: crate::llm::redact(reason), pause });
        pause
    }

    fn pause(&self, pause: Duration) -> LocalBoxFuture<'static, ()> {
        pauses(self.clock(), pause, &self.link.open)
    }

    fn resumed(&self) {
        self.report(What::Resumed);
    }

    fn ended(&self) {
        self.report(What::Ended);
    }
}

/// Waits for the end of a pause, or of the system where that is first: who paused does what it was
/// sent then, and ends since nobody has its address.
pub(super) fn pauses(
    clock: &Clock,
    pause: Duration,
    open: &Arc<Semaphore>,
) -> LocalBoxFuture<'static, ()> {
    let (pause, open) = (clock.sleep(pause), Arc::clone(open));
    Box::pin(async move {
        select(pause, pin!(open.acquire())).await;
    })
}

/// How a worker failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// It panicked: what the panic said, redacted.
    Panicked(String),
    /// Nothing had moved for so long.
    Wedged(Duration),
}

impl Failure {
    fn reason(&self) -> &str {
        match self {
            Failure::Panicked(reason) => reason,
            Failure::Wedged(_) => "wedged",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Panicked(reason) => write!(f, "panicked ({reason})"),
            Failure::Wedged(since) => write!(f, "was wedged (nothing moved for {since:.0?})"),
        }
    }
}

// === Down ===

/// Something happened to a worker.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Down {
    worker: WorkerIndex,
    life: u32,
    what: What,
}

#[derive(Debug)]
enum What {
    /// It panicked; it goes on after the pause, if there is one.
    Panicked {
        reason: String,
        pause: Option<Duration>,
    },
    /// It panicked, and its group decides.
    Failed {
        reason: String,
    },
    Resumed,
    Ended,
}

impl Handler<Down> for Coordinator {
    type Result = ();

    fn handle(&mut self, Down { worker, life, what }: Down, ctx: &mut Context<Self>) {
        if life != self.troupe.life(worker) {
            // It was given up while it was idle, and there may be another actor for it.
            return;
        }
        match what {
            What::Panicked { reason, pause } => {
                let task = self.roster.task(worker);
                self.roster.set(worker, State::Down);
                // Its guard has counted the restart, and goes on; the next actor's begins with it.
                if pause.is_some() {
                    let now = self.services.clock.now();
                    self.histories.restart(worker, now, &self.plan.supervision, 0.0);
                }
                let failure = Failure::Panicked(reason);
                self.note_failure(worker, task, &failure, pause);
                self.requeue_after_crash(worker, task, &failure, ctx);
            }
            What::Failed { reason } => {
                self.group_decides(worker, &Failure::Panicked(reason), ctx);
            }
            What::Resumed => {
                self.tell(|| Lifecycle::WorkerRestarted { worker: self.name(worker).into() });
                self.set_ready(worker, ctx);
                self.feed(worker, ctx);
            }
            What::Ended => self.set_gone(worker, ctx),
        }
        self.tell_if_idle();
    }
}

impl Coordinator {
    /// Tells, counts and records that a worker failed, and goes on after the pause or stays down.
    pub(super) fn note_failure(
        &mut self,
        worker: WorkerIndex,
        task: Option<TaskNumber>,
        failure: &Failure,
        pause: Option<Duration>,
    ) {
        self.tell(|| {
            let worker = self.name(worker).into();
            match failure {
                Failure::Panicked(reason) => {
                    Lifecycle::WorkerPanicked { worker, reason: reason.clone(), pause }
                }
                Failure::Wedged(since) => Lifecycle::WorkerWedged { worker, since: *since, pause },
            }
        });
        let reason = failure.reason();
        let fortunes = self.fortunes.entry(self.roster.agent(worker)).or_default();
        fortunes.last_failure = Some(reason.into());
        self.audit_restart(worker, task, reason, pause);
    }

    /// Counts and records that a worker is restarted after the pause, or stays down.
    pub(super) fn audit_restart(
        &mut self,
        worker: WorkerIndex,
        task: Option<TaskNumber>,
        reason: &str,
        pause: Option<Duration>,
    ) {
        let spec = &self.plan.agents[self.roster.agent(worker) as usize];
        let task = task.and_then(|task| self.tasks.get(&task));
        let subject = Arc::new(Subject {
            run_id: Arc::clone(&self.plan.run_id),
            agent: Some(spec.name.as_str().into()),
            agent_id: Some(self.name(worker).into()),
            agent_type: Some(spec.agent_type.as_str().into()),
            task_id: task.map(|entry| entry.assignment.task.id.shared()),
            ..Subject::default()
        });
        let restarts = u32::try_from(self.stats.restarts).unwrap_or(u32::MAX);
        let reason = reason.to_owned();
        let event = match pause {
            Some(pause) => {
                self.stats.restarts += 1;
                self.fortunes.entry(self.roster.agent(worker)).or_default().restarts += 1;
                let restarts = restarts.saturating_add(1);
                AuditKind::WorkerRestarted { reason, restarts, backoff_ms: millis(pause) }
            }
            None => AuditKind::WorkerGaveUp { reason, restarts },
        };
        self.services.audit(None, &subject, event);
    }

    /// What a worker that is replaced was at. It may not be told so as long as its code runs; it makes
    /// no call for that any more.
    pub(super) fn take_away(&self, worker: WorkerIndex) -> Option<TaskNumber> {
        let task = self.roster.task(worker)?;
        if let Some(entry) = self.tasks.get(&task) {
            entry.assignment.standing.take_away();
        }
        Some(task)
    }

    pub(super) fn requeue_after_crash(
        &mut self,
        worker: WorkerIndex,
        task: Option<TaskNumber>,
        failure: &Failure,
        ctx: &mut Context<Self>,
    ) {
        let Some(task) = task else { return };
        let name = self.name(worker);
        let limit = self.plan.supervision.poison_limit.get();
        let Some(entry) = self.tasks.get_mut(&task) else { return };
        entry.crashes += 1;
        if entry.cancelled {
            return self.end_cancelled(task, ctx);
        }
        if entry.crashes <= limit {
            let (id, crashes) = (entry.assignment.task.id.clone(), entry.crashes);
            self.tell(|| Lifecycle::TaskRequeued { task: id, crashes });
            return self.place(task, ctx);
        }
        let message = format!(
            "worker {name} {failure}: crash {} over this task, above poison_limit ({limit})",
            entry.crashes
        );
        self.end_without_answer(task, ErrorCode::WorkerCrashed, message, ctx);
    }
}
