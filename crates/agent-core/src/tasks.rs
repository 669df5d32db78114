//! Task files: one JSON object a line, each error with its line, its key and its remedy.

use std::io::{self, BufRead, Read};

use serde_json::{Map, Value};
use thiserror::Error;

use crate::task::Task;
use crate::wording::{nearest, shown};

/// The keys of a task.
pub const KEYS: [&str; 11] = [
    "id",
    "title",
    "description",
    "project_id",
    "user_id",
    "model",
    "max_tokens",
    "priority",
    "deadline",
    "agent",
    "metadata",
];

/// Longest line that is read, in bytes.
pub const MAX_LINE: usize = 16 << 20;

/// Why a line holds no task.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LineError {
    /// No JSON.
    #[error("not valid JSON at column {column}; write one JSON object a line")]
    Json {
        /// The byte in the line, from 1.
        column: usize,
    },
    /// A number beyond what readers of JSON can hold.
    #[error("the number that ends at column {column} is too large; write it in quotes")]
    Number {
        /// The byte in the line, from 1.
        column: usize,
    },
    /// JSON with more levels than readers take.
    #[error("nested too deep at column {column}; write at most 127 levels of objects and lists")]
    Deep {
        /// The byte in the line, from 1.
        column: usize,
    },
    /// JSON, but no object.
    #[error("not a JSON object; write {{\"id\": 1, \"title\": \"…\"}}")]
    NoObject,
    /// A key that nobody reads.
    #[error("unknown key `{key}`; {remedy}")]
    UnknownKey {
        /// The key.
        key: String,
        /// The nearest known key, or all.
        remedy: String,
    },
    /// No id.
    #[error("`id` is missing; give each task a string or a number")]
    NoId,
    /// A value that cannot be used.
    #[error("`{key}` is not usable; write {form}")]
    Value {
        /// The key.
        key: &'static str,
        /// What would be right.
        form: &'static str,
    },
    /// An id that another task has.
    #[error("`id` \"{id}\" is that of another task; give each its own")]
    IdTwice {
        /// The id.
        id: String,
    },
    /// A key that stands twice.
    #[error("a key stands twice; keep one")]
    Twice,
    /// A line over [`MAX_LINE`].
    #[error("longer than 16 MiB; shorten the task")]
    TooLong,
    /// Bytes that are no text.
    #[error("not UTF-8 at column {column}; save the file as UTF-8")]
    NotUtf8 {
        /// The byte in the line, from 1.
        column: usize,
    },
    /// The file cannot be read on.
    #[error("cannot be read")]
    Io(#[from] io::Error),
}

impl LineError {
    /// The fault of a task whose id another task has.
    pub fn id_twice(task: &Task) -> LineError {
        LineError::IdTwice { id: shown(task.id.as_str()).to_owned() }
    }
}

fn form(key: &str) -> &'static str {
    match key {
        "id" => "a string that is not empty, or a number, in quotes where it is long",
        "max_tokens" => "a whole number from 1 to 4294967295",
        "priority" => "\"low\", \"normal\" or \"high\"",
        "deadline" => "a duration such as \"10m\" or a time such as \"2026-11-24T10:00:00Z\"",
        "project_id" | "user_id" => "a string or a number, in quotes where it is long",
        "metadata" => "an object",
        _ => "a string",
    }
}

/// Reads one line.
///
/// # Errors
///
/// The first thing that is wrong with it.
pub fn read_line(line: &str) -> Result<Task, LineError> {
    match Task::from_json(line) {
        Ok(Task { max_tokens: Some(0), .. }) => {
            Err(LineError::Value { key: "max_tokens", form: form("max_tokens") })
        }
        Ok(task) if line.trim_start().starts_with('{') && !task.id.as_str().is_empty() => Ok(task),
        _ => Err(diagnose(line)),
    }
}

fn diagnose(line: &str) -> LineError {
    let object: Map<String, Value> = match serde_json::from_str(line) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return LineError::NoObject,
        Err(error) => return unread(&error),
    };
    if let Some(key) = object.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let remedy = match nearest(key, &KEYS) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known: {}", KEYS.join(", ")),
        };
        return LineError::UnknownKey { key: shown(key).to_owned(), remedy };
    }
    if !object.contains_key("id") {
        return LineError::NoId;
    }
    let unusable = |key: &&str| {
        let Some(value) = object.get(*key) else { return false };
        let mut alone = Map::from_iter([("id".to_owned(), Value::from("1"))]);
        alone.insert((*key).to_owned(), value.clone());
        serde_json::from_value::<Task>(Value::Object(alone)).is_err()
    };
    match KEYS.into_iter().find(unusable) {
        Some(key) => LineError::Value { key, form: form(key) },
        None => LineError::Twice,
    }
}

/// What is wrong with a line that is not read as JSON; the reader tells it in words alone.
fn unread(error: &serde_json::Error) -> LineError {
    let (words, column) = (error.to_string(), error.column());
    if words.starts_with("number out of range") {
        LineError::Number { column }
    } else if words.starts_with("recursion limit exceeded") {
        LineError::Deep { column }
    } else {
        LineError::Json { column }
    }
}

/// The tasks of a file with their line numbers, from 1; blank lines are passed over.
#[derive(Debug)]
pub struct Lines<R> {
    from: R,
    line: usize,
    ended: bool,
}

impl<R: BufRead> Lines<R> {
    /// Reads `from` its start.
    pub fn new(from: R) -> Lines<R> {
        Lines { from, line: 0, ended: false }
    }

    /// The next line without its end, `None` after the last; a longer one is read past.
    fn next_line(&mut self) -> Result<Option<Vec<u8>>, LineError> {
        let mut bytes = Vec::new();
        let most = MAX_LINE as u64 + 1;
        if (&mut self.from).take(most).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        if bytes.len() > MAX_LINE && bytes.last() != Some(&b'\n') {
            self.from.skip_until(b'\n')?;
            return Err(LineError::TooLong);
        }
        Ok(Some(bytes))
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = (usize, Result<Task, LineError>);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            self.line += 1;
            let bytes = match self.next_line() {
                Ok(Some(bytes)) => bytes,
                Ok(None) => break,
                Err(error) => {
                    self.ended = matches!(error, LineError::Io(_));
                    return Some((self.line, Err(error)));
                }
            };
            let bytes = match bytes.strip_prefix(b"\xef\xbb\xbf") {
                Some(rest) if self.line == 1 => rest,
                _ => &bytes,
            };
            let read = match std::str::from_utf8(bytes) {
                Ok(text) if text.trim().is_empty() => continue,
                Ok(text) => read_line(text.trim_end()),
                Err(error) => Err(LineError::NotUtf8 { column: error.valid_up_to() + 1 }),
            };
            return Some((self.line, read));
        }
        self.ended = true;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn says(line: &str, message: &str) {
        assert_eq!(read_line(line).unwrap_err().to_string(), message);
    }

    #[test]
    fn a_wrong_line_is_refused_with_its_key_and_the_remedy() {
        says("{", "not valid JSON at column 1; write one JSON object a line");
        says("[\"1\"]", "not a JSON object; write {\"id\": 1, \"title\": \"…\"}");
        says("{\"id\":1,\"titel\":\"x\"}", "unknown key `titel`; did you mean `title`?");
        says("{}", "`id` is missing; give each task a string or a number");
        says(
            "{\"id\":1e30}",
            "`id` is not usable; write a string that is not empty, or a number, in quotes where it is \
             long",
        );
        says(
            "{\"id\":1,\"user_id\":[]}",
            "`user_id` is not usable; write a string or a number, in quotes where it is long",
        );
        let tokens = "`max_tokens` is not usable; write a whole number from 1 to 4294967295";
        says("{\"id\":1,\"max_tokens\":0}", tokens);
        says("{\"id\":1,\"max_tokens\":\"9\"}", tokens);
        let zeros = "0".repeat(400);
        for (number, column) in [("1e400", 11), ("-1e309", 12), (&format!("1{zeros}"), 407)] {
            let large = format!("the number that ends at column {column} is too large");
            says(&format!("{{\"id\":{number}}}"), &format!("{large}; write it in quotes"));
        }
        let deep =
            format!("{{\"id\":1,\"metadata\":{}{}}}", "{\"a\":".repeat(200), "}".repeat(200));
        says(&deep, "nested too deep at column 650; write at most 127 levels of objects and lists");
        says("{\"id\":1,\"id\":2}", "a key stands twice; keep one");
    }

    #[test]
    fn blank_lines_and_a_byte_order_mark_are_passed_over_and_lines_are_counted() {
        let file = b"\xef\xbb\xbf{\"id\":1}\r\n\n  \n{\"id\":\"b\"}\n\xff\n{\"id\":3}";
        let read: Vec<_> = Lines::new(&file[..])
            .map(|(line, task)| (line, task.map_or_else(|e| e.to_string(), |t| t.id.to_string())))
            .collect();
        let bad = "not UTF-8 at column 1; save the file as UTF-8";
        let expected = [(1, "1"), (4, "b"), (5, bad), (6, "3")];
        assert_eq!(read, expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_and_the_next_is_read() {
        let long = io::repeat(b'x').take(MAX_LINE as u64 + 5);
        let file = io::BufReader::new(long.chain(&b"\n{\"id\":2}"[..]));
        let read: Vec<_> = Lines::new(file).collect();
        assert!(matches!(read[0], (1, Err(LineError::TooLong))));
        assert!(matches!(&read[1], (2, Ok(task)) if task.id.as_str() == "2"));
        assert_eq!(read.len(), 2);
    }
}
