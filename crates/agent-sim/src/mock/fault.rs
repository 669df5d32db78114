//! Faults: what goes wrong, and which calls it hits.

use std::time::Duration;

use serde::Deserialize;

use super::scenario::{maybe_span, span};

/// One thing that goes wrong. It hits the calls that all of its conditions name.
///
/// A call is a well-formed request for an answer with a good key. A fault hits only calls that the
/// limits admit.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Ordinals of the calls that it may hit, from 1; empty = any.
    #[serde(default)]
    pub calls: Vec<u64>,
    /// Hits every n-th call only.
    pub every: Option<u64>,
    /// The models that it may hit; empty = any.
    #[serde(default)]
    pub models: Vec<String>,
    /// Hits nothing before this time since the start.
    #[serde(default, deserialize_with = "span")]
    pub after: Duration,
    /// Hits nothing from this time since the start.
    #[serde(default, deserialize_with = "maybe_span")]
    pub until: Option<Duration>,
    /// The share of calls that it hits, 0 to 1; absent = all.
    pub probability: Option<f64>,
    /// Hits at most so many: the first that the other conditions name.
    pub first: Option<u64>,
    /// The status of `kind = "status"`, 400 to 599; 500 if absent.
    pub status: Option<u16>,
    /// The message of `kind = "status"`; absent = one as the API's.
    pub message: Option<String>,
    /// `error.details.error_code` of `kind = "status"`, such as `enforced_spend_limit_reached`.
    pub error_code: Option<String>,
    /// Seconds for a `retry-after` header of `kind = "status"`.
    pub retry_after: Option<u64>,
    /// `x-should-retry` of `kind = "status"`; absent = as the API's for that status.
    pub should_retry: Option<bool>,
    /// What `kind = "slow"` adds before the first byte; 30 s if absent.
    #[serde(default, deserialize_with = "maybe_span")]
    pub delay: Option<Duration>,
    /// Between two bytes of `kind = "drip"`; 1 s if absent.
    #[serde(default, deserialize_with = "maybe_span")]
    pub interval: Option<Duration>,
    /// Whether the call is billed; absent = as [`FaultKind::is_billed`] says.
    pub billed: Option<bool>,
}

/// The kinds of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The answer is made and never sent.
    Hang,
    /// The answer is made and the connection reset.
    Reset,
    /// The answer is made and the connection closed without it.
    Close,
    /// Fewer bytes than `content-length` says, then the end.
    Truncate,
    /// Half of the JSON, as a whole answer.
    Malformed,
    /// A page of HTML with status 200.
    Html,
    /// Status 200 and no body.
    Empty,
    /// A byte now and then, without end.
    Drip,
    /// A body that goes on as fast as it is read, without end.
    Endless,
    /// A good answer after 16 MiB of white space.
    Huge,
    /// An answer without `usage`.
    NoUsage,
    /// An answer whose `usage` is all zeros.
    ZeroUsage,
    /// A stream that breaks off halfway with an `error` event. Hits only calls that stream, and
    /// bills them for what was sent.
    StreamError,
    /// A good answer, later.
    Slow,
    /// An error with a status.
    Status,
}

impl FaultKind {
    /// Whether the provider has done the work, and so bills it, unless the scenario says else.
    pub fn is_billed(self) -> bool {
        !matches!(self, FaultKind::Status | FaultKind::Html)
    }
}

impl Fault {
    /// Checks what the types cannot; the error says what would be right.
    pub(super) fn validate(&self) -> Result<(), String> {
        if let Some(status) = self.status.filter(|status| !(400..=599).contains(status)) {
            return Err(format!("`status` is {status}; write an error status, 400 to 599"));
        }
        if let Some(share) = self.probability.filter(|share| !(0.0..=1.0).contains(share)) {
            return Err(format!("`probability` is {share}; write a share from 0 to 1"));
        }
        let zero = [("every", self.every), ("first", self.first)];
        if let Some((key, _)) = zero.iter().find(|(_, value)| *value == Some(0)) {
            return Err(format!("`{key}` is 0; write at least 1, or leave it out"));
        }
        if self.calls.contains(&0) {
            return Err("`calls` holds 0; calls are counted from 1".to_owned());
        }
        if self.until.is_some_and(|until| until <= self.after) {
            return Err("`until` is not later than `after`: it would hit nothing".to_owned());
        }
        if self.interval.is_some_and(|interval| interval.is_zero()) {
            return Err("`interval` is 0; write a duration such as \"1s\"".to_owned());
        }
        let of_kind = [
            ("status", self.status.is_some(), FaultKind::Status, "status"),
            ("message", self.message.is_some(), FaultKind::Status, "status"),
            ("error_code", self.error_code.is_some(), FaultKind::Status, "status"),
            ("retry_after", self.retry_after.is_some(), FaultKind::Status, "status"),
            ("should_retry", self.should_retry.is_some(), FaultKind::Status, "status"),
            ("delay", self.delay.is_some(), FaultKind::Slow, "slow"),
            ("interval", self.interval.is_some(), FaultKind::Drip, "drip"),
        ];
        for (key, stated, kind, name) in of_kind {
            if stated && self.kind != kind {
                return Err(format!("`{key}` is only for kind = \"{name}\""));
            }
        }
        Ok(())
    }

    /// Whether a call that it hits is billed.
    pub(super) fn bills(&self) -> bool {
        self.billed.unwrap_or_else(|| self.kind.is_billed())
    }
}

/// What a fault is chosen by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    /// From 1.
    pub(super) ordinal: u64,
    pub(super) model: &'a str,
    pub(super) streams: bool,
    /// Since the mock provider started.
    pub(super) age: Duration,
}

/// Chooses the fault that a call meets.
#[derive(Debug)]
pub(super) struct Picker {
    random: fastrand::Rng,
    // How many calls each fault has hit.
    hits: Vec<u64>,
}

impl Picker {
    pub(super) fn new(seed: u64, faults: usize) -> Picker {
        Picker { random: fastrand::Rng::with_seed(seed), hits: vec![0; faults] }
    }

    /// The first fault whose conditions all name this call.
    pub(super) fn pick<'f>(&mut self, faults: &'f [Fault], call: Call<'_>) -> Option<&'f Fault> {
        let (random, hits) = (&mut self.random, &mut self.hits);
        faults.iter().zip(hits).find_map(|(fault, hits)| {
            let named = (fault.calls.is_empty() || fault.calls.contains(&call.ordinal))
                && fault.every.is_none_or(|n| call.ordinal.is_multiple_of(n))
                && (fault.models.is_empty() || fault.models.iter().any(|m| m == call.model))
                && (call.streams || fault.kind != FaultKind::StreamError)
                && call.age >= fault.after
                && fault.until.is_none_or(|until| call.age < until)
                && fault.first.is_none_or(|first| *hits < first)
                && fault.probability.is_none_or(|share| random.f64() < share);
            *hits += u64::from(named);
            named.then_some(fault)
        })
    }
}
