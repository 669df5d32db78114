//! The threads of the workers: where each is placed, and what happens while one is held up.
//!
//! Code that does not yield holds up its thread, and nothing can be done about it from another. What
//! was given to workers there and not begun is taken back, and goes to workers elsewhere; so does
//! whatever is given out until the thread comes to its heartbeat again.

use actix::{Arbiter, Context, Handler, Message, Recipient};

use super::{Coordinator, Lifecycle, State};
use crate::watchdog::Watchdog;
use crate::worker::WorkerIndex;

/// Threads of workers beside the coordinator's own; where there are any, all workers are there.
#[derive(Debug)]
pub(super) struct Threads(Vec<Thread>);

#[derive(Debug)]
struct Thread {
    arbiter: Arbiter,
    /// It does not come to its heartbeat.
    is_held_up: bool,
}

impl Threads {
    /// So many threads, under the watchdog where there is one; none for one, which is the
    /// coordinator's own.
    pub(super) fn start(
        threads: usize,
        watchdog: Option<&Watchdog>,
        coordinator: &Recipient<HeldUp>,
    ) -> Threads {
        let start = |thread| {
            let arbiter = Arbiter::new();
            if let Some(watchdog) = watchdog.cloned() {
                let coordinator = coordinator.clone();
                let tell = move |is| coordinator.do_send(HeldUp { thread, is });
                arbiter.spawn_fn(move || watchdog.watch_here(tell));
            }
            Thread { arbiter, is_held_up: false }
        };
        Threads(if threads == 1 { Vec::new() } else { (0..threads).map(start).collect() })
    }

    /// The thread of a worker that gets an actor now: its own, or the next that is not held up.
    /// A group is never split.
    pub(super) fn choose(&self, worker: WorkerIndex, root: Option<u32>) -> usize {
        let several = self.0.len().max(1);
        let own = root.unwrap_or(worker) as usize % several;
        let mut others = (own..several).chain(0..own);
        let free = others.find(|&thread| !self.is_held_up(thread));
        free.filter(|_| root.is_none()).unwrap_or(own)
    }

    pub(super) fn is_held_up(&self, thread: usize) -> bool {
        self.0.get(thread).is_some_and(|thread| thread.is_held_up)
    }

    /// Has `start` run on a thread; `false` where that has ended.
    pub(super) fn run(&self, thread: usize, start: impl FnOnce() + Send + 'static) -> bool {
        let Some(thread) = self.0.get(thread) else {
            start();
            return true;
        };
        thread.arbiter.spawn_fn(start)
    }

    /// Ends all of them.
    pub(super) fn end(&mut self) {
        for thread in self.0.drain(..) {
            thread.arbiter.stop();
        }
    }
}

// === HeldUp ===

/// A thread of workers is held up, or is not any more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct HeldUp {
    thread: usize,
    is: bool,
}

impl Handler<HeldUp> for Coordinator {
    type Result = ();

    fn handle(&mut self, HeldUp { thread, is }: HeldUp, ctx: &mut Context<Self>) {
        let Some(held_up) = self.troupe.threads.0.get_mut(thread) else { return };
        held_up.is_held_up = is;
        if is {
            self.take_back(thread, ctx);
        } else {
            for (worker, life) in std::mem::take(&mut self.troupe.aside) {
                let is_aside = self.roster.state(worker) == State::Down;
                if is_aside && self.troupe.life(worker) == life {
                    self.set_ready(worker, ctx);
                }
            }
        }
        self.feed_all(ctx);
        self.arm_wake(ctx);
        self.tell_if_idle();
    }
}

impl Coordinator {
    /// Whether a worker that is idle can be given a task. One whose thread is held up gets another
    /// actor elsewhere, or is set aside: with its group, or where no thread is left.
    pub(super) fn can_begin(&mut self, worker: WorkerIndex) -> bool {
        let troupe = &mut self.troupe;
        if !troupe.threads.is_held_up(troupe.thread_of(worker)) {
            return true;
        }
        if troupe.has_actor(worker) {
            troupe.retire(worker);
            self.roster.set_cold(worker, true);
        }
        let troupe = &mut self.troupe;
        if !troupe.threads.is_held_up(troupe.thread_of(worker)) {
            return true;
        }
        troupe.aside.push((worker, troupe.life(worker)));
        self.roster.set(worker, State::Down);
        false
    }

    /// Takes back what workers of a thread were given and have not begun.
    fn take_back(&mut self, thread: usize, ctx: &mut Context<Self>) {
        for worker in self.at_work.workers() {
            let Some(task) = self.roster.task(worker) else { continue };
            let life = self.troupe.life(worker);
            let Some(entry) = self.tasks.get(&task) else { continue };
            if self.troupe.thread_of(worker) != thread
                || !entry.assignment.standing.take_back(worker, life)
            {
                continue;
            }
            let (id, crashes) = (&entry.assignment.task.id, entry.crashes);
            self.tell(|| Lifecycle::TaskRequeued { task: id.clone(), crashes });
            self.troupe.retire(worker);
            self.roster.set_cold(worker, true);
            self.set_ready(worker, ctx);
            if self.is_cancelled(task) {
                self.end_cancelled(task, ctx);
            } else {
                self.enqueue(task, ctx);
            }
        }
    }
}
