//! Totals of what was used, by project, agent, model, user and day.

mod asked;

use std::collections::BTreeMap;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::backend::Backend;
use super::codec;
use super::error::StoreError;
use super::rollup::{self, ALL_DAYS, FOR_EVER, FULL, Names, Totals};
use crate::clock::Timestamp;
use crate::record::UsageRecord;
use asked::Asked;

/// What rows can be grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Dimension {
    Project,
    Agent,
    Model,
    User,
    Day,
}

impl Dimension {
    /// The word on the command line: `project`.
    pub fn word(self) -> &'static str {
        match self {
            Dimension::Project => "project",
            Dimension::Agent => "agent",
            Dimension::Model => "model",
            Dimension::User => "user",
            Dimension::Day => "day",
        }
    }

    /// The key in JSON: `project_id`.
    pub fn key(self) -> &'static str {
        match self {
            Dimension::Project => "project_id",
            Dimension::Agent => "agent_id",
            Dimension::User => "user_id",
            other => other.word(),
        }
    }

    /// The dimension of a word.
    pub fn from_word(word: &str) -> Option<Dimension> {
        use Dimension::{Agent, Day, Model, Project, User};
        [Project, Agent, Model, User, Day].into_iter().find(|dimension| dimension.word() == word)
    }

    fn index(self) -> Option<usize> {
        (self != Dimension::Day).then_some(self as usize)
    }
}

/// Which totals are wanted. A call belongs to the moment at which it was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageQuery {
    /// How rows are grouped; nothing: no rows, only the total.
    pub by: Vec<Dimension>,
    /// Only this project.
    pub project: Option<String>,
    /// Only this agent (`backend`) or, where no agent has that name, this worker (`backend-3`). Totals
    /// are not kept for each worker: its own are those of the records that retention has left.
    pub agent: Option<String>,
    /// Only this model, under any of its names: an alias, or one with a date.
    pub model: Option<String>,
    /// Only this user.
    pub user: Option<String>,
    /// Only calls opened at this moment or later.
    pub since: Option<Timestamp>,
    /// Only calls opened before this moment.
    pub until: Option<Timestamp>,
}

/// The answer to a [`UsageQuery`]; JSON has the keys of the command line's output.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct UsageReport {
    /// One for each group, in the order of its names.
    pub rows: Vec<UsageRow>,
    /// All rows together.
    pub total: UsageRow,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageRow {
    /// What it is grouped by, and the name; `None` where the call had none.
    pub group: Vec<(Dimension, Option<String>)>,
    /// What was used.
    pub totals: Totals,
}

impl Serialize for UsageRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (dimension, name) in &self.group {
            map.serialize_entry(dimension.key(), name)?;
        }
        let Totals { calls, usage, cost, presumed, unpriced } = &self.totals;
        map.serialize_entry("calls", calls)?;
        map.serialize_entry("input_tokens", &usage.input_tokens)?;
        map.serialize_entry("output_tokens", &usage.output_tokens)?;
        map.serialize_entry("cache_creation_input_tokens", &usage.cache_creation_input_tokens)?;
        map.serialize_entry("cache_read_input_tokens", &usage.cache_read_input_tokens)?;
        map.serialize_entry("cost_usd", cost)?;
        map.serialize_entry("presumed_cost_usd", presumed)?;
        if *unpriced > 0 {
            map.serialize_entry("unpriced_calls", unpriced)?;
        }
        map.end()
    }
}

impl UsageQuery {
    fn filters(&self) -> [Option<&str>; 4] {
        [&self.project, &self.agent, &self.model, &self.user].map(Option::as_deref)
    }

    /// The names that the answer depends on.
    fn mask(&self) -> u8 {
        let by = self.by.iter().filter_map(|dimension| dimension.index());
        let filtered = self.filters().into_iter().enumerate();
        by.chain(filtered.filter(|(_, f)| f.is_some()).map(|(i, _)| i)).fold(0, |m, i| m | 1 << i)
    }

    fn group(&self, day: u32, names: &Names) -> Vec<Option<String>> {
        let name = |dimension: &Dimension| match dimension.index() {
            Some(index) => names[index].as_deref().map(ToOwned::to_owned),
            None => Some(day_text(day)),
        };
        self.by.iter().map(name).collect()
    }
}

/// `2026-11-24`.
fn day_text(day: u32) -> String {
    let at = Timestamp::from_millis(u64::from(day) * 86_400_000).to_string();
    at.split('T').next().unwrap_or_default().to_owned()
}

/// Answers from the rollups; only the days that are cut by `since` or `until` read records.
pub(crate) fn usage(backend: &dyn Backend, query: &UsageQuery) -> Result<UsageReport, StoreError> {
    let asked = Asked::of(backend, query)?;
    let mut rows: BTreeMap<Vec<Option<String>>, Totals> = BTreeMap::new();
    let mut add = |day: u32, names: &Names, totals: Totals| {
        if asked.matches(names) {
            rows.entry(query.group(day, names)).or_default().add(&totals);
        }
        Ok(())
    };
    let needed = query.mask();
    if asked.worker.is_some() {
        records_of(backend, &asked, &mut |record| {
            add(record.opened_at.day(), &rollup::names(&record), Totals::of(&record))?;
            Ok(true)
        })?;
    } else if query.since.is_none() && query.until.is_none() && !query.by.contains(&Dimension::Day)
    {
        let covers = |mask: &u8| mask & needed == needed;
        let (mask, days) = match FOR_EVER.into_iter().find(covers) {
            Some(mask) => (mask, (ALL_DAYS, ALL_DAYS)),
            None => (FULL, (0, ALL_DAYS - 1)),
        };
        rollup::read(backend, mask, days, &mut add)?;
    } else {
        let mask = if needed == 0 { 0 } else { FULL };
        for part in parts(query.since, query.until) {
            match part {
                Part::Days(from, to) => rollup::read(backend, mask, (from, to), &mut add)?,
                Part::Moments(from, to) => records(backend, from, to, &mut |record| {
                    add(record.opened_at.day(), &rollup::names(&record), Totals::of(&record))?;
                    Ok(true)
                })?,
            }
        }
    }
    let mut report = UsageReport::default();
    for (group, totals) in rows {
        report.total.totals.add(&totals);
        let group = query.by.iter().copied().zip(group).collect();
        report.rows.push(UsageRow { group, totals });
    }
    if query.by.is_empty() {
        report.rows.clear();
    }
    Ok(report)
}

/// Reads the records that a query is about.
pub(crate) fn wanted(
    backend: &dyn Backend,
    query: &UsageQuery,
    each: &mut dyn FnMut(UsageRecord) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    records_of(backend, &Asked::of(backend, query)?, each)
}

fn records_of(
    backend: &dyn Backend,
    asked: &Asked<'_>,
    each: &mut dyn FnMut(UsageRecord) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let since = asked.query.since.unwrap_or(Timestamp::EPOCH);
    let until = asked.query.until.unwrap_or(Timestamp::NEVER);
    records(backend, since, until, &mut |record| {
        if asked.wants(&record) { each(record) } else { Ok(true) }
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// Whole days, both included.
    Days(u32, u32),
    /// From the first until before the second.
    Moments(Timestamp, Timestamp),
}

/// Cuts a span of time into whole days and the rest.
fn parts(since: Option<Timestamp>, until: Option<Timestamp>) -> Vec<Part> {
    let midnight = |day: u32| Timestamp::from_millis(u64::from(day) * 86_400_000);
    let since = since.unwrap_or(Timestamp::EPOCH);
    let first = since.day() + u32::from(midnight(since.day()) < since);
    let Some(until) = until else {
        let rest = Part::Days(first, ALL_DAYS - 1);
        return [Part::Moments(since, midnight(first)), rest].into_iter().filter(some).collect();
    };
    let last = until.day();
    if first > last {
        return [Part::Moments(since, until)].into_iter().filter(some).collect();
    }
    let head = Part::Moments(since, midnight(first));
    let whole = last.checked_sub(1).map_or(Part::Days(1, 0), |before| Part::Days(first, before));
    let tail = Part::Moments(midnight(last), until);
    [head, whole, tail].into_iter().filter(some).collect()
}

fn some(part: &Part) -> bool {
    match part {
        Part::Days(from, to) => from <= to,
        Part::Moments(from, to) => from < to,
    }
}

/// Reads the records of calls opened in `from..until`.
pub(crate) fn records(
    backend: &dyn Backend,
    from: Timestamp,
    until: Timestamp,
    each: &mut dyn FnMut(UsageRecord) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let range = (codec::bucket(from, 60), until.millis() / 1_000);
    codec::read_items(backend, codec::RECORD, range, &mut |_, _, record: UsageRecord| {
        if record.opened_at < from || record.opened_at >= until {
            return Ok(true);
        }
        each(record)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_cut_into_whole_days_and_its_two_edges() {
        let at = |hours: u64| Timestamp::from_millis(hours * 3_600_000);
        let both = |a, b| parts(Some(at(a)), Some(at(b)));
        assert_eq!(both(24, 72), [Part::Days(1, 2)]);
        let edges =
            [Part::Moments(at(23), at(24)), Part::Days(1, 1), Part::Moments(at(48), at(49))];
        assert_eq!(both(23, 49), edges);
        assert_eq!(both(25, 30), [Part::Moments(at(25), at(30))]);
        assert_eq!(both(0, 5), [Part::Moments(at(0), at(5))]);
        assert_eq!(both(5, 5), []);
        assert_eq!(parts(Some(at(24)), None), [Part::Days(1, ALL_DAYS - 1)]);
    }
}
