//! The actors of the workers: made on their arbiter, eagerly or at their first task, and given up
//! when they have been idle for long.

use std::sync::Arc;
use std::time::Duration;

use actix::dev::channel::channel;
use actix::{Addr, Context, Handler, Message, Recipient};

use super::supervise::{Link, Watch};
use super::threads::{HeldUp, Threads};
use super::{Coordinator, Lifecycle, Plan, State};
use crate::clock::Timestamp;
use crate::guard;
use crate::panics::log;
use crate::supervision::{RestartHistory, Tree};
use crate::worker::job::Assignment;
use crate::worker::progress::Hand;
use crate::worker::{Cancel, Finished, Halt, Perform, Role, Superior, WorkerAgent, WorkerIndex};

/// Messages that may wait for a worker: it is given one task at a time.
const MAILBOX: usize = 4;

/// The workers' actors, by worker.
#[derive(Debug)]
pub(super) struct Troupe {
    roles: Vec<Arc<Role>>,
    superior: Arc<Recipient<Finished>>,
    link: Arc<Link>,
    pub(super) threads: Threads,
    /// Idle workers whose thread is held up, with the lives that they had then.
    pub(super) aside: Vec<(WorkerIndex, u32)>,
    members: Vec<Member>,
    actors: usize,
}

/// One worker's place.
#[derive(Debug)]
struct Member {
    actor: Option<Addr<WorkerAgent>>,
    /// The topmost of its groups, which says its thread.
    root: Option<u32>,
    /// The thread that its actor is on.
    thread: u32,
    /// How many actors it has had.
    life: u32,
    /// Whether it stands in the line of those that may be given up.
    is_watched: bool,
    /// Whether it stands in the line of those that may be at work.
    is_looked_at: bool,
}

impl Member {
    fn new(worker: usize, tree: &Tree) -> Member {
        let root = WorkerIndex::try_from(worker).ok().and_then(|worker| tree.root(worker));
        let root = root.and_then(|root| u32::try_from(root).ok());
        Member { actor: None, root, thread: 0, life: 0, is_watched: false, is_looked_at: false }
    }
}

impl Troupe {
    pub(super) fn new(
        plan: &Plan,
        tree: &Tree,
        link: Link,
        finished: Recipient<Finished>,
        held_up: &Recipient<HeldUp>,
        workers: usize,
    ) -> Troupe {
        let role = |spec: &Arc<_>| {
            let (run_id, services) = (Arc::clone(&plan.run_id), Arc::clone(&link.services));
            Arc::new(Role::new(Arc::clone(spec), run_id, services))
        };
        Troupe {
            roles: plan.agents.iter().map(role).collect(),
            superior: Arc::new(finished),
            link: Arc::new(link),
            threads: Threads::start(plan.arbiters.get(), plan.watchdog.as_ref(), held_up),
            aside: Vec::new(),
            members: (0..workers).map(|worker| Member::new(worker, tree)).collect(),
            actors: 0,
        }
    }

    /// Which of its actors a worker has, or had last.
    pub(super) fn life(&self, worker: WorkerIndex) -> u32 {
        self.members[worker as usize].life
    }

    /// Notes whether it stands in the line of those that may be at work; whether it did.
    pub(super) fn set_looked_at(&mut self, worker: WorkerIndex, is: bool) -> bool {
        std::mem::replace(&mut self.members[worker as usize].is_looked_at, is)
    }

    pub(super) fn has_actor(&self, worker: WorkerIndex) -> bool {
        self.members[worker as usize].actor.is_some()
    }

    /// The thread that a worker's actor is on, or would be.
    pub(super) fn thread_of(&self, worker: WorkerIndex) -> usize {
        let member = &self.members[worker as usize];
        match member.actor {
            Some(_) => member.thread as usize,
            None => self.threads.choose(worker, member.root),
        }
    }

    /// Makes the actor of a worker that has none: number `number` of `agent`, restarted so often.
    pub(super) fn start(
        &mut self,
        worker: WorkerIndex,
        agent: u32,
        number: u32,
        history: RestartHistory,
    ) {
        let thread = self.thread_of(worker);
        let Troupe { roles, superior, link, threads, members, actors, .. } = self;
        let member = &mut members[worker as usize];
        member.life += 1;
        let (life, root) = (member.life, member.root);
        let role = Arc::clone(&roles[agent as usize]);
        let (superior, link) = (Arc::clone(superior), Arc::clone(link));
        let (address, mail) = channel(MAILBOX);
        let start = move || {
            let name = format!("{}-{number}", role.agent).into();
            let restart = role.spec.restart;
            let watch = Watch::new(worker, life, restart, root.is_some(), history, link);
            let superior = Superior::Coordinator(superior);
            let actor = WorkerAgent::new(worker, life, name, role, superior);
            guard::start_with(mail, actor, watch);
        };
        if !threads.run(thread, start) {
            log!(error, worker, "the arbiter of this worker has ended");
        }
        member.thread = u32::try_from(thread).unwrap_or(u32::MAX);
        member.actor = Some(Addr::new(address));
        *actors += 1;
    }

    /// Workers that have an actor.
    pub(super) fn actors(&self) -> usize {
        self.actors
    }

    /// Gives a worker a task; `false` where it cannot be reached.
    #[must_use]
    pub(super) fn perform(&self, worker: WorkerIndex, mut assignment: Assignment) -> bool {
        let Member { actor: Some(actor), life, .. } = &self.members[worker as usize] else {
            return false;
        };
        assignment.standing.give(worker, *life);
        assignment.hand = Hand::of(worker, *life);
        actor.try_send(Perform(assignment)).is_ok()
    }

    pub(super) fn cancel(&self, worker: WorkerIndex) {
        if let Some(actor) = &self.members[worker as usize].actor {
            actor.do_send(Cancel);
        }
    }

    /// Has a worker's actor drop what it is doing and end; the worker may get another one.
    pub(super) fn retire(&mut self, worker: WorkerIndex) {
        let member = &mut self.members[worker as usize];
        if let Some(actor) = member.actor.take() {
            actor.do_send(Halt);
            self.actors -= 1;
        }
        // What its guard still reports is not about the next one.
        member.life += 1;
    }

    /// Ends all of them, and their threads. Whoever is at work is cancelled, a pause cut short.
    pub(super) fn end(&mut self) {
        for member in &mut self.members {
            if let Some(actor) = member.actor.take() {
                actor.do_send(Cancel);
            }
        }
        self.link.open.close();
        self.threads.end();
    }
}

impl Drop for Troupe {
    /// An arbiter does not end by itself.
    fn drop(&mut self) {
        self.end();
    }
}

// === GiveUpIdle ===

/// Some workers may have been idle for long.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct GiveUpIdle;

impl Handler<GiveUpIdle> for Coordinator {
    type Result = ();

    fn handle(&mut self, _msg: GiveUpIdle, ctx: &mut Context<Self>) {
        self.gives_up_at = None;
        let now = self.services.clock.now();
        while let Some(&(since, worker)) = self.idle.first() {
            if since + self.plan.lazy.idle_for > now {
                break;
            }
            self.idle.pop_first();
            self.troupe.members[worker as usize].is_watched = false;
            match self.roster.state(worker) {
                State::Ready(idle) | State::Resting { since: idle, .. } => {
                    if idle + self.plan.lazy.idle_for <= now {
                        self.give_up(worker);
                    } else {
                        // It has worked in the meantime.
                        self.watch_idle(worker, idle, ctx);
                    }
                }
                // It comes back here when it is done.
                State::Busy(_) | State::Down | State::Gone => {}
            }
        }
        self.arm_give_up(ctx);
    }
}

impl Coordinator {
    /// The name of a worker: its agent's and its number.
    pub(super) fn name(&self, worker: WorkerIndex) -> String {
        let agent = &self.troupe.roles[self.roster.agent(worker) as usize].agent;
        format!("{agent}-{}", self.roster.number(worker))
    }

    /// Makes the actors of the first workers.
    pub(super) fn start_eager(&mut self) {
        let eager = self.roster.len().min(self.plan.lazy.eager);
        for worker in 0..WorkerIndex::try_from(eager).unwrap_or(WorkerIndex::MAX) {
            self.start(worker);
        }
    }

    /// Whether it has its actor from the start, and keeps it.
    pub(super) fn is_eager(&self, worker: WorkerIndex) -> bool {
        (worker as usize) < self.plan.lazy.eager
    }

    pub(super) fn start(&mut self, worker: WorkerIndex) {
        let (agent, number) = (self.roster.agent(worker), self.roster.number(worker));
        self.troupe.start(worker, agent, number, self.histories.of(worker));
        self.roster.set_cold(worker, false);
        self.tell(|| Lifecycle::WorkerStarted { worker: self.name(worker).into() });
    }

    /// A worker is idle and may call.
    pub(super) fn set_ready(&mut self, worker: WorkerIndex, ctx: &mut Context<Self>) {
        let now = self.services.clock.now();
        self.roster.set(worker, State::Ready(now));
        self.watch_idle(worker, now, ctx);
    }

    /// Has a worker beyond the first ones given up if it stays idle.
    pub(super) fn watch_idle(
        &mut self,
        worker: WorkerIndex,
        since: Timestamp,
        ctx: &mut Context<Self>,
    ) {
        let is_eager = self.is_eager(worker);
        let member = &mut self.troupe.members[worker as usize];
        if is_eager || member.is_watched || member.actor.is_none() {
            return;
        }
        member.is_watched = true;
        self.idle.insert((since, worker));
        self.arm_give_up(ctx);
    }

    fn arm_give_up(&mut self, ctx: &mut Context<Self>) {
        let Some(&(since, _)) = self.idle.first() else { return };
        if self.gives_up_at.is_none() {
            let at = since + self.plan.lazy.idle_for;
            self.gives_up_at = Some(at);
            self.notify_at(at, GiveUpIdle, ctx);
        }
    }

    /// A worker ended for good: what only it could play ends with it.
    pub(super) fn set_gone(&mut self, worker: WorkerIndex, ctx: &mut Context<Self>) {
        self.troupe.retire(worker);
        self.roster.set(worker, State::Gone);
        self.tell(|| Lifecycle::WorkerGone { worker: self.name(worker).into() });
        for agent in [Some(self.roster.agent(worker)), None] {
            if self.roster.alive(agent) == 0 {
                let stranded = self.queue.take_line(agent);
                self.end_unplayable(stranded, ctx);
            }
        }
    }

    /// Lets go of an idle worker's actor; the worker keeps its place, its name and its limit.
    fn give_up(&mut self, worker: WorkerIndex) {
        self.troupe.retire(worker);
        self.roster.set_cold(worker, true);
        self.tell(|| Lifecycle::WorkerPassivated { worker: self.name(worker).into() });
    }
}

/// When workers get their actors, and lose them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lazy {
    /// So many workers have theirs from the start, and keep them.
    pub(crate) eager: usize,
    /// The others lose theirs when they have been idle for so long.
    pub(crate) idle_for: Duration,
}
