//! How a task ended: with an answer or a coded error, and what it took.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::TaskId;
use crate::clock::Timestamp;
use crate::money::NanoUsd;
use crate::usage::TokenCounts;

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// There is an answer.
    Completed,
    /// There is an error.
    Failed,
}

/// What kind of error ended a task; written in capitals: `BUDGET_EXCEEDED`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum ErrorCode {
    /// No title and no description, no project where one is required, an id twice.
    InvalidTask,
    /// The worker's own calls-per-window limit, in mode `reject`.
    AgentRateLimitExceeded,
    /// A permit could not be had within `max_wait` or before the deadline.
    RateLimitWaitExceeded,
    /// The bound on the cost is above `max_cost_per_task`.
    CostLimitExceeded,
    /// A budget scope has no room.
    BudgetExceeded,
    /// 429, after the last attempt.
    ProviderRateLimited,
    /// 529, after the last attempt.
    ProviderOverloaded,
    /// Another 5xx, 408 or 409, after the last attempt.
    ProviderError,
    /// 402, credit used up, or the provider's own spend limit reached.
    Billing,
    /// No whole answer within the timeout, after the last attempt.
    Timeout,
    /// Could not connect, or the connection broke, after the last attempt.
    Connection,
    /// 401.
    Authentication,
    /// 403.
    Permission,
    /// 400, 413 or 422.
    InvalidRequest,
    /// 404.
    NotFound,
    /// An answer that cannot be understood or is too large.
    InvalidResponse,
    /// The task's own deadline passed.
    DeadlineExceeded,
    /// It was cancelled.
    Cancelled,
    /// Its worker panicked more often than the poison limit allows.
    WorkerCrashed,
}

impl ErrorCode {
    /// The code as it is written: `BUDGET_EXCEEDED`.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorCode::InvalidTask => "INVALID_TASK",
            ErrorCode::AgentRateLimitExceeded => "AGENT_RATE_LIMIT_EXCEEDED",
            ErrorCode::RateLimitWaitExceeded => "RATE_LIMIT_WAIT_EXCEEDED",
            ErrorCode::CostLimitExceeded => "COST_LIMIT_EXCEEDED",
            ErrorCode::BudgetExceeded => "BUDGET_EXCEEDED",
            ErrorCode::ProviderRateLimited => "PROVIDER_RATE_LIMITED",
            ErrorCode::ProviderOverloaded => "PROVIDER_OVERLOADED",
            ErrorCode::ProviderError => "PROVIDER_ERROR",
            ErrorCode::Billing => "BILLING",
            ErrorCode::Timeout => "TIMEOUT",
            ErrorCode::Connection => "CONNECTION",
            ErrorCode::Authentication => "AUTHENTICATION",
            ErrorCode::Permission => "PERMISSION",
            ErrorCode::InvalidRequest => "INVALID_REQUEST",
            ErrorCode::NotFound => "NOT_FOUND",
            ErrorCode::InvalidResponse => "INVALID_RESPONSE",
            ErrorCode::DeadlineExceeded => "DEADLINE_EXCEEDED",
            ErrorCode::Cancelled => "CANCELLED",
            ErrorCode::WorkerCrashed => "WORKER_CRASHED",
        }
    }

    /// Whether the same task may succeed if it is submitted again later.
    pub fn is_retryable(self) -> bool {
        match self {
            ErrorCode::AgentRateLimitExceeded
            | ErrorCode::RateLimitWaitExceeded
            | ErrorCode::ProviderRateLimited
            | ErrorCode::ProviderOverloaded
            | ErrorCode::ProviderError
            | ErrorCode::Timeout
            | ErrorCode::Connection
            | ErrorCode::DeadlineExceeded
            | ErrorCode::Cancelled => true,
            ErrorCode::InvalidTask
            | ErrorCode::CostLimitExceeded
            | ErrorCode::BudgetExceeded
            | ErrorCode::Billing
            | ErrorCode::Authentication
            | ErrorCode::Permission
            | ErrorCode::InvalidRequest
            | ErrorCode::NotFound
            | ErrorCode::InvalidResponse
            | ErrorCode::WorkerCrashed => false,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a task failed.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("{code}: {message}")]
pub struct TaskError {
    /// What kind of error.
    pub code: ErrorCode,
    /// What is wrong, where, and what would be right; holds no secret.
    pub message: String,
    /// Whether the same task may succeed if it is submitted again later.
    pub retryable: bool,
    /// The least time to wait before that, in milliseconds, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl TaskError {
    /// An error that is as retryable as its code.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> TaskError {
        let retryable = code.is_retryable();
        TaskError { code, message: message.into(), retryable, retry_after_ms: None }
    }

    /// The same, whether or not it is as retryable as its code.
    pub fn retryable(mut self, retryable: bool) -> TaskError {
        self.retryable = retryable;
        self
    }

    /// The same, worth trying again after `wait` (rounded up to a millisecond).
    pub fn retry_after(mut self, wait: Duration) -> TaskError {
        let millis = wait.as_nanos().div_ceil(1_000_000);
        self.retry_after_ms = Some(u64::try_from(millis).unwrap_or(u64::MAX));
        self
    }
}

/// How one task ended, and what it took. Written as one line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Which task.
    pub task_id: TaskId,
    /// How it ended.
    pub status: Status,
    /// The text of the answer, where there is one. Cut by `max_tokens`: see `stop_reason`.
    pub output: Option<String>,
    /// Why it failed, where it did.
    pub error: Option<TaskError>,
    /// The worker that played it last, such as `backend-3`; none where it never reached one.
    pub agent_id: Option<String>,
    /// Who pays.
    pub project_id: Option<String>,
    /// The model that was asked, as it was named.
    pub model: Option<String>,
    /// Requests sent to a provider.
    pub attempts: u32,
    /// The four token counts, over all attempts.
    #[serde(flatten)]
    pub usage: TokenCounts,
    /// What is known to be billed.
    pub cost_usd: NanoUsd,
    /// What was charged at its bound, because it is not known whether it was billed.
    pub presumed_cost_usd: NanoUsd,
    /// From the first start of work to the end, in milliseconds, waits included.
    pub duration_ms: u64,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Why the model stopped: `end_turn`, or `max_tokens` where the answer was cut.
    #[serde(default)]
    pub stop_reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_written_in_json_as_it_is_shown() {
        let code = ErrorCode::AgentRateLimitExceeded;
        assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{code}\""));
    }
}
