//! The worker: plays an agent, one task at a time, from prompt to outcome.

mod admission;
mod attempt;
mod backstage;
mod call;
mod cost;
mod crew;
mod halts;
pub(crate) mod job;
mod leash;
mod opening;
mod performance;
mod play;
pub(crate) mod progress;
mod refusal;
pub(crate) mod services;
mod tree;

use std::rc::Rc;
use std::sync::Arc;

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, Recipient,
    Supervised, WrapFuture,
};
use futures_util::future::{AbortHandle, AbortRegistration, Abortable};

use crate::agent::{AgentSpec, Factory};
use crate::clock::Timestamp;
use crate::guard;
use crate::task::Outcome;
use crate::worker::backstage::Backstage;
use crate::worker::call::Ending;
use crate::worker::crew::Crew;
use crate::worker::job::{Assignment, Job};
use crate::worker::play::Player;
use crate::worker::services::Services;
use crate::worker::tree::Family;

/// Names a worker within its coordinator.
pub(crate) type WorkerIndex = u32;

/// The actor that plays an agent.
///
/// It stays open for `Cancel` while it works. Under its guard a panic costs it the task at hand,
/// which its coordinator queues again.
#[derive(Debug)]
pub struct WorkerAgent {
    index: WorkerIndex,
    /// Which of the actors that the worker has had.
    life: u32,
    name: Arc<str>,
    role: Arc<Role>,
    superior: Superior,
    /// Ends the task at hand.
    at_hand: Option<AbortHandle>,
    /// What its agent's behaviour has become from task to task; none while it performs.
    player: Option<Player>,
}

/// What the workers of one agent have in common: one allocation for all of them.
#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) spec: Arc<AgentSpec>,
    /// The names that are written with every call.
    pub(crate) agent: Arc<str>,
    pub(crate) agent_type: Arc<str>,
    pub(crate) model: Arc<str>,
    /// The model's one name.
    pub(crate) model_name: Arc<str>,
    pub(crate) run_id: Arc<str>,
    pub(crate) services: Arc<Services>,
}

impl Role {
    pub(crate) fn new(spec: Arc<AgentSpec>, run_id: Arc<str>, services: Arc<Services>) -> Role {
        let model = spec.model.as_str().into();
        Role {
            agent: spec.name.as_str().into(),
            agent_type: spec.agent_type.as_str().into(),
            model_name: services.model_name(&model),
            model,
            spec,
            run_id,
            services,
        }
    }
}

/// Whom a worker reports to.
#[derive(Debug)]
pub(crate) enum Superior {
    /// The coordinator: its tasks are the system's.
    Coordinator(Arc<Recipient<Finished>>),
    /// The crew of a sub-agent, on the same thread: its tasks are parts of the parent's.
    Crew(Rc<Crew>),
}

impl Superior {
    fn tell(&self, finished: Finished) {
        match self {
            Superior::Coordinator(coordinator) => coordinator.do_send(finished),
            Superior::Crew(crew) => crew.finished(finished),
        }
    }
}

impl WorkerAgent {
    pub(crate) fn new(
        index: WorkerIndex,
        life: u32,
        name: Arc<str>,
        role: Arc<Role>,
        superior: Superior,
    ) -> WorkerAgent {
        WorkerAgent { index, life, name, role, superior, at_hand: None, player: None }
    }

    fn job(&self, assignment: Assignment) -> Job {
        let family = match &self.superior {
            Superior::Crew(crew) => Some(crew.family()),
            // Without user code there is one call at a time, and nothing to be shared.
            Superior::Coordinator(_) => {
                let limits = self.role.services.rules.children;
                self.role.spec.behaviour.as_ref().map(|_| Family::first(limits))
            }
        };
        Job::new(assignment, &self.role, Arc::clone(&self.name), family)
    }

    fn finish(&mut self, free_at: Timestamp, ending: Finish) {
        self.at_hand = None;
        self.superior.tell(Finished { worker: self.index, life: self.life, free_at, ending });
    }
}

impl Actor for WorkerAgent {
    type Context = Context<Self>;
}

impl Supervised for WorkerAgent {
    fn restarting(&mut self, _ctx: &mut Context<Self>) {
        self.at_hand = None;
        // Nothing that was there when it panicked is met again.
        self.player = None;
    }
}

// === Perform ===

/// Works on a task. The coordinator sends one at a time and waits for [`Finished`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Perform(pub(crate) Assignment);

/// A worker is done with its task, and idle.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Finished {
    /// Which worker.
    pub(crate) worker: WorkerIndex,
    /// Which of its actors: one that was replaced has nothing more to say.
    pub(crate) life: u32,
    /// When it may call again, by its own limit.
    pub(crate) free_at: Timestamp,
    /// What became of the task.
    pub(crate) ending: Finish,
}

/// What became of a task in a worker's hands.
#[derive(Debug)]
pub(crate) enum Finish {
    /// It ended.
    Ended(Arc<Outcome>),
    /// It goes back to the queue untouched: the store is down, or the run stops.
    Returned,
    /// It was cancelled.
    Cancelled,
}

impl Handler<Perform> for WorkerAgent {
    type Result = ();

    fn handle(&mut self, Perform(assignment): Perform, ctx: &mut Context<Self>) {
        let is_sub_task = matches!(self.superior, Superior::Crew(_));
        if !is_sub_task && !assignment.standing.begin(self.index, self.life) {
            // It was taken back while it waited here.
            return;
        }
        let (abort, registration) = AbortHandle::new_pair();
        self.at_hand = Some(abort);
        let job = self.job(assignment);
        match &self.role.spec.behaviour {
            None => self.perform(job, registration, ctx),
            Some(factory) => self.play(factory.clone(), job, registration, ctx),
        }
    }
}

impl WorkerAgent {
    /// The default performance, with nothing around it.
    fn perform(&self, job: Job, cancel: AbortRegistration, ctx: &mut Context<Self>) {
        let standing = Arc::clone(&job.assignment.standing);
        let services = Arc::clone(&self.role.services);
        // An `async fn` would hold what it is given twice.
        let work = async move {
            let began = services.clock.now();
            job.tally(|tally| _ = tally.started.get_or_insert(began));
            let result = match performance::answer(&services, &job, began).await {
                Ok(output) => Ok(output),
                Err(Ending::Failed(error)) => Err(error),
                Err(Ending::Returned) => return Finish::Returned,
            };
            Finish::Ended(Arc::new(job.outcome(services.clock.now(), result)))
        };
        let work = Abortable::new(work, cancel);
        ctx.spawn(work.into_actor(self).map(move |ending, this, _ctx| {
            let free_at = standing.free_at();
            this.finish(free_at, ending.unwrap_or(Finish::Cancelled));
        }));
    }

    /// What the agent's behaviour makes of the task.
    fn play(
        &mut self,
        factory: Factory,
        job: Job,
        cancel: AbortRegistration,
        ctx: &mut Context<Self>,
    ) {
        let standing = Arc::clone(&job.assignment.standing);
        let player = self.player.take();
        let backstage = Rc::new(Backstage::new(Arc::clone(&self.role.services), job));
        let work = play::play(player, factory, backstage, cancel);
        ctx.spawn(work.into_actor(self).map(move |played, this, ctx| match played {
            Ok((ending, player)) => {
                this.player = player;
                let free_at = standing.free_at();
                this.finish(free_at, ending);
            }
            Err(reason) => guard::crash(reason, ctx),
        }));
    }
}

// === Cancel ===

/// Ends the task at hand; what has left is charged at its bound.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Cancel;

impl Handler<Cancel> for WorkerAgent {
    type Result = ();

    fn handle(&mut self, _msg: Cancel, _ctx: &mut Context<Self>) {
        if let Some(at_hand) = &self.at_hand {
            at_hand.abort();
        }
    }
}

// === Halt ===

/// Drops the task at hand, and ends.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Halt;

impl Handler<Halt> for WorkerAgent {
    type Result = ();

    fn handle(&mut self, _msg: Halt, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}
