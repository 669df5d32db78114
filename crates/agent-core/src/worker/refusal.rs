//! Refusals in words: what is wrong, where, and what would be right.

use std::time::Duration;

use crate::audit::AuditKind;
use crate::clock::Timestamp;
use crate::ledger::NoRoom;
use crate::llm::{LlmError, LlmErrorKind};
use crate::money::NanoUsd;
use crate::permits::{Hold, PermitError};
use crate::pricing::PricingError;
use crate::task::{ErrorCode, TaskError};
use crate::worker::job::{Job, millis};

pub(super) fn cost(estimated: NanoUsd, limit: NanoUsd) -> TaskError {
    let message = format!(
        "the task could cost up to ${estimated}, above max_cost_per_task (${limit}); lower \
         max_tokens, shorten the task, or raise max_cost_per_task"
    );
    TaskError::new(ErrorCode::CostLimitExceeded, message)
}

pub(super) fn unpriced(error: &PricingError) -> TaskError {
    TaskError::new(ErrorCode::InvalidTask, error.to_string())
}

pub(super) fn budget(no_room: &NoRoom) -> TaskError {
    let NoRoom { scope, window, limit, spent, reserved, requested, .. } = no_room;
    let message = format!(
        "budget {scope} ({window}) has no room for ${requested}: limit ${limit}, spent ${spent}, \
         reserved ${reserved}"
    );
    TaskError::new(ErrorCode::BudgetExceeded, message)
}

pub(super) fn deadline(job: &Job) -> TaskError {
    let when = match job.tally(|tally| tally.attempts) {
        0 => "before it was sent to a provider".to_owned(),
        attempts => format!("after {}", counted(attempts)),
    };
    let message = format!("the task's deadline {} passed {when}", job.assignment.deadline);
    TaskError::new(ErrorCode::DeadlineExceeded, message)
}

/// A permit was waited for until the deadline, and what held it up is not known.
pub(super) fn no_permit(job: &Job) -> TaskError {
    let message = format!("no permit before the task's deadline {}", job.assignment.deadline);
    TaskError::new(ErrorCode::RateLimitWaitExceeded, message)
}

pub(super) fn permit(error: &PermitError, worker: &str) -> TaskError {
    match error {
        PermitError::WorkerLimit { calls, per, retry_after } => TaskError::new(
            ErrorCode::AgentRateLimitExceeded,
            format!(
                "worker {worker} has made its {calls} calls in {}; it may call again in {}",
                humantime::format_duration(*per),
                humantime::format_duration(whole_millis(*retry_after)),
            ),
        )
        .retry_after(*retry_after),
        PermitError::WaitExceeded { scope, hold, waited, retry_after } => {
            let waited = humantime::format_duration(whole_millis(*waited));
            let message = format!("no permit of {scope} after {waited}: {hold}");
            let refused = TaskError::new(ErrorCode::RateLimitWaitExceeded, message);
            retry_after.map_or(refused.clone(), |wait| refused.retry_after(wait))
        }
        PermitError::OutOfService { account, until } => TaskError::new(
            ErrorCode::Billing,
            format!(
                "key {account} is out of service until {until}: the provider reported that its \
                 credit or spend limit is used up"
            ),
        ),
        PermitError::TooLarge { scope, what, limit, requested } => TaskError::new(
            ErrorCode::RateLimitWaitExceeded,
            format!(
                "a call would ask for up to {requested} {what}, and {scope} has {limit} in 60s: it \
                 would never be admitted; shorten the task, lower max_tokens, or raise the limit"
            ),
        )
        .retryable(false),
        error => TaskError::new(ErrorCode::RateLimitWaitExceeded, error.to_string()),
    }
}

/// The event of a refused permit.
pub(super) fn permit_event(error: &PermitError, worker: &str) -> Option<AuditKind> {
    match error {
        PermitError::WorkerLimit { calls, per, .. } => Some(AuditKind::RateLimitExceeded {
            scope: format!("agent:{worker}"),
            limit: u64::from(*calls),
            window_ms: millis(*per),
            waited_ms: 0,
        }),
        PermitError::WaitExceeded { scope, hold, waited, retry_after } => {
            let (limit, window) = match hold {
                Hold::Used { limit, window, .. } => (*limit, *window),
                Hold::InFlight { most } => (u64::from(*most), Duration::ZERO),
                // None until it is over.
                Hold::Paused { .. } => (0, retry_after.unwrap_or_default()),
                Hold::InLine => (0, Duration::ZERO),
            };
            Some(AuditKind::RateLimitExceeded {
                scope: scope.clone(),
                limit,
                window_ms: millis(window),
                waited_ms: millis(*waited),
            })
        }
        PermitError::TooLarge { scope, limit, .. } => Some(AuditKind::RateLimitExceeded {
            scope: scope.clone(),
            limit: *limit,
            window_ms: 60_000,
            waited_ms: 0,
        }),
        _ => None,
    }
}

pub(super) fn provider(error: &LlmError, attempts: u32) -> TaskError {
    let message = format!("{} (after {})", error.message, counted(attempts));
    let code = error.kind.code();
    // The provider may know better than its status tells.
    let retryable = code.is_retryable() && error.should_retry != Some(false);
    let task_error = TaskError::new(code, message).retryable(retryable);
    match error.retry_after {
        Some(wait) => task_error.retry_after(wait),
        None => task_error,
    }
}

fn counted(attempts: u32) -> String {
    if attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") }
}

/// An attempt that had not ended when its task's deadline came.
pub(super) fn cut_off(deadline: Timestamp) -> LlmError {
    let message = format!("no whole answer before the task's deadline {deadline}");
    LlmError::new(LlmErrorKind::Timeout, message)
}

pub(super) fn timed_out(timeout: Duration) -> LlmError {
    let message = format!("no whole answer within {}", humantime::format_duration(timeout));
    LlmError::new(LlmErrorKind::Timeout, message)
}

/// The start of the next month, UTC: when a provider's spend limit is reset.
pub(super) fn month_turn(now: Timestamp) -> Timestamp {
    let today = now.to_jiff().to_zoned(jiff::tz::TimeZone::UTC).date();
    let next = today.first_of_month().saturating_add(jiff::Span::new().months(1));
    let turn = next.to_zoned(jiff::tz::TimeZone::UTC).map(|at| at.timestamp().as_nanosecond());
    let turn = turn.ok().and_then(|nanos| u64::try_from(nanos).ok());
    turn.map_or(Timestamp::NEVER, Timestamp::from_nanos)
}

/// Rounded up, so that who waits as long as it says does not come too early.
fn whole_millis(duration: Duration) -> Duration {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_above_the_whole_limit_is_refused_for_good_and_is_audited() {
        let (scope, what) = ("model:m".to_owned(), "input tokens");
        let error = PermitError::TooLarge { scope, what, limit: 10, requested: 40 };
        let refused = permit(&error, "a-1");
        assert_eq!((refused.code, refused.retryable), (ErrorCode::RateLimitWaitExceeded, false));
        for part in ["40 input tokens", "model:m", "10 in 60s"] {
            assert!(refused.message.contains(part), "{part}: {}", refused.message);
        }
        let event = permit_event(&error, "a-1").unwrap();
        assert_eq!(event.name(), "rate_limit_exceeded");
    }

    #[test]
    fn what_the_provider_asks_not_to_be_retried_is_not_called_retryable() {
        let mut error = LlmError::new(LlmErrorKind::Server, "status 500");
        assert!(provider(&error, 1).retryable);
        error.should_retry = Some(false);
        assert!(!provider(&error, 1).retryable);
    }

    #[test]
    fn a_spend_limit_is_over_when_the_month_turns() {
        let turn = |text: &str| month_turn(text.parse().unwrap()).to_string();
        assert_eq!(turn("2026-11-24T15:00:00Z"), "2026-12-01T00:00:00.000Z");
        assert_eq!(turn("2026-12-31T23:59:59Z"), "2027-01-01T00:00:00.000Z");
    }
}
