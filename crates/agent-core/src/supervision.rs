//! Supervision: when a worker that ended is started again, in the words of Erlang/OTP.

mod tree;

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{Timestamp, human_duration};

pub use tree::{GroupSpec, Strategy, TreeError};
pub(crate) use tree::{Tree, Verdict};

/// When a worker that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Restart {
    /// Always.
    Permanent,
    /// Where it panicked.
    #[default]
    Transient,
    /// Never.
    Temporary,
}

/// How often and how fast workers are restarted; the `[supervision]` of the fleet file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Supervision {
    /// Restarts of one worker within `within`; one more and it stays down. Default: 5.
    pub max_restarts: u32,
    /// The sliding window over which restarts are counted. Default: `"1m"`.
    #[serde(with = "human_duration")]
    pub within: Duration,
    /// Least pause before a restart; doubled for each restart within the window, and spread by up
    /// to a quarter, so that what failed together does not come back together. Default: `"200ms"`.
    #[serde(with = "human_duration")]
    pub backoff: Duration,
    /// The longest pause. Default: `"30s"`. Where it is no more than `backoff`, every pause is as long,
    /// and what failed together comes back together.
    #[serde(with = "human_duration")]
    pub max_backoff: Duration,
    /// Times that a task whose worker crashed goes back to the queue; one crash more and it ends
    /// as `WORKER_CRASHED`. Default: 3.
    pub poison_limit: NonZeroU32,
    /// A worker at whose task nothing has moved for so long, beyond the moment by which the step
    /// under way must have ended, is wedged: it is stopped and replaced. Default: `"5m"`.
    ///
    /// Calls, sub-agents and [`Scene::sleep`](crate::agent::Scene::sleep) bound themselves. All else
    /// that a behaviour waits for must have it polled within this time, or it is taken for wedged
    /// while it works: a long wait of its own needs a heartbeat, or a longer `wedged_after`.
    #[serde(with = "human_duration")]
    pub wedged_after: Duration,
}

impl Default for Supervision {
    fn default() -> Self {
        Supervision {
            max_restarts: 5,
            within: Duration::from_secs(60),
            backoff: Duration::from_millis(200),
            max_backoff: Duration::from_secs(30),
            poison_limit: NonZeroU32::new(3).expect("3 is not zero"),
            wedged_after: Duration::from_secs(300),
        }
    }
}

/// The restarts of one worker within the window, oldest first.
#[derive(Debug, Clone, Default)]
pub struct RestartHistory {
    restarts: VecDeque<Timestamp>,
}

impl RestartHistory {
    /// Whether none of its restarts was at `start` or later.
    pub(crate) fn is_over(&self, start: Timestamp) -> bool {
        self.restarts.back().is_none_or(|&last| last < start)
    }

    /// Counts a restart at `now` and returns the pause before it, spread by `jitter` (0 to 1) over
    /// up to a quarter more, or less where that is above `max_backoff`; `None` where that is one
    /// restart too many.
    pub fn restart(
        &mut self,
        now: Timestamp,
        policy: &Supervision,
        jitter: f64,
    ) -> Option<Duration> {
        let start = now.saturating_sub(policy.within);
        while self.restarts.front().is_some_and(|&restart| restart < start) {
            self.restarts.pop_front();
        }
        let earlier = u32::try_from(self.restarts.len()).unwrap_or(u32::MAX);
        if earlier >= policy.max_restarts {
            return None;
        }
        self.restarts.push_back(now);
        let (least, most) = (policy.backoff.min(policy.max_backoff), policy.max_backoff);
        let doubled = least.saturating_mul(2u32.saturating_pow(earlier)).min(most);
        let spread = doubled.saturating_add((doubled / 4).mul_f64(jitter.clamp(0.0, 1.0)));
        let above = spread.saturating_sub(most);
        Some((spread - above * 2).max(least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_its_bound_until_the_intensity_is_exceeded() {
        let policy = Supervision { max_backoff: Duration::from_secs(1), ..Supervision::default() };
        let mut history = RestartHistory::default();
        let pauses: Vec<_> = (0..6u64)
            .map(|second| history.restart(Timestamp::from_millis(second * 1_000), &policy, 0.0))
            .collect();
        let millis = |millis| Some(Duration::from_millis(millis));
        assert_eq!(
            pauses[..5],
            [millis(200), millis(400), millis(800), millis(1000), millis(1000)]
        );
        assert_eq!(pauses[5], None);
    }

    #[test]
    fn no_pause_is_longer_than_the_longest_or_shorter_than_the_least() {
        let seconds = Duration::from_secs;
        let bounds = [(1, 1), (1, 10), (1, 3), (7, 8), (9, 2)];
        let bounds = bounds.map(|(least, most)| (seconds(least), seconds(most)));
        for (backoff, max_backoff) in bounds.into_iter().chain([(Duration::MAX, Duration::MAX)]) {
            let policy =
                Supervision { max_restarts: 50, backoff, max_backoff, ..Supervision::default() };
            for jitter in [0.0, 0.3, 1.0] {
                let mut history = RestartHistory::default();
                for _ in 0..50 {
                    let pause = history.restart(Timestamp::EPOCH, &policy, jitter).unwrap();
                    assert!(backoff.min(max_backoff) <= pause && pause <= max_backoff, "{pause:?}");
                }
            }
        }
        let policy = Supervision { max_restarts: 50, ..Supervision::default() };
        let mut history = RestartHistory::default();
        let pauses =
            (0..50).map(|n| history.restart(Timestamp::EPOCH, &policy, f64::from(n) / 50.0));
        let longest: std::collections::BTreeSet<_> = pauses.skip(10).collect();
        assert_eq!(longest.len(), 40, "the longest pauses are spread too");
    }

    #[test]
    fn restarts_older_than_the_window_are_forgotten() {
        let policy = Supervision { max_restarts: 1, ..Supervision::default() };
        let mut history = RestartHistory::default();
        assert!(history.restart(Timestamp::from_millis(0), &policy, 0.0).is_some());
        assert!(history.restart(Timestamp::from_millis(60_000), &policy, 0.0).is_none());
        assert!(history.restart(Timestamp::from_millis(60_001), &policy, 1.0).is_some());
    }
}
