//! What is known when an attempt has ended, what it changes, and how matters stand then.

use std::sync::Arc;
use std::time::Duration;

use super::{GrantId, Permits, Place, WaiterId, amounts};
use crate::clock::Timestamp;
use crate::permits::{PermitError, RateHeaders};

/// What is known when an attempt has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Feedback {
    /// Input and cache writes, in tokens; `None`: as it was estimated.
    pub input_tokens: Option<u64>,
    /// Output, in tokens; `None`: as much as was asked for.
    pub output_tokens: Option<u64>,
    /// What the provider said of its limits.
    pub headers: RateHeaders,
    /// Nobody calls this key and model for so long.
    pub pause: Option<Duration>,
    /// Whether the provider is struggling.
    pub congested: bool,
    /// Nobody uses this key until then.
    pub out_of_service: Option<Timestamp>,
}

/// How one key and model stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairHeadroom {
    /// The masked key.
    pub account: String,
    /// The model.
    pub model: String,
    /// Requests in the window, and their limit (`u64::MAX`: none).
    pub requests: (u64, u64),
    /// Input tokens in the window, and their limit.
    pub input_tokens: (u64, u64),
    /// Output tokens in the window, and their limit.
    pub output_tokens: (u64, u64),
    /// Attempts in flight.
    pub in_flight: u32,
    /// Attempts that may be.
    pub concurrency: u32,
    /// Callers that wait.
    pub waiting: usize,
    /// When the pause is over; past where there is none.
    pub paused_until: Timestamp,
}

impl Permits {
    /// Leaves sums and queues as a panic might: with room where there is none.
    #[cfg(test)]
    pub(crate) fn ruin(&mut self) {
        for Place { pair, waiters, .. } in &mut self.places {
            pair.ruin();
            *waiters = Default::default();
        }
        self.give_ups.clear();
    }

    /// Takes back a permit whose request never left.
    pub fn give_back(&mut self, id: GrantId) {
        if let Some(granted) = self.granted.remove(&id) {
            self.places[granted.place].pair.give_back(granted.key);
            self.logs[granted.worker].give_back(granted.called_at);
            for place in &mut self.places {
                place.waiters.rouse(granted.worker);
            }
        }
    }

    /// A request leaves at `now`, long after it was granted: its minute begins now.
    pub fn depart(&mut self, now: Timestamp, id: GrantId) {
        let Some(granted) = self.granted.get_mut(&id) else { return };
        let pair = &mut self.places[granted.place].pair;
        granted.key = pair.postpone(now, granted.key, granted.amounts);
        let log = &mut self.logs[granted.worker];
        // In this order: it is never left out.
        log.take(now);
        log.give_back(granted.called_at);
        granted.called_at = now;
    }

    /// An attempt ended. Returns who is refused: the key is out of service, or they ask for more
    /// than a limit that proved smaller.
    pub fn settle(
        &mut self,
        now: Timestamp,
        id: GrantId,
        feedback: &Feedback,
    ) -> Vec<(WaiterId, PermitError)> {
        let Some(granted) = self.granted.remove(&id) else { return Vec::new() };
        let Place { pair, waiters, .. } = &mut self.places[granted.place];
        let tokens = (feedback.input_tokens, feedback.output_tokens);
        pair.settle(now, granted.key, granted.amounts, tokens, feedback.congested);
        if let Some(pause) = feedback.pause {
            pair.pause(now, pause);
        }
        let mut refused = Vec::new();
        if pair.observe(now, granted.called_at, &feedback.headers) {
            let too_large = waiters.take_out(|ask| !pair.can_ever_admit(amounts(ask)));
            refused.extend(too_large.into_iter().filter_map(|waiter| {
                let error = self.too_large(granted.place, &waiter.ask)?;
                Some((waiter, error))
            }));
        }
        if let Some(until) = feedback.out_of_service.filter(|until| *until > now) {
            let account = Arc::clone(&self.places[granted.place].account);
            let until = *self
                .out_of_service
                .entry(Arc::clone(&account))
                .and_modify(|known| *known = until.max(*known))
                .or_insert(until);
            let error = PermitError::OutOfService { account: account.to_string(), until };
            let of_account = self.places.iter_mut().filter(|place| place.account == account);
            let waiting = of_account.flat_map(|place| place.waiters.take_out(|_| true));
            refused.extend(waiting.map(|waiter| (waiter, error.clone())));
        }
        refused
            .into_iter()
            .map(|(waiter, error)| {
                self.leave(&waiter);
                (waiter.id, error)
            })
            .collect()
    }

    /// The key is in service again: it was changed, or its limit was raised.
    pub fn restore(&mut self, account: &str) {
        self.out_of_service.remove(account);
    }

    /// How each key and model stands.
    pub fn headroom(&mut self, now: Timestamp) -> Vec<PairHeadroom> {
        let stand = |place: &mut Place| {
            let (used, limit) = (place.pair.used(now), place.pair.limit());
            PairHeadroom {
                account: place.account.to_string(),
                model: place.model.to_string(),
                requests: (used.requests, limit.requests),
                input_tokens: (used.input, limit.input),
                output_tokens: (used.output, limit.output),
                in_flight: place.pair.in_flight,
                concurrency: place.pair.concurrency(),
                waiting: place.waiters.len(),
                paused_until: place.pair.paused_until,
            }
        };
        self.places.iter_mut().map(stand).collect()
    }
}
