//! Whether a failed attempt is tried again, and when.

#[cfg(test)]
mod tests;

use std::hash::Hasher as _;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{Timestamp, human_duration};
use crate::hash::Digest;

/// When a failed attempt is tried again; the `[retry]` of the fleet file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// Attempts of one call, the first included. Default: 3.
    pub max_attempts: NonZeroU32,
    /// Least wait before the second attempt; doubled for each after it. Default: `"2s"`.
    #[serde(with = "human_duration")]
    pub initial_backoff: Duration,
    /// Most that the doubling comes to. Default: `"10s"`.
    #[serde(with = "human_duration")]
    pub max_backoff: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            max_attempts: NonZeroU32::new(3).expect("3 is not zero"),
            initial_backoff: Duration::from_secs(2),
            max_backoff: Duration::from_secs(10),
        }
    }
}

/// What is known of a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The kind of failure is one that may pass.
    pub transient: bool,
    /// The provider's `retry-after`.
    pub retry_after: Option<Duration>,
    /// The provider's `x-should-retry`. `false` decides; `true` is for the caller to weigh.
    pub should_retry: Option<bool>,
}

/// What to do after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Try again after so long.
    After(Duration),
    /// The failure stands.
    GiveUp(Why),
}

/// Why there is no further attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It would fail again.
    NotTransient,
    /// All attempts are used up.
    Exhausted,
    /// The wait would reach the deadline.
    Deadline,
}

impl RetryPolicy {
    /// Decides after attempt `attempt` (the first is 1) failed; `rng` is drawn from 0 to 1.
    ///
    /// The wait is `base + rng * base` and at most `max_backoff`, where `base` is the doubled backoff
    /// with the same cap; or `retry_after` where that is longer. Jitter only adds: a wait below `base`
    /// would break the promised minimum.
    pub fn decide(
        &self,
        attempt: u32,
        failure: &Failure,
        now: Timestamp,
        deadline: Timestamp,
        rng: f64,
    ) -> Retry {
        if !failure.transient || failure.should_retry == Some(false) {
            return Retry::GiveUp(Why::NotTransient);
        }
        if attempt >= self.max_attempts.get() {
            return Retry::GiveUp(Why::Exhausted);
        }
        let factor = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        let base = self.initial_backoff.saturating_mul(factor).min(self.max_backoff);
        // Parts per thousand keep the arithmetic in integers; the cast saturates, NaN is 0.
        let jitter = ((rng * 1000.0) as u32).min(1000);
        let wait = base.saturating_add(base / 1000 * jitter).min(self.max_backoff.max(base));
        let wait = wait.max(failure.retry_after.unwrap_or_default());
        if now + wait >= deadline {
            return Retry::GiveUp(Why::Deadline);
        }
        Retry::After(wait)
    }
}

/// The draw for the jitter before a retry, from 0 to 1: by the run's seed, the task, and which of
/// the task's attempts has failed.
///
/// Nothing else that is drawn in the run moves it, so two runs that differ in one setting wait alike.
pub fn jitter(seed: u64, task: &str, attempt: u32) -> f64 {
    // The generator mixes what the hash leaves alike.
    let mut key = Digest::seeded(seed);
    key.write(task.as_bytes());
    key.write_u64(attempt.into());
    fastrand::Rng::with_seed(key.finish()).f64()
}

/// How long one attempt may take; the `[timeouts]` of the fleet file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttemptTimeout {
    /// To connect. Default: `"10s"`.
    #[serde(with = "human_duration")]
    pub connect: Duration,
    /// For any answer. Default: `"30s"`.
    #[serde(with = "human_duration")]
    pub base: Duration,
    /// More for each 1,000 of `max_tokens`. Default: `"15s"`.
    #[serde(with = "human_duration")]
    pub per_1k_tokens: Duration,
}

impl Default for AttemptTimeout {
    fn default() -> Self {
        AttemptTimeout {
            connect: Duration::from_secs(10),
            base: Duration::from_secs(30),
            per_1k_tokens: Duration::from_secs(15),
        }
    }
}

impl AttemptTimeout {
    /// The time for one attempt that may answer with `max_tokens`, to the nanosecond, saturating.
    pub fn of(&self, max_tokens: u32) -> Duration {
        let more = self.per_1k_tokens.as_nanos().saturating_mul(u128::from(max_tokens)) / 1000;
        let more = Duration::from_nanos(u64::try_from(more).unwrap_or(u64::MAX));
        self.base.saturating_add(more)
    }
}
