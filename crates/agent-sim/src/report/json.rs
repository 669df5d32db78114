//! The report as JSON: a function of scenario and seed, byte for byte.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Effect, Lever, Report, Use, ms, rounded};
use crate::engine::{End, Replica, Stage};

/// The version of the form; raised where something changes its meaning.
const FORM: u32 = 1;

/// The values at 5, 50 and 95 % of the replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Interval<T> {
    p5: T,
    p50: T,
    p95: T,
}

impl<T> From<[T; 3]> for Interval<T> {
    fn from([p5, p50, p95]: [T; 3]) -> Interval<T> {
        Interval { p5, p50, p95 }
    }
}

impl Report {
    /// The report as one JSON object.
    pub fn json(&self) -> Value {
        let run = self.first();
        let mut object = json!({
            "version": FORM,
            "scenario": self.scenario,
            "seed": run.seed,
            "replicas": self.replicas.len(),
            "calibrated": self.is_calibrated(),
            "goal_met": self.verdict.met,
            "goal_probability": rounded(self.verdict.probability),
            "why_not": self.verdict.why_not,
            "end": end(run.end),
            "tasks": {
                "total": run.arrived, "completed": run.completed, "failed": run.failed,
                "open": run.arrived - run.completed - run.failed,
            },
            "errors": run.errors,
            "makespan_ms": ms(run.makespan),
            "cost_usd": run.cost,
            "presumed_cost_usd": run.presumed,
            "calls": {
                "attempts": run.attempts, "succeeded": run.succeeded,
                "failed": run.attempts - run.succeeded, "retried": run.retried,
                "rate_limited": run.rate_limited,
            },
            "usage": run.usage,
            "restarts": run.restarts,
            "latency_ms": latency(run),
            "waits_ms": waits(run),
            "limits": self.limits(),
            "bottleneck": {
                "name": self.was_asked().then(|| self.bottleneck.name()), "share": self.bottleneck.share,
                "sensitivity": self.bottleneck.sensitivity,
                "sensitivity_of": self.bottleneck.sensitivity_of,
            },
            "sensitivity": self.sensitivity(),
            "assumptions": self.assumptions.iter().map(|it| json!({
                "what": it.what, "source": it.source, "calibrated": it.calibrated,
            })).collect::<Vec<_>>(),
            "events": run.events,
            "event_hash": format!("{:016x}", run.event_hash),
        });
        if self.replicas.len() > 1 {
            object["intervals"] = self.intervals();
        }
        object
    }

    fn limits(&self) -> BTreeMap<&str, Value> {
        let uses = self.uses.iter();
        uses.map(|it| (it.name.as_str(), limit(it))).collect()
    }

    fn sensitivity(&self) -> Vec<Value> {
        let effects = self.effects.iter().map(|effect| {
            json!({
                "lever": effect.lever.name(), "raised": raised(effect), "makespan": effect.makespan,
                "latency": effect.latency, "cost": effect.cost, "success": effect.success,
            })
        });
        effects.collect()
    }

    fn intervals(&self) -> Value {
        let of_latency =
            |percent: f64| Interval::from(self.interval(|run| ms(run.latency_at(percent))));
        json!({
            "makespan_ms": Interval::from(self.interval(|run| ms(run.makespan))),
            "cost_usd": Interval::from(self.interval(|run| run.cost)),
            "presumed_cost_usd": Interval::from(self.interval(|run| run.presumed)),
            "completed": Interval::from(self.interval(|run| run.completed)),
            "failed": Interval::from(self.interval(|run| run.failed)),
            "attempts": Interval::from(self.interval(|run| run.attempts)),
            "rate_limited": Interval::from(self.interval(|run| run.rate_limited)),
            "latency_p50_ms": of_latency(50.0),
            "latency_p95_ms": of_latency(95.0),
        })
    }
}

/// By what share the value of its name is raised: answers that come a fifth faster take a sixth
/// less time.
fn raised(effect: &Effect) -> f64 {
    match effect.lever {
        Lever::ProviderLatency => rounded(1.0 / (1.0 + effect.raised) - 1.0),
        _ => effect.raised,
    }
}

fn limit(it: &Use) -> Value {
    match &it.budget {
        None => json!({ "limit": it.limit, "use": it.share, "use_of": "average" }),
        Some(budget) => json!({
            "limit_usd": budget.limit, "spent_usd": budget.total, "use": it.share,
            "use_of": "fullest_window", "window": budget.window.to_string(),
        }),
    }
}

fn end(end: End) -> &'static str {
    match end {
        End::AllDone => "all_done",
        End::TimeOver => "time_over",
        End::Stopped => "stopped",
    }
}

/// The mean of what all ended tasks took together, in whole milliseconds.
fn mean(run: &Replica, sum_ns: u128) -> u64 {
    let mean_ns = sum_ns / u128::from(run.latency.len().max(1));
    ms(Duration::from_nanos(u64::try_from(mean_ns).unwrap_or(u64::MAX)))
}

fn latency(run: &Replica) -> Value {
    let percentile = |percent: f64| ms(run.latency_at(percent));
    json!({
        "mean": mean(run, run.latency_sum_ns), "p50": percentile(50.0),
        "p90": percentile(90.0), "p95": percentile(95.0), "p99": percentile(99.0),
    })
}

/// The mean of an ended task, by stage.
fn waits(run: &Replica) -> BTreeMap<&'static str, u64> {
    let of = |stage: Stage| mean(run, u128::from(run.waits[stage as usize]));
    Stage::ALL.into_iter().map(|stage| (stage.name(), of(stage))).collect()
}
