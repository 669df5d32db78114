//! BurstGPT: calls of ChatGPT and GPT-4 through Azure; the third part has sessions.
//!
//! # Source
//!
//! <https://github.com/HPMLL/BurstGPT>: times in seconds, a failed call has 0 response tokens.

use super::Request;
use super::error::TraceError;
use super::field::Row;
use super::sessions::Sessions;

pub(super) const REQUIRED: &[&str] = &["Timestamp", "Model", "Request tokens", "Response tokens"];
pub(super) const OPTIONAL: &[&str] = &["Session ID", "Elapsed time"];

pub(super) fn row(row: &Row<'_>, sessions: &mut Sessions) -> Result<Request, TraceError> {
    let output = row.count("Response tokens")?;
    let mut request = Request {
        at_ns: row.seconds("Timestamp")?,
        model: Some(sessions.model(row.here, row.text("Model")?)?),
        input: Some(row.count("Request tokens")?),
        output,
        total_ns: row.optional_seconds("Elapsed time")?,
        failed: output == 0,
        ..Request::default()
    };
    if let Some(name) = row.optional("Session ID") {
        let session = sessions.session(row.here, name)?;
        (request.session, request.turn) = (Some(session.number), session.turns);
        session.turns += 1;
        request.gap_ns = session.ended_ns.map(|ended| request.at_ns.saturating_sub(ended));
        // Where it is not known how long a call took, it is taken to have ended at once.
        let total = request.total_ns.unwrap_or_default();
        session.ended_ns = Some(request.at_ns.saturating_add(total));
    }
    Ok(request)
}
