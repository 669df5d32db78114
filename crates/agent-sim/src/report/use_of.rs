//! How far each limit is used, over the whole of a run.

use agent_core::money::NanoUsd;

use crate::engine::{ModelSums, Replica, Spent, Stage};
use crate::scenario::Scenario;

/// How far a limit is used.
#[derive(Debug, Clone, PartialEq)]
pub struct Use {
    /// Its name: `requests_per_minute`, `workers`, `budget project:web`.
    pub name: String,
    /// The limit: so many, or dollars for a budget.
    pub limit: f64,
    /// The share of it that was used, on average over the run, at most 1: a run that is shorter than
    /// a minute is taken for one. A budget's is what its fullest window has spent. Of several models,
    /// that which used most.
    pub share: f64,
    /// Where it is a budget: what was spent of it.
    pub budget: Option<Spent>,
}

/// The use of each limit that a scenario has.
pub fn uses(scenario: &Scenario, run: &Replica) -> Vec<Use> {
    let limits = &scenario.fleet.limits;
    let seconds = run.makespan.as_secs_f64();
    // A limit admits a minute's worth however short the run is.
    let minutes = (seconds / 60.0).max(1.0);
    let mut all = Vec::new();
    let mut push = |name: &str, limit: Option<f64>, of: &dyn Fn(&ModelSums) -> f64| {
        let Some(limit) = limit else { return };
        let most = run.models.values().map(of).fold(0.0, f64::max);
        let share = if seconds > 0.0 { (most / limit).min(1.0) } else { 0.0 };
        all.push(Use { name: name.to_owned(), limit, share: super::rounded(share), budget: None });
    };
    let provider = &scenario.provider.limits;
    let lower = |ours: Option<f64>, theirs: Option<f64>| match (ours, theirs) {
        (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
        (ours, theirs) => ours.or(theirs),
    };
    let requests = lower(
        limits.requests_per_minute.map(|n| f64::from(n.get())),
        provider.requests_per_minute.map(|n| f64::from(n.get())),
    );
    let input = lower(
        limits.input_tokens_per_minute.map(|n| n.get() as f64),
        provider.input_tokens_per_minute.map(|n| f64::from(n.get())),
    );
    let output = lower(
        limits.output_tokens_per_minute.map(|n| n.get() as f64),
        provider.output_tokens_per_minute.map(|n| f64::from(n.get())),
    );
    push("requests_per_minute", requests, &|sums| sums.attempts as f64 / minutes);
    push("input_tokens_per_minute", input, &|sums| sums.input_tokens as f64 / minutes);
    push("output_tokens_per_minute", output, &|sums| sums.output_tokens as f64 / minutes);
    let at_once = f64::from(limits.max_concurrent.get());
    push("max_concurrent", Some(at_once), &|sums| sums.in_flight_ns as f64 / 1e9 / seconds);
    all.push(workers(scenario, run));
    all.push(rate_limit(scenario, run));
    all.extend(run.budgets.iter().map(|budget| {
        let dollars = |amount: NanoUsd| amount.nanos() as f64 / 1e9;
        let (used, limit) = (dollars(budget.fullest), dollars(budget.limit));
        let share = if limit > 0.0 { super::rounded(used / limit) } else { 1.0 };
        let name = format!("budget {}", budget.scope);
        Use { name, limit, share, budget: Some(budget.clone()) }
    }));
    all
}

/// The workers' own limits, as calls a minute of all workers together; a run that is shorter than
/// their window is taken for one.
fn rate_limit(scenario: &Scenario, run: &Replica) -> Use {
    let mut limit = 0.0;
    let mut longest: f64 = 0.0;
    for agent in &scenario.fleet.agent {
        let own = agent.rate_limit.clone().unwrap_or_default();
        let minutes = own.per.as_secs_f64() / 60.0;
        limit += f64::from(agent.count.get()) * f64::from(own.calls.get()) / minutes;
        longest = longest.max(minutes);
    }
    let minutes = (run.makespan.as_secs_f64() / 60.0).max(longest);
    let share = (run.attempts as f64 / minutes / limit).min(1.0);
    Use { name: "rate_limit".to_owned(), limit, share: super::rounded(share), budget: None }
}

fn workers(scenario: &Scenario, run: &Replica) -> Use {
    let count = scenario.workers() as f64;
    let busy: u128 = Stage::ALL[1..].iter().map(|it| u128::from(run.waits[*it as usize])).sum();
    let seconds = run.makespan.as_secs_f64();
    let share = if seconds > 0.0 { (busy as f64 / 1e9 / seconds / count).min(1.0) } else { 0.0 };
    Use { name: "workers".to_owned(), limit: count, share: super::rounded(share), budget: None }
}
