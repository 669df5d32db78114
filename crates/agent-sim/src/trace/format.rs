//! The formats that are known, and how one is told by its first line.

use std::collections::BTreeMap;

use super::error::{TraceError, excerpt};
use super::field::{Row, split};
use super::lines::Lines;
use super::mooncake::{self, Prefixes};
use super::sessions::{self, Sessions};
use super::{Request, azure, burstgpt};

/// A format of traces. All but the first are comma-separated values with a line of column names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Mooncake: a JSON object a line, times in milliseconds.
    Mooncake,
    /// Mooncake's columns as comma-separated values.
    MooncakeCsv,
    /// Azure's LLM inference traces, with dates.
    Azure,
    /// BurstGPT, with or without sessions.
    BurstGpt,
    /// Calls of Claude Code, measured: sessions, times to the first token, think times.
    ClaudeCode,
    /// Exgentic's agents: sessions, durations, errors.
    Exgentic,
    /// LMCache's agents: the gap before each call of a session; inputs are not known.
    LmcacheGaps,
    /// LMCache's mini-swe-agent: sessions, lengths in characters.
    MiniSwe,
    /// Azure's traces with times in seconds from the first: just arrivals and lengths.
    Plain,
}

impl Format {
    /// All formats. One that has all columns of another stands before it.
    pub const ALL: [Format; 9] = [
        Format::Mooncake,
        Format::MooncakeCsv,
        Format::Azure,
        Format::BurstGpt,
        Format::ClaudeCode,
        Format::Exgentic,
        Format::LmcacheGaps,
        Format::MiniSwe,
        Format::Plain,
    ];

    /// The name by which a scenario asks for it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Mooncake => "mooncake",
            Format::MooncakeCsv => "mooncake-csv",
            Format::Azure => "azure",
            Format::BurstGpt => "burstgpt",
            Format::ClaudeCode => "claude-code",
            Format::Exgentic => "exgentic",
            Format::LmcacheGaps => "lmcache-gaps",
            Format::MiniSwe => "mini-swe",
            Format::Plain => "plain",
        }
    }

    /// The format of this name.
    pub fn named(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The columns without which a file is not of this format.
    fn required(self) -> &'static [&'static str] {
        match self {
            Format::Mooncake | Format::MooncakeCsv => mooncake::REQUIRED,
            Format::Azure => azure::REQUIRED,
            Format::BurstGpt => burstgpt::REQUIRED,
            Format::ClaudeCode => sessions::CLAUDE_CODE,
            Format::Exgentic => sessions::EXGENTIC,
            Format::LmcacheGaps => sessions::LMCACHE_GAPS,
            Format::MiniSwe => sessions::MINI_SWE,
            Format::Plain => azure::REQUIRED_PLAIN,
        }
    }

    /// The columns that it may have besides and that are read.
    fn optional(self) -> &'static [&'static str] {
        match self {
            Format::MooncakeCsv => mooncake::OPTIONAL,
            Format::BurstGpt => burstgpt::OPTIONAL,
            _ => &[],
        }
    }

    /// The times of its rows count from the start of each session.
    fn is_by_session(self) -> bool {
        use Format::{ClaudeCode, Exgentic, LmcacheGaps, MiniSwe};
        matches!(self, ClaudeCode | Exgentic | LmcacheGaps | MiniSwe)
    }

    /// How a file of this format begins, for a person.
    fn beginning(self) -> String {
        match self {
            Format::Mooncake => format!("{} ({{\"timestamp\": …}})", self.name()),
            _ => format!("{} ({})", self.name(), self.required().join(",")),
        }
    }
}

/// Makes requests of the lines of a file of one format.
pub(super) struct Reader {
    format: Format,
    width: usize,
    columns: BTreeMap<&'static str, usize>,
    sessions: Sessions,
    prefixes: Prefixes,
}

impl Reader {
    /// Reads the first line where it is one of column names.
    pub(super) fn new(lines: &mut Lines<'_>, format: Option<Format>) -> Result<Reader, TraceError> {
        if !lines.next()? {
            return Err(TraceError::Empty { file: lines.here().file.to_owned() });
        }
        let mut reader = Reader {
            format: Format::Mooncake,
            width: 0,
            columns: BTreeMap::new(),
            sessions: Sessions::default(),
            prefixes: Prefixes::default(),
        };
        let is_json = lines.text()?.trim_start().starts_with('{');
        if format == Some(Format::Mooncake) || (format.is_none() && is_json) {
            lines.again();
            return Ok(reader);
        }
        let header: Vec<String> = split(lines.here(), lines.text()?)?
            .into_iter()
            .map(|name| name.trim().to_owned())
            .collect();
        let place = |column: &str| header.iter().position(|name| name == column);
        let has_all =
            |format: &Format| format.required().iter().all(|column| place(column).is_some());
        let csv = Format::ALL.into_iter().filter(|format| *format != Format::Mooncake);
        reader.format = match format.or_else(|| csv.clone().find(has_all)) {
            Some(format) => format,
            None => return Err(unknown(lines)),
        };
        if let Some(column) = reader.format.required().iter().find(|name| place(name).is_none()) {
            let (file, format) = (lines.here().file.to_owned(), reader.format.name());
            return Err(TraceError::MissingColumn {
                file,
                format,
                column,
                found: excerpt(&header.join(",")),
            });
        }
        let known = reader.format.required().iter().chain(reader.format.optional());
        reader.columns = known.filter_map(|&name| Some((name, place(name)?))).collect();
        reader.width = header.len();
        Ok(reader)
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// The request of the current line.
    pub(super) fn request(&mut self, lines: &Lines<'_>) -> Result<Request, TraceError> {
        let (here, text) = (lines.here(), lines.text()?);
        if self.format == Format::Mooncake {
            return mooncake::json(here, text, &mut self.prefixes);
        }
        let fields = split(here, text)?;
        if fields.len() != self.width {
            let (file, line) = (here.file.to_owned(), here.number);
            let (found, expected) = (fields.len(), self.width);
            return Err(TraceError::Fields { file, line, found, expected });
        }
        let row = Row { here, fields, columns: &self.columns };
        match self.format {
            Format::Mooncake | Format::MooncakeCsv => mooncake::row(&row, &mut self.prefixes),
            Format::Azure => azure::row(&row),
            Format::Plain => azure::plain_row(&row),
            Format::BurstGpt => burstgpt::row(&row, &mut self.sessions),
            Format::ClaudeCode => sessions::claude_code(&row, &mut self.sessions),
            Format::Exgentic => sessions::exgentic(&row, &mut self.sessions),
            Format::LmcacheGaps => sessions::lmcache_gaps(&row, &mut self.sessions),
            Format::MiniSwe => sessions::mini_swe(&row, &mut self.sessions),
        }
    }

    /// Whether requests out of order are nothing to be told.
    pub(super) fn is_by_session(&self) -> bool {
        self.format.is_by_session()
    }

    /// What is to be said about all traces of this format.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.is_by_session() {
            notes.push("times count from the start of each session: all begin together");
        }
        match self.format {
            Format::MiniSwe => notes.push("tokens are estimated as a third of the characters"),
            Format::LmcacheGaps => notes.push("input lengths were not recorded"),
            Format::Mooncake | Format::MooncakeCsv if self.prefixes.is_used() => notes.push(
                "cached input is derived from shared prefixes, as of a cache that forgets nothing",
            ),
            _ => {}
        }
        notes.into_iter().map(str::to_owned).collect()
    }
}

fn unknown(lines: &Lines<'_>) -> TraceError {
    let known: Vec<_> = Format::ALL.into_iter().map(Format::beginning).collect();
    TraceError::UnknownFormat {
        file: lines.here().file.to_owned(),
        found: excerpt(lines.text().unwrap_or_default()),
        known: known.join("; "),
    }
}
