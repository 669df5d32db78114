//! Many workers: what they cost idle, what a task through them costs, what a crash costs.

use std::time::Duration;

use agent_core::agent::AgentSpec;
use agent_core::clock::Clock;
use agent_core::llm::{Answer, Block, LlmClient, LlmError, Request, StopReason};
use agent_core::permits::{AgentRateLimit, ProviderLimits};
use agent_core::supervision::Supervision;
use agent_core::system::{AgentSystem, AgentSystemBuilder};
use agent_core::usage::Usage;
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;

use crate::Failure;
use crate::measure::{Took, measure, median, resident};
use crate::overhead::{MODEL, budgets, task};

const ROUNDS: usize = 3;
/// Tasks submitted before the first has ended.
const OPEN: u32 = 20_000;

/// Answers after a while, or panics.
#[derive(Debug, Clone)]
struct Provider {
    clock: Clock,
    after: Duration,
    panics: bool,
}

impl LlmClient for Provider {
    fn complete<'a>(
        &'a self,
        request: &'a Request,
    ) -> LocalBoxFuture<'a, Result<Answer, LlmError>> {
        Box::pin(async move {
            assert!(!self.panics, "asked for");
            if !self.after.is_zero() {
                self.clock.sleep(self.after).await;
            }
            Ok(Answer {
                model: request.model.clone(),
                content: vec![Block::Text { text: "done".into() }],
                stop_reason: Some(StopReason::EndTurn),
                usage: Usage { input_tokens: 90, output_tokens: 40, ..Usage::default() },
                ..Answer::default()
            })
        })
    }

    fn provider(&self) -> &str {
        "crowd"
    }
}

fn agent(workers: u32) -> Result<AgentSpec, Failure> {
    let limit = AgentRateLimit { calls: 1_000_000.try_into()?, ..AgentRateLimit::default() };
    Ok(AgentSpec::new("clerk", MODEL).count(workers).max_tokens(100).rate_limit(limit))
}

fn system(
    workers: u32,
    eager: u32,
    after: Duration,
    panics: bool,
) -> Result<AgentSystemBuilder, Failure> {
    let limits = ProviderLimits {
        requests_per_minute: 1_000_000_000.try_into().ok(),
        max_concurrent: 1_000_000.try_into()?,
        ..ProviderLimits::default()
    };
    let mut builder = AgentSystem::builder(Provider { clock: Clock::real(), after, panics })
        .agent(agent(workers)?)
        .limits(limits)
        .max_open_tasks(2_000_000)
        .eager_workers(eager as usize, Duration::from_secs(3_600));
    for budget in budgets()? {
        builder = builder.budget(budget);
    }
    Ok(builder)
}

/// Plays `count` tasks, so many of them open at once; answers how many failed.
async fn play(system: &AgentSystem, count: u32, open_at_once: u32) -> Result<u32, Failure> {
    let mut outcomes = system.outcomes();
    let mut submitting = FuturesUnordered::new();
    let (mut submitted, mut ended, mut failed) = (0, 0, 0);
    while ended < count {
        while submitted < count && submitted - ended < open_at_once {
            submitting.push(system.submit(task(submitted)));
            submitted += 1;
        }
        tokio::select! {
            biased;
            Some(outcome) = outcomes.next() => {
                ended += 1;
                failed += u32::from(outcome.error.is_some());
            }
            Some(submitted) = submitting.next(), if !submitting.is_empty() => drop(submitted?),
        }
    }
    Ok(failed)
}

fn each(took: Duration, count: u32) -> f64 {
    took.as_secs_f64() * 1e6 / f64::from(count)
}

/// Memory of idle workers, and CPU to make them.
async fn idle() -> Result<(), Failure> {
    const WORKERS: u32 = 1_000_000;
    println!("{WORKERS} workers under supervision");
    for (name, eager) in [("lazy, no actor yet", 0), ("idle, with an actor", WORKERS)] {
        let before = resident();
        let (took, started) = measure(async {
            let system = system(WORKERS, eager, Duration::ZERO, false)?.start().await?;
            // Twice through the mailbox: their guards have been polled by then.
            for _ in 0..2 {
                system.snapshot().await?;
                tokio::task::yield_now().await;
            }
            Ok::<_, Failure>(system)
        })
        .await;
        let system = started?;
        let bytes = resident().saturating_sub(before) / u64::from(WORKERS);
        println!("{name:<24} {bytes:>6} bytes each, {:>6.2} µs CPU each", each(took.cpu, WORKERS));
        drop(system);
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// CPU of a small task, for so many workers.
async fn tasks(workers: u32, count: u32) -> Result<Took, Failure> {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let system = system(workers, 10_000, Duration::ZERO, false)?.start().await?;
        let (took, played) = measure(play(&system, count, OPEN)).await;
        if played? > 0 {
            return Err("a task failed".into());
        }
        system.finish().await;
        rounds.push(took);
    }
    let (cpu, wall) = (median(&rounds, |took| took.cpu), median(&rounds, |took| took.wall));
    Ok(Took { cpu, wall })
}

async fn growth() -> Result<(), Failure> {
    const COUNT: u32 = 200_000;
    println!("{COUNT} small tasks, all accounted for in memory, median of {ROUNDS} rounds");
    let mut first = None;
    for workers in [100, 10_000, 1_000_000] {
        let took = tasks(workers, COUNT).await?;
        let cpu = each(took.cpu, COUNT);
        let first = *first.get_or_insert(cpu);
        println!("{workers:>9} workers {cpu:>8.2} µs CPU a task, {:.2} × the first", cpu / first);
    }
    Ok(())
}

/// Calls in flight at once.
async fn inflight() -> Result<(), Failure> {
    const CALLS: u32 = 100_000;
    let system = system(CALLS, CALLS, Duration::from_secs(1), false)?.start().await?;
    system.snapshot().await?;
    let before = resident();
    let mut most = 0;
    let watch = async {
        loop {
            most = resident().max(most);
            Clock::real().sleep(Duration::from_millis(20)).await;
        }
    };
    let work = measure(play(&system, CALLS, CALLS));
    let (took, played) = tokio::select! {
        done = work => done,
        () = watch => unreachable!("it never ends"),
    };
    if played? > 0 {
        return Err("a task failed".into());
    }
    let bytes = most.saturating_sub(before) / u64::from(CALLS);
    println!(
        "{CALLS} calls of 1 s at once: {:.2} s wall, {bytes} bytes a call",
        took.wall.as_secs_f64()
    );
    system.finish().await;
    Ok(())
}

/// What a crash costs beside a task that ends well.
async fn crash() -> Result<(), Failure> {
    const COUNT: u32 = 20_000;
    const CRASHES: u32 = 3;
    std::panic::set_hook(Box::new(|_| {}));
    let supervision = Supervision {
        max_restarts: u32::MAX,
        backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(1),
        poison_limit: (CRASHES - 1).try_into()?,
        ..Supervision::default()
    };
    let (mut well, mut crashed) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (panics, rounds) in [(false, &mut well), (true, &mut crashed)] {
            let builder = system(1_000, 1_000, Duration::ZERO, panics)?;
            let system = builder.supervision(supervision.clone()).start().await?;
            let (took, played) = measure(play(&system, COUNT, OPEN)).await;
            if (played? == COUNT) != panics {
                return Err("tasks ended otherwise than they should".into());
            }
            rounds.push(took);
            system.finish().await;
        }
    }
    let well = each(median(&well, |took| took.cpu), COUNT);
    let crashed = each(median(&crashed, |took| took.cpu), COUNT);
    println!(
        "a task that ends well: {well:.1} µs CPU; one that crashes {CRASHES} times: {crashed:.1} µs"
    );
    let crash = crashed / f64::from(CRASHES);
    println!("a crash with its call, its charge, its restart and its requeue: {crash:.1} µs CPU");
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
