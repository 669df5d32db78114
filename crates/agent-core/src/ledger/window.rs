//! The time over which a budget counts, and the spans that it is cut into.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::clock::Timestamp;

const HOUR: u64 = 3_600_000_000_000;
const DAY: u64 = 24 * HOUR;

/// A rolling window forgets in steps of this part of its length.
const STEPS: u64 = 60;

/// The time over which a budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Window {
    /// Without end.
    #[default]
    Total,
    /// Each hour of the UTC day.
    Hour,
    /// Each day, UTC.
    Day,
    /// Each calendar month, UTC.
    Month,
    /// The last so long, at every moment.
    Rolling(Duration),
}

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Window, WindowError> {
        match text {
            "total" => Ok(Window::Total),
            "hour" => Ok(Window::Hour),
            "day" => Ok(Window::Day),
            "month" => Ok(Window::Month),
            text => match humantime::parse_duration(text) {
                Ok(length) if length >= Duration::from_secs(1) => Ok(Window::Rolling(length)),
                _ => Err(WindowError),
            },
        }
    }
}

/// A text that is no window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a window; write total, hour, day, month, or a duration of a second at least")]
pub struct WindowError;

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Window::Total => f.write_str("total"),
            Window::Hour => f.write_str("hour"),
            Window::Day => f.write_str("day"),
            Window::Month => f.write_str("month"),
            Window::Rolling(length) => humantime::format_duration(*length).fmt(f),
        }
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Window, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Money that is reserved in one span leaves the window in one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// The first moment in it.
    pub(super) start: Timestamp,
    /// The first moment after it.
    pub(super) until: Timestamp,
    /// From this moment on, the window does not contain it any more.
    pub(super) leaves: Timestamp,
}

impl Window {
    /// The span that `at` lies in.
    ///
    /// A calendar window is one span. A rolling window counts a span until the last moment of it
    /// is as old as the window is long, so what it admits is never more than the limit in any
    /// interval of that length, and its money comes back at most a sixtieth of the length late.
    pub(super) fn span(self, at: Timestamp) -> Span {
        match self {
            Window::Total => {
                Span { start: Timestamp::EPOCH, until: Timestamp::NEVER, leaves: Timestamp::NEVER }
            }
            Window::Hour => stretch(at, HOUR, 0),
            Window::Day => stretch(at, DAY, 0),
            Window::Month => month(at),
            Window::Rolling(length) => {
                let length = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
                stretch(at, length.div_ceil(STEPS).max(1), length)
            }
        }
    }
}

fn stretch(at: Timestamp, length: u64, stays: u64) -> Span {
    let start = at.nanos() - at.nanos() % length;
    let until = start.saturating_add(length);
    Span {
        start: Timestamp::from_nanos(start),
        until: Timestamp::from_nanos(until),
        leaves: Timestamp::from_nanos(until.saturating_add(stays)),
    }
}

fn month(at: Timestamp) -> Span {
    let date = TimeZone::UTC.to_datetime(at.to_jiff()).date();
    let moment = |date: jiff::civil::Date| {
        let at = date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_nanosecond();
        u64::try_from(at).ok().map(Timestamp::from_nanos)
    };
    let start = moment(date.first_of_month()).unwrap_or(Timestamp::EPOCH);
    let next = date.last_of_month().tomorrow().ok().and_then(moment);
    // The calendar ends before the timeline does; what lies beyond is its last month.
    let until = next.filter(|next| at < *next).unwrap_or(Timestamp::NEVER);
    Span { start, until, leaves: until }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(window: Window, at: &str) -> [String; 2] {
        let span = window.span(at.parse().unwrap());
        [span.start.to_string(), span.until.to_string()]
    }

    #[test]
    fn calendar_windows_turn_at_midnight_utc_and_months_have_their_own_lengths() {
        assert_eq!(
            span(Window::Month, "2028-02-29T23:59:59.999Z"),
            ["2028-02-01T00:00:00.000Z", "2028-03-01T00:00:00.000Z"]
        );
        assert_eq!(
            span(Window::Month, "2026-12-01T00:00:00Z"),
            ["2026-12-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z"]
        );
        assert_eq!(
            span(Window::Day, "2026-11-24T09:30:00Z"),
            ["2026-11-24T00:00:00.000Z", "2026-11-25T00:00:00.000Z"]
        );
        assert_eq!(
            span(Window::Hour, "2026-11-24T09:30:00Z"),
            ["2026-11-24T09:00:00.000Z", "2026-11-24T10:00:00.000Z"]
        );
    }

    #[test]
    fn a_span_contains_its_moment_even_at_the_ends_of_the_timeline() {
        let huge = Window::Rolling(Duration::MAX);
        for window in [Window::Total, Window::Hour, Window::Day, Window::Month, huge] {
            for nanos in [0, 1, u64::MAX / 2, u64::MAX - 1] {
                let at = Timestamp::from_nanos(nanos);
                let span = window.span(at);
                assert!(span.start <= at && at < span.until, "{window} {nanos}: {span:?}");
                assert!(span.until <= span.leaves, "{window} {nanos}: {span:?}");
            }
        }
    }

    #[test]
    fn a_rolling_span_stays_until_its_last_moment_is_as_old_as_the_window() {
        for nanos in [1, 7, 59, 60, 61, 1_000_000_007, 3_600_000_000_000] {
            let length = Duration::from_nanos(nanos);
            let span = Window::Rolling(length).span(Timestamp::from_nanos(123_456_789));
            assert!(span.leaves >= span.until + length, "{nanos}: {span:?}");
        }
    }
}
