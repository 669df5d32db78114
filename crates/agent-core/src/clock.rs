//! Time: one timeline for deadlines and for records, real or virtual.
//!
//! Everything in this crate takes time from [`Clock`]. On a virtual clock nothing waits: when
//! every actor is idle, time jumps to the next timer, so a day of work takes seconds and the same
//! inputs give the same run.

mod virtual_time;
mod wheel;

use std::fmt;
use std::future::Future;
use std::ops::Add;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use jiff::SignedDuration;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

pub use virtual_time::VirtualClock;

/// A moment in nanoseconds since 1970-01-01T00:00:00Z; good until the year 2554.
///
/// Shown and written to JSON as RFC 3339 UTC, to the millisecond at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The start of 1970, UTC.
    pub const EPOCH: Timestamp = Timestamp(0);
    /// Later than anything that happens; a deadline that never comes.
    pub const NEVER: Timestamp = Timestamp(u64::MAX);

    /// A moment in nanoseconds since the start of 1970, UTC.
    pub const fn from_nanos(nanos: u64) -> Timestamp {
        Timestamp(nanos)
    }

    /// A moment in milliseconds since the start of 1970, UTC, saturating.
    pub const fn from_millis(millis: u64) -> Timestamp {
        Timestamp(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the start of 1970, UTC.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the start of 1970, UTC.
    pub const fn millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The time from `earlier` until this moment; zero where `earlier` is later.
    pub const fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This moment less `duration`, at least [`Timestamp::EPOCH`].
    pub fn saturating_sub(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(nanos(duration)))
    }

    /// Days since 1970-01-01, UTC.
    pub const fn day(self) -> u32 {
        (self.0 / 86_400_000_000_000) as u32
    }

    /// The same moment for the calendar library.
    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
            .saturating_add(SignedDuration::from_nanos(i64::try_from(self.0).unwrap_or(i64::MAX)))
            .unwrap_or(jiff::Timestamp::MAX)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;

    /// Saturates at [`Timestamp::NEVER`].
    fn add(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(nanos(duration)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.to_jiff())
    }
}

impl std::str::FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Timestamp, TimestampError> {
        let at: jiff::Timestamp = text.parse().map_err(TimestampError::NotRfc3339)?;
        u64::try_from(at.as_nanosecond()).map(Timestamp).map_err(|_| TimestampError::BeforeEpoch)
    }
}

/// Why a text is not a [`Timestamp`].
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum TimestampError {
    /// Not in the form of RFC 3339.
    #[error("not a time such as 2026-11-24T09:30:00Z")]
    NotRfc3339(#[source] jiff::Error),
    /// Before 1970 or after 2554.
    #[error("a time before 1970")]
    BeforeEpoch,
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_u64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
        } else {
            u64::deserialize(deserializer).map(Timestamp)
        }
    }
}

/// Tells the time and waits for it; cheap to clone.
#[derive(Debug, Clone)]
pub struct Clock(Kind);

#[derive(Debug, Clone)]
enum Kind {
    /// The steady clock, and the time of day at its first reading: it never goes back.
    Real {
        epoch: Timestamp,
    },
    Virtual(VirtualClock),
}

/// The deadline passed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the deadline passed")]
pub struct Elapsed;

impl Clock {
    /// The real time: the time of day now, carried on by the steady clock.
    pub fn real() -> Clock {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the time of day")]
        let epoch =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Clock(Kind::Real { epoch: Timestamp(nanos(epoch.saturating_sub(steady()))) })
    }

    /// Whether it is a [`VirtualClock`].
    pub fn is_virtual(&self) -> bool {
        matches!(self.0, Kind::Virtual(_))
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Kind::Real { epoch } => *epoch + steady(),
            Kind::Virtual(clock) => clock.now(),
        }
    }

    /// Timers of virtual time that are armed and have not fired.
    #[cfg(test)]
    pub(crate) fn armed(&self) -> usize {
        match &self.0 {
            Kind::Real { .. } => 0,
            Kind::Virtual(clock) => clock.armed(),
        }
    }

    /// Waits for `duration` from now.
    ///
    /// # Panics
    ///
    /// Where the time is real and there is no tokio runtime on this thread.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep(match &self.0 {
            #[expect(clippy::disallowed_methods, reason = "the one place that waits in real time")]
            Kind::Real { .. } => Wait::Real(Box::pin(tokio::time::sleep(duration))),
            Kind::Virtual(clock) => Wait::Virtual(clock.sleep_until(clock.now() + duration)),
        })
    }

    /// Waits until `at`; not at all where it has passed, without end where it is
    /// [`Timestamp::NEVER`].
    ///
    /// # Panics
    ///
    /// Where the time is real and there is no tokio runtime on this thread.
    pub fn sleep_until(&self, at: Timestamp) -> Sleep {
        if at == Timestamp::NEVER {
            return Sleep(Wait::Endless);
        }
        let left = at.since(self.now());
        // A real timer of no time rings a millisecond later.
        if left.is_zero() && !self.is_virtual() {
            return Sleep(Wait::Over);
        }
        self.sleep(left)
    }

    /// Runs `future` until it is done or `deadline` is reached. A timer is made only where it is not
    /// done at once. A future that is not [`Unpin`] is pinned first, with [`std::pin::pin!`].
    ///
    /// # Errors
    ///
    /// [`Elapsed`] where the deadline came first; `future` is dropped with the wait. A future that is
    /// ready wins over a deadline that has passed.
    pub fn timeout<F: Future + Unpin>(&self, deadline: Timestamp, future: F) -> Timeout<'_, F> {
        Timeout { clock: self, deadline, future, alarm: None }
    }
}

/// A wait for a moment; see [`Clock::sleep`]. Small, so that whoever waits is.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct Sleep(Wait);

#[derive(Debug)]
enum Wait {
    Over,
    Endless,
    Real(Pin<Box<tokio::time::Sleep>>),
    Virtual(virtual_time::Timer),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.get_mut().0 {
            Wait::Over => Poll::Ready(()),
            Wait::Endless => Poll::Pending,
            Wait::Real(sleep) => sleep.as_mut().poll(cx),
            Wait::Virtual(timer) => timer.poll(cx),
        }
    }
}

/// A wait with a deadline; see [`Clock::timeout`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct Timeout<'a, F> {
    clock: &'a Clock,
    deadline: Timestamp,
    future: F,
    alarm: Option<Sleep>,
}

impl<F> fmt::Debug for Timeout<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl<F: Future + Unpin> Future for Timeout<'_, F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(output) = Pin::new(&mut this.future).poll(cx) {
            return Poll::Ready(Ok(output));
        }
        let (clock, deadline) = (this.clock, this.deadline);
        let alarm = this.alarm.get_or_insert_with(|| clock.sleep_until(deadline));
        Pin::new(alarm).poll(cx).map(|()| Err(Elapsed))
    }
}

impl From<VirtualClock> for Clock {
    fn from(clock: VirtualClock) -> Clock {
        Clock(Kind::Virtual(clock))
    }
}

/// The steady clock, as the time since its first reading in this process.
fn steady() -> Duration {
    #[expect(clippy::disallowed_types, reason = "the one place that reads the steady clock")]
    static FIRST: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    #[expect(clippy::disallowed_types, reason = "the one place that reads the steady clock")]
    FIRST.get_or_init(std::time::Instant::now).elapsed()
}

/// Durations as people write them, for `#[serde(with = "human_duration")]`: `"250ms"`, `"1m 30s"`.
pub mod human_duration {
    use std::time::Duration;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes `"1m 30s"`.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*value))
    }

    /// Reads `"1m 30s"`.
    ///
    /// # Errors
    ///
    /// Where it is no text, or no duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(|error| {
            D::Error::custom(format_args!(
                "{error}; write a duration such as \"90s\" or \"1h 30m\""
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn what_has_passed_in_real_time_is_not_waited_for() {
        let clock = Clock::real();
        let now = clock.now();
        assert_eq!(clock.sleep_until(now).now_or_never(), Some(()));
    }
}
