//! Times on the command line: a moment, a date, or so long before now.

use agent_core::clock::Timestamp;
use thiserror::Error;

/// A text that is no time.
#[derive(Debug, Error)]
#[error(
    "{flag}: {text:?} is no time; write a date such as 2026-11-24, a time such as \
     2026-11-24T09:30:00Z, or a duration before now such as \"2h\""
)]
pub(crate) struct WhenError {
    flag: &'static str,
    text: String,
}

/// Reads a time given with `flag`.
pub(crate) fn parse(
    flag: &'static str,
    text: Option<&str>,
    now: Timestamp,
) -> Result<Option<Timestamp>, WhenError> {
    let Some(text) = text else { return Ok(None) };
    if let Ok(moment) = text.parse() {
        return Ok(Some(moment));
    }
    if let Ok(midnight) = format!("{text}T00:00:00Z").parse() {
        return Ok(Some(midnight));
    }
    match humantime::parse_duration(text) {
        Ok(ago) => Ok(Some(now.saturating_sub(ago))),
        Err(_) => Err(WhenError { flag, text: text.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_moment_a_date_or_a_duration_before_now() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let read = |text| parse("--since", Some(text), now).unwrap().unwrap().to_string();
        assert_eq!(read("2026-11-24T09:30:00Z"), "2026-11-24T09:30:00.000Z");
        assert_eq!(read("2026-11-24"), "2026-11-24T00:00:00.000Z");
        assert_eq!(read("2h"), "2026-11-24T10:00:00.000Z");
        assert!(parse("--since", Some("yesterday"), now).is_err());
    }
}
