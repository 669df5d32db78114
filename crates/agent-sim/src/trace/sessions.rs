//! Traces of agents: calls in sessions, with what lay between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Request;
use super::error::TraceError;
use super::field::{Here, Row};

pub(super) const CLAUDE_CODE: &[&str] = &[
    "session",
    "turn",
    "model",
    "arrival_s",
    "input_tokens",
    "output_tokens",
    "ttft_s",
    "api_time_s",
    "think_time_s",
];
pub(super) const EXGENTIC: &[&str] = &[
    "session",
    "call",
    "model",
    "start_s",
    "duration_s",
    "input_tokens",
    "output_tokens",
    "is_error",
];
pub(super) const LMCACHE_GAPS: &[&str] = &["session", "model", "pre_gap_s", "output_tokens"];
pub(super) const MINI_SWE: &[&str] = &["session", "call", "start_s", "input_chars", "output_chars"];

/// Characters that are taken for a token where only they were recorded: what a bound on a
/// prompt's tokens starts from too.
const CHARACTERS: u32 = 3;

/// The most sessions, and the most models, that are told apart.
const MAX_SESSIONS: usize = 1_000_000;
const MAX_MODELS: usize = 4_096;

/// A session so far.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) number: u32,
    /// How many turns it had.
    pub(super) turns: u32,
    /// When its last call ended, where it had one.
    pub(super) ended_ns: Option<u64>,
}

/// The sessions and models that were met so far.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    sessions: BTreeMap<String, Session>,
    models: BTreeSet<Arc<str>>,
}

impl Sessions {
    /// The session of this name. They are numbered as they come.
    pub(super) fn session(
        &mut self,
        here: Here<'_>,
        name: &str,
    ) -> Result<&mut Session, TraceError> {
        if !self.sessions.contains_key(name) {
            if self.sessions.len() == MAX_SESSIONS {
                return Err(here.too_large("a million sessions"));
            }
            // Below a million, so it fits.
            let number = self.sessions.len() as u32;
            self.sessions.insert(name.to_owned(), Session { number, ..Session::default() });
        }
        let missing = || here.line("its session is lost", "one of a session");
        self.sessions.get_mut(name).ok_or_else(missing)
    }

    /// One copy of each model's name.
    pub(super) fn model(&mut self, here: Here<'_>, name: &str) -> Result<Arc<str>, TraceError> {
        if let Some(known) = self.models.get(name) {
            return Ok(Arc::clone(known));
        }
        if self.models.len() == MAX_MODELS {
            return Err(here.too_large("4096 models"));
        }
        let name: Arc<str> = name.into();
        self.models.insert(Arc::clone(&name));
        Ok(name)
    }
}

pub(super) fn claude_code(row: &Row<'_>, sessions: &mut Sessions) -> Result<Request, TraceError> {
    Ok(Request {
        at_ns: row.seconds("arrival_s")?,
        session: Some(sessions.session(row.here, row.text("session")?)?.number),
        turn: row.count("turn")?,
        model: Some(sessions.model(row.here, row.text("model")?)?),
        input: Some(row.count("input_tokens")?),
        output: row.count("output_tokens")?,
        gap_ns: row.optional_seconds("think_time_s")?,
        first_ns: row.optional_seconds("ttft_s")?,
        total_ns: row.optional_seconds("api_time_s")?,
        ..Request::default()
    })
}

/// Of a failed call neither input nor duration was recorded: both are written as 0.
pub(super) fn exgentic(row: &Row<'_>, sessions: &mut Sessions) -> Result<Request, TraceError> {
    let failed = match row.text("is_error")? {
        "0" => false,
        "1" => true,
        other => return Err(row.here.value("is_error", other, "0 or 1")),
    };
    let (at_ns, total) = (row.seconds("start_s")?, row.seconds("duration_s")?);
    let input = row.count("input_tokens")?;
    let model = Some(sessions.model(row.here, row.text("model")?)?);
    let session = sessions.session(row.here, row.text("session")?)?;
    let gap_ns = session.ended_ns.map(|ended| at_ns.saturating_sub(ended));
    session.ended_ns = Some(at_ns.saturating_add(total));
    Ok(Request {
        at_ns,
        session: Some(session.number),
        turn: row.count("call")?,
        model,
        input: (!failed).then_some(input),
        output: row.count("output_tokens")?,
        gap_ns,
        total_ns: (!failed).then_some(total),
        failed,
        ..Request::default()
    })
}

/// Only the gaps are known: a call is taken to begin when all before it, of its session, are over.
pub(super) fn lmcache_gaps(row: &Row<'_>, sessions: &mut Sessions) -> Result<Request, TraceError> {
    let gap = row.seconds("pre_gap_s")?;
    let model = Some(sessions.model(row.here, row.text("model")?)?);
    let output = row.count("output_tokens")?;
    let session = sessions.session(row.here, row.text("session")?)?;
    let at_ns = session.ended_ns.unwrap_or_default().saturating_add(gap);
    let turn = session.turns;
    (session.ended_ns, session.turns) = (Some(at_ns), turn + 1);
    let (session, gap_ns) = (Some(session.number), Some(gap));
    Ok(Request { at_ns, session, turn, model, output, gap_ns, ..Request::default() })
}

pub(super) fn mini_swe(row: &Row<'_>, sessions: &mut Sessions) -> Result<Request, TraceError> {
    let tokens = |column| Ok(row.count(column)?.div_ceil(CHARACTERS));
    Ok(Request {
        at_ns: row.seconds("start_s")?,
        session: Some(sessions.session(row.here, row.text("session")?)?.number),
        turn: row.count("call")?,
        input: Some(tokens("input_chars")?),
        output: tokens("output_chars")?,
        ..Request::default()
    })
}
