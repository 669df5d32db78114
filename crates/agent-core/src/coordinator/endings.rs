//! How tasks end: once, durable, and then told.

use std::sync::Arc;

use actix::{AsyncContext, Context, Handler, Message};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{Coordinator, Ended, FeedAll, Intake, Lifecycle, PAUSE, State};
use crate::ledger::{Scope, ScopeKind};
use crate::llm::LlmClient;
use crate::panics::{self, log};
use crate::permits::LimitMode;
use crate::queue::TaskNumber;
use crate::store::{self, StoreError};
use crate::task::{ErrorCode, Outcome, Status, TaskError};
use crate::worker::{Finish, Finished};

// === Finished ===

impl Handler<Finished> for Coordinator {
    type Result = ();

    fn handle(&mut self, msg: Finished, ctx: &mut Context<Self>) {
        let Finished { worker, life, free_at, ending } = msg;
        if life != self.troupe.life(worker) {
            // It was replaced while it worked; its task is in other hands.
            return;
        }
        let Some(task) = self.roster.task(worker) else { return };
        // A worker in mode `reject` never rests: it is given tasks to refuse them.
        let spec = &self.plan.agents[self.roster.agent(worker) as usize];
        let rejects = spec.rate_limit.as_ref().is_some_and(|l| l.mode == LimitMode::Reject);
        let now = self.services.clock.now();
        let rests = free_at > now && !rejects;
        let resting = State::Resting { until: free_at, since: now };
        self.roster.set(worker, if rests { resting } else { State::Ready(now) });
        self.watch_idle(worker, now, ctx);
        match ending {
            Finish::Ended(outcome) => self.end(task, outcome, ctx),
            Finish::Returned | Finish::Cancelled if self.is_cancelled(task) => {
                self.end_cancelled(task, ctx);
            }
            Finish::Returned | Finish::Cancelled => self.put_back(task, ctx),
        }
        self.feed(worker, ctx);
        self.arm_wake(ctx);
        self.tell_if_idle();
    }
}

impl Coordinator {
    /// Ends a task: durable first, then who waits for it is told.
    pub(super) fn end(&mut self, task: TaskNumber, outcome: Arc<Outcome>, ctx: &mut Context<Self>) {
        match self.tasks.get_mut(&task) {
            Some(entry) if !entry.ending => entry.ending = true,
            _ => return,
        }
        self.endings += 1;
        let outcome = masked(&*self.services.client, outcome);
        let entries = || {
            let (run_id, outcome) = (Arc::clone(&self.plan.run_id), Arc::clone(&outcome));
            vec![store::Entry::TaskEnded { run_id, outcome }]
        };
        match self.services.write_now(entries) {
            Ok(written) => self.told(Tell::new(task, outcome, written)),
            Err((entries, store)) => {
                let coordinator = ctx.address();
                let told = move |written| coordinator.do_send(Tell::new(task, outcome, written));
                store.do_send(store::WriteThen::new(entries, told));
            }
        }
    }

    /// Puts a task that did not end back at its place in the queue.
    pub(super) fn put_back(&mut self, task: TaskNumber, ctx: &mut Context<Self>) {
        if let Some(entry) = self.tasks.get(&task) {
            let (id, crashes) = (&entry.assignment.task.id, entry.crashes);
            self.tell(|| Lifecycle::TaskRequeued { task: id.clone(), crashes });
        }
        self.enqueue(task, ctx);
        // Not at once: what sent it back may not have been told here yet.
        let at = self.services.clock.now() + PAUSE;
        self.notify_at(at, FeedAll, ctx);
    }

    /// Ends tasks that no worker is left for.
    pub(super) fn end_unplayable(&mut self, tasks: Vec<TaskNumber>, ctx: &mut Context<Self>) {
        for task in tasks {
            let Some(entry) = self.tasks.get(&task) else { continue };
            self.dead_letters += 1;
            self.tell(|| {
                let (task, reason) = (entry.assignment.task.id.clone(), "no worker is left for it");
                Lifecycle::DeadLetter { task, reason }
            });
            let whose = match &entry.assignment.task.agent {
                Some(agent) => format!("agent {agent}"),
                None => "any agent".to_owned(),
            };
            let message = format!(
                "no worker of {whose} is left: each crashed too often, or is temporary and ended"
            );
            self.end_without_answer(task, ErrorCode::WorkerCrashed, message, ctx);
        }
    }

    /// Tells those who wait for the end of the run, where nothing is in flight any more, and every
    /// outcome is durable or the store is given up on; and with them whoever watches outcomes.
    pub(super) fn tell_if_idle(&mut self) {
        let Intake::Closed(how) = self.intake else { return };
        let undurable = self.endings > 0;
        let works = self.roster.counts().busy > 0 && !self.given_up;
        if works || undurable && !self.store_given_up {
            return;
        }
        // What was accepted and has not ended is kept: the run can be resumed.
        let whole = how != Ended::Finished || self.tasks.is_empty();
        let how = if whole { how } else { Ended::Interrupted };
        if undurable && !self.waiting_for_end.is_empty() {
            log!(
                error,
                tasks = self.endings,
                "tasks have ended whose outcomes are not durable: they are not told"
            );
        }
        // The run ends before these tasks do: who waits for one is told so, in their order.
        let mut open: Vec<_> = self.tasks.iter_mut().collect();
        open.sort_unstable_by_key(|(number, _)| **number);
        open.into_iter().for_each(|(_, entry)| entry.waiter = None);
        if !undurable {
            self.subscribers.clear();
        }
        for waiting in self.waiting_for_end.drain(..) {
            // Who does not wait any more need not be told.
            _ = waiting.send(how);
        }
    }

    /// Stops giving out tasks; what is in flight goes on.
    pub(super) fn close(&mut self, how: Ended) {
        match self.intake {
            Intake::Open => {
                self.intake = Intake::Closed(how);
                self.inbox.shut();
                self.tell(|| Lifecycle::RunStopping { how });
                self.subscribers.retain(|subscriber| !subscriber.is_closed());
            }
            // Who knows that nothing is left to submit finishes what another had ended.
            Intake::Closed(_) if how == Ended::Finished && self.tasks.is_empty() => {
                self.intake = Intake::Closed(how);
            }
            Intake::Closed(_) => {}
        }
    }
}

/// The outcome without the key, which a provider may have written into its answer. A text that the
/// client panics over may hold it, and is told to nobody.
fn masked(client: &dyn LlmClient, mut outcome: Arc<Outcome>) -> Arc<Outcome> {
    let mask = |text: &str| panics::contain(|| client.mask(text));
    match outcome.output.as_deref().map_or(Ok(None), mask) {
        Ok(None) => {}
        Ok(output) => Arc::make_mut(&mut outcome).output = output,
        Err(_) => {
            let lost = Arc::make_mut(&mut outcome);
            (lost.status, lost.output) = (Status::Failed, None);
            let message = "the client panicked while it looked for keys in the answer";
            lost.error = Some(TaskError::new(ErrorCode::WorkerCrashed, message));
        }
    }
    if let Some(error) = &outcome.error {
        let message = match mask(&error.message) {
            Ok(None) => return outcome,
            Ok(Some(message)) => message,
            Err(_) => "the client panicked while it looked for keys in what is wrong".to_owned(),
        };
        let error = TaskError { message, ..error.clone() };
        Arc::make_mut(&mut outcome).error = Some(error);
    }
    outcome
}

// === Tell ===

/// An outcome is durable and can be told, or can never be made so.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Tell {
    task: TaskNumber,
    outcome: Arc<Outcome>,
    durable: bool,
}

impl Tell {
    fn new(task: TaskNumber, outcome: Arc<Outcome>, written: Result<(), StoreError>) -> Tell {
        if let Err(error) = &written {
            let task = &outcome.task_id;
            log!(error, %error, %task, "an outcome could not be made durable");
        }
        Tell { task, outcome, durable: written.is_ok() }
    }
}

impl Handler<Tell> for Coordinator {
    type Result = ();

    fn handle(&mut self, msg: Tell, _ctx: &mut Context<Self>) {
        self.told(msg);
    }
}

impl Coordinator {
    fn told(&mut self, Tell { task, outcome, durable }: Tell) {
        if durable {
            return self.ended(task, outcome);
        }
        self.endings -= 1;
        // For the store the task is open, and goes on when the run is resumed.
        if let Some(entry) = self.tasks.get_mut(&task) {
            entry.waiter = None;
        }
        self.tell_if_idle();
    }

    /// An outcome is as durable as it will be: whoever waits for it is told.
    fn ended(&mut self, task: TaskNumber, outcome: Arc<Outcome>) {
        self.endings -= 1;
        let Some(entry) = self.tasks.remove(&task) else { return };
        self.deadlines.remove(&(entry.assignment.deadline, task));
        self.stats.count(&outcome);
        if self.plan.tasks_have_budgets {
            let scope = Scope::new(ScopeKind::Task, outcome.task_id.as_str());
            self.services.budget.1.forget(scope);
        }
        self.tell(|| {
            let error = outcome.error.as_ref().map(|error| error.code);
            Lifecycle::TaskEnded { task: outcome.task_id.clone(), error }
        });
        if let Some(waiter) = entry.waiter {
            // Who does not wait any more need not be told.
            _ = waiter.send(Ok(Arc::clone(&outcome)));
        }
        let place = entry.place.filter(|_| !self.subscribers.is_empty()).map(Arc::new);
        self.subscribers.retain(|subscriber| {
            let (outcome, place) = (Arc::clone(&outcome), place.clone());
            subscriber.send(Told { outcome, _place: place }).is_ok()
        });
        self.tell_if_idle();
    }
}

// === Subscribe ===

/// An outcome for a subscriber. Until it is taken it holds the place of its task among those that
/// may be open at once, so what nobody has taken is bounded.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) outcome: Arc<Outcome>,
    _place: Option<Arc<OwnedSemaphorePermit>>,
}

/// Asks for every outcome from now on.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Subscribe(pub(crate) mpsc::UnboundedSender<Told>);

impl Handler<Subscribe> for Coordinator {
    type Result = ();

    fn handle(&mut self, Subscribe(subscriber): Subscribe, _ctx: &mut Context<Self>) {
        self.subscribers.push(subscriber);
        self.tell_if_idle();
    }
}
