//! A permit, from its grant to the end of its attempt.

use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Message};

use super::{Acquire, Pair, RateLimiter};
use crate::clock::Timestamp;

/// What an attempt taught.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Feedback {
    /// True input tokens and cache writes. Unknown: the estimate stays counted.
    pub input_tokens: Option<u64>,
    /// True output tokens. Unknown: the estimate stays counted.
    pub output_tokens: Option<u64>,
    /// Nobody calls for so long.
    pub pause: Option<Duration>,
    /// 429, 529 or a timeout.
    pub congested: bool,
    /// The account cannot be used until then.
    pub out_of_service: Option<Timestamp>,
}

pub(super) enum Fate {
    GivenBack,
    Ended,
    Settled(Feedback),
}

#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Returned {
    pub(super) pair: Pair,
    pub(super) worker: Arc<str>,
    pub(super) id: u64,
    pub(super) at: Timestamp,
    pub(super) fate: Fate,
}

#[derive(Debug)]
struct Held {
    limiter: Addr<RateLimiter>,
    pair: Pair,
    worker: Arc<str>,
    id: u64,
    at: Timestamp,
}

impl Held {
    fn send(self, fate: Fate) {
        let Held { limiter, pair, worker, id, at } = self;
        limiter.do_send(Returned { pair, worker, id, at, fate });
    }
}

/// Leave for one request; dropped, it was never taken.
#[derive(Debug)]
pub struct Permit {
    held: Option<Held>,
    waited: Duration,
    free_at: Timestamp,
}

impl Permit {
    pub(super) fn new(
        limiter: Addr<RateLimiter>,
        wish: &Acquire,
        id: u64,
        at: Timestamp,
        waited: Duration,
        free_at: Timestamp,
    ) -> Permit {
        let pair = (Arc::clone(&wish.account), Arc::clone(&wish.model));
        let held = Held { limiter, pair, worker: Arc::clone(&wish.worker), id, at };
        Permit { held: Some(held), waited, free_at }
    }

    /// How long the caller waited.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// When its worker may call again.
    pub fn worker_free_at(&self) -> Timestamp {
        self.free_at
    }

    /// The request leaves now.
    pub fn depart(mut self) -> Departed {
        Departed { held: self.held.take() }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            held.send(Fate::GivenBack);
        }
    }
}

/// A request under way; dropped, all that it took stays counted.
#[derive(Debug)]
pub struct Departed {
    held: Option<Held>,
}

impl Departed {
    /// The attempt ended and taught `feedback`.
    pub fn settle(mut self, feedback: Feedback) {
        if let Some(held) = self.held.take() {
            held.send(Fate::Settled(feedback));
        }
    }
}

impl Drop for Departed {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            held.send(Fate::Ended);
        }
    }
}
