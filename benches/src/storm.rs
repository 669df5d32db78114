//! A restart storm: 10,000 workers that panic once a second for 20 s, beside 1,000 that work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agent_core::clock::Clock;
use agent_core::permits::ProviderLimits;
use agent_core::supervision::Supervision;
use agent_core::system::AgentSystem;
use agent_core::task::Task;

use crate::Failure;
use crate::client::{InProcess, Storm};
use crate::crowd::silence;
use crate::fleet::agent;
use crate::measure::{Took, measure};

const FRAGILE: u32 = 10_000;
const CALM: u32 = 1_000;
const SECONDS: u32 = 20;
/// Tasks of the calm: as many as they can do undisturbed while the storm lasts.
const CALM_TASKS: u32 = 90_000;
const FRAGILE_TASKS: u32 = 10_000;
const CALM_CALL: Duration = Duration::from_millis(200);
const FRAGILE_CALL: Duration = Duration::from_secs(1);
const CALM_MODEL: &str = "claude-haiku-4-5";
const FRAGILE_MODEL: &str = "claude-sonnet-4-5";

/// What one round came to.
struct Round {
    /// Calm tasks a second.
    calm: f64,
    took: Took,
    panics: u64,
    restarts: u64,
    completed: u64,
    crashed: u64,
}

async fn round(storm: bool) -> Result<Round, Failure> {
    let clock = Clock::real();
    let lasts = if storm { Duration::from_secs(SECONDS.into()) } else { Duration::ZERO };
    let panics: Arc<AtomicU64> = Arc::default();
    let storm = Storm {
        model: FRAGILE_MODEL,
        call: FRAGILE_CALL,
        ends: clock.now() + lasts,
        panics: Arc::clone(&panics),
    };
    let provider = InProcess::after(CALM_CALL).storm(storm);
    let supervision = Supervision {
        max_restarts: u32::MAX,
        backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(1),
        poison_limit: (2 * SECONDS).try_into()?,
        ..Supervision::default()
    };
    let limits =
        ProviderLimits { max_concurrent: (2 * FRAGILE).try_into()?, ..ProviderLimits::default() };
    let system = AgentSystem::builder(provider)
        .agent(agent("calm", CALM_MODEL, CALM)?)
        .agent(agent("fragile", FRAGILE_MODEL, FRAGILE)?)
        .limits(limits)
        .supervision(supervision)
        .max_open_tasks(200_000)
        .start()
        .await?;
    let mut outcomes = system.outcomes();
    let work = async {
        let began = clock.now();
        let fragile = (0..FRAGILE_TASKS).map(|id| ("fragile", id));
        for (agent, id) in fragile.chain((0..CALM_TASKS).map(|id| ("calm", id))) {
            let mut task = Task::new(format!("{agent}-{id}"), "Weather it");
            task.agent = Some(agent.to_owned());
            drop(system.submit(task).await?);
        }
        let (mut calm, mut calm_took) = (0, Duration::ZERO);
        for _ in 0..CALM_TASKS + FRAGILE_TASKS {
            let outcome = outcomes.next().await.ok_or("the run ended early")?;
            if outcome.task_id.as_str().starts_with("calm") {
                calm += 1;
                calm_took = clock.now().since(began);
            }
        }
        Ok::<_, Failure>(f64::from(calm) / calm_took.as_secs_f64())
    };
    let (took, calm) = measure(work).await;
    let summary = system.snapshot().await?.summary;
    if outcomes.try_next().is_some() {
        return Err("a task ended twice".into());
    }
    system.finish().await;
    let crashed = summary.errors.values().sum();
    Ok(Round {
        calm: calm?,
        took,
        panics: panics.load(Ordering::Relaxed),
        restarts: summary.restarts,
        completed: summary.tasks.completed,
        crashed,
    })
}

pub(crate) fn run() -> Result<(), Failure> {
    silence();
    actix::System::new().block_on(async {
        let undisturbed = round(false).await?;
        let storm = round(true).await?;
        println!(
            "{FRAGILE} workers that panic once a second for {SECONDS} s, {CALM} beside them; {} tasks",
            CALM_TASKS + FRAGILE_TASKS
        );
        for (name, round) in [("undisturbed (reference)", &undisturbed), ("storm", &storm)] {
            println!(
                "{name:<24} calm tasks/s {:>7.0}  wall s {:>5.1}  CPU s {:>5.1}  panics {:>7}  restarts {:>7}  \
                 completed {:>6}  failed {:>5}",
                round.calm,
                round.took.wall.as_secs_f64(),
                round.took.cpu.as_secs_f64(),
                round.panics,
                round.restarts,
                round.completed,
                round.crashed,
            );
        }
        println!("throughput of the calm: {:.2} of undisturbed", storm.calm / undisturbed.calm);
        let extra = storm.took.cpu.saturating_sub(undisturbed.took.cpu);
        let each = extra.as_secs_f64() * 1e6 / storm.panics.max(1) as f64;
        println!("CPU for each crash, with its attempt, restart and new attempt: {each:.1} µs");
        Ok(())
    })
}
