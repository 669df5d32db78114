//! Turns entries into one atomic change, and knows what is open; no thread, no actor.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::backend::Backend;
use super::codec::{self, Changes};
use super::entry::{Entry, Recovered};
use super::error::StoreError;
use super::journal::{Fold, Line, Live};
use super::rollup::Rollups;
use crate::record::UsageRecord;

/// What is remembered between processes; written with every commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Meta {
    /// The last commit.
    pub(crate) seq: u64,
    /// The commit in which the journal of the last run begins.
    pub(crate) run_start: u64,
    /// The first day whose records have not been dropped by retention.
    pub(crate) kept_from_day: u32,
}

impl Meta {
    /// Reads it, or starts at nothing.
    pub(crate) fn read(backend: &dyn Backend) -> Result<Meta, StoreError> {
        backend
            .get(codec::META)?
            .map_or_else(|| Ok(Meta::default()), |bytes| codec::read_value(&bytes))
    }
}

/// A backend and what is open in it.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) meta: Meta,
    live: Live,
    rollups: Rollups,
    /// Usage records written since it was opened.
    pub(crate) records: u64,
    /// Second ends of an attempt or a task, which were not written.
    pub(crate) ignored: u64,
}

impl Book {
    /// Reads what was left.
    pub(crate) fn open(backend: Box<dyn Backend>) -> Result<(Book, Recovered), StoreError> {
        let meta = Meta::read(&*backend)?;
        let fold = Fold::read(&*backend, meta.run_start)?;
        let live = fold.live();
        let rollups = Rollups::default();
        let book = Book { backend, meta, live, rollups, records: 0, ignored: 0 };
        Ok((book, fold.recovered()))
    }

    /// Starts afresh after a failed commit.
    pub(crate) fn reopen(&mut self) -> Result<(), StoreError> {
        self.backend.reopen()?;
        self.meta = Meta::read(&*self.backend)?;
        self.live = Fold::read(&*self.backend, self.meta.run_start)?.live();
        self.rollups = Rollups::default();
        Ok(())
    }

    /// Writes entries, all or none; durable when it returns. After a failure: [`Book::reopen`].
    pub(crate) fn write(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        let changes = self.plan(entries)?;
        if changes.puts.is_empty() {
            return Ok(());
        }
        self.backend.commit(&changes)
    }

    /// Takes back what was refused although it had reached the disk.
    pub(crate) fn withdraw(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        let lines: Vec<Line> = entries.iter().filter_map(|entry| self.withdrawal(entry)).collect();
        let mut changes = Changes::default();
        self.meta.seq += 1;
        self.put_lines(&lines, &mut changes)?;
        changes.puts.push((codec::META.to_vec(), codec::value(&self.meta)?));
        self.backend.commit(&changes)
    }

    fn withdrawal(&mut self, entry: &Entry) -> Option<Line> {
        match entry {
            Entry::AttemptOpened(open) => {
                self.live.open.remove(&(open.call_id, open.attempt))?;
                Some(Line::Withdrawn { call_id: open.call_id, attempt: open.attempt })
            }
            Entry::TaskAccepted { run_id, task, .. } => {
                self.live.tasks.remove(&task.id);
                let task_id = task.id.shared();
                Some(Line::TaskWithdrawn { run_id: run_id.clone(), task_id })
            }
            _ => None,
        }
    }

    fn plan(&mut self, entries: &[Entry]) -> Result<Changes, StoreError> {
        let mut changes = Changes::default();
        self.meta.seq += 1;
        let mut lines = Vec::new();
        let mut streams: BTreeMap<(u8, u64), Vec<u8>> = BTreeMap::new();
        let mut records: Vec<&UsageRecord> = Vec::new();
        for entry in entries {
            if !self.admit(entry, &mut lines) {
                self.ignored += 1;
                continue;
            }
            match entry {
                Entry::Audit(event) => {
                    let at = (codec::AUDIT, codec::bucket(event.timestamp, 1));
                    codec::push(streams.entry(at).or_default(), event)?;
                }
                Entry::AttemptClosed(record) if record.is_usage() => {
                    let at = (codec::RECORD, codec::bucket(record.opened_at, 60));
                    codec::push(streams.entry(at).or_default(), record)?;
                    records.push(record);
                }
                _ => {}
            }
            lines.extend(Line::of(entry)?);
        }
        self.records += records.len() as u64;
        for ((kind, seconds), stream) in streams {
            let key = codec::stream_key(kind, seconds, self.meta.seq);
            codec::put_stream(&mut changes, &key, &stream);
        }
        self.put_lines(&lines, &mut changes)?;
        self.rollups.add(&*self.backend, records.into_iter(), &mut changes)?;
        changes.puts.push((codec::META.to_vec(), codec::value(&self.meta)?));
        Ok(changes)
    }

    fn put_lines(&self, lines: &[Line], changes: &mut Changes) -> Result<(), StoreError> {
        let mut stream = Vec::new();
        for line in lines {
            codec::push(&mut stream, line)?;
        }
        let key = codec::stream_key(codec::JOURNAL, self.meta.seq, self.meta.seq);
        codec::put_stream(changes, &key, &stream);
        Ok(())
    }

    /// Whether an entry is to be written; notes what opens and ends.
    fn admit(&mut self, entry: &Entry, lines: &mut Vec<Line>) -> bool {
        match entry {
            Entry::RunStarted { run_id, .. } => {
                if self.live.run.as_ref() != Some(run_id) {
                    // The journal is read from here on: what is still open moves along.
                    lines.clear();
                    self.meta.run_start = self.meta.seq;
                    self.live.run = Some(run_id.clone());
                    self.live.tasks.clear();
                    lines.extend(self.live.open.values().cloned().map(Line::Opened));
                }
                true
            }
            Entry::TaskAccepted { task, .. } => {
                self.live.tasks.insert(task.id.clone(), ()).is_none()
            }
            Entry::TaskEnded { outcome, .. } => self.live.tasks.remove(&outcome.task_id).is_some(),
            Entry::AttemptOpened(open) => {
                self.live.open.insert((open.call_id, open.attempt), open.clone());
                true
            }
            Entry::AttemptClosed(record) => {
                self.live.open.remove(&(record.call_id, record.attempt)).is_some()
            }
            Entry::AttemptWithdrawn { call_id, attempt } => {
                self.live.open.remove(&(*call_id, *attempt)).is_some()
            }
            Entry::RunFinished { .. } | Entry::Audit(_) => true,
        }
    }
}
