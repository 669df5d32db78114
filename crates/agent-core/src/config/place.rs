//! Where something stands in a file.

use std::fmt;

use super::ConfigError;

/// A place in a file, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub file: String,
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A key and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) at: Place,
    pub(super) key: String,
}

impl Spot {
    /// What is wrong there and what would be right.
    pub(super) fn wrong(&self, problem: impl fmt::Display) -> ConfigError {
        let (at, key) = (self.at.clone(), self.key.clone());
        ConfigError::Invalid { at, key, problem: problem.to_string() }
    }
}

/// The text of a file, to find places in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
    /// Where each line but the first begins: a large file has many places.
    pub(super) lines: &'a [usize],
}

impl Source<'_> {
    pub(super) fn place(&self, offset: usize) -> Place {
        let before = self.lines.partition_point(|start| *start <= offset);
        let start = before.checked_sub(1).map_or(0, |line| self.lines[line]);
        let in_line = self.text.get(start..offset).unwrap_or_default();
        Place { file: self.file.to_owned(), line: before + 1, column: in_line.chars().count() + 1 }
    }
}
