//! What a killed process left open: each such attempt is charged at its bound.

use super::entry::{Entry, LeftTask, Recovered};
use super::error::StoreError;
use super::journal::Closed;
use crate::audit::{AuditEvent, AuditKind};
use crate::clock::Timestamp;
use crate::record::{OpenAttempt, UsageRecord};

/// Closes each open attempt of `recovered`, with `write`, and adds what was charged to its
/// unfinished run.
pub(super) fn settle(
    recovered: &mut Recovered,
    now: Timestamp,
    write: impl FnOnce(Vec<Entry>) -> Result<(), StoreError>,
) -> Result<Vec<UsageRecord>, StoreError> {
    let records: Vec<_> = recovered.open_attempts.iter().map(|open| presumed(open, now)).collect();
    if records.is_empty() {
        return Ok(records);
    }
    let entries = records.iter().flat_map(|record| {
        let kind = AuditKind::UsagePresumed { attempt: record.attempt, presumed: record.presumed };
        let event = AuditEvent {
            timestamp: now,
            call_id: Some(record.call_id),
            subject: record.subject.clone(),
            kind,
        };
        [Entry::AttemptClosed(record.clone()), Entry::Audit(event)]
    });
    write(entries.collect())?;
    recovered.open_attempts.clear();
    if let Some(run) = &mut recovered.run {
        for closed in records.iter().map(Closed::from) {
            if closed.run_id != run.run_id {
                continue;
            }
            run.calls.add(&closed);
            let is_its =
                |task: &&mut LeftTask| Some(task.task.id.as_str()) == closed.task_id.as_deref();
            if let Some(task) = run.tasks.iter_mut().find(is_its) {
                task.spent.add(&closed);
            }
        }
    }
    Ok(records)
}

fn presumed(open: &OpenAttempt, now: Timestamp) -> UsageRecord {
    let error = Some("process_killed".to_owned());
    UsageRecord { presumed: open.bound, error, ..open.ended(now) }
}
