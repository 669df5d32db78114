//! Checking, thinning out, and the way out of the format: verify, retention, export, import.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, Write as IoWrite};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::backend::Backend;
use super::book::Meta;
use super::codec::{self, Changes};
use super::error::StoreError;
use super::journal::Line;
use super::query;
use super::reader::Reader;
use super::rollup::{self, ALL_DAYS, FOR_EVER, FULL, GROUPINGS, Names, Totals};
use crate::audit::AuditEvent;
use crate::clock::Timestamp;
use crate::record::UsageRecord;

/// Streams in one commit of an import or of retention.
const PAGE: usize = 256;

/// A total that is not the sum of what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The day since 1970-01-01; `None` for all days.
    pub day: Option<u32>,
    /// Project, agent, model, user and key, as far as the total is about one.
    pub names: [Option<Arc<str>>; 5],
    /// What is stored.
    pub stored: Totals,
    /// What it should be.
    pub expected: Totals,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.names.iter().flatten().map(|name| &**name).collect();
        let (stored, expected) = (&self.stored, &self.expected);
        write!(
            f,
            "day {:?} of {names:?}: {} calls for {} stored, {} calls for {} expected",
            self.day, stored.calls, stored.cost, expected.calls, expected.cost
        )
    }
}

type Sums = BTreeMap<(u8, u32, Names), Totals>;

fn add(sums: &mut Sums, mask: u8, day: u32, names: &Names, totals: &Totals) {
    let mut kept = names.clone();
    for (index, name) in kept.iter_mut().enumerate() {
        if mask >> index & 1 == 0 {
            *name = None;
        }
    }
    sums.entry((mask, day, kept)).or_default().add(totals);
}

/// A line of an export. `ns` holds the times of a value to the nanosecond, which JSON rounds.
#[derive(Debug, Serialize, Deserialize)]
struct Exported {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ns: Vec<u64>,
    /// The second and the commit of its key.
    #[serde(default)]
    key: (u64, u64),
    #[serde(flatten)]
    value: Value,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Value {
    Format(u32),
    Meta(Meta),
    Record(Box<UsageRecord>),
    Audit(Box<AuditEvent>),
    Journal(Box<Line>),
    Rollup {
        mask: u8,
        day: u32,
        names: Names,
        totals: Totals,
    },
    /// The last line: its number.
    End(u64),
}

impl Value {
    fn times(&mut self) -> Vec<&mut Timestamp> {
        match self {
            Value::Record(record) => vec![&mut record.at, &mut record.opened_at],
            Value::Audit(event) => vec![&mut event.timestamp],
            Value::Journal(line) => match &mut **line {
                Line::RunStarted { at, .. }
                | Line::RunFinished { at, .. }
                | Line::TaskAccepted { at, .. } => vec![at],
                Line::Opened(open) => vec![&mut Arc::make_mut(open).at],
                _ => Vec::new(),
            },
            Value::Format(_) | Value::Meta(_) | Value::Rollup { .. } | Value::End(_) => Vec::new(),
        }
    }
}

impl Reader {
    /// Compares every rollup with the sum of what it stands for; nothing is changed.
    ///
    /// Totals of days whose records were dropped by retention are taken as they are.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it cannot be read.
    pub fn verify(&self) -> Result<Vec<Difference>, StoreError> {
        let mut stored = Sums::new();
        for mask in GROUPINGS {
            rollup::read(self.backend(), mask, (0, ALL_DAYS), &mut |day, names, totals| {
                stored.insert((mask, day, names.clone()), totals);
                Ok(())
            })?;
        }
        let kept_from = self.book.meta.kept_from_day;
        let mut days = Sums::new();
        for ((_, day, names), totals) in stored.range((FULL, 0, Names::default())..) {
            if *day < kept_from {
                add(&mut days, FULL, *day, names, totals);
            }
        }
        query::records(self.backend(), Timestamp::EPOCH, Timestamp::NEVER, &mut |record| {
            if record.opened_at.day() >= kept_from {
                let names = rollup::names(&record);
                add(&mut days, FULL, record.opened_at.day(), &names, &Totals::of(&record));
            }
            Ok(true)
        })?;
        let mut expected = days.clone();
        for ((_, day, names), totals) in &days {
            add(&mut expected, 0, *day, names, totals);
            for mask in FOR_EVER {
                add(&mut expected, mask, ALL_DAYS, names, totals);
            }
        }
        let keys: std::collections::BTreeSet<_> = stored.keys().chain(expected.keys()).collect();
        let of = |sums: &Sums, key| sums.get(key).copied().unwrap_or_default();
        let differences = keys.into_iter().filter(|key| of(&stored, key) != of(&expected, key));
        Ok(differences
            .map(|key| Difference {
                day: (key.1 != ALL_DAYS).then_some(key.1),
                names: key.2.clone(),
                stored: of(&stored, key),
                expected: of(&expected, key),
            })
            .collect())
    }

    /// Drops records and audit events from before `day` (days since 1970-01-01), and the journal
    /// of earlier runs. Totals stay; the file does not shrink, its room is used again.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it cannot be read or written.
    pub fn retain(&mut self, day: u32) -> Result<u64, StoreError> {
        let before = u64::from(day) * 86_400;
        let start = self.book.meta.run_start;
        let ends = [(codec::RECORD, before), (codec::AUDIT, before), (codec::JOURNAL, start)];
        let mut meta = self.book.meta;
        meta.kept_from_day = meta.kept_from_day.max(day);
        let mut changes = Changes::default();
        changes.puts.push((codec::META.to_vec(), codec::value(&meta)?));
        self.book.backend.commit(changes)?;
        self.book.meta = meta;
        let mut dropped = 0;
        for (kind, end) in ends {
            let (low, high) = (codec::stream_key(kind, 0, 0), codec::stream_key(kind, end, 0));
            loop {
                let mut changes = Changes::default();
                self.book.backend.scan(&low, &high, &mut |key, _| {
                    changes.removes.push(key.to_vec());
                    Ok(changes.removes.len() < PAGE)
                })?;
                if changes.removes.is_empty() {
                    break;
                }
                dropped += changes.removes.len() as u64;
                self.book.backend.commit(changes)?;
            }
        }
        Ok(dropped)
    }

    /// Writes everything as JSON Lines; [`Reader::import`] reads it back without loss.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it cannot be read, or `out` cannot be written.
    pub fn export(&self, out: &mut dyn IoWrite) -> Result<(), StoreError> {
        let lines = Cell::new(0);
        let mut write = |key: (u64, u64), mut value: Value| {
            let ns = value.times().into_iter().map(|at| at.nanos()).collect();
            let line = serde_json::to_string(&Exported { ns, key, value });
            let line = line.map_err(|error| StoreError::value(error.to_string()))?;
            writeln!(out, "{line}").map_err(|error| StoreError::Export(Arc::new(error)))?;
            lines.set(lines.get() + 1);
            Ok(true)
        };
        write((0, 0), Value::Format(codec::EXPORT))?;
        write((0, 0), Value::Meta(self.book.meta))?;
        let (backend, all) = (self.backend(), (0, u64::MAX));
        for mask in GROUPINGS {
            rollup::read(backend, mask, (0, ALL_DAYS), &mut |day, names, totals| {
                write((0, 0), Value::Rollup { mask, day, names: names.clone(), totals }).map(drop)
            })?;
        }
        codec::read_items(backend, codec::JOURNAL, all, &mut |at, seq, item| {
            write((at, seq), Value::Journal(item))
        })?;
        codec::read_items(backend, codec::RECORD, all, &mut |at, seq, item| {
            write((at, seq), Value::Record(item))
        })?;
        codec::read_items(backend, codec::AUDIT, all, &mut |at, seq, item| {
            write((at, seq), Value::Audit(item))
        })?;
        write((0, 0), Value::End(lines.get() + 1)).map(drop)
    }

    /// Reads an export into this store, which must be empty.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotEmpty`], [`StoreError::Line`] at the first line that no export writes or
    /// where it is cut off, and those of writing. What was read before that does not count, but is
    /// there: the folder is of no more use.
    pub fn import(mut self, lines: &mut dyn BufRead) -> Result<Reader, StoreError> {
        let refuse = |line, why: &str| StoreError::Line { line, why: why.to_owned() };
        if !self.is_empty()? {
            return Err(StoreError::NotEmpty);
        }
        let mut import = Import::default();
        let (mut last, mut whole) = (0, false);
        for (number, text) in (1..).zip(lines.lines()) {
            let why = |error: &dyn fmt::Display| {
                // It has one line only.
                refuse(number, &error.to_string().replace(" at line 1 column", " at column"))
            };
            (last, whole) = (number, false);
            let text = text.map_err(|error| why(&error))?;
            let mut line: Exported = serde_json::from_str(&text).map_err(|error| why(&error))?;
            for (time, ns) in line.value.times().into_iter().zip(&line.ns) {
                *time = Timestamp::from_nanos(*ns);
            }
            match &line.value {
                Value::Format(codec::EXPORT) if number == 1 => {}
                Value::Format(_) => return Err(refuse(number, "not a format of this program")),
                _ if number == 1 => return Err(refuse(number, "the format is missing")),
                Value::End(count) if *count == number => whole = true,
                Value::End(_) => return Err(refuse(number, "lines before it are missing")),
                _ => import.line(line, &mut *self.book.backend)?,
            }
        }
        if !whole {
            return Err(refuse(last + 1, "the export is cut off here"));
        }
        import.end(&mut *self.book.backend)?;
        Reader::on(self.book.backend)
    }

    /// Whether it holds nothing, not even a part of an import.
    fn is_empty(&self) -> Result<bool, StoreError> {
        let mut empty = self.book.meta == Meta::default();
        for kind in [codec::RECORD, codec::AUDIT, codec::JOURNAL, codec::ROLLUP] {
            self.backend().scan(&[kind], &[kind, 0xff], &mut |_, _| {
                empty = false;
                Ok(false)
            })?;
        }
        Ok(empty)
    }
}

/// Gathers the lines of an export into the streams that they came from.
#[derive(Debug, Default)]
struct Import {
    changes: Changes,
    stream: Vec<u8>,
    key: Vec<u8>,
    /// Written last, so that a store with part of an import is still empty.
    meta: Option<Meta>,
}

impl Import {
    fn line(&mut self, line: Exported, backend: &mut dyn Backend) -> Result<(), StoreError> {
        let (at, seq) = line.key;
        match line.value {
            Value::Record(record) => self.item(codec::stream_key(codec::RECORD, at, seq), &record),
            Value::Audit(event) => self.item(codec::stream_key(codec::AUDIT, at, seq), &event),
            Value::Journal(line) => self.item(codec::stream_key(codec::JOURNAL, at, seq), &line),
            Value::Rollup { mask, day, names, totals } => {
                let put = (rollup::key(mask, day, &names)?, codec::value(&totals)?);
                self.changes.puts.push(put);
                Ok(())
            }
            Value::Meta(meta) => {
                self.meta = Some(meta);
                Ok(())
            }
            Value::Format(_) | Value::End(_) => Ok(()),
        }?;
        if self.changes.puts.len() > PAGE {
            backend.commit(std::mem::take(&mut self.changes))?;
        }
        Ok(())
    }

    fn item(&mut self, key: Vec<u8>, item: &impl Serialize) -> Result<(), StoreError> {
        if key != self.key {
            self.stream_ends();
            self.key = key;
        }
        codec::push(&mut self.stream, item)
    }

    fn stream_ends(&mut self) {
        let stream = std::mem::take(&mut self.stream);
        codec::put_stream(&mut self.changes, &self.key, &stream);
    }

    fn end(mut self, backend: &mut dyn Backend) -> Result<(), StoreError> {
        self.stream_ends();
        let meta = codec::value(&self.meta.unwrap_or_default())?;
        self.changes.puts.push((codec::META.to_vec(), meta));
        backend.commit(self.changes)
    }
}
