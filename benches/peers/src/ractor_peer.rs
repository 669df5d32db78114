//! ractor: actors linked to a supervisor.

use std::error::Error;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
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

/// Supervises, and hands out tasks or crashes until there were so many.
struct Top;

enum ToTop {
    /// Begin with these workers.
    Begin(Vec<ActorRef<ToWorker>>),
    /// A worker is done with its task.
    Done(usize),
}

struct TopState {
    workers: Vec<ActorRef<ToWorker>>,
    sent: u64,
    ended: u64,
    n: u64,
    tell: Option<oneshot::Sender<()>>,
}

impl TopState {
    /// One ended; whether another is to be sent.
    fn ended_one(&mut self) -> bool {
        self.ended += 1;
        if self.ended == self.n
            && let Some(tell) = self.tell.take()
        {
            _ = tell.send(());
        }
        let more = self.sent < self.n;
        self.sent += u64::from(more);
        more
    }
}

impl Actor for Top {
    type Msg = ToTop;
    type State = TopState;
    type Arguments = (u64, oneshot::Sender<()>);

    async fn pre_start(
        &self,
        _myself: ActorRef<ToTop>,
        (n, tell): Self::Arguments,
    ) -> Result<TopState, ActorProcessingErr> {
        Ok(TopState { workers: Vec::new(), sent: 0, ended: 0, n, tell: Some(tell) })
    }

    async fn handle(
        &self,
        _myself: ActorRef<ToTop>,
        message: ToTop,
        state: &mut TopState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ToTop::Begin(workers) => {
                for worker in &workers {
                    if state.sent < state.n {
                        worker.cast(ToWorker(state.sent))?;
                        state.sent += 1;
                    }
                }
                state.workers = workers;
            }
            ToTop::Done(worker) => {
                if state.ended_one() {
                    state.workers[worker].cast(ToWorker(state.sent))?;
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<ToTop>,
        event: SupervisionEvent,
        state: &mut TopState,
    ) -> Result<(), ActorProcessingErr> {
        if matches!(event, SupervisionEvent::ActorFailed(..)) && state.ended_one() {
            // The restart.
            let (worker, _) = Actor::spawn_linked(None, Fragile, (), myself.get_cell()).await?;
            worker.cast(ToWorker(state.sent))?;
        }
        Ok(())
    }
}

struct ToWorker(u64);

struct Worker;

impl Actor for Worker {
    type Msg = ToWorker;
    type State = (usize, ActorRef<ToTop>, u64);
    type Arguments = (usize, ActorRef<ToTop>);

    async fn pre_start(
        &self,
        _myself: ActorRef<ToWorker>,
        (me, top): Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok((me, top, 0))
    }

    async fn handle(
        &self,
        _myself: ActorRef<ToWorker>,
        ToWorker(task): ToWorker,
        (me, top, sum): &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        *sum = sum.wrapping_add(task);
        Ok(top.cast(ToTop::Done(*me))?)
    }
}

struct Fragile;

impl Actor for Fragile {
    type Msg = ToWorker;
    type State = ();
    type Arguments = ();

    async fn pre_start(
        &self,
        _myself: ActorRef<ToWorker>,
        (): (),
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _myself: ActorRef<ToWorker>,
        _message: ToWorker,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        panic!("asked for")
    }
}

async fn top(n: u64) -> Result<(ActorRef<ToTop>, oneshot::Receiver<()>), Failure> {
    let (tell, told) = oneshot::channel();
    let (top, _) = Actor::spawn(None, Top, (n, tell)).await?;
    Ok((top, told))
}

async fn workers(count: u64, top: &ActorRef<ToTop>) -> Result<Vec<ActorRef<ToWorker>>, Failure> {
    let mut workers = Vec::new();
    for me in 0..usize::try_from(count)? {
        let arguments = (me, top.clone());
        workers.push(Actor::spawn_linked(None, Worker, arguments, top.get_cell()).await?.0);
    }
    tokio::task::yield_now().await;
    Ok(workers)
}

async fn idle(n: u64) -> Result<Took, Failure> {
    let (top, _told) = top(0).await?;
    let began = Took::begin();
    let workers = workers(n, &top).await?;
    let took = began.end();
    // Stopping them one by one is not what is measured.
    std::mem::forget(workers);
    Ok(took)
}

async fn tasks(n: u64) -> Result<Took, Failure> {
    let (top, told) = top(n).await?;
    let workers = workers(WORKERS, &top).await?;
    let began = Took::begin();
    top.cast(ToTop::Begin(workers))?;
    told.await?;
    Ok(began.end())
}

async fn crash(n: u64) -> Result<Took, Failure> {
    let (top, told) = top(n).await?;
    let mut fragile = Vec::new();
    for _ in 0..FRAGILE.min(n) {
        fragile.push(Actor::spawn_linked(None, Fragile, (), top.get_cell()).await?.0);
    }
    let began = Took::begin();
    top.cast(ToTop::Begin(fragile))?;
    told.await?;
    Ok(began.end())
}
