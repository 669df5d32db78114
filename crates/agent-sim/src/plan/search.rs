//! The search for the smallest fleet: upwards, since too many workers may fail where fewer do not.
//!
//! Who waits for a permit in a crowd waits longer than it may, and users who are served sooner ask
//! for more: that the most workers fail says nothing of fewer.

use super::{Choice, Fitting, MOST_WORKERS, fitting, with_workers};
use crate::engine::SimulationError;
use crate::report::{PROBABILITY, Shortfall, Verdict, seeds, simulate_all};
use crate::scenario::{Arrival, Scenario};

/// Steps in a row that may bring nothing before the search is given up: each adds half of the
/// workers, so that work of which each has a task or two is shared out anew.
const IDLE_STEPS: u32 = 2;

/// The smallest fleet with these limits that meets the goal; the one closest to it where none does.
pub(super) fn smallest(scenario: &Scenario, choice: Choice) -> Result<Fitting, SimulationError> {
    let chosen = choice.of(scenario);
    let least = chosen.fleet.agent.len() as u64;
    let most = most_workers(&chosen).max(least);
    let (mut fails, mut workers) = (least - 1, least);
    let (mut closest, mut last, mut idle) = ((f64::INFINITY, workers), Shortfall::FARTHEST, 0);
    loop {
        let tried = Tried::of(&with_workers(&chosen, workers))?;
        if tried.meets {
            break;
        }
        idle = if tried.lacks.is_closer_than(&last) { 0 } else { idle + 1 };
        last = tried.lacks;
        if last.total() < closest.0 {
            closest = (last.total(), workers);
        }
        if idle >= IDLE_STEPS || workers == most {
            return fitting(scenario, choice, closest.1);
        }
        (fails, workers) = (workers, (workers + workers.div_ceil(2)).min(most));
    }
    let mut meets = workers;
    while fails + 1 < meets {
        let middle = fails + (meets - fails) / 2;
        *(if meets_goal(&with_workers(&chosen, middle))? { &mut meets } else { &mut fails }) =
            middle;
    }
    fitting(scenario, choice, meets)
}

/// More workers than tasks are of no use.
fn most_workers(scenario: &Scenario) -> u64 {
    let tasks = scenario.workload.iter().map(|workload| match &workload.arrival {
        Arrival::Trace(tasks) => tasks.len() as u64,
        Arrival::Closed { users, .. } => *users,
        Arrival::Open(_) => workload.count.unwrap_or(MOST_WORKERS),
    });
    tasks.fold(0, u64::saturating_add).clamp(1, MOST_WORKERS)
}

/// Whether nine of ten replicas meet the goal; ends as soon as that cannot be any more.
pub(super) fn meets_goal(scenario: &Scenario) -> Result<bool, SimulationError> {
    Tried::of(scenario).map(|tried| tried.meets)
}

/// What became of a goal.
struct Tried {
    meets: bool,
    /// What the runs lack that were simulated until it was clear, in each part the most.
    lacks: Shortfall,
}

impl Tried {
    fn of(scenario: &Scenario) -> Result<Tried, SimulationError> {
        let seeds: Vec<u64> = seeds(scenario).collect();
        let may_fail = seeds.len() - libm::ceil(seeds.len() as f64 * PROBABILITY) as usize;
        let (mut failed, mut at, mut lacks) = (0, 0, Shortfall::NONE);
        while at < seeds.len() && failed <= may_fail {
            // Few at once at first: where the goal is far off, they tell it.
            let next = (at + may_fail + 1).min(seeds.len());
            let jobs: Vec<_> = seeds[at..next].iter().map(|seed| (scenario, *seed)).collect();
            for run in simulate_all(&jobs)? {
                failed += usize::from(!Verdict::of(scenario, std::slice::from_ref(&run)).met);
                lacks = lacks.and(&Shortfall::of(&scenario.goal, &run));
            }
            at = next;
        }
        Ok(Tried { meets: failed <= may_fail, lacks })
    }
}
