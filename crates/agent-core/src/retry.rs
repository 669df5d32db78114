//! Whether a failed attempt is tried again, and when.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::human_duration;

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
