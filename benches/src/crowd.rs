//! Many workers: what they cost idle, what a task through them costs, what a crash costs.

use std::time::Duration;

use agent_core::agent::{Behaviour, Output, Scene};
use agent_core::clock::{Clock, Timestamp};
use agent_core::supervision::Supervision;
use agent_core::system::AgentSystem;
use agent_core::task::{Task, TaskError};

use crate::Failure;
use crate::client::{InProcess, Storm};
use crate::fleet::{MODEL, clerks, play, play_well, system};
use crate::measure::{Took, each, measure, median, resident};

const ROUNDS: usize = 3;
/// Workers that fail in turn.
const FRAGILE: u32 = 10_000;

fn at_once() -> InProcess {
    InProcess::after(Duration::ZERO)
}

/// Makes a system of so many workers, so many of them with an actor: what that takes, and the bytes
/// that each keeps.
pub(crate) async fn idlers(workers: u32, eager: u32) -> Result<(Took, u64), Failure> {
    let before = resident();
    let (took, started) = measure(async {
        let builder = system(at_once(), clerks(workers)?)?;
        let system = builder.eager_workers(eager as usize, Duration::from_secs(3_600));
        let system = system.start().await?;
        // Twice through the mailbox: their guards have been polled by then.
        for _ in 0..2 {
            system.snapshot().await?;
            tokio::task::yield_now().await;
        }
        Ok::<_, Failure>(system)
    })
    .await;
    let system = started?;
    let bytes = resident().saturating_sub(before) / u64::from(workers);
    drop(system);
    tokio::task::yield_now().await;
    Ok((took, bytes))
}

async fn idle() -> Result<(), Failure> {
    const WORKERS: u32 = 1_000_000;
    println!("{WORKERS} workers under supervision");
    for (name, eager) in [("lazy, no actor yet", 0), ("idle, with an actor", WORKERS)] {
        let (took, bytes) = idlers(WORKERS, eager).await?;
        println!("{name:<24} {bytes:>6} bytes each, {:>6.2} µs CPU each", each(took.cpu, WORKERS));
    }
    Ok(())
}

/// So many small tasks, written down in memory or nowhere, through so many workers.
pub(crate) async fn tasks(workers: u32, count: u32, records: bool) -> Result<Took, Failure> {
    let builder = system(at_once(), clerks(workers)?)?;
    let builder = if records { builder } else { builder.without_records() };
    let system = builder.start().await?;
    let (took, played) = measure(play_well(&system, count)).await;
    played?;
    system.finish().await;
    Ok(took)
}

async fn growth() -> Result<(), Failure> {
    const COUNT: u32 = 200_000;
    println!("{COUNT} small tasks, median of {ROUNDS} rounds");
    for (name, records) in [("records in memory", true), ("no records", false)] {
        let mut first = None;
        for workers in [100, 10_000, 1_000_000] {
            let mut rounds = Vec::new();
            for _ in 0..ROUNDS {
                rounds.push(tasks(workers, COUNT, records).await?);
            }
            let cpu = each(median(&rounds, |took| took.cpu), COUNT);
            let times = cpu / *first.get_or_insert(cpu);
            println!(
                "{name}: {workers:>9} workers {cpu:>6.2} µs CPU a task, {times:.2} × the first"
            );
        }
    }
    Ok(())
}

/// Calls in flight at once.
async fn inflight() -> Result<(), Failure> {
    const CALLS: u32 = 100_000;
    let client = InProcess::after(Duration::from_secs(1));
    let latest = client.latest();
    let builder = system(client, clerks(CALLS)?)?;
    let builder = builder.max_open_tasks(CALLS as usize);
    let builder = builder.eager_workers(CALLS as usize, Duration::from_secs(3_600));
    let system = builder.start().await?;
    system.snapshot().await?;
    let before = resident();
    let mut most = 0;
    let watch = async {
        loop {
            most = resident().max(most);
            Clock::real().sleep(Duration::from_millis(20)).await;
        }
    };
    let began = Clock::real().now();
    let work = measure(play_well(&system, CALLS));
    let (took, played) = tokio::select! {
        done = work => done,
        () = watch => unreachable!("it never ends"),
    };
    played?;
    let bytes = most.saturating_sub(before) / u64::from(CALLS);
    let (wall, cpu) = (took.wall.as_secs_f64(), took.cpu.as_secs_f64());
    let ramp = latest().since(began).as_secs_f64();
    println!(
        "{CALLS} calls of 1 s at once: {wall:.2} s wall, {:.2} s beyond the ramp of {ramp:.2} s until \
         the last had begun; {cpu:.2} s CPU, {bytes} bytes a call",
        wall - ramp
    );
    system.finish().await;
    Ok(())
}

/// Panics before it has begun anything.
struct Fragile;

impl Behaviour for Fragile {
    async fn perform(&mut self, _: &Scene, _: &Task) -> Result<Output, TaskError> {
        panic!("asked for")
    }
}

/// Each task fails `crashes` times; without a pause, without end.
fn unforgiving(crashes: u32) -> Result<Supervision, Failure> {
    Ok(Supervision {
        max_restarts: u32::MAX,
        backoff: Duration::ZERO,
        max_backoff: Duration::ZERO,
        poison_limit: (crashes - 1).try_into()?,
        // Counted, and forgotten soon.
        within: Duration::from_millis(1),
        ..Supervision::default()
    })
}

async fn play_badly(system: AgentSystem, count: u32) -> Result<Took, Failure> {
    let (took, played) = measure(play(&system, count)).await;
    if played? != count {
        return Err("a task ended well that should have crashed".into());
    }
    system.finish().await;
    Ok(took)
}

/// So many panics of behaviours, before any call: each takes its worker down, which restarts, and
/// gives its task back to the queue.
pub(crate) async fn restarts(count: u32) -> Result<Took, Failure> {
    silence();
    let builder = system(at_once(), clerks(FRAGILE)?.behaviour(|| Fragile))?;
    let builder = builder.supervision(unforgiving(count / FRAGILE)?).without_records();
    let system = builder.start().await?;
    play_badly(system, FRAGILE).await
}

/// What the default hook prints would be dearer than the restart.
pub(crate) fn silence() {
    std::panic::set_hook(Box::new(|_| {}));
}

/// What a crash in the middle of a call costs, beside a task that ends well.
async fn crash() -> Result<(), Failure> {
    const COUNT: u32 = 20_000;
    const CRASHES: u32 = 3;
    silence();
    let (mut well, mut crashed, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        well.push(tasks(1_000, COUNT, true).await?);
        let (call, ends) = (Duration::ZERO, Timestamp::NEVER);
        let storm = Storm { model: MODEL, call, ends, panics: std::sync::Arc::default() };
        let builder = system(at_once().storm(storm), clerks(1_000)?)?;
        let system = builder.supervision(unforgiving(CRASHES)?).start().await?;
        crashed.push(play_badly(system, COUNT).await?);
        alone.push(restarts(10 * COUNT).await?);
    }
    let cpu = |rounds: &[Took], count| each(median(rounds, |took| took.cpu), count);
    let (well, crashed) = (cpu(&well, COUNT), cpu(&crashed, COUNT));
    println!(
        "a task that ends well: {well:.1} µs CPU; one whose worker crashes {CRASHES} times: {crashed:.1} µs"
    );
    let crash = crashed / f64::from(CRASHES);
    println!("a crash with its call, its charge, its restart and its requeue: {crash:.1} µs CPU");
    println!(
        "a crash before any call, its restart and its requeue: {:.1} µs CPU",
        cpu(&alone, 10 * COUNT)
    );
    Ok(())
}

pub(crate) fn run(which: &str) -> Result<(), Failure> {
    actix::System::new().block_on(async {
        match which {
            "idle" => idle().await,
            "growth" => growth().await,
            "inflight" => inflight().await,
            _ => crash().await,
        }
    })
}
