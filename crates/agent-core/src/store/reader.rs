//! Reading a store without actors: totals, records and audit events, page by page.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::StoreOptions;
use super::backend::Backend;
use super::book::{Book, Meta};
use super::codec;
use super::disk::SyncFile;
use super::entry::Recovered;
use super::error::StoreError;
use super::left;
use super::logged::Logged;
use super::query::{self, UsageQuery, UsageReport};
use super::rollup::{self, FULL, Names};
use crate::audit::{AuditEvent, AuditKind};
use crate::clock::Timestamp;
use crate::ledger::Scope;
use crate::money::NanoUsd;
use crate::record::{Subject, UsageRecord};

/// A store that nobody else has open.
#[derive(Debug)]
pub struct Reader {
    pub(crate) book: Book,
    recovered: Recovered,
}

/// Which audit events are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditFilter {
    /// Only about this task.
    pub task: Option<String>,
    /// Only about this agent or worker.
    pub agent: Option<String>,
    /// Only of this name: `llm_call_failure`.
    pub event: Option<String>,
    /// Only of this run.
    pub run: Option<String>,
    /// Only at this moment or later.
    pub since: Option<Timestamp>,
}

impl AuditFilter {
    fn matches(&self, event: &AuditEvent) -> bool {
        let subject = &event.subject;
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.is_none() || wanted.as_deref() == found
        };
        is(&self.task, subject.task_id.as_deref())
            && (is(&self.agent, subject.agent.as_deref())
                || is(&self.agent, subject.agent_id.as_deref()))
            && is(&self.event, Some(event.kind.name()))
            && is(&self.run, Some(&subject.run_id))
            && self.since.is_none_or(|since| event.timestamp >= since)
    }
}

impl Reader {
    /// Opens the store in `dir`, which must be there.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`] where there is none; those of opening otherwise.
    pub fn open(dir: &Path) -> Result<Reader, StoreError> {
        if dir.exists() && !dir.is_dir() {
            return Err(StoreError::NotAFolder { dir: dir.to_owned() });
        }
        match dir.join("db").metadata() {
            Ok(_) => Reader::create(dir),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::Missing { dir: dir.to_owned() })
            }
            Err(error) => Err(StoreError::io(dir, "find the database", error)),
        }
    }

    /// Opens the store in `dir`, or makes one: to import into.
    ///
    /// # Errors
    ///
    /// Those of opening.
    pub fn create(dir: &Path) -> Result<Reader, StoreError> {
        let backend = Logged::open(dir, &StoreOptions::default(), SyncFile::real())?;
        Reader::on(Box::new(backend))
    }

    pub(crate) fn on(backend: Box<dyn Backend>) -> Result<Reader, StoreError> {
        let (book, recovered) = Book::open(backend)?;
        Ok(Reader { book, recovered })
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.book.backend
    }

    /// What the last process left.
    pub fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// Charges each attempt that a killed process left open at its bound, durably, as the next
    /// run would: nobody has the store open who could still close it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it cannot be written.
    pub fn settle_left_open(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let Reader { book, recovered } = self;
        left::settle(recovered, now, |entries| book.write(&entries)).map(drop)
    }

    /// Totals of what was used.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it cannot be read.
    pub fn usage(&self, query: &UsageQuery) -> Result<UsageReport, StoreError> {
        query::usage(self.backend(), query)
    }

    /// Tells each record of a call opened in `since..until`, about in the order of time, until
    /// `each` returns `false`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it cannot be read.
    pub fn records(
        &self,
        since: Timestamp,
        until: Timestamp,
        each: &mut dyn FnMut(UsageRecord) -> bool,
    ) -> Result<(), StoreError> {
        query::records(self.backend(), since, until, &mut |record| Ok(each(record)))
    }

    /// Tells each record that `query` is about, however it groups them, about in the order of time,
    /// until `each` returns `false`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it cannot be read.
    pub fn records_of(
        &self,
        query: &UsageQuery,
        each: &mut dyn FnMut(UsageRecord) -> bool,
    ) -> Result<(), StoreError> {
        query::wanted(self.backend(), query, &mut |record| Ok(each(record)))
    }

    /// Tells each event that `filter` lets through, in the order of time, until `each` returns
    /// `false`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it cannot be read.
    pub fn audit(
        &self,
        filter: &AuditFilter,
        each: &mut dyn FnMut(AuditEvent) -> bool,
    ) -> Result<(), StoreError> {
        let from = filter.since.map_or(0, |since| codec::bucket(since, 1));
        // Commits of the same second may overlap: a second is sorted before it is told.
        let mut second: (u64, Vec<AuditEvent>) = (0, Vec::new());
        let mut goes_on = true;
        let mut tell = |events: &mut Vec<AuditEvent>| {
            events.sort_by_key(|event| event.timestamp);
            events.drain(..).all(&mut *each)
        };
        let range = (from, u64::MAX);
        codec::read_items(self.backend(), codec::AUDIT, range, &mut |at, _, event| {
            if at != second.0 {
                goes_on = tell(&mut second.1);
                second.0 = at;
            }
            if filter.matches(&event) {
                second.1.push(event);
            }
            Ok(goes_on)
        })?;
        if goes_on {
            tell(&mut second.1);
        }
        Ok(())
    }
}

/// Whether there is a store in `dir`.
pub(crate) fn is_there(dir: &Path) -> bool {
    dir.join("db").exists()
}

/// What the audit trail tells of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trail {
    /// How many events a person should look at, by name.
    pub warnings: BTreeMap<&'static str, u64>,
    /// The last event of the run's own, not of a later start that settled what it had left open.
    pub last: Timestamp,
}

/// What the trail tells of a run that started at `since`.
pub(crate) fn trail(
    backend: &dyn Backend,
    run_id: &str,
    since: Timestamp,
) -> Result<Trail, StoreError> {
    let mut trail = Trail::default();
    let range = (codec::bucket(since, 1), u64::MAX);
    codec::read_items(backend, codec::AUDIT, range, &mut |_, _, event: AuditEvent| {
        if *event.subject.run_id == *run_id {
            if event.kind.is_warning() {
                *trail.warnings.entry(event.kind.name()).or_default() += 1;
            }
            if !matches!(event.kind, AuditKind::UsagePresumed { .. }) {
                trail.last = trail.last.max(event.timestamp);
            }
        }
        Ok(true)
    })?;
    Ok(trail)
}

/// Money spent at a time, and on whose account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spending {
    /// When the call was opened; the last moment of the day where it is a sum, so that it never
    /// leaves a rolling window before its time.
    pub at: Timestamp,
    /// The scopes that it counts in; a sum has none of tasks.
    pub scopes: Vec<Scope>,
    /// What is known to be billed.
    pub spent: NanoUsd,
    /// What is charged because it may have been billed.
    pub presumed: NanoUsd,
}

pub(crate) fn spending(
    backend: &dyn Backend,
    fine_since: Timestamp,
    each: &mut dyn FnMut(Spending),
) -> Result<(), StoreError> {
    let fine_day = fine_since.day().max(Meta::read(backend)?.kept_from_day);
    let midnight = |day: u32| Timestamp::from_millis(u64::from(day) * 86_400_000);
    let last_moment = |day: u32| Timestamp::from_nanos(midnight(day + 1).nanos() - 1);
    if let Some(last) = fine_day.checked_sub(1) {
        rollup::read(backend, FULL, (0, last), &mut |day, names, totals| {
            let at = last_moment(day);
            let (spent, presumed) = (totals.cost, totals.presumed);
            each(Spending { at, scopes: scopes(names), spent, presumed });
            Ok(())
        })?;
    }
    query::records(backend, midnight(fine_day), Timestamp::NEVER, &mut |record| {
        each(Spending {
            at: record.opened_at,
            scopes: scopes(&rollup::names(&record)),
            spent: record.cost,
            presumed: record.presumed,
        });
        Ok(true)
    })
}

/// Not those of tasks: what a task has spent counts in its own run only.
fn scopes(names: &Names) -> Vec<Scope> {
    let [project_id, agent, model, user_id, account] = names.clone();
    let subject = Subject { project_id, agent, model, user_id, ..Subject::default() };
    subject.scopes(&account.unwrap_or_default())
}
