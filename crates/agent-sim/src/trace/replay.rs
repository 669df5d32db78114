//! How a trace is played again: faster, larger, or a part of it.

use thiserror::Error;

use super::Trace;
use crate::draws::{OutOfRange, whole};

/// How a trace is played again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Replay {
    /// How much faster requests come and gaps pass, from 0.001 to 1e6; 2 is in half the time.
    pub speed: f64,
    /// By what lengths are multiplied, from 0.001 to 1000.
    pub scale: f64,
    /// Where in the trace it begins, in nanoseconds of the trace.
    pub from_ns: u64,
    /// How much of it is played, in nanoseconds of the trace; `None` for all.
    pub for_ns: Option<u64>,
    /// How many requests at most; `None` for all.
    pub limit: Option<usize>,
}

impl Default for Replay {
    /// The whole trace as it was recorded.
    fn default() -> Self {
        Replay { speed: 1.0, scale: 1.0, from_ns: 0, for_ns: None, limit: None }
    }
}

/// Why a trace cannot be played so.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// A factor is out of range.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// No request is in the part that was chosen.
    #[error("no request of the trace is in the part that is to be played; it lasts {span_s} s")]
    Nothing {
        /// How long the trace is, in whole seconds.
        span_s: u64,
    },
}

impl Replay {
    /// What comes of `trace`. Times count from the beginning of the part that is played; how
    /// long calls took stays as it was measured. A length above 0 stays above 0.
    ///
    /// # Errors
    ///
    /// [`ReplayError`] where a factor is out of range or no request is left.
    pub fn apply(&self, mut trace: Trace) -> Result<Trace, ReplayError> {
        let factor = |name, value, allowed, expected| {
            OutOfRange::unless(allowed, name, value, expected).map_err(ReplayError::from)
        };
        let (speed, scale) = (self.speed, self.scale);
        factor("speed", speed, (1e-3..=1e6).contains(&speed), "a number from 0.001 to 1e6")?;
        factor("scale", scale, (1e-3..=1e3).contains(&scale), "a number from 0.001 to 1000")?;
        let span_s = trace.span_ns() / 1_000_000_000;
        let until = self.for_ns.map_or(u64::MAX, |span| self.from_ns.saturating_add(span));
        let is_last = |at| self.for_ns.is_none() || at < until;
        trace.requests.retain(|request| request.at_ns >= self.from_ns && is_last(request.at_ns));
        trace.requests.truncate(self.limit.unwrap_or(usize::MAX));
        if trace.requests.is_empty() {
            return Err(ReplayError::Nothing { span_s });
        }
        for request in &mut trace.requests {
            request.at_ns = time(request.at_ns - self.from_ns, speed);
            request.gap_ns = request.gap_ns.map(|gap| time(gap, speed));
            request.input = request.input.map(|tokens| length(tokens, scale));
            request.output = length(request.output, scale);
            request.cached = request.cached.map(|tokens| length(tokens, scale));
        }
        Ok(trace)
    }
}

fn time(ns: u64, speed: f64) -> u64 {
    // As a float, a time of more than a hundred days would not be exact.
    if speed == 1.0 { ns } else { whole(ns as f64 / speed) }
}

fn length(tokens: u32, scale: f64) -> u32 {
    let scaled = whole(f64::from(tokens) * scale).max(u64::from(tokens > 0));
    u32::try_from(scaled).unwrap_or(u32::MAX)
}
