//! Whether a goal is met, and how sure that is.

use std::time::Duration;

use agent_core::money::NanoUsd;

use crate::engine::{End, Replica};
use crate::scenario::{Goal, Scenario};

/// A goal is met where at least this share of the replicas meets it.
pub const PROBABILITY: f64 = 0.9;

/// What became of the goal.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Whether it is met.
    pub met: bool,
    /// The share of the replicas that meets it, 0 to 1.
    pub probability: f64,
    /// What the first replica that fails it lacks, as half-sentences.
    pub why_not: Vec<String>,
    /// The seed of that replica.
    pub fails_with: Option<u64>,
}

impl Verdict {
    pub(crate) fn of(scenario: &Scenario, replicas: &[Replica]) -> Verdict {
        let lacks: Vec<Vec<String>> =
            replicas.iter().map(|run| lacks(&scenario.goal, run)).collect();
        let met = lacks.iter().filter(|lacks| lacks.is_empty()).count();
        let probability = met as f64 / replicas.len() as f64;
        let fails = replicas.iter().zip(lacks).find(|(_, lacks)| !lacks.is_empty());
        let (fails_with, why_not) =
            fails.map(|(run, lacks)| (Some(run.seed), lacks)).unwrap_or_default();
        Verdict { met: probability >= PROBABILITY, probability, why_not, fails_with }
    }

    /// What is lacking, as it is told of `runs` replicas: where there are several, of which. The
    /// times and costs beside it are the median of all.
    pub(super) fn told(&self, runs: usize) -> impl Iterator<Item = String> {
        let seed = self.fails_with.filter(|_| runs > 1);
        let of = seed.map_or_else(String::new, |seed| format!("seed {seed}: "));
        self.why_not.iter().map(move |why| format!("{of}{why}"))
    }
}

/// What a run lacks; all tasks must complete where the goal does not say how many.
fn lacks(goal: &Goal, run: &Replica) -> Vec<String> {
    let mut lacks = Vec::new();
    if run.arrived == 0 {
        lacks.push("no task came".to_owned());
    }
    let (charged, success) = (run.charged(), run.success());
    if let Some(deadline) = goal.deadline.filter(|deadline| run.makespan > *deadline) {
        let exact = |time: Duration| format!("{} s", digits(time.as_nanos(), 9));
        let [took, deadline] = apart([run.makespan, deadline], super::span::short, exact);
        lacks.push(format!("it takes {took}, longer than {deadline}"));
    } else if goal.deadline.is_some() && run.end != End::AllDone {
        lacks.push("it does not come to its end".to_owned());
    }
    if let Some(most) = goal.max_cost.filter(|most| charged > *most) {
        let in_cents = most.nanos() % CENT == 0;
        let usual = |it| if in_cents { dollars(it) } else { it.to_string() };
        let [charged, most] = apart([charged, most], usual, |it| it.to_string());
        lacks.push(format!("it costs ${charged}, more than ${most}"));
    }
    let least = goal.min_success.unwrap_or(1.0);
    if success < least {
        let rounded = |share: f64| {
            let tenths = libm::round(share * 1e3) as u128;
            digits(tenths, 1)
        };
        let [success, least] =
            apart([success, least], rounded, |share| (share * 100.0).to_string());
        lacks.push(format!("{success} % of its tasks complete, fewer than {least} %"));
    }
    lacks
}

/// How far a run is from a goal: too late, too dear, too few tasks; each as a share of what is
/// hoped for, 0 where that is met.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shortfall([f64; 3]);

impl Shortfall {
    /// Of a run that lacks nothing.
    pub(crate) const NONE: Shortfall = Shortfall([0.0; 3]);
    /// Farther than any run.
    pub(crate) const FARTHEST: Shortfall = Shortfall([f64::INFINITY; 3]);

    pub(crate) fn of(goal: &Goal, run: &Replica) -> Shortfall {
        let late = goal.deadline.map_or(0.0, |deadline| {
            let late = run.makespan.saturating_sub(deadline).as_secs_f64();
            let ended = run.end == End::AllDone || late > 0.0;
            if ended { late / deadline.as_secs_f64().max(1e-9) } else { f64::MAX }
        });
        let dear = goal.max_cost.map_or(0.0, |most| {
            let over = run.charged().saturating_sub(most).nanos();
            over as f64 / most.nanos().max(1) as f64
        });
        // Where no task came, none completes.
        let success = if run.arrived == 0 { 0.0 } else { run.success() };
        let least = goal.min_success.unwrap_or(1.0);
        let few = (least - success).max(0.0) + if run.arrived == 0 { 1.0 } else { 0.0 };
        Shortfall([late, dear, few])
    }

    /// The farther of both, part by part.
    pub(crate) fn and(&self, other: &Shortfall) -> Shortfall {
        Shortfall(std::array::from_fn(|part| self.0[part].max(other.0[part])))
    }

    /// Whether a part of it is smaller by a hundredth at least.
    pub(crate) fn is_closer_than(&self, other: &Shortfall) -> bool {
        self.0.iter().zip(&other.0).any(|(mine, its)| *mine < its * 0.99)
    }

    /// All parts together.
    pub(crate) fn total(&self) -> f64 {
        self.0.iter().sum()
    }
}

/// Two values as they are usually written, or exactly where they would look the same.
fn apart<T: Copy>(
    two: [T; 2],
    usual: impl Fn(T) -> String,
    exact: impl Fn(T) -> String,
) -> [String; 2] {
    let [one, other] = two.map(usual);
    if one == other { two.map(exact) } else { [one, other] }
}

/// A whole number of parts of ten to the power of `places`, without zeros at the end.
fn digits(parts: u128, places: usize) -> String {
    let one = 10_u128.pow(places as u32);
    let text = format!("{}.{:0places$}", parts / one, parts % one);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A cent, in nano-dollars.
const CENT: u64 = 10_000_000;

/// Dollars to the cent.
pub(crate) fn dollars(amount: NanoUsd) -> String {
    let cents = (amount.nanos() + CENT / 2) / CENT;
    format!("{}.{:02}", cents / 100, cents % 100)
}
