//! The coordinator: accepts tasks, feeds them to workers, and sees that each ends exactly once.
//!
//! ```text
//! Submit ─► accepted (durable) ─► queued ─► Perform ─► Finished ─► ended (durable) ─► told
//!                                   ▲                      │
//!                                   └── worker crashed ◄───┘
//! ```

mod endings;
mod expiry;
mod groups;
mod histories;
mod intake;
mod lifecycle;
mod report;
mod roster;
mod seen;
mod shared;
mod shutdown;
mod supervise;
mod threads;
mod troupe;
mod wake;
mod wedged;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::agent::AgentSpec;
use crate::clock::Timestamp;
use crate::lookup::Lookup;
use crate::permits::LimitMode;
use crate::queue::{Claim, Line, Queue, TaskNumber};
use crate::supervision::{Supervision, Tree};
use crate::task::TaskId;
use crate::watchdog::Watchdog;
use crate::worker::WorkerIndex;
use crate::worker::job::Assignment;
use crate::worker::services::Services;

pub(crate) use endings::{Subscribe, Told};
pub(crate) use expiry::CancelTask;
pub use intake::SubmitError;
pub(crate) use intake::{Answer, Inbox, Left, Restore, Submission};
pub use lifecycle::{BEHIND, Lifecycle, LifecycleEvent, Lifecycles};
pub(crate) use lifecycle::{LifecycleDesk, LifecycleSource};
pub use report::{CallCounts, Latency, Summary, TaskCounts};
pub use seen::{AgentView, Snapshot, WorkerCounts, Working};
pub(crate) use seen::{GetSnapshot, Inspect};
pub(crate) use shared::SharedWatch;
pub use shutdown::Ended;
pub(crate) use shutdown::{LAST_WRITES, Shutdown, Stop, WaitForStop};
pub(crate) use troupe::Lazy;
use wake::FeedAll;

use histories::Histories;
use report::Stats;
use roster::{Roster, State};
use seen::Fortunes;
use supervise::Link;
use troupe::Troupe;

/// The agents by their names, as numbers in their order.
pub(crate) type AgentNames = Lookup<String, u32>;

/// What the coordinator is told once.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) run_id: Arc<str>,
    pub(crate) agents: Vec<Arc<AgentSpec>>,
    pub(crate) names: Arc<AgentNames>,
    pub(crate) supervision: Supervision,
    pub(crate) tree: Tree,
    /// Whether a task must name its project.
    pub(crate) project_required: bool,
    /// Whether each task has a budget of its own, which is dropped when the task has ended.
    pub(crate) tasks_have_budgets: bool,
    /// How long what is in flight may go on where the run stops itself.
    pub(crate) grace: Duration,
    /// How long the store may be down before the run stops.
    pub(crate) store_grace: Duration,
    /// Waiting that makes a task as urgent as the next priority.
    pub(crate) age: Duration,
    /// When workers get their actors.
    pub(crate) lazy: Lazy,
    /// Closed when the system is over: nobody pauses any longer then.
    pub(crate) open: Arc<Semaphore>,
    /// Watches the threads; none in virtual time.
    pub(crate) watchdog: Option<Watchdog>,
    /// Threads of workers; 1: the coordinator's own.
    pub(crate) arbiters: NonZeroUsize,
}

/// The actor that spawns, places, feeds and supervises the workers.
pub struct Coordinator {
    plan: Arc<Plan>,
    services: Arc<Services>,
    roster: Roster,
    troupe: Troupe,
    tree: Tree,
    /// Workers that may be given up, and since when they have been idle.
    idle: BTreeSet<(Timestamp, WorkerIndex)>,
    /// When the timer for them fires.
    gives_up_at: Option<Timestamp>,
    queue: Queue,
    /// Every task that was accepted.
    numbers: Lookup<TaskId, TaskNumber>,
    /// Those that have not ended; in boxes, since a lookup moves what is in it.
    tasks: Lookup<TaskNumber, Box<Entry>>,
    /// The deadlines of tasks that have been queued.
    deadlines: BTreeSet<(Timestamp, TaskNumber)>,
    next_number: TaskNumber,
    stats: Stats,
    subscribers: Vec<mpsc::UnboundedSender<Told>>,
    lifecycle: LifecycleSource,
    /// Where tasks come in.
    inbox: Arc<Inbox>,
    /// Restarts of workers in groups, and of such as were wedged.
    histories: Histories,
    /// Whoever may be at work, to be looked at.
    at_work: wedged::Line,
    /// By agent, where there is anything to tell.
    fortunes: BTreeMap<u32, Fortunes>,
    dead_letters: u64,
    intake: Intake,
    store_down: bool,
    /// How often it has been down.
    store_outages: u64,
    /// It is down, and nobody waits for it any more.
    store_given_up: bool,
    /// Workers that do not end are not waited for any more.
    given_up: bool,
    /// Outcomes on their way to the disk.
    endings: usize,
    /// When the timer for resting workers fires.
    wake_at: Option<Timestamp>,
    waiting_for_end: Vec<oneshot::Sender<Ended>>,
}

/// Whether work goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intake {
    Open,
    /// Nothing is accepted or begun any more; what is in flight goes on.
    Closed(Ended),
}

/// A task that has been accepted and has not ended.
#[derive(Debug)]
struct Entry {
    assignment: Assignment,
    accepted_at: Timestamp,
    agent: Option<u32>,
    /// Who plays it, or played it last.
    worker: Option<WorkerIndex>,
    given_at: Timestamp,
    crashes: u32,
    cancelled: bool,
    /// Its outcome is on its way to the disk.
    ending: bool,
    /// Who submitted it, and waits for its outcome.
    waiter: Option<oneshot::Sender<Answer>>,
    /// Its place among the tasks that may be open at once.
    place: Option<OwnedSemaphorePermit>,
}

impl Entry {
    fn claim(&self, task: TaskNumber) -> Claim {
        let priority = self.assignment.task.priority;
        Claim { priority, since: self.accepted_at, task }
    }
}

impl fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coordinator")
            .field("run_id", &self.plan.run_id)
            .field("workers", &self.roster.len())
            .field("tasks", &self.tasks.len())
            .finish_non_exhaustive()
    }
}

impl Coordinator {
    pub(crate) fn new(
        mut plan: Plan,
        services: Arc<Services>,
        address: &Addr<Self>,
        lifecycle: LifecycleSource,
        inbox: Arc<Inbox>,
    ) -> Coordinator {
        let tree = std::mem::take(&mut plan.tree);
        let sizes: Vec<u32> = plan.agents.iter().map(|spec| spec.count.get()).collect();
        let roster = Roster::new(&sizes, services.clock.now());
        let link = Link {
            policy: plan.supervision.clone(),
            services: Arc::clone(&services),
            coordinator: address.clone().recipient(),
            open: Arc::clone(&plan.open),
        };
        let queue = Queue::new(plan.age);
        let troupe = {
            let (finished, held_up) = (address.clone().recipient(), address.clone().recipient());
            Troupe::new(&plan, &tree, link, finished, &held_up, roster.len())
        };
        Coordinator {
            plan: Arc::new(plan),
            services,
            roster,
            troupe,
            tree,
            idle: BTreeSet::new(),
            gives_up_at: None,
            queue,
            numbers: Lookup::default(),
            tasks: Lookup::default(),
            deadlines: BTreeSet::new(),
            next_number: 0,
            stats: Stats::default(),
            subscribers: Vec::new(),
            lifecycle,
            inbox,
            histories: Histories::default(),
            at_work: wedged::Line::default(),
            fortunes: BTreeMap::new(),
            dead_letters: 0,
            intake: Intake::Open,
            store_down: false,
            store_outages: 0,
            store_given_up: false,
            given_up: false,
            endings: 0,
            wake_at: None,
            waiting_for_end: Vec::new(),
        }
    }

    /// Whether tasks may be given to workers now.
    fn feeds(&self) -> bool {
        self.intake == Intake::Open && !self.store_down
    }

    fn line(&self, entry: &Entry) -> Line {
        Line { agent: entry.agent, at_once: entry.assignment.mode == LimitMode::Reject }
    }

    /// Gives a task to a worker, or puts it into the queue.
    fn place(&mut self, task: TaskNumber, ctx: &mut Context<Self>) {
        let Some(entry) = self.tasks.get(&task) else { return };
        let (line, deadline) = (self.line(entry), entry.assignment.deadline);
        if deadline != Timestamp::NEVER && deadline <= self.services.clock.now() {
            return self.end_late(task, ctx);
        }
        let feeds = self.feeds();
        let mut worker = None;
        while feeds && worker.is_none() {
            let Some(next) = self.roster.take(line.agent, line.at_once, task) else { break };
            worker = self.can_begin(next).then_some(next);
        }
        match worker {
            Some(worker) => self.give(worker, task, ctx),
            None if self.roster.alive(line.agent) == 0 => self.end_unplayable(vec![task], ctx),
            None => self.enqueue(task, ctx),
        }
    }

    /// Puts a task into the queue, at the place of its priority and number.
    fn enqueue(&mut self, task: TaskNumber, ctx: &mut Context<Self>) {
        let Some(entry) = self.tasks.get(&task) else { return };
        let (line, deadline) = (self.line(entry), entry.assignment.deadline);
        self.queue.push(line, entry.claim(task));
        if deadline != Timestamp::NEVER {
            self.deadlines.insert((deadline, task));
        }
        self.arm_wake(ctx);
    }

    /// Gives a worker that has become idle its next task.
    fn feed(&mut self, worker: WorkerIndex, ctx: &mut Context<Self>) {
        if !self.feeds() {
            return;
        }
        let may_call = match self.roster.state(worker) {
            State::Ready(_) => true,
            State::Resting { .. } => false,
            State::Busy(_) | State::Down | State::Gone => return,
        };
        if self.queue.is_empty() || !self.can_begin(worker) {
            return;
        }
        if let Some(task) = self.queue.pop(self.roster.agent(worker), may_call) {
            self.roster.set(worker, State::Busy(task));
            self.give(worker, task, ctx);
        }
    }

    fn feed_all(&mut self, ctx: &mut Context<Self>) {
        for agent in self.roster.idle_agents() {
            while let Some(worker) = self.roster.next_of(agent) {
                self.feed(worker, ctx);
                if self.roster.next_of(agent) == Some(worker) {
                    // There is nothing for it.
                    break;
                }
            }
        }
    }

    fn give(&mut self, worker: WorkerIndex, task: TaskNumber, ctx: &mut Context<Self>) {
        if !self.troupe.has_actor(worker) {
            self.start(worker);
        }
        let now = self.services.clock.now();
        self.look_at(worker, now, ctx);
        let Some(entry) = self.tasks.get_mut(&task) else { return };
        (entry.worker, entry.given_at) = (Some(worker), now);
        let mut assignment = entry.assignment.clone();
        let spec = &self.plan.agents[self.roster.agent(worker) as usize];
        if entry.agent.is_none() {
            assignment.mode = spec.rate_limit.clone().unwrap_or_default().mode;
        }
        let id = &entry.assignment.task.id;
        self.lifecycle.tell(|| {
            let worker = format!("{}-{}", spec.name, self.roster.number(worker)).into();
            LifecycleEvent { at: now, what: Lifecycle::TaskStarted { task: id.clone(), worker } }
        });
        if self.troupe.perform(worker, assignment) {
            return;
        }
        // Its thread has ended, and it with it.
        self.dead_letters += 1;
        let id = id.clone();
        self.tell(|| Lifecycle::DeadLetter { task: id, reason: "its worker's actor is gone" });
        self.set_gone(worker, ctx);
        self.place(task, ctx);
    }

    /// Sends `notice` to this actor at `at`, without an item in its context.
    fn notify_at<M>(&self, at: Timestamp, notice: M, ctx: &mut Context<Self>)
    where
        M: Message<Result = ()> + Send + 'static,
        Self: Handler<M>,
    {
        let (clock, address) = (self.services.clock.clone(), ctx.address());
        actix::spawn(async move {
            clock.sleep_until(at).await;
            address.do_send(notice);
        });
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.inbox.close();
    }
}

impl Actor for Coordinator {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        // Work arrives by `send` under the intake's own limit; what is told must not be refused.
        ctx.set_mailbox_capacity(0);
        if let Some(watchdog) = &self.plan.watchdog {
            watchdog.watch_here(|_| {});
        }
        self.start_eager();
    }
}

/// How long the coordinator lets the provider and the store be before it tries again to give out a
/// task that came back.
const PAUSE: Duration = Duration::from_millis(200);
