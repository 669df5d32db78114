//! The calls that a store has on record.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_core::clock::Timestamp;
use agent_core::record::{CallId, UsageRecord};
use agent_core::store::{Reader, StoreError};

use super::Call;
use super::call::canonical;

/// A task of a run: what a session is here.
type Task = (Arc<str>, Option<Arc<str>>);

/// The calls that `wanted` lets through, by the time at which they were opened; a task is a
/// session. Attempts of which it is not known what became of them are left out.
///
/// # Errors
///
/// [`StoreError`] where the store cannot be read.
pub fn observed(
    reader: &Reader,
    wanted: impl Fn(&UsageRecord) -> bool,
) -> Result<Vec<Call>, StoreError> {
    let mut records = Vec::new();
    reader.records(Timestamp::EPOCH, Timestamp::NEVER, &mut |record| {
        if wanted(&record) {
            records.push(record);
        }
        true
    })?;
    records.sort_by_key(|record| (record.opened_at, record.call_id, record.attempt));
    let mut seen = Seen::default();
    Ok(records.iter().filter_map(|record| seen.call(record)).collect())
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
    call: CallId,
    ended: Timestamp,
}

impl Seen {
    fn call(&mut self, record: &UsageRecord) -> Option<Call> {
        let subject = &record.subject;
        let asked = subject.model.as_ref()?;
        let model = self.names.entry(Arc::clone(asked)).or_insert_with(|| canonical(asked));
        let model = Arc::clone(model);
        let usage = &record.usage;
        let answered = record.error.is_none();
        let (session, gap_s) = self.session(record);
        if answered && usage.output_tokens == 0 {
            return None;
        }
        Some(Call {
            model,
            session,
            input: usage.input_tokens
                + usage.cache_creation_input_tokens
                + usage.cache_read_input_tokens,
            cached: Some(usage.cache_read_input_tokens),
            output: usage.output_tokens,
            total_s: record.duration_ms as f64 / 1e3,
            first_s: None,
            gap_s,
            error: (!answered).then(|| word(record)),
        })
    }

    /// The number of its task, and the seconds since the task's call before had ended.
    fn session(&mut self, record: &UsageRecord) -> (u64, Option<f64>) {
        let task = (Arc::clone(&record.subject.run_id), record.subject.task_id.clone());
        let number = self.tasks.len() as u64;
        let ended = record.at;
        let Some(session) = self.tasks.get_mut(&task) else {
            self.tasks.insert(task, Session { number, call: record.call_id, ended });
            return (number, None);
        };
        let waited = std::time::Duration::from_millis(record.permit_wait_ms + record.money_wait_ms);
        let asked = record.opened_at.saturating_sub(waited);
        // Of one call, what lies between is the pause before another attempt.
        let gap = (session.call != record.call_id && asked >= session.ended)
            .then(|| asked.since(session.ended).as_secs_f64());
        (session.call, session.ended) = (record.call_id, session.ended.max(ended));
        (session.number, gap)
    }
}

/// Its status, or the kind of failure.
fn word(record: &UsageRecord) -> Arc<str> {
    match (record.status, &record.error) {
        (Some(status), _) => status.to_string().into(),
        (None, Some(kind)) => kind.as_str().into(),
        (None, None) => "unknown".into(),
    }
}
