//! What is in the way: the scenario is run again with a fifth more of each limit.
//!
//! All runs have the same random numbers, so that what differs is what the limit changes.

use std::num::{NonZeroU32, NonZeroU64};

use agent_core::money::NanoUsd;
use agent_core::permits::AgentRateLimit;
use serde::Serialize;

use super::share;
use crate::engine::{Replica, Stage};
use crate::scenario::{LatencyChoice, Scenario};

/// Something that could be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lever {
    /// More workers of each agent.
    Workers,
    /// More requests a minute.
    RequestsPerMinute,
    /// More input tokens a minute.
    InputTokensPerMinute,
    /// More output tokens a minute.
    OutputTokensPerMinute,
    /// More attempts at once.
    MaxConcurrent,
    /// More calls for each worker.
    RateLimit,
    /// More money in each budget.
    Budget,
    /// A provider that answers sooner.
    ProviderLatency,
}

impl Lever {
    const ALL: [Lever; 8] = [
        Lever::Workers,
        Lever::RequestsPerMinute,
        Lever::InputTokensPerMinute,
        Lever::OutputTokensPerMinute,
        Lever::MaxConcurrent,
        Lever::RateLimit,
        Lever::Budget,
        Lever::ProviderLatency,
    ];

    /// Its name in reports: `requests_per_minute`.
    pub fn name(self) -> &'static str {
        match self {
            Lever::Workers => "workers",
            Lever::RequestsPerMinute => "requests_per_minute",
            Lever::InputTokensPerMinute => "input_tokens_per_minute",
            Lever::OutputTokensPerMinute => "output_tokens_per_minute",
            Lever::MaxConcurrent => "max_concurrent",
            Lever::RateLimit => "rate_limit",
            Lever::Budget => "budget",
            Lever::ProviderLatency => "provider_latency",
        }
    }

    /// The levers that a scenario has.
    pub(super) fn of(scenario: &Scenario) -> Vec<Lever> {
        let (ours, theirs) = (&scenario.fleet.limits, &scenario.provider.limits);
        let has = |lever: &Lever| match lever {
            Lever::Workers | Lever::MaxConcurrent | Lever::ProviderLatency | Lever::RateLimit => {
                true
            }
            Lever::RequestsPerMinute => {
                ours.requests_per_minute.is_some() || theirs.requests_per_minute.is_some()
            }
            Lever::InputTokensPerMinute => {
                ours.input_tokens_per_minute.is_some() || theirs.input_tokens_per_minute.is_some()
            }
            Lever::OutputTokensPerMinute => {
                ours.output_tokens_per_minute.is_some() || theirs.output_tokens_per_minute.is_some()
            }
            Lever::Budget => !scenario.fleet.budget.is_empty(),
        };
        Lever::ALL.into_iter().filter(has).collect()
    }

    /// The scenario with a fifth more of it.
    pub(super) fn raised(self, scenario: &Scenario) -> Scenario {
        let mut raised = scenario.clone();
        let (ours, theirs) = (&mut raised.fleet.limits, &mut raised.provider.limits);
        match self {
            Lever::Workers => {
                raised.fleet.agent.iter_mut().for_each(|agent| agent.count = more(agent.count));
            }
            Lever::RequestsPerMinute => {
                ours.requests_per_minute = ours.requests_per_minute.map(more);
                theirs.requests_per_minute = theirs.requests_per_minute.map(more);
            }
            Lever::InputTokensPerMinute => {
                ours.input_tokens_per_minute = ours.input_tokens_per_minute.map(more_of);
                theirs.input_tokens_per_minute = theirs.input_tokens_per_minute.map(more);
            }
            Lever::OutputTokensPerMinute => {
                ours.output_tokens_per_minute = ours.output_tokens_per_minute.map(more_of);
                theirs.output_tokens_per_minute = theirs.output_tokens_per_minute.map(more);
            }
            Lever::MaxConcurrent => ours.max_concurrent = more(ours.max_concurrent),
            Lever::RateLimit => {
                for agent in &mut raised.fleet.agent {
                    let limit = agent.rate_limit.get_or_insert_with(AgentRateLimit::default);
                    limit.calls = more(limit.calls);
                }
            }
            Lever::Budget => {
                for budget in &mut raised.fleet.budget {
                    let fifth = NanoUsd::from_nanos(budget.limit.nanos() / 5);
                    budget.limit = budget.limit.saturating_add(fifth);
                }
            }
            Lever::ProviderLatency => sooner(&mut raised),
        }
        raised
    }
}

/// A fifth: by how much what is large enough is raised.
const FIFTH: f64 = 0.2;

/// By what share a lever is raised in `raised`: a fifth, or more where there are so few that one
/// more is more than a fifth.
fn raise(lever: Lever, now: &Scenario, raised: &Scenario) -> f64 {
    let sum = |scenario: &Scenario| match lever {
        Lever::Workers => scenario.workers() as f64,
        Lever::MaxConcurrent => f64::from(scenario.fleet.limits.max_concurrent.get()),
        Lever::RequestsPerMinute => {
            let limits = (
                scenario.fleet.limits.requests_per_minute,
                scenario.provider.limits.requests_per_minute,
            );
            limits.0.or(limits.1).map_or(0.0, |requests| f64::from(requests.get()))
        }
        Lever::RateLimit => {
            let agents = scenario.fleet.agent.iter();
            agents.map(|it| f64::from(it.rate_limit.clone().unwrap_or_default().calls.get())).sum()
        }
        Lever::InputTokensPerMinute
        | Lever::OutputTokensPerMinute
        | Lever::Budget
        | Lever::ProviderLatency => 0.0,
    };
    let before = sum(now);
    if before == 0.0 { FIFTH } else { super::rounded(sum(raised) / before - 1.0) }
}

/// A fifth more, and one at least.
fn more(count: NonZeroU32) -> NonZeroU32 {
    count.saturating_add((count.get() / 5).max(1))
}

fn more_of(count: NonZeroU64) -> NonZeroU64 {
    count.saturating_add((count.get() / 5).max(1))
}

/// Answers in five sixths of the time.
fn sooner(scenario: &mut Scenario) {
    let provider = &mut scenario.provider;
    match &mut provider.latency {
        LatencyChoice::Inline(model) => model.scale(1.0 / 1.2),
        LatencyChoice::ByModel | LatencyChoice::Named(_) => provider.models.scale(1.0 / 1.2),
    }
}

/// What more of something changes, as shares of what is: −0.17 is 17 % less.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effect {
    /// Of what.
    pub lever: Lever,
    /// How much more, as a share: a fifth, or what one more is where there are fewer than ten.
    pub raised: f64,
    /// In the makespan.
    pub makespan: f64,
    /// In the mean time of a task.
    pub latency: f64,
    /// In what it costs.
    pub cost: f64,
    /// In the share of the tasks that complete, in points: 0.05 is 5 of 100 more.
    pub success: f64,
}

impl Effect {
    /// Between the run of `scenario` and that of [`Lever::raised`].
    pub(super) fn between(
        lever: Lever,
        (scenario, now): (&Scenario, &Replica),
        (raised, then): (&Scenario, &Replica),
    ) -> Effect {
        let change = |now: f64, then: f64| if now == 0.0 { 0.0 } else { then / now - 1.0 };
        let mean = |run: &Replica| run.latency_sum_ns as f64 / run.latency.len().max(1) as f64;
        let seconds = |run: &Replica| run.makespan.as_secs_f64();
        Effect {
            lever,
            raised: raise(lever, scenario, raised),
            makespan: super::rounded(change(seconds(now), seconds(then))),
            latency: super::rounded(change(mean(now), mean(then))),
            cost: super::rounded(change(
                now.charged().nanos() as f64,
                then.charged().nanos() as f64,
            )),
            success: super::rounded(then.success() - now.success()),
        }
    }

    /// How much better things are with a fifth more of it: tasks that complete count before time.
    ///
    /// What was raised by more than a fifth is taken to act as a power: a second worker halves the
    /// time, and a fifth more of a worker would take a sixth of it, not a tenth.
    fn gain(&self) -> f64 {
        if self.completes_more() {
            return 1.0 + self.success;
        }
        let left = (1.0 + self.makespan.min(self.latency)).clamp(0.0, 1.0);
        1.0 - libm::pow(left, libm::log(1.0 + FIFTH) / libm::log(1.0 + self.raised.max(1e-9)))
    }

    fn completes_more(&self) -> bool {
        self.success > 0.005
    }
}

/// What is in the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Bottleneck {
    /// The lever that would help most; none where none would by a hundredth.
    pub lever: Option<Lever>,
    /// The share of its time that a task waits for it: for `workers` and `rate_limit` of all its
    /// time, for `provider_latency` and the limits of the time in which a worker plays it.
    pub share: f64,
    /// The change with more of it, as a share: −0.17 is 17 % less; of `success` in points.
    pub sensitivity: f64,
    /// Of what; none where nothing is in the way.
    pub sensitivity_of: Option<Measure>,
}

/// What a sensitivity is of: the tasks that complete where more do, else that of the two times
/// which changes more for the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The time until all tasks have ended.
    Makespan,
    /// The mean time of a task, from its arrival to its end.
    MeanLatency,
    /// The share of the tasks that complete.
    Success,
}

/// A gain below this is none.
const NOTICED: f64 = 0.01;

impl Bottleneck {
    pub(super) fn of(effects: &[Effect], run: &Replica) -> Bottleneck {
        let helps = |effect: &&Effect| effect.gain() >= NOTICED;
        let ours = effects.iter().filter(|it| it.lever != Lever::ProviderLatency).filter(helps);
        // Of equals the first.
        let best = ours.fold(None, |best: Option<&Effect>, effect| match best {
            Some(best) if best.gain() >= effect.gain() => Some(best),
            _ => Some(effect),
        });
        let best = best.or_else(|| effects.iter().find(helps));
        let Some(best) = best else {
            return Bottleneck { lever: None, share: 0.0, sensitivity: 0.0, sensitivity_of: None };
        };
        let (sensitivity, of) = match (best.completes_more(), best.latency < best.makespan) {
            (true, _) => (best.success, Measure::Success),
            (false, true) => (best.latency, Measure::MeanLatency),
            (false, false) => (best.makespan, Measure::Makespan),
        };
        Bottleneck {
            lever: Some(best.lever),
            share: super::rounded(waits_for(best.lever, run)),
            sensitivity,
            sensitivity_of: Some(of),
        }
    }

    /// The name of what is in the way: `none` where nothing is.
    pub fn name(&self) -> &'static str {
        self.lever.map_or("none", Lever::name)
    }
}

fn waits_for(lever: Lever, run: &Replica) -> f64 {
    let at_work = &Stage::ALL[1..];
    match lever {
        Lever::Workers | Lever::RateLimit => share(run, Stage::Queue, &Stage::ALL),
        Lever::RequestsPerMinute
        | Lever::InputTokensPerMinute
        | Lever::OutputTokensPerMinute
        | Lever::MaxConcurrent => share(run, Stage::Permit, at_work),
        Lever::Budget => share(run, Stage::Money, at_work),
        Lever::ProviderLatency => share(run, Stage::Provider, at_work),
    }
}

/// The three levers that would help most, the best first.
pub(super) fn suggestions(effects: &[Effect]) -> Vec<&Effect> {
    let mut best: Vec<&Effect> = effects
        .iter()
        .filter(|it| it.lever != Lever::ProviderLatency && it.gain() >= NOTICED)
        .collect();
    best.sort_by(|a, b| b.gain().total_cmp(&a.gain()));
    best.truncate(3);
    best
}
