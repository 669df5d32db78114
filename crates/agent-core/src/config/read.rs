//! Reading TOML by hand, so that each error knows its place, its key and its remedy.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::place::{Source, Spot};
use super::{ConfigError, ModelName};
use crate::wording::{nearest, shown};

const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// Reads the text of a file, whose top has no keys but `known`.
///
/// # Errors
///
/// [`ConfigError::Syntax`], [`ConfigError::UnknownKey`], and what `read` finds.
pub fn file<T, E: From<ConfigError>>(
    text: &str,
    file_name: &str,
    known: &[&str],
    read: impl FnOnce(&Section<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<usize> = text.match_indices('\n').map(|(end, _)| end + 1).collect();
    let source = Source { file: file_name, text, lines: &lines };
    let root = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        at: source.place(error.span().map_or(0, |span| span.start)),
        // Words of the parser's own, none of the file's.
        message: error.message().to_owned(),
    })?;
    read(&Section::open(source, String::new(), 0..0, root.get_ref(), known)?)
}

/// A table whose keys are all known.
#[derive(Debug)]
pub struct Section<'a> {
    source: Source<'a>,
    path: String,
    start: usize,
    table: &'a DeTable<'a>,
}

impl<'a> Section<'a> {
    fn open(
        source: Source<'a>,
        path: String,
        span: Range<usize>,
        table: &'a DeTable<'a>,
        known: &[&str],
    ) -> Result<Section<'a>, ConfigError> {
        let section = Section { source, path, start: span.start, table };
        let unknown = table.iter().filter(|(key, _)| !known.contains(&key.get_ref().as_ref()));
        let Some((key, _)) = unknown.min_by_key(|(key, _)| key.span().start) else {
            return Ok(section);
        };
        let (at, name) = (source.place(key.span().start), key.get_ref().as_ref());
        let path = section.path_of(shown(name));
        if matches!(name, "api_key" | "key" | "apikey" | "token" | "secret") {
            return Err(ConfigError::KeyInFile { at, key: path });
        }
        let remedy = match nearest(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", known.join(", ")),
        };
        Err(ConfigError::UnknownKey { at, key: path, remedy })
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value of a key, where it is there.
    pub fn field(&self, key: &str) -> Option<Field<'a>> {
        let (_, value) = self.table.iter().find(|(name, _)| name.get_ref() == key)?;
        Some(Field { source: self.source, path: self.path_of(key), value })
    }

    /// The value of a key, read by `read`, where it is there.
    ///
    /// # Errors
    ///
    /// Those of `read`.
    pub fn maybe<T>(
        &self,
        key: &str,
        read: impl FnOnce(&Field<'a>) -> Result<T, ConfigError>,
    ) -> Result<Option<T>, ConfigError> {
        self.field(key).map(|field| read(&field)).transpose()
    }

    /// The value of a key, read by `read`; `default` where it is not there.
    ///
    /// # Errors
    ///
    /// Those of `read`.
    pub fn or<T>(
        &self,
        key: &str,
        default: T,
        read: impl FnOnce(&Field<'a>) -> Result<T, ConfigError>,
    ) -> Result<T, ConfigError> {
        Ok(self.maybe(key, read)?.unwrap_or(default))
    }

    /// The value of a key that must be there; `form` says what to write.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] where it is missing, and those of `read`.
    pub fn need<T>(
        &self,
        key: &str,
        form: &str,
        read: impl FnOnce(&Field<'a>) -> Result<T, ConfigError>,
    ) -> Result<T, ConfigError> {
        let missing = || self.wrong(key, format_args!("is missing; write {form}"));
        self.maybe(key, read)?.ok_or_else(missing)
    }

    /// What is wrong with a key, which may be absent.
    pub(super) fn wrong(&self, key: &str, problem: impl fmt::Display) -> ConfigError {
        self.spot(key).wrong(problem)
    }

    /// Where a key stands, or its table where it is absent.
    pub(super) fn spot(&self, key: &str) -> Spot {
        let start = self.field(key).map_or(self.start, |field| field.value.span().start);
        Spot { at: self.source.place(start), key: self.path_of(key) }
    }
}

/// A value and where it stands.
#[derive(Debug)]
pub struct Field<'a> {
    source: Source<'a>,
    path: String,
    pub(super) value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Field<'a> {
    /// A model that is named here; its price is looked up later.
    pub(super) fn model(&self, model: &str) -> ModelName {
        ModelName { spot: self.spot(), model: model.to_owned(), asked: None }
    }

    fn spot(&self) -> Spot {
        Spot { at: self.source.place(self.value.span().start), key: self.path.clone() }
    }

    /// The error that this value is not right; `problem` goes on from the key's name: what is wrong
    /// and what would be right.
    pub fn wrong(&self, problem: impl fmt::Display) -> ConfigError {
        self.spot().wrong(problem)
    }

    fn expected(&self, form: &str) -> ConfigError {
        let found = match self.value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a point",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.wrong(format_args!("is {found}; write {form}"))
    }

    /// Whether it is a table.
    pub fn is_table(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::Table(_))
    }

    /// A string, empty ones too; `form` says what to write.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] where it is none.
    pub fn str(&self, form: &str) -> Result<&'a str, ConfigError> {
        match self.value.get_ref() {
            DeValue::String(text) => Ok(text),
            _ => Err(self.expected(form)),
        }
    }

    /// A string that is not blank.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] where it is none.
    pub fn text(&self) -> Result<String, ConfigError> {
        let text = self.str("a string in quotes")?;
        if text.trim().is_empty() {
            return Err(self.wrong("is empty; write a text, or leave the key out"));
        }
        Ok(text.to_owned())
    }

    /// A whole number.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] where it is none.
    pub fn whole(&self) -> Result<i64, ConfigError> {
        let DeValue::Integer(number) = self.value.get_ref() else {
            return Err(self.expected("a whole number without quotes"));
        };
        i64::from_str_radix(number.as_str(), number.radix())
            .map_err(|_| self.wrong("is too large a number; write a smaller one"))
    }

    /// A whole number of at least 1 that fits its type.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] where it is none.
    pub fn count<T: TryFrom<NonZeroU64>>(&self) -> Result<T, ConfigError> {
        let number = self.whole()?;
        let positive = u64::try_from(number).ok().and_then(NonZeroU64::new);
        let positive =
            positive.ok_or_else(|| self.wrong("is below 1; write a whole number of at least 1"))?;
        T::try_from(positive).map_err(|_| self.wrong("is too large; write at most 4294967295"))
    }

    /// A number.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] where it is none.
    pub fn float(&self) -> Result<f64, ConfigError> {
        let text = match self.value.get_ref() {
            DeValue::Float(number) => number.as_str(),
            DeValue::Integer(_) => return Ok(self.whole()? as f64),
            _ => return Err(self.expected("a number without quotes")),
        };
        text.parse().map_err(|_| self.wrong("is not a number"))
    }

    /// `true` or `false`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] where it is neither.
    pub fn boolean(&self) -> Result<bool, ConfigError> {
        match self.value.get_ref() {
            DeValue::Boolean(value) => Ok(*value),
            _ => Err(self.expected("true or false, without quotes")),
        }
    }

    /// A string that is read by its type; `form` says what to write.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] where it cannot be.
    pub fn parsed<T: FromStr<Err: fmt::Display>>(&self, form: &str) -> Result<T, ConfigError> {
        self.str(form)?.parse().map_err(|error| self.wrong(format_args!("is {error}")))
    }

    /// Dollars as a string.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] where it is none.
    pub fn money<T: FromStr<Err: fmt::Display>>(&self) -> Result<T, ConfigError> {
        self.parsed("money as a string of dollars in quotes, such as \"1.50\"")
    }

    /// A duration of a millisecond to 30 days.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] where it is none.
    pub fn duration(&self) -> Result<Duration, ConfigError> {
        let length = self.pause()?;
        if length < Duration::from_millis(1) {
            return Err(self.wrong("is too short; write \"1ms\" at least"));
        }
        Ok(length)
    }

    /// A duration of nothing to 30 days.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] where it is none.
    pub fn pause(&self) -> Result<Duration, ConfigError> {
        let form = "a duration in quotes, such as \"90s\" or \"1h 30m\"";
        let length = humantime::parse_duration(self.str(form)?)
            .map_err(|_| self.wrong(format_args!("is not a duration; write {form}")))?;
        if length > LONGEST {
            return Err(self.wrong("is too long; write \"30days\" at most"));
        }
        Ok(length)
    }

    /// One of `words`, and what it stands for.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] where it is another.
    pub fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, ConfigError> {
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let form = format!("one of \"{}\"", known.join("\", \""));
        let word = self.str(&form)?;
        match words.iter().find(|(known, _)| *known == word) {
            Some(&(_, value)) => Ok(value),
            None => Err(self.wrong(format_args!("is not known; write {form}"))),
        }
    }

    /// A table that has no keys but `known`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::UnknownKey`], [`ConfigError::KeyInFile`], and [`ConfigError::Invalid`] where it
    /// is no table.
    pub fn section(&self, known: &[&str]) -> Result<Section<'a>, ConfigError> {
        let DeValue::Table(table) = self.value.get_ref() else {
            return Err(self.expected("a table"));
        };
        Section::open(self.source, self.path.clone(), self.value.span(), table, known)
    }

    /// A table whose `kind` is one of `kinds`, and which has no keys but those of its kind, `kind`
    /// among them; `form` says what to write for it.
    ///
    /// # Errors
    ///
    /// As [`Field::section`], and [`ConfigError::Invalid`] where the kind is missing or not known.
    pub fn of_kind<'k>(
        &self,
        kinds: &[(&'k str, &[&str])],
        form: &str,
    ) -> Result<(&'k str, Section<'a>), ConfigError> {
        let mut all: Vec<&str> = kinds.iter().flat_map(|(_, keys)| *keys).copied().collect();
        all.sort_unstable();
        all.dedup();
        let DeValue::Table(table) = self.value.get_ref() else {
            return Err(self.expected("a table"));
        };
        let (path, start) = (self.path.clone(), self.value.span().start);
        let any = Section { source: self.source, path, start, table };
        // A misspelled one is told as such.
        let any = if any.field("kind").is_none() { self.section(&all)? } else { any };
        let words: Vec<_> = kinds.iter().map(|kind| (kind.0, *kind)).collect();
        let (kind, known) = any.need("kind", form, |it| it.one_of(&words))?;
        Ok((kind, self.section(known)?))
    }

    /// A table of any keys.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] where it is none.
    pub fn entries(&self) -> Result<Vec<(String, Field<'a>)>, ConfigError> {
        let DeValue::Table(table) = self.value.get_ref() else {
            return Err(self.expected("a table"));
        };
        let entry = |(key, value): (&'a Spanned<_>, _)| {
            let key: &std::borrow::Cow<'a, str> = key.get_ref();
            let path = format!("{}.\"{}\"", self.path, shown(key));
            (key.to_string(), Field { source: self.source, path, value })
        };
        Ok(table.iter().map(entry).collect())
    }

    /// A list; `form` says of what.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] where it is none.
    pub fn items(&self, form: &str) -> Result<Vec<Field<'a>>, ConfigError> {
        let DeValue::Array(array) = self.value.get_ref() else { return Err(self.expected(form)) };
        let item = |(index, value)| Field {
            source: self.source,
            path: format!("{}[{index}]", self.path),
            value,
        };
        Ok(array.iter().enumerate().map(item).collect())
    }
}
