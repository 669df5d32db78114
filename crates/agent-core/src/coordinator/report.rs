//! What a run has come to: counted as its tasks end.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::money::NanoUsd;
use crate::task::{ErrorCode, Outcome, Status};
use crate::usage::TokenCounts;
use crate::worker::job::Tally;

/// Counts of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct TaskCounts {
    /// Accepted.
    pub total: u64,
    /// Ended with an answer.
    pub completed: u64,
    /// Ended with an error.
    pub failed: u64,
}

/// Counts of attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct CallCounts {
    /// Requests sent to a provider.
    pub attempts: u64,
    /// Those that brought an answer.
    pub succeeded: u64,
    /// Those that did not.
    pub failed: u64,
    /// Those that were sent again after a failure.
    pub retried: u64,
}

/// Percentiles of the time from the first start of a task's work to its end, in milliseconds: exact
/// below two seconds, to one part in a thousand above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Latency {
    /// Half of the tasks took no longer.
    pub p50: u64,
    /// 95 of 100 took no longer.
    pub p95: u64,
    /// 99 of 100 took no longer.
    pub p99: u64,
}

/// What a run has come to so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Summary {
    /// The run; named beside its status where a summary is written.
    #[serde(skip)]
    pub run_id: String,
    /// Tasks, those of earlier parts of a resumed run included.
    pub tasks: TaskCounts,
    /// Failed tasks by code.
    pub errors: BTreeMap<ErrorCode, u64>,
    /// Attempts.
    pub calls: CallCounts,
    /// The four token counts.
    pub usage: TokenCounts,
    /// What is known to be billed.
    pub cost_usd: NanoUsd,
    /// What is charged at its bound, because it is not known whether it was billed.
    pub presumed_cost_usd: NanoUsd,
    /// Workers.
    pub agents: u64,
    /// Restarts of workers.
    pub restarts: u64,
    /// Time that ended tasks took.
    pub latency_ms: Latency,
    /// Audit events that a person should look at, by name.
    pub audit_warnings: BTreeMap<String, u64>,
}

/// How long tasks took, in milliseconds.
#[derive(Debug)]
struct Durations {
    histogram: Histogram<u64>,
    longest: u64,
}

impl Default for Durations {
    fn default() -> Durations {
        // Grows with the longest duration, to half a megabyte at most.
        let histogram = Histogram::new(3).expect("3 digits are between 0 and 5");
        Durations { histogram, longest: 0 }
    }
}

impl Durations {
    fn record(&mut self, ms: u64) {
        self.longest = self.longest.max(ms);
        // It grows by itself, so every value has its place.
        _ = self.histogram.record(ms);
    }

    fn latency(&self) -> Latency {
        // A histogram tells the upper end of the stretch in which a value lies.
        let percentile =
            |percent: f64| self.histogram.value_at_percentile(percent).min(self.longest);
        Latency { p50: percentile(50.0), p95: percentile(95.0), p99: percentile(99.0) }
    }
}

/// Counts as tasks end; its size does not depend on how many there are.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    tasks: TaskCounts,
    errors: BTreeMap<ErrorCode, u64>,
    durations_ms: Durations,
    pub(crate) restarts: u64,
}

impl Stats {
    pub(crate) fn count(&mut self, outcome: &Outcome) {
        match outcome.status {
            Status::Completed => self.tasks.completed += 1,
            Status::Failed => self.tasks.failed += 1,
        }
        if let Some(error) = &outcome.error {
            *self.errors.entry(error.code).or_default() += 1;
        }
        self.durations_ms.record(outcome.duration_ms);
    }

    /// The summary of a run that has taken so much, in which so many tasks have not ended.
    pub(crate) fn summary(&self, taken: Tally, open: u64) -> Summary {
        let total = self.tasks.completed + self.tasks.failed + open;
        Summary {
            run_id: String::new(),
            tasks: TaskCounts { total, ..self.tasks },
            errors: self.errors.clone(),
            calls: CallCounts {
                attempts: u64::from(taken.attempts),
                succeeded: u64::from(taken.succeeded),
                failed: u64::from(taken.failed),
                retried: u64::from(taken.retried),
            },
            usage: taken.usage,
            cost_usd: taken.cost,
            presumed_cost_usd: taken.presumed,
            agents: 0,
            restarts: self.restarts,
            latency_ms: self.durations_ms.latency(),
            audit_warnings: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(durations: impl Iterator<Item = u64>) -> Latency {
        let mut all = Durations::default();
        durations.for_each(|ms| all.record(ms));
        all.latency()
    }

    #[test]
    fn percentiles_below_two_seconds_are_values_that_occurred() {
        assert_eq!(of((1..=100).rev()), Latency { p50: 50, p95: 95, p99: 99 });
        assert_eq!(of(std::iter::once(1_999)), Latency { p50: 1_999, p95: 1_999, p99: 1_999 });
        assert_eq!(of(std::iter::empty()), Latency::default());
    }

    #[test]
    fn long_percentiles_are_right_to_one_part_in_a_thousand() {
        let hour = 3_600_000;
        for (found, exact) in [(of(1..=hour).p50, hour / 2), (of(1..=hour).p99, hour / 100 * 99)] {
            assert!(found.abs_diff(exact) * 1_000 <= exact, "{found} for {exact}");
        }
        assert!(of(std::iter::once(u64::MAX)).p50 > u64::MAX / 1_001 * 1_000);
    }

    #[test]
    fn no_percentile_is_above_the_longest_task() {
        for ms in [2_001, 60_001, 3_600_001] {
            assert_eq!(of(std::iter::once(ms)), Latency { p50: ms, p95: ms, p99: ms });
        }
    }
}
