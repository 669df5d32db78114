//! The smallest fleet that meets a goal: workers, usage tier and budget.
//!
//! For each tier the number of workers is raised by half until nine of ten replicas meet the goal, or
//! until more workers bring it no closer, and then narrowed down; all have the same random numbers, so
//! that more workers are never slower by chance alone. The budget is what nine of ten replicas spend, raised until the
//! fleet meets the goal within it.

mod search;
mod show;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;

use agent_core::ledger::{BudgetSpec, ScopePattern};
use agent_core::money::NanoUsd;

use crate::engine::{Replica, SimulationError};
use crate::mock::Limits;
use crate::report::{PROBABILITY, Report, Verdict};
use crate::scenario::{Scenario, TIERS};
use search::{meets_goal, smallest};

/// Replicas where the scenario has fewer.
const REPLICAS: NonZeroU32 = NonZeroU32::new(10).expect("10 is not zero");

/// Most workers that are tried.
const MOST_WORKERS: u64 = 4_096;

/// How often a budget is raised by a quarter.
const RAISES: u32 = 24;

/// A cent, in nano-dollars: budgets are planned in whole ones.
const CENT: u64 = 10_000_000;

/// Limits that a fleet could have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Those that the scenario has.
    AsWritten,
    /// Those of a usage tier, 1 to 4.
    Tier(u8),
}

impl Choice {
    const ALL: [Choice; 5] =
        [Choice::AsWritten, Choice::Tier(1), Choice::Tier(2), Choice::Tier(3), Choice::Tier(4)];

    /// Its name in reports: `tier 2`.
    pub fn name(self) -> String {
        match self {
            Choice::AsWritten => "as written".to_owned(),
            Choice::Tier(tier) => format!("tier {tier}"),
        }
    }

    fn of(self, scenario: &Scenario) -> Scenario {
        let mut chosen = scenario.clone();
        if let Choice::Tier(tier) = self {
            let limits = Limits::from(TIERS[usize::from(tier) - 1]);
            let ours = &mut chosen.fleet.limits;
            ours.requests_per_minute = limits.requests_per_minute;
            ours.input_tokens_per_minute = limits.input_tokens_per_minute.map(Into::into);
            ours.output_tokens_per_minute = limits.output_tokens_per_minute.map(Into::into);
            chosen.provider.limits = limits;
        }
        chosen
    }
}

/// A fleet that was tried, and what it came to.
#[derive(Debug, Clone)]
pub struct Fitting {
    /// With which limits.
    pub choice: Choice,
    /// With how many workers in all.
    pub workers: u64,
    /// With how many calls at once at most: one for each worker at least.
    pub max_concurrent: u32,
    /// Whether it meets the goal.
    pub verdict: Verdict,
    /// What it came to; with the limit that is in the way.
    pub report: Report,
}

/// What would meet a goal.
#[derive(Debug, Clone)]
pub struct Plan {
    /// For each choice of limits the smallest fleet that meets the goal, or the one that came closest
    /// where none does.
    pub options: Vec<Fitting>,
    /// The best of them: the lowest tier that will do.
    pub best: Option<usize>,
    /// The smallest budget with which the best meets the goal, a cent or a hundredth too large at
    /// most.
    pub budget: Option<NanoUsd>,
    /// The best with more and with fewer workers: what time costs.
    pub trade_off: Vec<Fitting>,
    /// What the scenario itself has for most calls at once.
    pub max_concurrent: u32,
}

impl Plan {
    /// Searches. Takes some hundred simulations.
    ///
    /// # Errors
    ///
    /// That of the first run that could not be simulated.
    pub fn of(scenario: &Scenario) -> Result<Plan, SimulationError> {
        let mut scenario = scenario.clone();
        scenario.run.replicas = scenario.run.replicas.max(REPLICAS);
        // The budget over all is what is looked for.
        scenario.fleet.budget.retain(|budget| budget.scope != ScopePattern::global());
        let limits = &scenario.provider.limits;
        let is_limited = limits.requests_per_minute.is_some()
            || limits.input_tokens_per_minute.is_some()
            || limits.output_tokens_per_minute.is_some();
        let choices = Choice::ALL.into_iter().skip(usize::from(!is_limited));
        let options =
            choices.map(|choice| smallest(&scenario, choice)).collect::<Result<Vec<_>, _>>()?;
        // Tiers rise in the list; what is written comes first and is had already.
        let best = options.iter().position(|option| option.verdict.met);
        let (mut budget, mut trade_off) = (None, Vec::new());
        if let Some(best) = best {
            let Fitting { choice, workers, .. } = options[best];
            budget =
                smallest_budget(&with_workers(&choice.of(&scenario), workers), &options[best])?;
            for workers in [workers / 2, workers, workers * 2, workers * 4] {
                if (1..=MOST_WORKERS).contains(&workers) {
                    trade_off.push(fitting(&scenario, choice, workers)?);
                }
            }
        }
        let max_concurrent = scenario.fleet.limits.max_concurrent.get();
        Ok(Plan { options, best, budget, trade_off, max_concurrent })
    }
}

/// The fleet with so many workers in all, each agent with its share of them, one at least.
fn with_workers(scenario: &Scenario, workers: u64) -> Scenario {
    let mut sized = scenario.clone();
    let before = scenario.workers();
    for agent in &mut sized.fleet.agent {
        let share = u64::from(agent.count.get()) * workers;
        let count = u32::try_from(share.div_ceil(before)).unwrap_or(u32::MAX);
        agent.count = NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
    }
    // A cap on calls at once that is lower than the workers would plan for the cap.
    let workers = u32::try_from(sized.workers()).unwrap_or(u32::MAX);
    let cap = &mut sized.fleet.limits.max_concurrent;
    *cap = NonZeroU32::new(workers).map_or(*cap, |workers| workers.max(*cap));
    sized
}

fn fitting(scenario: &Scenario, choice: Choice, workers: u64) -> Result<Fitting, SimulationError> {
    let sized = with_workers(&choice.of(scenario), workers);
    let report = Report::of(&sized)?;
    let max_concurrent = sized.fleet.limits.max_concurrent.get();
    let (workers, verdict) = (sized.workers(), report.verdict.clone());
    Ok(Fitting { choice, workers, max_concurrent, verdict, report })
}

/// The smallest budget over all with which the goal is met still.
fn smallest_budget(
    scenario: &Scenario,
    best: &Fitting,
) -> Result<Option<NanoUsd>, SimulationError> {
    let mut spent: Vec<NanoUsd> = best.report.replicas.iter().map(Replica::charged).collect();
    spent.sort_unstable();
    let place = libm::ceil(spent.len() as f64 * PROBABILITY) as usize;
    let meets = |limit: NanoUsd| {
        let mut limited = scenario.clone();
        limited.fleet.budget.push(BudgetSpec::new(ScopePattern::global(), limit));
        meets_goal(&limited)
    };
    let (mut fails, mut limit) = (NanoUsd::ZERO, to_cents(spent[place.max(1) - 1]));
    // Calls at once reserve far more than they cost: a small batch needs many times what it spends.
    let mut raises = 0..RAISES;
    while !meets(limit)? {
        if raises.next().is_none() {
            return Ok(None);
        }
        let quarter = NanoUsd::from_nanos(limit.nanos() / 4);
        (fails, limit) = (limit, to_cents(limit.saturating_add(quarter)));
    }
    // Where all tasks must complete, none may do without what nine of ten replicas spend: only what
    // was raised may be too much. Where some may fail, there may be a smaller one in any case.
    let may_be_less = !fails.is_zero() || scenario.goal.min_success.is_some_and(|it| it < 1.0);
    while may_be_less && limit.nanos() - fails.nanos() > (limit.nanos() / 100).max(CENT) {
        let middle = to_cents(NanoUsd::from_nanos(fails.nanos().midpoint(limit.nanos())));
        *(if meets(middle)? { &mut limit } else { &mut fails }) = middle;
    }
    Ok(Some(limit))
}

/// The next whole cent.
fn to_cents(amount: NanoUsd) -> NanoUsd {
    NanoUsd::from_nanos(amount.nanos().div_ceil(CENT) * CENT)
}
