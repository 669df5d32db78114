//! The engine: agent-core's own actors in virtual time, on one thread, against a provider that
//! behaves as a scenario says.
//!
//! There is no second model of any decision: queue, workers, limiter, budget and retries are those
//! that a real run has. What is simulated is what is outside: when work comes, what it asks for,
//! how long the provider takes, and what goes wrong there.

mod ask;
mod driver;
mod faults;
mod meter;
#[cfg(test)]
mod oracle;
mod player;
mod provider;
mod script;
#[cfg(test)]
mod tests;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_core::clock::{Clock, Timestamp, VirtualClock};
use agent_core::money::NanoUsd;
use agent_core::store::Entry;
use agent_core::system::{AgentSystem, StartError};
use agent_core::task::ErrorCode;
use agent_core::usage::TokenCounts;
use thiserror::Error;

use crate::scenario::Scenario;
use driver::Driver;
use meter::Meter;
use player::Player;
use script::Script;

pub use ask::Ask;
pub use meter::{Latencies, ModelSums, Series, Slow, Span, Spent, Stage, Sums, Waits};
pub use provider::ScriptedProvider;

/// Why a scenario could not be simulated to its end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SimulationError {
    /// The fleet cannot be started.
    #[error("the fleet cannot be started")]
    Start(#[from] StartError),
    /// Nothing can move any more.
    #[error("nothing can move any more at {at_ms} ms of virtual time: {report}")]
    Stuck {
        /// When, in milliseconds since the start.
        at_ms: u64,
        /// Who waits for what.
        report: String,
    },
    /// The users of a closed loop send one task after the other, and time stands still.
    #[error(
        "workload \"{workload}\": at {at_ms} ms its users send one task after the other and no \
         time passes; the last one ended with {ended}; have them think for a while, such as \
         arrival.think = \"10s\", or give the workload a count"
    )]
    NoTime {
        /// When, in milliseconds since the start.
        at_ms: u64,
        /// Whose users.
        workload: String,
        /// What the last task ended with.
        ended: String,
    },
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Every task has.
    AllDone,
    /// Its time was over; tasks were open.
    TimeOver,
    /// A budget stopped it, or a group of agents failed.
    Stopped,
}

/// What one run of a scenario came to. A function of the scenario and the seed.
#[derive(Debug, Clone)]
pub struct Replica {
    /// The seed.
    pub seed: u64,
    /// How it ended.
    pub end: End,
    /// Tasks that arrived.
    pub arrived: u64,
    /// Those with an answer.
    pub completed: u64,
    /// Those with an error.
    pub failed: u64,
    /// Failed tasks by code.
    pub errors: BTreeMap<ErrorCode, u64>,
    /// From the start to the end of the last task; where tasks were left open, to the end of the run.
    pub makespan: Duration,
    /// Attempts that left.
    pub attempts: u64,
    /// Those with an answer.
    pub succeeded: u64,
    /// Those that were not the first of their call.
    pub retried: u64,
    /// Those that were refused with 429.
    pub rate_limited: u64,
    /// The four token counts.
    pub usage: TokenCounts,
    /// What the calls of each model took, by its one name.
    pub models: BTreeMap<String, ModelSums>,
    /// What is known to be billed.
    pub cost: NanoUsd,
    /// What was charged at its bound, because it is not known whether it was billed.
    pub presumed: NanoUsd,
    /// How ended tasks spent their time, in nanoseconds, all of them together.
    pub waits: Waits,
    /// From arrival to end.
    pub latency: Latencies,
    /// The sum of the same, in nanoseconds.
    pub latency_sum_ns: u128,
    /// Restarts of workers.
    pub restarts: u64,
    /// What was spent of each budget; budgets of single tasks are left out.
    pub budgets: Vec<Spent>,
    /// What happened when.
    pub series: Series,
    /// The slowest tasks, the slowest first.
    pub slowest: Vec<Slow>,
    /// Events that the hash is over.
    pub events: u64,
    /// A number that two runs share where the same happened in the same order.
    pub event_hash: u64,
}

impl Replica {
    /// What it cost, what is presumed included.
    pub fn charged(&self) -> NanoUsd {
        self.cost.saturating_add(self.presumed)
    }

    /// What `percent` of the ended tasks did not exceed: exactly of up to 4,096 tasks, of more to
    /// three digits.
    pub fn latency_at(&self, percent: f64) -> Duration {
        self.latency.at(percent)
    }

    /// The share of the tasks that completed, 0 to 1; 1 where there was none.
    pub fn success(&self) -> f64 {
        if self.arrived == 0 { 1.0 } else { self.completed as f64 / self.arrived as f64 }
    }
}

/// Runs a scenario once, with this seed, in virtual time.
///
/// # Errors
///
/// [`SimulationError`] where the fleet cannot be started, or nothing can move any more.
pub fn simulate(scenario: &Scenario, seed: u64) -> Result<Replica, SimulationError> {
    let system: Rc<OnceCell<(AgentSystem, Clock)>> = Rc::default();
    let seen = Rc::clone(&system);
    VirtualClock::run_or(
        scenario.run.start,
        |clock| async move {
            let provider = ScriptedProvider::new(scenario, seed, clock.clone());
            run(scenario, seed, clock, provider, &system, |_| ()).await
        },
        || stuck(seen, scenario),
    )
}

/// Runs a scenario once against `client`, on `clock`: in real time, say, over HTTP.
///
/// # Errors
///
/// [`SimulationError::Start`] where the fleet cannot be started.
pub async fn rehearse(
    scenario: &Scenario,
    seed: u64,
    clock: Clock,
    client: impl agent_core::llm::LlmClient + 'static,
) -> Result<Replica, SimulationError> {
    run(scenario, seed, clock, client, &OnceCell::new(), |_| ()).await
}

pub(crate) async fn run(
    scenario: &Scenario,
    seed: u64,
    clock: Clock,
    client: impl agent_core::llm::LlmClient + 'static,
    shown: &OnceCell<(AgentSystem, Clock)>,
    mut see: impl FnMut(&[Entry]) + Send + 'static,
) -> Result<Replica, SimulationError> {
    let start = clock.now();
    let script = Arc::new(Script::new(scenario, seed));
    let mut fleet = scenario.fleet.clone();
    for agent in &mut fleet.agent {
        let script = Arc::clone(&script);
        *agent = agent.clone().behaviour(move || Player(Arc::clone(&script)));
    }
    let meter = Arc::new(Mutex::new(Meter::new(start, &fleet.budget)));
    let driver = Driver::new(Arc::clone(&script), Arc::clone(&meter), clock.clone());
    let mut measure = driver.observer();
    let observer = move |entries: &[Entry]| {
        see(entries);
        measure(entries);
    };
    let system = AgentSystem::builder(client)
        .fleet(&fleet)
        .catalogue(Arc::clone(&scenario.prices))
        .clock(clock.clone())
        .seed(seed)
        .observe(observer)
        .start()
        .await?;
    // Who looks from outside where nothing moves.
    _ = shown.set((system.clone(), clock.clone()));
    let end = driver.drive(&system, scenario.run.until).await?;
    let over = clock.now();
    let restarts = system.snapshot().await.map_or(0, |snapshot| snapshot.summary.restarts);
    system.shutdown(end.into(), Duration::ZERO).await;
    let meter = meter.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(replica(&meter, seed, (start, over), end, restarts))
}

fn replica(
    meter: &Meter,
    seed: u64,
    (start, over): (Timestamp, Timestamp),
    end: End,
    restarts: u64,
) -> Replica {
    let last = match end {
        End::AllDone => meter.last_end,
        End::TimeOver | End::Stopped => meter.last_end.max(over),
    };
    Replica {
        seed,
        end,
        arrived: meter.arrived,
        completed: meter.completed,
        failed: meter.failed,
        errors: meter.errors.clone(),
        makespan: last.since(start),
        attempts: meter.attempts,
        succeeded: meter.succeeded,
        retried: meter.retried,
        rate_limited: meter.rate_limited,
        usage: meter.usage,
        models: meter.models.clone(),
        cost: meter.cost,
        presumed: meter.presumed,
        waits: meter.waits,
        latency: meter.latency.clone(),
        latency_sum_ns: meter.latency_sum_ns,
        restarts,
        budgets: meter.spending.spent(),
        series: meter.series.clone(),
        slowest: meter.slowest.clone(),
        events: meter.events(),
        event_hash: meter.event_hash(),
    }
}

impl From<End> for agent_core::system::Ended {
    fn from(end: End) -> agent_core::system::Ended {
        match end {
            End::AllDone => agent_core::system::Ended::Finished,
            End::TimeOver => agent_core::system::Ended::Interrupted,
            End::Stopped => agent_core::system::Ended::Stopped,
        }
    }
}

/// Who waits for what.
async fn stuck(
    seen: Rc<OnceCell<(AgentSystem, Clock)>>,
    scenario: &Scenario,
) -> Result<Replica, SimulationError> {
    let Some((system, clock)) = seen.get() else {
        let report = "the system has not started".to_owned();
        return Err(SimulationError::Stuck { at_ms: 0, report });
    };
    let at_ms = clock.now().since(scenario.run.start).as_millis() as u64;
    let Ok(snapshot) = system.snapshot().await else {
        let report = "the system is gone".to_owned();
        return Err(SimulationError::Stuck { at_ms, report });
    };
    let workers = &snapshot.workers;
    let mut report = format!(
        "{} tasks wait for a worker, {} are played; of the workers {} are ready, {} rest, {} are \
         busy, {} are down, {} are gone; {} attempts are in flight",
        snapshot.queued,
        snapshot.running,
        workers.ready,
        workers.resting,
        workers.busy,
        workers.down,
        workers.gone,
        snapshot.in_flight
    );
    for budget in &snapshot.budgets {
        report.push_str(&format!(
            "; budget {} has ${} of ${} spent and ${} reserved",
            budget.scope, budget.spent, budget.limit, budget.reserved
        ));
    }
    Err(SimulationError::Stuck { at_ms, report })
}
