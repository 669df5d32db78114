//! Recorded workloads: what was asked of a provider, when, and how large it was.
//!
//! Nine formats are read, plain or in gzip, told apart by their first line ([`Format`]). A row
//! that cannot be right is an error that names file, line and column; nothing is guessed. Times
//! count from the earliest request. Where a file is out of order its requests are sorted, those
//! of one time as the file has them, and [`Trace::notes`] says so.

mod azure;
mod burstgpt;
mod error;
mod field;
mod format;
mod lines;
mod mooncake;
mod replay;
mod sessions;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

pub use self::error::TraceError;
pub use self::format::Format;
use self::format::Reader;
use self::lines::Lines;
pub use self::replay::{Replay, ReplayError};

/// The longest line that is read, in bytes.
const MAX_LINE: usize = 1 << 20;

/// The most requests that are read: more than any published trace has, and 0.7 GB.
const MAX_REQUESTS: usize = 6_000_000;

/// The most lines that are read, empty ones among them.
const MAX_LINES: u64 = 20_000_000;

/// The most bytes that are read, unpacked: a gzip bomb ends here.
const MAX_BYTES: u64 = 1 << 30;

/// One request of a trace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// When it was sent, in nanoseconds since the earliest request of the trace.
    pub at_ns: u64,
    /// The session that it is a turn of, numbered from 0, where the trace has sessions.
    pub session: Option<u32>,
    /// Which turn of its session it is, from 0.
    pub turn: u32,
    /// The model that answered, as the trace writes it.
    pub model: Option<Arc<str>>,
    /// Input tokens, cached ones among them; `None` where the trace does not say.
    pub input: Option<u32>,
    /// Output tokens.
    pub output: u32,
    /// Input tokens that were cached, at most `input`, where the trace tells.
    pub cached: Option<u32>,
    /// How long the session waited before this request (a tool ran, a person thought), in
    /// nanoseconds.
    pub gap_ns: Option<u64>,
    /// How long the first token took, in nanoseconds.
    pub first_ns: Option<u64>,
    /// How long the whole call took, in nanoseconds.
    pub total_ns: Option<u64>,
    /// Whether it failed.
    pub failed: bool,
}

/// The requests of a recorded workload, by time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// What the file was read as.
    pub format: Format,
    /// The requests; times never fall. At least one.
    pub requests: Vec<Request>,
    /// What a report on this trace has to say about it, as sentences.
    pub notes: Vec<String>,
}

impl Trace {
    /// Reads a file, as `format` or as what its first line shows it to be.
    ///
    /// # Errors
    ///
    /// [`TraceError`] says what is wrong, in which line, and what would be right.
    pub fn open(path: &Path, format: Option<Format>) -> Result<Trace, TraceError> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|source| TraceError::Unreadable {
            file: name.clone(),
            line: 0,
            source,
        })?;
        Trace::read(&name, file, format)
    }

    /// Reads what `input` has. `name` stands for it in errors.
    ///
    /// # Errors
    ///
    /// As [`Trace::open`].
    pub fn read(name: &str, input: impl Read, format: Option<Format>) -> Result<Trace, TraceError> {
        let mut lines = Lines::new(name, input)?;
        let mut reader = Reader::new(&mut lines, format)?;
        let mut requests = Vec::new();
        while lines.next()? {
            if requests.len() == MAX_REQUESTS {
                return Err(lines.too_large("6 million requests"));
            }
            requests.push(reader.request(&lines)?);
        }
        if requests.is_empty() {
            return Err(TraceError::Empty { file: name.to_owned() });
        }
        let mut trace = Trace { format: reader.format(), requests, notes: reader.notes() };
        let fallen = trace.put_in_order();
        if fallen > 0 && !reader.is_by_session() {
            let plural = if fallen == 1 { "" } else { "s" };
            trace.notes.push(format!(
                "{fallen} request{plural} came before the one above; all are sorted"
            ));
        }
        Ok(trace)
    }

    /// Sorts the requests by time and counts their times from the earliest. Returns how many
    /// came before the one above them.
    fn put_in_order(&mut self) -> usize {
        let fallen = self.requests.windows(2).filter(|pair| pair[1].at_ns < pair[0].at_ns).count();
        if fallen > 0 {
            self.requests.sort_by_key(|request| request.at_ns);
        }
        let first = self.requests.first().map_or(0, |request| request.at_ns);
        for request in &mut self.requests {
            request.at_ns -= first;
        }
        fallen
    }

    /// The requests of each session in the order of their turns; those without one are left out.
    pub fn sessions(&self) -> BTreeMap<u32, Vec<&Request>> {
        let mut sessions: BTreeMap<u32, Vec<&Request>> = BTreeMap::new();
        for request in &self.requests {
            if let Some(session) = request.session {
                sessions.entry(session).or_default().push(request);
            }
        }
        for turns in sessions.values_mut() {
            turns.sort_by_key(|request| request.turn);
        }
        sessions
    }

    /// From the first request to the last, in nanoseconds.
    pub fn span_ns(&self) -> u64 {
        self.requests.last().map_or(0, |request| request.at_ns)
    }
}

#[cfg(test)]
mod tests;
