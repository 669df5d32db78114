//! kameo: actors that a supervisor restarts.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kameo::actor::{Actor, ActorRef, Spawn};
use kameo::error::Infallible;
use kameo::mailbox;
use kameo::message::{Context, Message};
use tokio::sync::oneshot;

use crate::measure::{Scenario, Took};
use crate::{FRAGILE, WORKERS};

type Failure = Box<dyn Error>;

pub async fn run(scenario: Scenario, n: u64) -> Result<Took, Failure> {
    match scenario {
        Scenario::Idle => idle(n).await,
        Scenario::Tasks => tasks(n).await,
        Scenario::Crash => crash(n).await,
    }
}

/// Supervises, and hands out tasks until there were so many.
struct Top {
    workers: Vec<ActorRef<Worker>>,
    sent: u64,
    ended: u64,
    n: u64,
    tell: Option<oneshot::Sender<()>>,
}

impl Actor for Top {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(state: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(state)
    }
}

/// Begin with these workers.
struct Begin(Vec<ActorRef<Worker>>);

impl Message<Begin> for Top {
    type Reply = ();

    async fn handle(&mut self, Begin(workers): Begin, _: &mut Context<Self, ()>) {
        for worker in &workers {
            if self.sent < self.n {
                // It is gone only when all is.
                _ = worker.tell(Task(self.sent)).try_send();
                self.sent += 1;
            }
        }
        self.workers = workers;
    }
}

/// A worker is done with its task.
struct Done(usize);

impl Message<Done> for Top {
    type Reply = ();

    async fn handle(&mut self, Done(worker): Done, _: &mut Context<Self, ()>) {
        self.ended += 1;
        if self.ended == self.n
            && let Some(tell) = self.tell.take()
        {
            _ = tell.send(());
        }
        if self.sent < self.n {
            _ = self.workers[worker].tell(Task(self.sent)).try_send();
            self.sent += 1;
        }
    }
}

#[derive(Clone)]
struct Worker {
    me: usize,
    top: ActorRef<Top>,
    sum: u64,
}

impl Actor for Worker {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(state: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(state)
    }
}

struct Task(u64);

impl Message<Task> for Worker {
    type Reply = ();

    async fn handle(&mut self, Task(task): Task, _: &mut Context<Self, ()>) {
        self.sum = self.sum.wrapping_add(task);
        _ = self.top.tell(Done(self.me)).try_send();
    }
}

fn top(n: u64) -> (ActorRef<Top>, oneshot::Receiver<()>) {
    let (tell, told) = oneshot::channel();
    let top = Top { workers: Vec::new(), sent: 0, ended: 0, n, tell: Some(tell) };
    (Top::spawn_with_mailbox(top, mailbox::unbounded()), told)
}

async fn workers(count: u64, top: &ActorRef<Top>) -> Result<Vec<ActorRef<Worker>>, Failure> {
    let mut workers = Vec::new();
    for me in 0..usize::try_from(count)? {
        let worker = Worker { me, top: top.clone(), sum: 0 };
        let supervised = Worker::supervise(top, worker).restart_limit(u32::MAX, Duration::MAX);
        workers.push(supervised.spawn_with_mailbox(mailbox::unbounded()).await);
    }
    tokio::task::yield_now().await;
    Ok(workers)
}

async fn idle(n: u64) -> Result<Took, Failure> {
    let (top, _told) = top(0);
    let began = Took::begin();
    let workers = workers(n, &top).await?;
    let took = began.end();
    // Stopping them one by one is not what is measured.
    std::mem::forget(workers);
    Ok(took)
}

async fn tasks(n: u64) -> Result<Took, Failure> {
    let (top, told) = top(n);
    let workers = workers(WORKERS, &top).await?;
    let began = Took::begin();
    top.tell(Begin(workers)).await?;
    told.await?;
    Ok(began.end())
}

/// What the fragile have in common.
struct Crashes {
    left: AtomicU64,
    ended: AtomicU64,
    n: u64,
    tell: std::sync::Mutex<Option<oneshot::Sender<()>>>,
}

/// Sends itself the next crash when it has (re)started.
struct Fragile(Arc<Crashes>);

impl Actor for Fragile {
    type Args = Arc<Crashes>;
    type Error = Infallible;

    async fn on_start(crashes: Arc<Crashes>, myself: ActorRef<Self>) -> Result<Self, Infallible> {
        let take = |left: u64| left.checked_sub(1);
        if crashes.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            _ = myself.tell(Crash).try_send();
        }
        Ok(Fragile(crashes))
    }
}

struct Crash;

impl Message<Crash> for Fragile {
    type Reply = ();

    async fn handle(&mut self, _: Crash, _: &mut Context<Self, ()>) {
        if self.0.ended.fetch_add(1, Ordering::Relaxed) + 1 == self.0.n {
            let tell = self.0.tell.lock().ok().and_then(|mut tell| tell.take());
            _ = tell.map(|tell| tell.send(()));
        }
        panic!("asked for")
    }
}

async fn crash(n: u64) -> Result<Took, Failure> {
    let (top, _) = top(0);
    let (tell, told) = oneshot::channel();
    let crashes = Arc::new(Crashes {
        left: AtomicU64::new(n),
        ended: AtomicU64::new(0),
        n,
        tell: std::sync::Mutex::new(Some(tell)),
    });
    let began = Took::begin();
    for _ in 0..FRAGILE.min(n) {
        let supervised = Fragile::supervise(&top, Arc::clone(&crashes));
        let supervised = supervised.restart_limit(u32::MAX, Duration::MAX);
        supervised.spawn_with_mailbox(mailbox::unbounded()).await;
    }
    told.await?;
    Ok(began.end())
}
