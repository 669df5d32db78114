//! What a run has come to: counted as its tasks end.

use std::collections::BTreeMap;

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

/// Percentiles of the time from the first start of a task's work to its end, in milliseconds.
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

/// Counts as tasks end.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    tasks: TaskCounts,
    errors: BTreeMap<ErrorCode, u64>,
    /// Of tasks that have ended.
    ended: Tally,
    durations_ms: Vec<u64>,
    pub(crate) restarts: u64,
}

impl Stats {
    /// Adds what tasks that ended took.
    pub(crate) fn add(&mut self, tally: &Tally) {
        self.ended.add(tally);
    }

    pub(crate) fn count(&mut self, outcome: &Outcome) {
        match outcome.status {
            Status::Completed => self.tasks.completed += 1,
            Status::Failed => self.tasks.failed += 1,
        }
        if let Some(error) = &outcome.error {
            *self.errors.entry(error.code).or_default() += 1;
        }
        self.durations_ms.push(outcome.duration_ms);
    }

    /// The summary, with the tallies of the tasks that have not ended.
    pub(crate) fn summary<'a>(&self, open: impl Iterator<Item = Tally> + 'a) -> Summary {
        let mut all = self.ended.clone();
        let mut total = self.tasks.completed + self.tasks.failed;
        for tally in open {
            all.add(&tally);
            total += 1;
        }
        Summary {
            run_id: String::new(),
            tasks: TaskCounts { total, ..self.tasks },
            errors: self.errors.clone(),
            calls: CallCounts {
                attempts: u64::from(all.attempts),
                succeeded: u64::from(all.succeeded),
                failed: u64::from(all.failed),
                retried: u64::from(all.retried),
            },
            usage: all.usage,
            cost_usd: all.cost,
            presumed_cost_usd: all.presumed,
            agents: 0,
            restarts: self.restarts,
            latency_ms: latency(&self.durations_ms),
            audit_warnings: BTreeMap::new(),
        }
    }
}

fn latency(durations: &[u64]) -> Latency {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    // The nearest rank: the smallest value that so many percent do not exceed.
    let percentile = |percent: usize| {
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
    };
    Latency { p50: percentile(50), p95: percentile(95), p99: percentile(99) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let durations: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(latency(&durations), Latency { p50: 50, p95: 95, p99: 99 });
        assert_eq!(latency(&[7]), Latency { p50: 7, p95: 7, p99: 7 });
        assert_eq!(latency(&[]), Latency::default());
    }
}
