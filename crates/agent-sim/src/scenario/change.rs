//! Changes to a scenario from outside: `--set run.seed=7`, `--sweep agent.0.count=50,100`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use toml_edit::{DocumentMut, Item, Key, Value};

use agent_core::config::ConfigError;

use super::ScenarioError;
use super::read::is_own;

/// One value of a scenario or of its fleet that is replaced, or added where it is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// As it was written: `agent.0.count`.
    written: String,
    /// Keys and, in lists, places from 0.
    path: Vec<String>,
    /// The value as TOML; what is no TOML is a string.
    value: String,
}

/// Why a change cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// It has no `=`, or nothing on one side of it.
    #[error("\"{0}\" is no change; write PATH=VALUE, such as agent.0.count=50")]
    Form(String),
    /// Something on the way to the value is not there.
    #[error("{path}: {problem}")]
    Path {
        /// Where.
        path: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A range has too many values.
    #[error("{range} has more than {most} values; take a longer step")]
    TooMany {
        /// The range, as it was written.
        range: String,
        /// The most that it may have.
        most: u64,
    },
    /// A value of a sweep stands twice.
    #[error("{axis} has the value {value} twice; write it once")]
    Twice {
        /// The values, as they were written.
        axis: String,
        /// The one.
        value: String,
    },
    /// Two axes of a sweep are of one value.
    #[error("{path} is swept twice; write all its values behind one --sweep")]
    SweptTwice {
        /// Its path.
        path: String,
    },
    /// Something that is meant as a range is none.
    #[error(
        "{range} has no range that can be taken; write whole numbers and a step above 0, the \
         first number below the last, such as 50..400:50"
    )]
    Range {
        /// The axis, as it was written.
        range: String,
    },
    /// The file is not TOML, so nothing can be changed in it.
    #[error("{file}: not valid TOML")]
    Syntax {
        /// The file.
        file: String,
    },
}

/// Most keys of a path; no value of a scenario needs as many.
const DEEPEST: usize = 32;

/// Keys that may be left out and whose values are amounts of money.
const MONEY: [&str; 2] = ["max_cost_usd", "max_cost_per_task"];

/// What is stated of a model beside its prices.
const NO_PRICES: [&str; 2] = ["context_window", "max_output"];

impl Change {
    /// Sets the value at `path`, such as `agent.0.count`; a key that has a point in it stands in
    /// quotes, as in TOML.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Form`] where a part of the path is empty or no key, [`ChangeError::Path`]
    /// where it has more than 32.
    pub fn new(path: &str, value: &str) -> Result<Change, ChangeError> {
        let form = || ChangeError::Form(format!("{path}={value}"));
        let pieces = path.split('.');
        let depth = pieces.clone().count();
        if depth > DEEPEST {
            let path = format!("{}…", pieces.take(3).collect::<Vec<_>>().join("."));
            let problem = format!("has {depth} keys; no value lies below {DEEPEST}");
            return Err(ChangeError::Path { path, problem });
        }
        let keys = Key::parse(path).map_err(|_| form())?;
        let parts: Vec<String> = keys.iter().map(|key| key.get().to_owned()).collect();
        if parts.iter().any(String::is_empty) || value.trim().is_empty() {
            return Err(form());
        }
        let (written, value) = (path.trim().to_owned(), value.trim().to_owned());
        Ok(Change { written, path: parts, value })
    }

    /// The path, as it was written.
    pub fn path(&self) -> String {
        self.written.clone()
    }

    /// The value, as it was written.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether it is of the same value as `other`.
    pub(crate) fn is_of_one_with(&self, other: &Change) -> bool {
        self.path == other.path
    }

    /// Whether it gives the value at `key`, such as `agent[0].count`, or one that has it.
    fn gives(&self, key: &str) -> bool {
        let path = self.path.join(".");
        key.strip_prefix(&path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// Whether it gives a value below `key`.
    fn is_below(&self, key: &str) -> bool {
        self.path.join(".").strip_prefix(key).is_some_and(|rest| rest.starts_with('.'))
    }

    fn toml(&self) -> Result<Value, ChangeError> {
        if let Ok(value) = self.value.parse::<Value>() {
            // No value of a scenario is a date of TOML: times are strings.
            return Ok(if value.is_datetime() { Value::from(self.value.as_str()) } else { value });
        }
        let digits = self.value.trim_start_matches(['+', '-']);
        if !digits.is_empty() && digits.chars().all(|it| it.is_ascii_digit() || it == '_') {
            let (number, most) = (&self.value, i64::MAX);
            return Err(self.wrong(format_args!(
                "{number} is too large a number; write one of at most {most} on either side of 0"
            )));
        }
        Ok(Value::from(self.value.as_str()))
    }

    fn wrong(&self, problem: impl fmt::Display) -> ChangeError {
        ChangeError::Path { path: self.path(), problem: problem.to_string() }
    }

    fn make(&self, document: &mut DocumentMut) -> Result<(), ChangeError> {
        let (last, way) = self.path.split_last().ok_or_else(|| ChangeError::Form(self.path()))?;
        let mut at = document.as_item_mut();
        for part in way {
            at = self.step(at, part)?;
        }
        let at = self.step(at, last)?;
        let mut value = self.toml()?;
        // In a shell nobody quotes a number: an amount of money is a string, and so is whatever
        // takes the place of one.
        let of_prices = self.path[0] == "prices" && !NO_PRICES.contains(&last.as_str());
        let is_text = at.is_str() || of_prices || MONEY.contains(&last.as_str());
        if is_text && (value.is_float() || value.is_integer()) {
            value = Value::from(self.value.as_str());
        }
        *at = Item::Value(value);
        Ok(())
    }

    fn step<'a>(&self, at: &'a mut Item, part: &str) -> Result<&'a mut Item, ChangeError> {
        if at.is_none() {
            *at = Item::Table(toml_edit::Table::new());
        }
        let tables = at.as_array_of_tables().map(toml_edit::ArrayOfTables::len);
        let values = at.as_array().map(toml_edit::Array::len);
        if let Some(length) = tables.or(values) {
            let index = part.parse::<usize>().ok().filter(|index| *index < length);
            let index = index.ok_or_else(|| {
                self.wrong(format_args!(
                    "there is no `{part}`; write a place from 0 to below {length}"
                ))
            })?;
            return Ok(&mut at[index]);
        }
        if !at.is_table_like() {
            return Err(self.wrong(format_args!("`{part}` stands under a single value")));
        }
        Ok(&mut at[part])
    }
}

impl FromStr for Change {
    type Err = ChangeError;

    fn from_str(text: &str) -> Result<Change, ChangeError> {
        let form = || ChangeError::Form(text.to_owned());
        let (path, value) = text.split_once('=').ok_or_else(form)?;
        Change::new(path, value)
    }
}

/// The changes of the scenario itself, and those of the fleet file that it names.
pub(super) fn split(
    text: &str,
    changes: &[Change],
) -> Result<(Vec<Change>, Vec<Change>), ChangeError> {
    let document: Option<DocumentMut> = text.parse().ok();
    if document.is_none_or(|document| !document.contains_key("fleet")) {
        return Ok((changes.to_vec(), Vec::new()));
    }
    Ok(changes.iter().cloned().partition(|change| change.path.first().is_some_and(|it| is_own(it))))
}

/// `text` with `changes` made to it; all else stays where it stands.
pub(super) fn apply(text: &str, file: &str, changes: &[Change]) -> Result<String, ChangeError> {
    if changes.is_empty() {
        return Ok(text.to_owned());
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let syntax = |_| ChangeError::Syntax { file: file.to_owned() };
    let mut document: DocumentMut = text.parse().map_err(syntax)?;
    for change in changes {
        change.make(&mut document)?;
    }
    Ok(document.to_string())
}

/// The error of a text to which `changes` were made: it names the change that is wrong, or the line
/// in the file as it stands, of which `unchanged` is the error.
pub(super) fn blamed(
    error: ScenarioError,
    changes: &[Change],
    unchanged: impl FnOnce() -> Option<ScenarioError>,
) -> ScenarioError {
    let Some((key, problem)) = told(&error) else { return error };
    let of = |change: &Change| {
        ChangeError::Path { path: change.path(), problem: problem.clone() }.into()
    };
    // The last one stands.
    let changes = || changes.iter().rev();
    if let Some(change) = changes().find(|change| change.gives(&key)) {
        return of(change);
    }
    let (own, below) = (unchanged(), changes().find(|change| change.is_below(&key)));
    let of_key = own.as_ref().and_then(told).filter(|(other, _)| *other == key);
    match (own.filter(|_| of_key.is_some()), below) {
        (Some(own), None) => own,
        (Some(own), Some(_)) if of_key.is_some_and(|(_, other)| other == problem) => own,
        (_, Some(change)) => of(change),
        (None, None) => error,
    }
}

/// Of which key an error is, as a change would name it, and what it says without its place.
fn told(error: &ScenarioError) -> Option<(String, String)> {
    let ScenarioError::Config(
        ConfigError::Invalid { at, key, .. }
        | ConfigError::UnknownKey { at, key, .. }
        | ConfigError::KeyInFile { at, key },
    ) = error
    else {
        return None;
    };
    let text = error.to_string();
    let problem = text.strip_prefix(&format!("{at}: ")).unwrap_or(&text).to_owned();
    Some((key.replace('[', ".").replace(']', ""), problem))
}
