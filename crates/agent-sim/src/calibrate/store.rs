//! The calls that a store has on record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use agent_core::audit::{AuditEvent, AuditKind};
use agent_core::clock::Timestamp;
use agent_core::record::{CallId, Subject, UsageRecord};
use agent_core::store::{AuditFilter, Reader, StoreError};

use super::Call;
use super::call::canonical;

/// A task of a run: what a session is here.
type Task = (Arc<str>, Option<Arc<str>>);

/// An attempt that failed, as the audit trail has it: there is a record only where it cost.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failed {
    pub(crate) call: Option<CallId>,
    pub(crate) attempt: u32,
    /// When it failed.
    pub(crate) at: Timestamp,
    /// How long after it had been opened.
    pub(crate) after: Duration,
    pub(crate) subject: Arc<Subject>,
    pub(crate) status: Option<u16>,
    /// What the provider said.
    pub(crate) retry_after: Option<Duration>,
    /// The kind of failure: `timeout`.
    pub(crate) kind: String,
}

impl Failed {
    /// What an event tells of an attempt that failed; `None` for an event of another kind.
    pub(crate) fn of(event: AuditEvent) -> Option<Failed> {
        let AuditKind::CallFailure {
            attempt,
            error_type: kind,
            status,
            retry_after_ms,
            duration_ms,
            ..
        } = event.kind
        else {
            return None;
        };
        let (call, at, subject) = (event.call_id, event.timestamp, event.subject);
        let (after, retry_after) =
            (Duration::from_millis(duration_ms), retry_after_ms.map(Duration::from_millis));
        Some(Failed { call, attempt, at, after, subject, status, retry_after, kind })
    }
}

/// The attempts that failed, by time.
pub(crate) fn failures(reader: &Reader) -> Result<Vec<Failed>, StoreError> {
    let filter = AuditFilter { event: Some("llm_call_failure".to_owned()), ..Default::default() };
    let mut failures = Vec::new();
    reader.audit(&filter, &mut |event| {
        failures.extend(Failed::of(event));
        true
    })?;
    Ok(failures)
}

/// The calls about whom, and when, `wanted` says so; a task is a session. Answers come from the
/// records, failures from the audit trail.
///
/// # Errors
///
/// [`StoreError`] where the store cannot be read.
pub fn observed(
    reader: &Reader,
    wanted: impl Fn(&Subject, Timestamp) -> bool,
) -> Result<Vec<Call>, StoreError> {
    let mut records = Vec::new();
    reader.records(Timestamp::EPOCH, Timestamp::NEVER, &mut |record| {
        if record.error.is_none() && wanted(&record.subject, record.opened_at) {
            records.push(record);
        }
        true
    })?;
    records.sort_by_key(|record| (record.opened_at, record.call_id, record.attempt));
    let mut seen = Seen::default();
    let mut calls: Vec<Call> = records.iter().filter_map(|record| seen.call(record)).collect();
    let failures = failures(reader)?.into_iter().filter(|it| wanted(&it.subject, it.at));
    calls.extend(failures.filter_map(|failed| seen.failed(&failed)));
    Ok(calls)
}

/// What was met so far.
#[derive(Debug, Default)]
struct Seen {
    tasks: BTreeMap<Task, Session>,
    names: BTreeMap<Arc<str>, Arc<str>>,
}

#[derive(Debug)]
struct Session {
    number: u64,
    ended: Timestamp,
}

impl Seen {
    fn call(&mut self, record: &UsageRecord) -> Option<Call> {
        let model = self.model(&record.subject)?;
        let usage = &record.usage;
        let (session, gap_s) = self.session(record);
        (usage.output_tokens > 0).then_some(Call {
            model,
            session,
            input: usage.all_input(),
            cached: Some(usage.cache_read_input_tokens),
            output: usage.output_tokens,
            total_s: record.duration_ms as f64 / 1e3,
            first_s: None,
            gap_s,
            error: None,
        })
    }

    fn failed(&mut self, failed: &Failed) -> Option<Call> {
        let word = failed.status.map_or_else(|| failed.kind.clone(), |status| status.to_string());
        Some(Call {
            model: self.model(&failed.subject)?,
            session: u64::MAX,
            input: 0,
            cached: None,
            output: 0,
            total_s: 0.0,
            first_s: None,
            gap_s: None,
            error: Some(word.into()),
        })
    }

    fn model(&mut self, subject: &Subject) -> Option<Arc<str>> {
        let asked = subject.model.as_ref()?;
        let model = self.names.entry(Arc::clone(asked)).or_insert_with(|| canonical(asked));
        Some(Arc::clone(model))
    }

    /// The number of its task, and the seconds since the task's call before had ended.
    fn session(&mut self, record: &UsageRecord) -> (u64, Option<f64>) {
        let task = (Arc::clone(&record.subject.run_id), record.subject.task_id.clone());
        let number = self.tasks.len() as u64;
        let Some(session) = self.tasks.get_mut(&task) else {
            self.tasks.insert(task, Session { number, ended: record.at });
            return (number, None);
        };
        let waited = record.permit_wait_ms.saturating_add(record.money_wait_ms);
        let waited = Duration::from_millis(waited);
        let asked = record.opened_at.saturating_sub(waited);
        // Before a second attempt lies the pause of a retry, which is no tool's.
        let gap = (record.attempt == 1 && asked >= session.ended)
            .then(|| asked.since(session.ended).as_secs_f64());
        session.ended = session.ended.max(record.at);
        (session.number, gap)
    }
}

#[cfg(test)]
mod tests {
    use agent_core::money::NanoUsd;
    use agent_core::record::OpenAttempt;
    use agent_core::usage::TokenCounts;

    use super::*;
    use crate::calibrate::{Calibration, Profile, cross_validated, halves};
    use crate::latency::Catalogue;

    /// The record of an attempt of task `task`.
    fn record(number: u128, task: &str, attempt: u32, [from, to]: [u64; 2]) -> UsageRecord {
        let subject = Subject {
            model: Some("claude-haiku-4-5".into()),
            task_id: Some(task.into()),
            ..Subject::default()
        };
        let open = OpenAttempt {
            call_id: CallId::new(Timestamp::EPOCH, number),
            attempt,
            at: Timestamp::from_millis(from * 1_000),
            bound: NanoUsd::ZERO,
            account: "key".into(),
            provider: "simulated".into(),
            subject: Arc::new(subject),
        };
        let usage = TokenCounts { input_tokens: 7, output_tokens: 3, ..TokenCounts::default() };
        UsageRecord { usage, ..open.ended(Timestamp::from_millis(to * 1_000)) }
    }

    #[test]
    fn a_gap_is_what_lies_between_an_answer_and_the_wish_for_the_next_call() {
        let mut seen = Seen::default();
        let mut gap = |record: UsageRecord| seen.call(&record).unwrap().gap_s;
        assert_eq!(gap(record(1, "a", 1, [0, 10])), None, "before the first lies none");
        // Another call of the task was under way, and ended sooner.
        assert_eq!(gap(record(2, "a", 1, [1, 4])), None);
        let waits = UsageRecord {
            permit_wait_ms: 1_000,
            money_wait_ms: 2_000,
            ..record(3, "a", 1, [18, 20])
        };
        assert_eq!(gap(waits), Some(5.0), "what was waited for is no gap");
        assert_eq!(gap(record(4, "a", 2, [30, 31])), None, "before a retry lies its pause");
        assert_eq!(gap(record(5, "b", 1, [40, 41])), None, "of another task");
        assert_eq!(gap(record(6, "a", 1, [33, 34])), Some(2.0));
        let nothing = UsageRecord { usage: TokenCounts::default(), ..record(7, "a", 1, [50, 51]) };
        assert_eq!(seen.call(&nothing), None, "an answer without a token says nothing");
    }

    /// A provider may say so of its answers, and a store may be imported.
    #[test]
    fn records_of_counts_that_no_run_reaches_are_calibrated_on_all_the_same() {
        let mut seen = Seen::default();
        let mut calls = Vec::new();
        for number in 0..12 {
            let most = u64::MAX - number as u64 % 3;
            let usage = TokenCounts {
                input_tokens: most,
                output_tokens: most,
                cache_creation_input_tokens: most,
                cache_read_input_tokens: most,
            };
            let record = UsageRecord {
                usage,
                duration_ms: most,
                permit_wait_ms: most,
                money_wait_ms: most,
                ..record(number, &format!("{}", number / 2), 1, [0, 0])
            };
            calls.extend(seen.call(&record));
        }
        assert_eq!((calls.len(), calls[0].input), (12, u64::MAX));
        let known = Catalogue::builtin();
        let found = Calibration::of(&calls, &known).catalogue();
        assert!(Catalogue::parse(&found.to_toml()).is_ok(), "{}", found.to_toml());
        assert_eq!(Profile::of(&calls).len(), 1);
        assert!(cross_validated(&calls, &known).len() <= 1);
        assert!(halves(&calls, &known, 1, 2).is_none_or(|halves| halves.halves <= 4));
    }
}
