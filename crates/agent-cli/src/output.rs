//! How results are written: for people on a terminal, else for programs.

use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;

use comfy_table::CellAlignment;

use crate::args::Format;

/// The format asked for; by default a table on a terminal and JSON elsewhere.
pub(crate) fn format(asked: Option<Format>) -> Format {
    asked.unwrap_or_else(|| if io::stdout().is_terminal() { Format::Table } else { Format::Json })
}

/// A result that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the result cannot be written to stdout")]
pub(crate) struct StdoutError(#[from] pub(crate) io::Error);

/// Writes a result to stdout.
pub(crate) fn result(text: &str) -> Result<(), StdoutError> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Whether a failure means that whoever reads the result has read enough and closed the pipe.
pub(crate) fn nobody_reads(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let shared = error.downcast_ref::<Arc<io::Error>>().map(|error| &**error);
        if let Some(error) = error.downcast_ref::<io::Error>().or(shared) {
            return error.kind() == io::ErrorKind::BrokenPipe;
        }
        cause = error.source();
    }
    false
}

/// Writes what is no result to stderr; where that is closed there is nobody to tell.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{}", visible(text));
}

/// A text as a person may see it, on one line: what would move the cursor, change colours, reorder
/// or hide text is written out as `\u{1b}`. Ids and names are as their givers wrote them.
pub(crate) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let hides = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
        if c.is_control() || hides {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// A table without lines between its rows; what stands in it is [`visible`].
#[derive(Debug)]
pub(crate) struct Table(comfy_table::Table);

impl Table {
    pub(crate) fn new(header: &[&str]) -> Table {
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::NOTHING).set_header(cells(header));
        Table(table)
    }

    pub(crate) fn row<T: AsRef<str>>(&mut self, row: &[T]) {
        self.0.add_row(cells(row));
    }

    /// Sets the columns after the first `names` to the right: they hold numbers.
    pub(crate) fn right_after(&mut self, names: usize) {
        for column in self.0.column_iter_mut().skip(names) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn cells<T: AsRef<str>>(row: &[T]) -> impl Iterator<Item = String> {
    row.iter().map(|cell| visible(cell.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out_and_all_else_stays() {
        assert_eq!(
            visible("a\u{1b}[31m\n\u{9b}1m\u{202e}\r"),
            "a\\u{1b}[31m\\n\\u{9b}1m\\u{202e}\\r"
        );
        assert_eq!(visible("é 日本 \\ 🎭"), "é 日本 \\ 🎭");
        let mut table = Table::new(&["na\tme"]);
        table.row(&["\u{7f}"]);
        assert!(table.to_string().contains("na\\tme") && table.to_string().contains("\\u{7f}"));
    }
}
