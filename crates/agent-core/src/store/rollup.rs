//! Totals kept beside the records: by day and for ever, for the groupings that are asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::backend::Backend;
use super::codec::{self, Changes};
use super::error::StoreError;
use crate::money::NanoUsd;
use crate::record::UsageRecord;
use crate::usage::TokenCounts;

/// Stands for "all days" in a key: later than any day.
pub(crate) const ALL_DAYS: u32 = u32::MAX;
/// All five names.
pub(crate) const FULL: u8 = 0b1_1111;
/// The groupings summed over all days: by nothing, project, agent, model, user.
pub(crate) const FOR_EVER: [u8; 5] = [0, 1, 2, 4, 8];
/// The groupings summed by day; any other sum is one of these.
pub(crate) const BY_DAY: [u8; 2] = [0, FULL];
/// All groupings that have rows.
pub(crate) const GROUPINGS: [u8; 6] = [0, 1, 2, 4, 8, FULL];
/// Rows kept in the writer's memory before it starts afresh.
const CACHED: usize = 100_000;

/// Project, agent, model, user, account; empty where the grouping leaves it out.
pub(crate) type Names = [Option<Arc<str>>; 5];

/// Calls and what they took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Attempts with usage; those that were never billed do not count.
    pub calls: u64,
    /// The four token counts.
    pub usage: TokenCounts,
    /// What is known to be billed.
    pub cost: NanoUsd,
    /// What is charged because it may have been billed.
    pub presumed: NanoUsd,
    /// Calls of a model without a known price: their cost is missing in `cost`.
    pub unpriced: u64,
}

impl Totals {
    /// Those of one record.
    pub(crate) fn of(record: &UsageRecord) -> Totals {
        Totals {
            calls: 1,
            usage: record.usage,
            cost: record.cost,
            presumed: record.presumed,
            unpriced: u64::from(!record.priced),
        }
    }

    /// Adds others, saturating.
    pub(crate) fn add(&mut self, other: &Totals) {
        self.calls = self.calls.saturating_add(other.calls);
        self.usage += other.usage;
        self.cost = self.cost.saturating_add(other.cost);
        self.presumed = self.presumed.saturating_add(other.presumed);
        self.unpriced = self.unpriced.saturating_add(other.unpriced);
    }
}

/// The names that a record is grouped by.
pub(crate) fn names(record: &UsageRecord) -> Names {
    let subject = &record.subject;
    [
        subject.project_id.clone(),
        subject.agent.clone(),
        subject.model.clone(),
        subject.user_id.clone(),
        Some(record.account.clone()),
    ]
}

/// The key of a row: the grouping, the day, the names of the grouping.
pub(crate) fn key(mask: u8, day: u32, names: &Names) -> Result<Vec<u8>, StoreError> {
    let mut key = vec![codec::ROLLUP, mask];
    key.extend(day.to_be_bytes());
    let named: Vec<&Option<Arc<str>>> =
        names.iter().enumerate().filter(|(i, _)| mask >> i & 1 == 1).map(|(_, n)| n).collect();
    codec::push(&mut key, &named)?;
    Ok(key)
}

/// Reads the rows of a grouping for the days in `from..=to`.
pub(crate) fn read(
    backend: &dyn Backend,
    mask: u8,
    (from, to): (u32, u32),
    each: &mut dyn FnMut(u32, &Names, Totals) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let edge = |day: u32| [&[codec::ROLLUP, mask], day.to_be_bytes().as_slice()].concat();
    let (low, mut high) = (edge(from), edge(to));
    high.extend([0xff; 64]);
    backend.scan(&low, &high, &mut |key, bytes| {
        let (day, names) = split(mask, key)?;
        each(day, &names, codec::read_value(bytes)?)?;
        Ok(true)
    })
}

fn split(mask: u8, key: &[u8]) -> Result<(u32, Names), StoreError> {
    let unknown = || StoreError::value(format!("rollup {key:02x?}"));
    let day = key.get(2..6).and_then(|day| day.try_into().ok()).ok_or_else(unknown)?;
    let named: Vec<Option<Arc<str>>> =
        postcard::from_bytes(key.get(6..).ok_or_else(unknown)?).map_err(|_| unknown())?;
    let mut names = Names::default();
    let slots = names.iter_mut().enumerate().filter(|(i, _)| mask >> i & 1 == 1);
    for ((_, slot), name) in slots.zip(named) {
        *slot = name;
    }
    Ok((u32::from_be_bytes(day), names))
}

/// The rows that the writer has touched, with their absolute values.
#[derive(Debug, Default)]
pub(crate) struct Rollups {
    rows: BTreeMap<Vec<u8>, Totals>,
}

impl Rollups {
    /// Adds one commit's records, and puts the new values of the rows that changed.
    pub(crate) fn add<'a>(
        &mut self,
        backend: &dyn Backend,
        records: impl Iterator<Item = &'a UsageRecord>,
        changes: &mut Changes,
    ) -> Result<(), StoreError> {
        let mut tuples: BTreeMap<(u32, Names), Totals> = BTreeMap::new();
        for record in records {
            let tuple = (record.opened_at.day(), names(record));
            tuples.entry(tuple).or_default().add(&Totals::of(record));
        }
        let mut deltas: BTreeMap<Vec<u8>, Totals> = BTreeMap::new();
        for ((day, names), totals) in &tuples {
            for mask in FOR_EVER {
                deltas.entry(key(mask, ALL_DAYS, names)?).or_default().add(totals);
            }
            for mask in BY_DAY {
                deltas.entry(key(mask, *day, names)?).or_default().add(totals);
            }
        }
        if self.rows.len() > CACHED {
            self.rows.clear();
        }
        for (key, delta) in deltas {
            let row = match self.rows.get_mut(&key) {
                Some(row) => row,
                None => {
                    let stored = backend.get(&key)?;
                    let stored =
                        stored.map_or_else(|| Ok(Totals::default()), |v| codec::read_value(&v))?;
                    self.rows.entry(key.clone()).or_insert(stored)
                }
            };
            row.add(&delta);
            changes.puts.push((key, codec::value(row)?));
        }
        Ok(())
    }
}
