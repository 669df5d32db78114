//! What a simulation says: will it do, what does it cost, and what is in the way.

mod goal;
mod html;
mod json;
mod levers;
mod span;
#[cfg(test)]
mod tests;
mod text;
mod use_of;

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::engine::{Replica, SimulationError, Stage, simulate};
use crate::scenario::{Arrival, Goal, LatencyChoice, Scenario};

pub use goal::{PROBABILITY, Verdict};
pub(crate) use goal::{Shortfall, dollars};
pub use html::sweep_html;
pub use levers::{Bottleneck, Effect, Lever, Measure};
pub use use_of::{Use, uses};

/// What a scenario came to, over all its replicas.
#[derive(Debug, Clone)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// The runs, that of the scenario's own seed first; one at least.
    pub replicas: Vec<Replica>,
    /// What was hoped for.
    pub goal: Goal,
    /// Whether that is met.
    pub verdict: Verdict,
    /// What a fifth more of each limit would change; empty where that was not asked.
    pub effects: Vec<Effect>,
    /// What is in the way.
    pub bottleneck: Bottleneck,
    /// How far each limit is used.
    pub uses: Vec<Use>,
    /// What was assumed.
    pub assumptions: Vec<Assumption>,
}

/// Something that a simulation takes for granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assumption {
    /// Of what: `latency of claude-sonnet-4-5`.
    pub what: String,
    /// Where it comes from.
    pub source: String,
    /// Whether it was fitted on calls of the user's own, or is the user's own word.
    pub calibrated: bool,
    /// Whether it is no assumption, but something to know of how the tasks come.
    pub note: bool,
}

impl Report {
    /// Whether it was simulated again to find what is in the way.
    pub(crate) fn was_asked(&self) -> bool {
        !self.effects.is_empty()
    }

    /// Simulates a scenario, all its replicas, on as many threads as there are processors.
    ///
    /// # Errors
    ///
    /// That of the first run that could not be simulated.
    pub fn of(scenario: &Scenario) -> Result<Report, SimulationError> {
        let seeds: Vec<u64> = seeds(scenario).collect();
        let levers = if scenario.run.sensitivity { Lever::of(scenario) } else { Vec::new() };
        let more: Vec<Scenario> = levers.iter().map(|lever| lever.raised(scenario)).collect();
        let mut jobs: Vec<(&Scenario, u64)> = seeds.iter().map(|seed| (scenario, *seed)).collect();
        jobs.extend(more.iter().map(|scenario| (scenario, seeds[0])));
        let mut runs = simulate_all(&jobs)?;
        let raised = runs.split_off(seeds.len());
        let then = more.iter().zip(&raised);
        let effects = levers.into_iter().zip(then);
        let effects = effects
            .map(|(lever, then)| Effect::between(lever, (scenario, &runs[0]), then))
            .collect();
        Ok(Report::new(scenario, runs, effects))
    }

    /// What `runs` of a scenario came to, one at least, and what a fifth more of its limits does.
    pub(crate) fn new(scenario: &Scenario, runs: Vec<Replica>, effects: Vec<Effect>) -> Report {
        Report {
            scenario: scenario.name.clone(),
            goal: scenario.goal.clone(),
            verdict: Verdict::of(scenario, &runs),
            bottleneck: Bottleneck::of(&effects, &runs[0]),
            uses: uses(scenario, &runs[0]),
            assumptions: assumptions(scenario),
            replicas: runs,
            effects,
        }
    }

    /// The run of the scenario's own seed.
    pub fn first(&self) -> &Replica {
        &self.replicas[0]
    }

    /// Whether every assumption is calibrated.
    pub fn is_calibrated(&self) -> bool {
        self.assumptions.iter().all(|assumption| assumption.calibrated)
    }

    /// The values at 5, 50 and 95 % of the replicas, by nearest rank.
    pub fn interval<T: Copy + Ord>(&self, of: impl Fn(&Replica) -> T) -> [T; 3] {
        let mut values: Vec<T> = self.replicas.iter().map(of).collect();
        values.sort_unstable();
        [5, 50, 95].map(|percent| values[(values.len() * percent).div_ceil(100).max(1) - 1])
    }
}

/// The seeds of a scenario's replicas.
pub fn seeds(scenario: &Scenario) -> impl Iterator<Item = u64> {
    let (first, count) = (scenario.run.seed, scenario.run.replicas.get());
    (0..u64::from(count)).map(move |replica| first.wrapping_add(replica))
}

/// Simulates scenarios with seeds, each on a thread of its own, as many at once as there are
/// processors. The results are in the order of the jobs.
///
/// # Errors
///
/// That of the first job that could not be simulated.
///
/// # Panics
///
/// Where a simulation does.
pub fn simulate_all(jobs: &[(&Scenario, u64)]) -> Result<Vec<Replica>, SimulationError> {
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let next = AtomicUsize::new(0);
    let slots: Vec<_> = jobs.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some((scenario, seed)) = jobs.get(place) else { break };
            *slots[place].lock().expect("a slot is written once") = Some(simulate(scenario, *seed));
        }
    };
    std::thread::scope(|scope| {
        let helpers: Vec<_> = (0..threads.min(jobs.len())).map(|_| scope.spawn(work)).collect();
        for helper in helpers {
            helper.join().expect("a simulation does not panic");
        }
    });
    let results = slots.into_iter().map(|slot| slot.into_inner().expect("written"));
    results.map(|result| result.expect("each job was done")).collect()
}

fn assumptions(scenario: &Scenario) -> Vec<Assumption> {
    let agents = scenario.fleet.agent.iter().map(|agent| agent.model.as_str());
    let given = scenario.workload.iter().flat_map(|it| &it.given);
    let mut models: Vec<&str> = agents.chain(given.filter_map(|it| it.model.as_deref())).collect();
    models.sort_unstable();
    models.dedup();
    let spec = &scenario.provider;
    let mut all: Vec<Assumption> = Vec::new();
    for model in models {
        let (name, exact) = match &spec.latency {
            LatencyChoice::ByModel => (model, true),
            LatencyChoice::Named(name) => (name.as_str(), false),
            LatencyChoice::Inline(inline) => {
                let what = format!("latency of {model}");
                let source = inline.source.clone();
                all.push(Assumption { what, source, calibrated: inline.calibrated, note: false });
                continue;
            }
        };
        let what = format!("latency of {model}");
        let Ok(found) = spec.models.find(name) else {
            let source = "none is known: answers come at once".to_owned();
            all.push(Assumption { what, source, calibrated: false, note: false });
            continue;
        };
        let like = if exact && found.exact { "" } else { " (of another model)" };
        let source = format!("{}{like}: {}", found.model.name, found.model.source);
        all.push(Assumption { what, source, calibrated: found.model.calibrated, note: false });
    }
    for workload in &scenario.workload {
        let how = if matches!(workload.arrival, Arrival::Trace(_)) { "trace" } else { "arrival" };
        let what = format!("{how} of {}", workload.name);
        let notes = workload.notes.iter();
        all.extend(notes.map(|note| Assumption {
            what: what.clone(),
            source: note.clone(),
            calibrated: true,
            note: true,
        }));
    }
    all
}

/// The time that a stage took of all tasks, as a share of what `stages` took together.
fn share(run: &Replica, stage: Stage, stages: &[Stage]) -> f64 {
    let of = |stage: Stage| u128::from(run.waits[stage as usize]);
    let all: u128 = stages.iter().map(|stage| of(*stage)).sum();
    if all == 0 { 0.0 } else { of(stage) as f64 / all as f64 }
}

/// A duration in whole milliseconds, rounded.
fn ms(duration: Duration) -> u64 {
    u64::try_from((duration.as_nanos() + 500_000) / 1_000_000).unwrap_or(u64::MAX)
}

/// A number to four digits after the point, so that it is short and the same everywhere.
fn rounded(value: f64) -> f64 {
    libm::round(value * 1e4) / 1e4
}
