//! The audit trail: what happened, to whom, when; never what was said.
//!
//! Every event is a `tracing` event with target `audit` and a row in the store.

mod traced;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::clock::Timestamp;
use crate::money::NanoUsd;
use crate::record::{CallId, Subject};
use crate::usage::TokenCounts;

pub use traced::heard;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// When it happened.
    pub timestamp: Timestamp,
    /// The call that it belongs to.
    pub call_id: Option<CallId>,
    /// Whom it is about.
    pub subject: Arc<Subject>,
    /// What happened.
    pub kind: AuditKind,
}

/// What happened. New kinds are appended: their order is part of the store's format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are those of the table of events, named alike")]
pub enum AuditKind {
    /// `llm_call_start`: an attempt is about to leave.
    CallStart {
        task_title: String,
        max_tokens: u32,
        attempt: u32,
        estimated_input_tokens: u64,
        reserved: NanoUsd,
        timeout_ms: u64,
    },
    /// `llm_call_success`: an answer came.
    CallSuccess {
        attempt: u32,
        usage: TokenCounts,
        cost: NanoUsd,
        duration_ms: u64,
        stop_reason: Option<String>,
        provider_request_id: Option<String>,
    },
    /// `llm_call_failure`: none came.
    CallFailure {
        attempt: u32,
        error_type: String,
        error_message: String,
        status: Option<u16>,
        will_retry: bool,
        retry_after_ms: Option<u64>,
        duration_ms: u64,
        /// `no` where it is `false`, else `presumed`.
        presumed: bool,
    },
    /// `rate_limit_exceeded`: a permit was refused.
    RateLimitExceeded { scope: String, limit: u64, window_ms: u64, waited_ms: u64 },
    /// `cost_limit_exceeded`: the bound is above `max_cost_per_task`.
    CostLimitExceeded { estimated: NanoUsd, limit: NanoUsd },
    /// `budget_exceeded`: a budget had no room.
    BudgetExceeded { scope: String, limit: NanoUsd, spent: NanoUsd, reserved: NanoUsd },
    /// `budget_threshold`: so many percent of a budget are spent.
    BudgetThreshold {
        scope: String,
        limit: NanoUsd,
        spent: NanoUsd,
        reserved: NanoUsd,
        percent: u8,
    },
    /// `budget_overrun`: more was billed than was reserved.
    BudgetOverrun { scope: String, limit: NanoUsd, spent: NanoUsd, by: NanoUsd },
    /// `prompt_injection_attempt`: a task's text tries to give orders.
    PromptInjection { signals: Vec<String>, score: u32, action: String },
    /// `prompt_truncated`: a field was longer than is sent.
    PromptTruncated { from_chars: u64, to_chars: u64 },
    /// `worker_restarted`: a worker ended and is started again.
    WorkerRestarted { reason: String, restarts: u32, backoff_ms: u64 },
    /// `worker_gave_up`: a worker ended and stays down.
    WorkerGaveUp { reason: String, restarts: u32 },
    /// `key_loaded`: a key was read, from the variable or the file `source`.
    KeyLoaded { key: String, source: String },
    /// `key_rotated`: another key was read, from the variable or the file `source`.
    KeyRotated { key: String, source: String },
    /// `usage_presumed`: an attempt that a killed process left open is charged at its bound.
    UsagePresumed { attempt: u32, presumed: NanoUsd },
}

impl AuditKind {
    /// The names of all events.
    pub const NAMES: [&str; 15] = [
        "llm_call_start",
        "llm_call_success",
        "llm_call_failure",
        "rate_limit_exceeded",
        "cost_limit_exceeded",
        "budget_exceeded",
        "budget_threshold",
        "budget_overrun",
        "prompt_injection_attempt",
        "prompt_truncated",
        "worker_restarted",
        "worker_gave_up",
        "key_loaded",
        "key_rotated",
        "usage_presumed",
    ];

    /// The event's name: `llm_call_start`.
    pub fn name(&self) -> &'static str {
        match self {
            AuditKind::CallStart { .. } => "llm_call_start",
            AuditKind::CallSuccess { .. } => "llm_call_success",
            AuditKind::CallFailure { .. } => "llm_call_failure",
            AuditKind::RateLimitExceeded { .. } => "rate_limit_exceeded",
            AuditKind::CostLimitExceeded { .. } => "cost_limit_exceeded",
            AuditKind::BudgetExceeded { .. } => "budget_exceeded",
            AuditKind::BudgetThreshold { .. } => "budget_threshold",
            AuditKind::BudgetOverrun { .. } => "budget_overrun",
            AuditKind::PromptInjection { .. } => "prompt_injection_attempt",
            AuditKind::PromptTruncated { .. } => "prompt_truncated",
            AuditKind::WorkerRestarted { .. } => "worker_restarted",
            AuditKind::WorkerGaveUp { .. } => "worker_gave_up",
            AuditKind::KeyLoaded { .. } => "key_loaded",
            AuditKind::KeyRotated { .. } => "key_rotated",
            AuditKind::UsagePresumed { .. } => "usage_presumed",
        }
    }

    /// Whether a person should look at it.
    pub fn is_warning(&self) -> bool {
        matches!(
            self,
            AuditKind::RateLimitExceeded { .. }
                | AuditKind::CostLimitExceeded { .. }
                | AuditKind::BudgetExceeded { .. }
                | AuditKind::BudgetThreshold { .. }
                | AuditKind::BudgetOverrun { .. }
                | AuditKind::PromptInjection { .. }
                | AuditKind::PromptTruncated { .. }
                | AuditKind::WorkerRestarted { .. }
                | AuditKind::WorkerGaveUp { .. }
                | AuditKind::UsagePresumed { .. }
        )
    }

    fn fields(&self) -> Value {
        match self {
            AuditKind::CallStart {
                task_title,
                max_tokens,
                attempt,
                estimated_input_tokens,
                reserved,
                timeout_ms,
            } => json!({
                "task_title": task_title, "max_tokens": max_tokens, "attempt": attempt,
                "estimated_input_tokens": estimated_input_tokens, "reserved_usd": reserved,
                "timeout_ms": timeout_ms,
            }),
            AuditKind::CallSuccess {
                attempt,
                usage,
                cost,
                duration_ms,
                stop_reason,
                provider_request_id,
            } => json!({
                "attempt": attempt, "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
                "cache_creation_input_tokens": usage.cache_creation_input_tokens,
                "cache_read_input_tokens": usage.cache_read_input_tokens,
                "total_tokens": usage.total(), "cost_usd": cost, "duration_ms": duration_ms,
                "stop_reason": stop_reason, "provider_request_id": provider_request_id,
            }),
            AuditKind::CallFailure {
                attempt,
                error_type,
                error_message,
                status,
                will_retry,
                retry_after_ms,
                duration_ms,
                presumed,
            } => json!({
                "attempt": attempt, "error_type": error_type, "error_message": error_message,
                "status": status, "will_retry": will_retry, "retry_after_ms": retry_after_ms,
                "duration_ms": duration_ms, "billed": if *presumed { "presumed" } else { "no" },
            }),
            AuditKind::RateLimitExceeded { scope, limit, window_ms, waited_ms } => json!({
                "scope": scope, "limit": limit, "window_ms": window_ms,
                "window": humantime::format_duration(std::time::Duration::from_millis(*window_ms))
                    .to_string(),
                "waited_ms": waited_ms,
            }),
            AuditKind::CostLimitExceeded { estimated, limit } => {
                json!({ "estimated_usd": estimated, "limit_usd": limit })
            }
            AuditKind::BudgetExceeded { scope, limit, spent, reserved } => json!({
                "scope": scope, "limit_usd": limit, "spent_usd": spent, "reserved_usd": reserved,
            }),
            AuditKind::BudgetThreshold { scope, limit, spent, reserved, percent } => json!({
                "scope": scope, "limit_usd": limit, "spent_usd": spent, "reserved_usd": reserved,
                "percent": percent,
            }),
            AuditKind::BudgetOverrun { scope, limit, spent, by } => json!({
                "scope": scope, "limit_usd": limit, "spent_usd": spent, "by_usd": by,
            }),
            AuditKind::PromptInjection { signals, score, action } => {
                json!({ "signals": signals, "score": score, "action": action })
            }
            AuditKind::PromptTruncated { from_chars, to_chars } => {
                json!({ "from_chars": from_chars, "to_chars": to_chars })
            }
            AuditKind::WorkerRestarted { reason, restarts, backoff_ms } => {
                json!({ "reason": reason, "restarts": restarts, "backoff_ms": backoff_ms })
            }
            AuditKind::WorkerGaveUp { reason, restarts } => {
                json!({ "reason": reason, "restarts": restarts, "backoff_ms": null })
            }
            AuditKind::KeyLoaded { key, source } | AuditKind::KeyRotated { key, source } => {
                json!({ "key": key, "source": source })
            }
            AuditKind::UsagePresumed { attempt, presumed } => {
                json!({ "attempt": attempt, "presumed_usd": presumed })
            }
        }
    }
}

impl AuditEvent {
    /// The event as one JSON object: the common fields, then its own.
    pub fn to_json(&self) -> Map<String, Value> {
        let subject = &self.subject;
        let common = json!({
            "event": self.kind.name(), "timestamp": self.timestamp, "run_id": subject.run_id,
            "call_id": self.call_id, "agent_id": subject.agent_id,
            "agent_type": subject.agent_type, "task_id": subject.task_id,
            "project_id": subject.project_id, "user_id": subject.user_id, "model": subject.model,
        });
        let mut object = Map::new();
        for part in [common, self.kind.fields()] {
            if let Value::Object(fields) = part {
                object.extend(fields);
            }
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_its_name_in_the_list_of_names() {
        let arm = |line: &'static str| {
            let (_, name) = line.trim().strip_prefix("AuditKind::")?.split_once("{ .. } => \"")?;
            name.strip_suffix("\",")
        };
        let named: Vec<&str> = include_str!("audit.rs").lines().filter_map(arm).collect();
        assert_eq!(named, AuditKind::NAMES);
    }

    #[test]
    fn an_event_is_one_object_with_its_name_the_common_fields_and_its_own() {
        let subject = Subject { run_id: "r".into(), ..Subject::default() };
        let event = AuditEvent {
            timestamp: Timestamp::EPOCH,
            call_id: Some(CallId::new(Timestamp::from_millis(1), 7)),
            subject: Arc::new(subject),
            kind: AuditKind::CostLimitExceeded {
                estimated: NanoUsd::from_dollars(2),
                limit: NanoUsd::from_dollars(1),
            },
        };
        let json = Value::Object(event.to_json());
        assert_eq!(json["event"], "cost_limit_exceeded");
        assert_eq!(json["timestamp"], "1970-01-01T00:00:00.000Z");
        assert_eq!((&json["estimated_usd"], &json["limit_usd"]), (&json!("2"), &json!("1")));
        let bytes = postcard::to_stdvec(&event).unwrap();
        assert_eq!(postcard::from_bytes::<AuditEvent>(&bytes).unwrap(), event);
    }
}
