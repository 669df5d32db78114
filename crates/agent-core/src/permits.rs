//! The arithmetic behind the rate limiter: who may call when.

mod book;
mod pair;
mod peaks;
mod queue;
#[cfg(test)]
mod tests;
mod window;

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::clock::{Timestamp, human_duration};
use crate::task::Priority;

pub use book::{Answer, Feedback, Grant, GrantId, PairHeadroom, Permits, WaiterId};

/// The provider's limits for each key and model; the `[limits]` of the fleet file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderLimits {
    /// Requests in any 60 s. Absent: not limited.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Input tokens, cache reads left out, in any 60 s. Absent: not limited.
    pub input_tokens_per_minute: Option<NonZeroU64>,
    /// Output tokens in any 60 s. Absent: not limited.
    pub output_tokens_per_minute: Option<NonZeroU64>,
    /// Attempts in flight at once. Default: 64.
    pub max_concurrent: NonZeroU32,
    /// Longest wait for a permit. Default: `"5m"`.
    #[serde(with = "human_duration")]
    pub max_wait: Duration,
}

impl Default for ProviderLimits {
    fn default() -> Self {
        ProviderLimits {
            requests_per_minute: None,
            input_tokens_per_minute: None,
            output_tokens_per_minute: None,
            max_concurrent: NonZeroU32::new(64).expect("64 is not zero"),
            max_wait: Duration::from_secs(300),
        }
    }
}

/// What happens to a call that a worker's own limit does not admit now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitMode {
    /// It waits.
    Wait,
    /// Its task fails with `AGENT_RATE_LIMIT_EXCEEDED`.
    Reject,
}

/// A worker's own limit on calls, retries included; it guards against runaway loops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentRateLimit {
    /// Calls in any time of length `per`. Default: 10.
    pub calls: NonZeroU32,
    /// The length of that time. Default: `"1m"`.
    #[serde(with = "human_duration")]
    pub per: Duration,
    /// What happens to queued tasks beyond it. Default: they wait.
    pub mode: LimitMode,
}

impl Default for AgentRateLimit {
    fn default() -> Self {
        AgentRateLimit {
            calls: NonZeroU32::new(10).expect("10 is not zero"),
            per: Duration::from_secs(60),
            mode: LimitMode::Wait,
        }
    }
}

/// What is asked for with a permit: one request and its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The masked key.
    pub account: Arc<str>,
    /// The model.
    pub model: Arc<str>,
    /// Who will call; its own limit applies too.
    pub worker: Arc<str>,
    /// The worker's own limit, and what happens beyond it.
    pub worker_limit: AgentRateLimit,
    /// Who comes first.
    pub priority: Priority,
    /// Estimated input, in tokens.
    pub input_tokens: u64,
    /// Most output asked for, in tokens.
    pub output_tokens: u64,
    /// The caller cannot wait longer.
    pub deadline: Timestamp,
}

/// Why a permit was refused. Nothing was taken then.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PermitError {
    /// The worker has made its calls, and its limit says `reject`.
    #[error("the worker has made its {calls} calls in {}", humantime::format_duration(*.per))]
    WorkerLimit {
        /// Calls in `per`.
        calls: u32,
        /// The length of the window.
        per: Duration,
        /// Until the worker may call again.
        retry_after: Duration,
    },
    /// No permit was to be had in time.
    #[error("no permit of {scope} after {}: {hold}", humantime::format_duration(*.waited))]
    WaitExceeded {
        /// Whose limit: `model:claude-sonnet-4-5` or `agent:backend-3`.
        scope: String,
        /// What it waited for.
        hold: Hold,
        /// How long the caller waited.
        waited: Duration,
        /// Until a permit may be had, where that is known.
        retry_after: Option<Duration>,
    },
    /// The provider reported that the key's credit or spend limit is used up.
    #[error("key {account} is out of service until {until}")]
    OutOfService {
        /// The masked key.
        account: String,
        /// When the limit is reset.
        until: Timestamp,
    },
    /// It asks for more than the whole limit: it would never be admitted.
    #[error("{requested} {what} are more than the limit of {scope}, {limit} in 60s")]
    TooLarge {
        /// Whose limit: `model:claude-sonnet-4-5`.
        scope: String,
        /// Of what: `input tokens` or `output tokens`.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// What was asked for.
        requested: u64,
    },
    /// As many wait as may.
    #[error("too many wait for a permit of {scope}")]
    QueueFull {
        /// Whose limit.
        scope: String,
    },
}

/// What held up a call that waited for a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Hold {
    /// A limit in any time of length `window` is used up.
    #[error("its limit of {limit} {what} in {} is used up", humantime::format_duration(*.window))]
    Used {
        /// Of what: `requests`, `input tokens`, `output tokens` or `calls`.
        what: &'static str,
        /// How many.
        limit: u64,
        /// The length of the window.
        window: Duration,
    },
    /// As many calls are in flight as may be.
    #[error("{most} calls are in flight, the most allowed at once")]
    InFlight {
        /// How many may be; adapts to the provider.
        most: u32,
    },
    /// The provider has refused calls, and is left alone.
    #[error("paused by the provider until {until}")]
    Paused {
        /// Until then.
        until: Timestamp,
    },
    /// Others came before.
    #[error("others that came before it are waiting too")]
    InLine,
}

/// What a provider said of its limits with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateHeaders {
    /// Of requests.
    pub requests: Option<Headroom>,
    /// Of input tokens.
    pub input_tokens: Option<Headroom>,
    /// Of output tokens.
    pub output_tokens: Option<Headroom>,
    /// Of input and output tokens together.
    pub tokens: Option<Headroom>,
}

/// How much of one limit is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headroom {
    /// The limit.
    pub limit: u64,
    /// What is left of it; token counts come rounded to thousands.
    pub remaining: u64,
    /// When all of it is back.
    pub reset: Timestamp,
}
