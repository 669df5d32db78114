//! Bare tokio tasks with a channel each, and a `JoinSet` that sees them end.

use std::error::Error;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

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

/// Counts what it is told.
async fn idler(mut mail: UnboundedReceiver<u64>) -> u64 {
    let mut sum = 0_u64;
    while let Some(message) = mail.recv().await {
        sum = sum.wrapping_add(message);
    }
    sum
}

async fn idle(n: u64) -> Result<Took, Failure> {
    let began = Took::begin();
    let mut set = JoinSet::new();
    let mut addresses = Vec::new();
    for _ in 0..n {
        let (address, mail) = unbounded_channel();
        set.spawn(idler(mail));
        addresses.push(address);
    }
    tokio::task::yield_now().await;
    Ok(began.end())
}

/// A task, told to a worker; the worker's number, told back.
async fn worker(me: usize, mut mail: UnboundedReceiver<u64>, done: UnboundedSender<(usize, u64)>) {
    while let Some(task) = mail.recv().await {
        if done.send((me, task)).is_err() {
            return;
        }
    }
}

async fn tasks(n: u64) -> Result<Took, Failure> {
    let (done, mut finished) = unbounded_channel();
    let mut set = JoinSet::new();
    let mut workers = Vec::new();
    for me in 0..WORKERS as usize {
        let (address, mail) = unbounded_channel();
        set.spawn(worker(me, mail, done.clone()));
        workers.push(address);
    }
    tokio::task::yield_now().await;
    let began = Took::begin();
    let mut next = 0;
    for worker in workers.iter().take(usize::try_from(n)?) {
        worker.send(next)?;
        next += 1;
    }
    for _ in 0..n {
        let (worker, _task) = finished.recv().await.ok_or("the workers are gone")?;
        if next < n {
            workers[worker].send(next)?;
            next += 1;
        }
    }
    Ok(began.end())
}

async fn fragile(mut mail: UnboundedReceiver<u64>) {
    if mail.recv().await.is_some() {
        panic!("asked for");
    }
}

async fn crash(n: u64) -> Result<Took, Failure> {
    let mut set = JoinSet::new();
    let start = |set: &mut JoinSet<()>| {
        let (address, mail) = unbounded_channel();
        set.spawn(fragile(mail));
        address
    };
    let began = Took::begin();
    // Each stands for one whose owner sends it the next crash at once.
    let mut sent = 0;
    for _ in 0..FRAGILE.min(n) {
        start(&mut set).send(sent)?;
        sent += 1;
    }
    for _ in 0..n {
        let ended = set.join_next().await.ok_or("nobody is left")?;
        if !ended.is_err_and(|error| error.is_panic()) {
            return Err("one ended otherwise than by a panic".into());
        }
        if sent < n {
            start(&mut set).send(sent)?;
            sent += 1;
        }
    }
    Ok(began.end())
}
