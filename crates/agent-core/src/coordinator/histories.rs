//! How often workers were restarted, whatever actors they have had: kept as long as it counts.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::supervision::{RestartHistory, Supervision};
use crate::worker::WorkerIndex;

/// The restarts of workers within their window.
#[derive(Debug, Default)]
pub(super) struct Histories {
    of: BTreeMap<WorkerIndex, RestartHistory>,
    /// Every restart, oldest first: when it is over, its worker's history may be.
    restarts: VecDeque<(Timestamp, WorkerIndex)>,
}

impl Histories {
    /// Counts a restart as [`RestartHistory::restart`] does, and drops what does not count any more.
    pub(super) fn restart(
        &mut self,
        worker: WorkerIndex,
        now: Timestamp,
        policy: &Supervision,
        jitter: f64,
    ) -> Option<Duration> {
        let start = now.saturating_sub(policy.within);
        while let Some(&(_, old)) = self.restarts.front().filter(|(at, _)| *at < start) {
            self.restarts.pop_front();
            if self.of.get(&old).is_some_and(|history| history.is_over(start)) {
                self.of.remove(&old);
            }
        }
        self.restarts.push_back((now, worker));
        self.of.entry(worker).or_default().restart(now, policy, jitter)
    }

    /// What counts of a worker, for the guard of its next actor.
    pub(super) fn of(&self, worker: WorkerIndex) -> RestartHistory {
        self.of.get(&worker).cloned().unwrap_or_default()
    }

    /// Drops what a worker did so far: whoever supervises it begins anew.
    pub(super) fn forget(&mut self, worker: WorkerIndex) {
        self.of.remove(&worker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_kept_as_long_as_it_counts_and_no_longer() {
        let policy = Supervision { max_restarts: 2, ..Supervision::default() };
        let mut histories = Histories::default();
        let at = |seconds: u64| Timestamp::from_millis(seconds * 1_000);
        for worker in 0..1_000 {
            assert!(histories.restart(worker, at(0), &policy, 0.0).is_some());
        }
        assert!(histories.restart(7, at(30), &policy, 0.0).is_some());
        assert!(histories.restart(7, at(60), &policy, 0.0).is_none());
        assert!(histories.restart(3, at(61), &policy, 0.0).is_some());
        assert_eq!(histories.of.keys().copied().collect::<Vec<_>>(), [3, 7]);
        assert!(histories.restart(3, at(200), &policy, 0.0).is_some());
        assert_eq!((histories.of.len(), histories.restarts.len()), (1, 1));
    }

    #[test]
    fn on_the_edge_of_its_window_a_restart_counts_still() {
        let policy = Supervision { max_restarts: 2, ..Supervision::default() };
        let mut histories = Histories::default();
        let at = |seconds: u64| Timestamp::from_millis(seconds * 1_000);
        for (seconds, is_allowed) in [(20, true), (30, true), (90, true), (90, false), (91, true)] {
            let pause = histories.restart(7, at(seconds), &policy, 0.0);
            assert_eq!(pause.is_some(), is_allowed, "after {seconds} s");
        }
    }

    #[test]
    fn a_worker_that_is_forgotten_begins_anew() {
        let policy = Supervision { max_restarts: 1, ..Supervision::default() };
        let mut histories = Histories::default();
        let now = Timestamp::EPOCH;
        assert!(histories.restart(0, now, &policy, 0.0).is_some());
        assert!(histories.restart(0, now, &policy, 0.0).is_none());
        histories.forget(0);
        assert!(histories.restart(0, now, &policy, 0.0).is_some());
    }
}
