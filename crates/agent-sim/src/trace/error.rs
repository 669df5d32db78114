//! Why a trace cannot be read.

use std::io;

use thiserror::Error;

/// Why a trace cannot be read. Lines are counted from 1, the header among them.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The file cannot be opened or read on, or its gzip stream is damaged.
    #[error("{file} cannot be read{}", after(*line))]
    Unreadable {
        /// The file.
        file: String,
        /// How many lines were read before.
        line: u64,
        /// What the system says.
        source: io::Error,
    },
    /// There is no request in it.
    #[error("{file} has no requests; a trace has at least one")]
    Empty {
        /// The file.
        file: String,
    },
    /// The first line is that of no known format.
    #[error(
        "{file}:1: this is the first line of no known format: {found}; \
         known are those that begin as {known}"
    )]
    UnknownFormat {
        /// The file.
        file: String,
        /// The line's beginning.
        found: String,
        /// The formats and their columns.
        known: String,
    },
    /// A column of the format is missing.
    #[error("{file}:1: there is no column {column}, which {format} has; the columns are {found}")]
    MissingColumn {
        /// The file.
        file: String,
        /// The format's name.
        format: &'static str,
        /// The column.
        column: &'static str,
        /// The columns that there are.
        found: String,
    },
    /// A row has more or fewer fields than the header.
    #[error("{file}:{line}: there are {found} fields; the header has {expected}")]
    Fields {
        /// The file.
        file: String,
        /// The line.
        line: u64,
        /// How many fields it has.
        found: usize,
        /// How many it should have.
        expected: usize,
    },
    /// A value is not what its column holds.
    #[error("{file}:{line}: {column} is {found}; it must be {expected}")]
    Value {
        /// The file.
        file: String,
        /// The line.
        line: u64,
        /// The column.
        column: &'static str,
        /// What stands there, or its beginning.
        found: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// A line cannot be taken apart.
    #[error("{file}:{line}: {found}; a line is {expected}")]
    Line {
        /// The file.
        file: String,
        /// The line.
        line: u64,
        /// What is wrong with it.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A line is longer than any that is read.
    #[error("{file}:{line}: the line has more than 1 MiB; a row of a trace is shorter")]
    LongLine {
        /// The file.
        file: String,
        /// The line.
        line: u64,
    },
    /// There is more than a trace may have.
    #[error("{file}:{line}: there are more than {most}; cut the file into smaller ones")]
    TooLarge {
        /// The file.
        file: String,
        /// The line.
        line: u64,
        /// The bound.
        most: &'static str,
    },
}

fn after(line: u64) -> String {
    if line == 0 { String::new() } else { format!(" after line {line}") }
}

/// The beginning of `text`, in quotes, as it may be shown to a person.
pub(super) fn excerpt(text: &str) -> String {
    const MOST: usize = 60;
    let mut shown: String = text.chars().take(MOST).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}
