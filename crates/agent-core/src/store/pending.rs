//! Rows that were committed and are not in the database yet.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::codec::Changes;

/// The last value of each key; none where it was removed.
#[derive(Debug, Default)]
pub(super) struct Pending {
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

/// A key, and its value where it has one.
type Row<'a> = (&'a [u8], Option<&'a [u8]>);

impl Pending {
    /// Adds one commit.
    pub(super) fn apply(&mut self, changes: Changes) {
        self.rows.extend(changes.removes.into_iter().map(|key| (key, None)));
        self.rows.extend(changes.puts.into_iter().map(|(key, value)| (key, Some(value))));
    }

    /// What is pending for `key`: a value, or its removal.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        self.rows.get(key).map(Option::as_deref)
    }

    /// Those of the keys in `from..=to`, in their order; `from` is not above `to`.
    pub(super) fn range<'a>(&'a self, from: &[u8], to: &[u8]) -> impl Iterator<Item = Row<'a>> {
        let bounds = (Bound::Included(from), Bound::Included(to));
        self.rows.range::<[u8], _>(bounds).map(row)
    }

    /// All, in the order of the keys.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(row)
    }
}

fn row<'a>((key, value): (&'a Vec<u8>, &'a Option<Vec<u8>>)) -> Row<'a> {
    (key, value.as_deref())
}
