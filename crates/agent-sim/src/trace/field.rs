//! Fields of a line and what they hold: numbers with bounds, times, names.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::error::{TraceError, excerpt};
use crate::draws::nanos;

/// A place in a file, for errors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Here<'a> {
    pub(super) file: &'a str,
    pub(super) number: u64,
}

impl Here<'_> {
    pub(super) fn too_large(self, most: &'static str) -> TraceError {
        TraceError::TooLarge { file: self.file.to_owned(), line: self.number, most }
    }

    pub(super) fn line(self, found: &str, expected: &'static str) -> TraceError {
        let (file, found) = (self.file.to_owned(), found.to_owned());
        TraceError::Line { file, line: self.number, found, expected }
    }

    pub(super) fn value(
        self,
        column: &'static str,
        found: &str,
        expected: &'static str,
    ) -> TraceError {
        let (file, found) = (self.file.to_owned(), excerpt(found));
        TraceError::Value { file, line: self.number, column, found, expected }
    }

    /// A whole number.
    pub(super) fn count(self, column: &'static str, text: &str) -> Result<u32, TraceError> {
        let number = text.parse().ok().filter(|_| !text.starts_with('+'));
        number.ok_or_else(|| self.value(column, text, "a whole number from 0 to 4294967295"))
    }

    /// A time, of which one unit is `unit_s` seconds, in nanoseconds.
    pub(super) fn time(
        self,
        column: &'static str,
        text: &str,
        unit_s: f64,
    ) -> Result<u64, TraceError> {
        // Ten thousand million seconds are less than `u64` has nanoseconds.
        let expected = "a time from 0 to 1e10 s";
        let seconds = text.parse::<f64>().ok().map(|number| number * unit_s);
        let allowed = seconds.filter(|seconds| (0.0..=1e10).contains(seconds));
        allowed.map(nanos).ok_or_else(|| self.value(column, text, expected))
    }
}

/// The fields of one line of comma-separated values, by the names of their columns.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) here: Here<'a>,
    pub(super) fields: Vec<Cow<'a, str>>,
    /// Where the columns that a format knows are.
    pub(super) columns: &'a BTreeMap<&'static str, usize>,
}

impl Row<'_> {
    /// The field of a column; `None` where there is no such column or nothing in it.
    pub(super) fn optional(&self, column: &'static str) -> Option<&str> {
        let field = self.fields.get(*self.columns.get(column)?)?.trim();
        (!field.is_empty()).then_some(field)
    }

    pub(super) fn text(&self, column: &'static str) -> Result<&str, TraceError> {
        let expected = "there, in every row";
        self.optional(column).ok_or_else(|| self.here.value(column, "", expected))
    }

    pub(super) fn count(&self, column: &'static str) -> Result<u32, TraceError> {
        self.here.count(column, self.optional(column).unwrap_or_default())
    }

    pub(super) fn seconds(&self, column: &'static str) -> Result<u64, TraceError> {
        self.here.time(column, self.optional(column).unwrap_or_default(), 1.0)
    }

    pub(super) fn optional_seconds(&self, column: &'static str) -> Result<Option<u64>, TraceError> {
        self.optional(column).map(|text| self.here.time(column, text, 1.0)).transpose()
    }
}

/// Takes a line of comma-separated values apart. A field may be in quotes, with `""` for one
/// within; a value never goes over the end of its line.
pub(super) fn split<'a>(here: Here<'_>, line: &'a str) -> Result<Vec<Cow<'a, str>>, TraceError> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(inside) => quoted(inside).ok_or_else(|| {
                here.line("a quote does not end before a comma", "fields between commas")
            })?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (Cow::Borrowed(&rest[..end]), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

/// The field whose opening quote was taken off, and what comes after it: a comma or nothing.
fn quoted(inside: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut from = 0;
    loop {
        let end = from + inside[from..].find('"')?;
        let after = &inside[end + 1..];
        if after.starts_with('"') {
            from = end + 2;
        } else if after.is_empty() || after.starts_with(',') {
            return Some((inside[..end].replace("\"\"", "\"").into(), after));
        } else {
            return None;
        }
    }
}
