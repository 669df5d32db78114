//! What is compared of a run: how long, how much, how many.

use std::time::Duration;

use agent_core::record::UsageRecord;
use agent_core::store::PastTask;

use crate::engine::Replica;

/// The figures of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures([f64; 6]);

/// The names of the figures, in their order: times in milliseconds, of tasks from acceptance to
/// end; the cost with what is presumed; all attempts.
pub const FIGURES: [&str; 6] =
    ["makespan_ms", "task_mean_ms", "task_p50_ms", "task_p95_ms", "cost_usd", "attempts"];

impl Figures {
    /// Those of a simulated run.
    pub(super) fn predicted(run: &Replica) -> Figures {
        let at = |percent: f64| ms(run.latency_at(percent));
        let tasks = run.latency.len().max(1) as f64;
        Figures([
            ms(run.makespan),
            run.latency_sum_ns as f64 / 1e6 / tasks,
            at(50.0),
            at(95.0),
            run.charged().nanos() as f64 / 1e9,
            run.attempts as f64,
        ])
    }

    /// Those of tasks that have ended, one at least, and of the records of their
    /// attempts, of which there were `attempts`.
    pub(super) fn real(tasks: &[&PastTask], records: &[&UsageRecord], attempts: usize) -> Figures {
        let ended = |task: &&PastTask| task.outcome.as_ref().map(|it| it.finished_at);
        let mut took: Vec<f64> = tasks
            .iter()
            .filter_map(|task| Some(ms(ended(task)?.since(task.accepted_at))))
            .collect();
        took.sort_by(f64::total_cmp);
        let first = tasks.iter().map(|task| task.accepted_at).min().unwrap_or_default();
        let last = tasks.iter().filter_map(ended).max().unwrap_or_default();
        // By nearest rank, as a simulation has it.
        let rank = |percent: usize| took[(took.len() * percent).div_ceil(100).max(1) - 1];
        let charged = |record: &&UsageRecord| record.cost.saturating_add(record.presumed).nanos();
        Figures([
            ms(last.since(first)),
            took.iter().sum::<f64>() / took.len() as f64,
            rank(50),
            rank(95),
            records.iter().map(charged).fold(0, u64::saturating_add) as f64 / 1e9,
            attempts as f64,
        ])
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e6
}

/// A figure as it was predicted, beside what it really was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Compared {
    /// Which of [`FIGURES`].
    pub name: &'static str,
    /// What 5, 50 and 95 % of the seeds do not exceed; that in the middle is the prediction.
    pub predicted: [f64; 3],
    /// What it was.
    pub real: f64,
}

impl Compared {
    /// All figures, of one seed at least.
    pub(super) fn all(predicted: &[Figures], real: &Figures) -> Vec<Compared> {
        let of = |place: usize| {
            let mut values: Vec<f64> = predicted.iter().map(|figures| figures.0[place]).collect();
            values.sort_by(f64::total_cmp);
            let rank = |percent: usize| values[(values.len() * percent).div_ceil(100).max(1) - 1];
            let predicted = [rank(5), rank(50), rank(95)];
            Compared { name: FIGURES[place], predicted, real: real.0[place] }
        };
        (0..FIGURES.len()).map(of).collect()
    }

    /// By how much the prediction is off, as a part of what was; `None` where that is nothing.
    pub fn error(&self) -> Option<f64> {
        (self.real != 0.0).then(|| self.predicted[1] / self.real - 1.0)
    }
}
