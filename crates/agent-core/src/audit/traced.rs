//! Audit events as `tracing` has them: each field by its own name, and read back.

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit, display};

use super::{AuditEvent, AuditKind};
use crate::panics;

/// Emits one event; its fields are those of the object that have these names.
macro_rules! emit {
    ($level:ident, $object:expr, $($own:ident)*) => {
        emit!(@ $level, $object, event timestamp run_id call_id agent_id agent_type task_id
            project_id user_id model $($own)*)
    };
    (@ $level:ident, $object:expr, $($field:ident)*) => {
        tracing::event!(
            target: "audit",
            tracing::Level::$level,
            $($field = traced($object, stringify!($field)),)*
        )
    };
}

impl AuditEvent {
    /// Emits the event to `tracing`, as a warning where a person should look at it.
    ///
    /// Its fields have the names and values that they have in [`AuditEvent::to_json`]; what is null
    /// there has no value, a list is its JSON. It costs little where nobody listens. A panic of who
    /// listens goes no further: what was audited has happened, and some of it while a panic unwinds.
    pub fn trace(&self) {
        // The panic hook has told of it; to say so here would ask the same listener.
        _ = panics::contain(|| self.emit());
    }

    fn emit(&self) {
        let is_heard = if self.kind.is_warning() {
            tracing::enabled!(target: "audit", tracing::Level::WARN)
        } else {
            tracing::enabled!(target: "audit", tracing::Level::INFO)
        };
        if !is_heard {
            return;
        }
        let json = &self.to_json();
        match self.kind {
            AuditKind::CallStart { .. } => emit!(INFO, json, task_title max_tokens attempt
                estimated_input_tokens reserved_usd timeout_ms),
            AuditKind::CallSuccess { .. } => emit!(INFO, json, attempt input_tokens output_tokens
                cache_creation_input_tokens cache_read_input_tokens total_tokens cost_usd
                duration_ms stop_reason provider_request_id),
            AuditKind::CallFailure { .. } => emit!(INFO, json, attempt error_type error_message
                status will_retry retry_after_ms duration_ms billed),
            AuditKind::RateLimitExceeded { .. } => {
                emit!(WARN, json, scope limit window window_ms waited_ms);
            }
            AuditKind::CostLimitExceeded { .. } => emit!(WARN, json, estimated_usd limit_usd),
            AuditKind::BudgetExceeded { .. } => {
                emit!(WARN, json, scope limit_usd spent_usd reserved_usd);
            }
            AuditKind::BudgetThreshold { .. } => {
                emit!(WARN, json, scope limit_usd spent_usd reserved_usd percent);
            }
            AuditKind::BudgetOverrun { .. } => emit!(WARN, json, scope limit_usd spent_usd by_usd),
            AuditKind::PromptInjection { .. } => emit!(WARN, json, signals score action),
            AuditKind::PromptTruncated { .. } => emit!(WARN, json, from_chars to_chars),
            AuditKind::WorkerRestarted { .. } | AuditKind::WorkerGaveUp { .. } => {
                emit!(WARN, json, reason restarts backoff_ms);
            }
            AuditKind::KeyLoaded { .. } | AuditKind::KeyRotated { .. } => {
                emit!(INFO, json, key source);
            }
            AuditKind::UsagePresumed { .. } => emit!(WARN, json, attempt presumed_usd),
        }
    }
}

fn traced<'a>(object: &'a Map<String, Value>, name: &str) -> Option<Box<dyn tracing::Value + 'a>> {
    Some(match object.get(name)? {
        Value::Null => return None,
        Value::Bool(value) => Box::new(*value),
        Value::String(value) => Box::new(value.as_str()),
        Value::Number(number) if number.is_u64() => Box::new(number.as_u64()),
        value => Box::new(display(value)),
    })
}

/// The fields of an event with target `audit`, as [`AuditEvent::to_json`] has them: for a
/// subscriber that writes them down. One without a value is null.
pub fn heard(event: &tracing::Event<'_>) -> Map<String, Value> {
    let names = event.metadata().fields().iter();
    let mut fields = Fields(names.map(|field| (field.name().to_owned(), Value::Null)).collect());
    event.record(&mut fields);
    fields.0
}

struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // What is no text, number or yes and no is JSON.
        let json = serde_json::from_str(&format!("{value:?}")).unwrap_or_default();
        self.0.insert(field.name().to_owned(), json);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber};

    use super::*;
    use crate::clock::Timestamp;
    use crate::money::NanoUsd;
    use crate::record::{CallId, Subject};
    use crate::usage::TokenCounts;

    /// Each event that was heard: its level, and its fields as JSON.
    #[derive(Default)]
    struct Heard(Mutex<Vec<(Level, Map<String, Value>)>>);

    impl Subscriber for Heard {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "audit"
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            self.0.lock().unwrap().push((*event.metadata().level(), heard(event)));
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    /// One of each.
    fn kinds() -> Vec<AuditKind> {
        let text = || "some".to_owned();
        let (limit, spent, reserved) = (NanoUsd::from_dollars(1), NanoUsd::ZERO, NanoUsd::ZERO);
        vec![
            AuditKind::CallStart {
                task_title: text(),
                max_tokens: 1,
                attempt: 1,
                estimated_input_tokens: 2,
                reserved,
                timeout_ms: 3,
            },
            AuditKind::CallSuccess {
                attempt: 1,
                usage: TokenCounts::default(),
                cost: spent,
                duration_ms: 4,
                stop_reason: Some(text()),
                provider_request_id: None,
            },
            AuditKind::CallFailure {
                attempt: 2,
                error_type: text(),
                error_message: text(),
                status: Some(529),
                will_retry: true,
                retry_after_ms: None,
                duration_ms: 5,
                presumed: false,
            },
            AuditKind::RateLimitExceeded {
                scope: text(),
                limit: 1,
                window_ms: 60_000,
                waited_ms: 6,
            },
            AuditKind::CostLimitExceeded { estimated: limit, limit },
            AuditKind::BudgetExceeded { scope: text(), limit, spent, reserved },
            AuditKind::BudgetThreshold { scope: text(), limit, spent, reserved, percent: 80 },
            AuditKind::BudgetOverrun { scope: text(), limit, spent, by: limit },
            AuditKind::PromptInjection { signals: vec![text()], score: 12, action: text() },
            AuditKind::PromptTruncated { from_chars: 7, to_chars: 6 },
            AuditKind::WorkerRestarted { reason: text(), restarts: 1, backoff_ms: 8 },
            AuditKind::WorkerGaveUp { reason: text(), restarts: 2 },
            AuditKind::KeyLoaded { key: text(), source: text() },
            AuditKind::KeyRotated { key: text(), source: text() },
            AuditKind::UsagePresumed { attempt: 1, presumed: limit },
        ]
    }

    #[test]
    fn who_listens_to_tracing_has_every_field_of_every_event_by_its_name() {
        let kinds = kinds();
        assert_eq!(kinds.iter().map(AuditKind::name).collect::<Vec<_>>(), AuditKind::NAMES);
        let named = || Some("some".into());
        let subject = Subject { run_id: "r".into(), task_id: named(), ..Subject::default() };
        let subject = Arc::new(subject);
        let heard = Arc::new(Heard::default());
        for kind in kinds {
            let call_id = Some(CallId::new(Timestamp::from_millis(1), 7));
            let subject = Arc::clone(&subject);
            let event = AuditEvent { timestamp: Timestamp::EPOCH, call_id, subject, kind };
            tracing::subscriber::with_default(Arc::clone(&heard), || event.trace());
            let (level, fields) = heard.0.lock().unwrap().pop().unwrap();
            let told = |object: Map<String, Value>| {
                object.into_iter().filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>()
            };
            assert_eq!(told(fields), told(event.to_json()), "{}", event.kind.name());
            assert_eq!(level == Level::WARN, event.kind.is_warning(), "{}", event.kind.name());
        }
    }
}
