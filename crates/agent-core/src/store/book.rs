//! Turns entries into one atomic change, and knows what is open; no thread, no actor.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::backend::Backend;
use super::codec::{self, Changes};
use super::entry::{Entry, Recovered};
use super::error::StoreError;
use super::journal::{Fold, Line};
use super::live::Live;
use super::rollup::Rollups;
use crate::record::UsageRecord;

/// Buffers that are kept from commit to commit.
const SPARE: usize = 4;

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

/// What was done since a book was opened. What a failed commit did not do counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// Usage records that were written.
    pub(crate) records: u64,
    /// Second ends of an attempt or a task, which were not written.
    pub(crate) ignored: u64,
}

/// A backend and what is open in it.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) meta: Meta,
    pub(crate) live: Live,
    rollups: Rollups,
    pub(crate) counts: Counts,
    /// As they were before the last change.
    before: Counts,
    /// Buffers for the next commit.
    spare: Vec<Vec<u8>>,
}

impl Book {
    /// Reads what was left.
    pub(crate) fn open(backend: Box<dyn Backend>) -> Result<(Book, Recovered), StoreError> {
        let meta = Meta::read(&*backend)?;
        let fold = Fold::read(&*backend, meta.run_start)?;
        let live = fold.live();
        let (rollups, counts) = (Rollups::default(), Counts::default());
        let book = Book { backend, meta, live, rollups, counts, before: counts, spare: Vec::new() };
        Ok((book, fold.recovered()))
    }

    /// Starts afresh after a failed commit.
    pub(crate) fn reopen(&mut self) -> Result<(), StoreError> {
        self.refresh()?;
        self.live = Fold::read(&*self.backend, self.meta.run_start)?.live();
        Ok(())
    }

    /// The same, but for what is open: that is known without a journal.
    pub(crate) fn refresh(&mut self) -> Result<(), StoreError> {
        self.backend.reopen()?;
        let planned = std::mem::replace(&mut self.meta, Meta::read(&*self.backend)?);
        if self.meta.seq < planned.seq {
            // The last change has not reached the backend.
            self.counts = self.before;
        }
        self.rollups = Rollups::default();
        Ok(())
    }

    /// Writes entries, all or none; durable when it returns. After a failure: [`Book::reopen`].
    pub(crate) fn write<'a>(
        &mut self,
        entries: impl IntoIterator<Item = &'a Entry>,
    ) -> Result<(), StoreError> {
        let changes = self.plan(entries)?;
        self.backend.commit(changes)
    }

    /// Writes entries that were admitted, without a journal of them. After a failure:
    /// [`Book::refresh`].
    pub(crate) fn file(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        self.begin();
        let changes = self.plan_streams(entries, Changes::default())?;
        self.backend.commit(changes)
    }

    /// Takes back what was refused although it had reached the disk.
    pub(crate) fn withdraw(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        let mut journal = Vec::new();
        for entry in entries {
            if let Some(line) = self.withdrawal(entry) {
                codec::push(&mut journal, &line)?;
            }
        }
        let mut changes = Changes::default();
        self.begin();
        self.put_stream((codec::JOURNAL, self.meta.seq), journal, &mut changes);
        changes.puts.push((codec::META.to_vec(), codec::value(&self.meta)?));
        self.backend.commit(changes)
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

    fn plan<'a>(
        &mut self,
        entries: impl IntoIterator<Item = &'a Entry>,
    ) -> Result<Changes, StoreError> {
        self.begin();
        let (mut journal, mut filed) = (self.buffer(), Vec::new());
        for entry in entries {
            if !self.admit(entry, &mut journal)? {
                self.counts.ignored += 1;
                continue;
            }
            if let Some(line) = Line::of(entry)? {
                codec::push(&mut journal, &line)?;
            }
            if entry.is_filed() {
                filed.push(entry);
            }
        }
        let mut changes = Changes::default();
        self.put_stream((codec::JOURNAL, self.meta.seq), journal, &mut changes);
        self.plan_streams(filed, changes)
    }

    /// Adds records, events and rollups to what is to be changed.
    fn plan_streams<'a>(
        &mut self,
        entries: impl IntoIterator<Item = &'a Entry>,
        mut changes: Changes,
    ) -> Result<Changes, StoreError> {
        let mut streams: BTreeMap<(u8, u64), Vec<u8>> = BTreeMap::new();
        let mut records: Vec<&UsageRecord> = Vec::new();
        for entry in entries {
            match entry {
                Entry::Audit(event) => {
                    let at = (codec::AUDIT, codec::bucket(event.timestamp, 1));
                    codec::push(streams.entry(at).or_insert_with(|| self.buffer()), event)?;
                }
                Entry::AttemptClosed(record) if record.is_usage() => {
                    let at = (codec::RECORD, codec::bucket(record.opened_at, 60));
                    codec::push(streams.entry(at).or_insert_with(|| self.buffer()), record)?;
                    records.push(record);
                }
                _ => {}
            }
        }
        self.counts.records += records.len() as u64;
        for (at, stream) in streams {
            self.put_stream(at, stream, &mut changes);
        }
        self.rollups.add(&*self.backend, records.into_iter(), &mut changes)?;
        changes.puts.push((codec::META.to_vec(), codec::value(&self.meta)?));
        Ok(changes)
    }

    /// Begins a change.
    fn begin(&mut self) {
        self.meta.seq += 1;
        self.before = self.counts;
    }

    /// An empty buffer; most commits are of one size.
    fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Puts a stream under its kind, its time and this commit.
    fn put_stream(&mut self, (kind, time): (u8, u64), mut stream: Vec<u8>, changes: &mut Changes) {
        let key = codec::stream_key(kind, time, self.meta.seq);
        codec::put_stream(changes, &key, &stream);
        if self.spare.len() < SPARE {
            stream.clear();
            self.spare.push(stream);
        }
    }

    /// Whether an entry is to be written; notes what opens and ends.
    fn admit(&mut self, entry: &Entry, journal: &mut Vec<u8>) -> Result<bool, StoreError> {
        if let Entry::RunStarted { run_id, .. } = entry
            && self.live.run.as_ref() != Some(run_id)
        {
            // The journal is read from here on: what is still open moves along.
            journal.clear();
            self.meta.run_start = self.meta.seq;
            for open in self.live.open.values() {
                codec::push(journal, &Line::Opened(open.clone()))?;
            }
        }
        Ok(self.live.admit(entry))
    }
}
