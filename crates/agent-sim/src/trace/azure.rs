//! Azure's LLM inference traces of 2023 and 2024: a date, input tokens, output tokens.
//!
//! # Source
//!
//! <https://github.com/Azure/AzurePublicDataset>, `AzureLLMInferenceDataset2023.md`.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::Request;
use super::error::TraceError;
use super::field::Row;

pub(super) const REQUIRED: &[&str] = &["TIMESTAMP", "ContextTokens", "GeneratedTokens"];
pub(super) const REQUIRED_PLAIN: &[&str] = &["arrival_s", "input_tokens", "output_tokens"];

pub(super) fn row(row: &Row<'_>) -> Result<Request, TraceError> {
    Ok(Request {
        at_ns: date(row, "TIMESTAMP")?,
        input: Some(row.count("ContextTokens")?),
        output: row.count("GeneratedTokens")?,
        ..Request::default()
    })
}

pub(super) fn plain_row(row: &Row<'_>) -> Result<Request, TraceError> {
    Ok(Request {
        at_ns: row.seconds("arrival_s")?,
        input: Some(row.count("input_tokens")?),
        output: row.count("output_tokens")?,
        ..Request::default()
    })
}

/// A date in nanoseconds since 1970; UTC where no offset is given.
fn date(row: &Row<'_>, column: &'static str) -> Result<u64, TraceError> {
    let text = row.text(column)?;
    let utc = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok();
    let date = text.parse::<Timestamp>().ok().or_else(|| Some(utc()?.timestamp()));
    let since = date.and_then(|date| u64::try_from(date.as_nanosecond()).ok());
    let expected = "a date from 1970 on, like 2023-11-16 18:15:46.6805900";
    since.ok_or_else(|| row.here.value(column, text, expected))
}
