//! The limits of one key and model: what fits now, and when something may fit again.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ProviderLimits;
use super::window::{Amount, Window};
use crate::clock::Timestamp;

/// Attempts at once while no answer has shown how good the token estimates are.
const PROBES: usize = 8;
/// The least time between two reductions of the concurrency limit.
const CALM: Duration = Duration::from_secs(1);

/// The answer to a wish to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Taken; the number names it from now on.
    Granted(u64),
    /// Nothing was taken. It may fit at this moment, not before unless an attempt ends;
    /// [`Timestamp::NEVER`] where only the end of an attempt can help.
    NotBefore(Timestamp),
}

/// Exact sliding windows, adaptive concurrency and pauses of one key and model.
///
/// It keeps no queue: whoever asks first is served first.
#[derive(Debug)]
pub struct PairPermits {
    limits: ProviderLimits,
    window: Window,
    in_flight: BTreeMap<u64, Amount>,
    concurrency: u32,
    successes: u32,
    reduced: Option<Timestamp>,
    paused_until: Timestamp,
    learned: bool,
    next: u64,
}

impl PairPermits {
    /// Nothing taken yet.
    pub fn new(limits: ProviderLimits) -> PairPermits {
        PairPermits {
            concurrency: limits.max_concurrent.get(),
            limits,
            window: Window::default(),
            in_flight: BTreeMap::new(),
            successes: 0,
            reduced: None,
            paused_until: Timestamp::EPOCH,
            learned: false,
            next: 0,
        }
    }

    fn caps(&self) -> Amount {
        let tokens = |limit: Option<std::num::NonZeroU64>| limit.map_or(u64::MAX, u64::from);
        [
            self.limits.requests_per_minute.map_or(u64::MAX, |limit| u64::from(limit.get())),
            tokens(self.limits.input_tokens_per_minute),
            tokens(self.limits.output_tokens_per_minute),
        ]
    }

    /// Takes one request and its tokens, or nothing. An estimate beyond a whole limit is cut to
    /// it, so that such a request goes alone once its window is empty, not never.
    pub fn acquire(&mut self, now: Timestamp, input_tokens: u64, output_tokens: u64) -> Admission {
        self.window.expire(now);
        if self.paused_until > now {
            return Admission::NotBefore(self.paused_until);
        }
        let caps = self.caps();
        let probing = !self.learned && (caps[1] != u64::MAX || caps[2] != u64::MAX);
        let full = self.in_flight.len() >= self.concurrency as usize;
        if full || probing && self.in_flight.len() >= PROBES {
            return Admission::NotBefore(Timestamp::NEVER);
        }
        let amount = [1, input_tokens.min(caps[1]), output_tokens.min(caps[2])];
        let used = self.window.used();
        if (0..3).any(|at| used[at].saturating_add(amount[at]) > caps[at]) {
            return Admission::NotBefore(self.window.next_expiry());
        }
        let id = self.number();
        self.window.take(id, now, amount);
        self.in_flight.insert(id, amount);
        Admission::Granted(id)
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The request never left: as if it had not been taken.
    pub fn give_back(&mut self, id: u64) {
        if self.in_flight.remove(&id).is_some() {
            self.window.remove(id);
        }
    }

    /// The attempt ended and nothing is known of it: all that it took stays counted.
    pub fn end(&mut self, id: u64, now: Timestamp) {
        if self.in_flight.remove(&id).is_some() {
            self.window.end(id, now);
        }
    }

    /// The attempt was answered: the true tokens take the place of the estimate.
    pub fn settle(&mut self, id: u64, now: Timestamp, input_tokens: u64, output_tokens: u64) {
        let Some(booked) = self.in_flight.remove(&id) else { return };
        self.learned = true;
        self.window.expire(now);
        self.window.end(id, now);
        let excess = self.number();
        self.window.correct((id, booked), excess, now, [1, input_tokens, output_tokens]);
        self.successes += 1;
        if self.successes >= self.concurrency {
            self.successes = 0;
            self.concurrency = (self.concurrency + 1).min(self.limits.max_concurrent.get());
        }
    }

    /// The provider is overloaded (429, 529, timeout): half the concurrency, at most once a second.
    pub fn congested(&mut self, now: Timestamp) {
        if self.reduced.is_none_or(|at| now.since(at) >= CALM) {
            self.reduced = Some(now);
            self.successes = 0;
            self.concurrency = (self.concurrency / 2).max(1);
        }
    }

    /// Admits nobody before `until`; the longest pause wins.
    pub fn pause(&mut self, until: Timestamp) {
        self.paused_until = self.paused_until.max(until);
    }

    /// Attempts in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Attempts that may be in flight at once now, at least 1.
    pub fn concurrency(&self) -> u32 {
        self.concurrency
    }
}

#[cfg(test)]
#[path = "pair_tests.rs"]
mod tests;
