//! Permits: leave to send one request, until the request has ended.

use std::time::Duration;

use actix::{Addr, Context, Handler, Message};

use super::RateLimiter;
use crate::clock::Timestamp;
use crate::permits::{Feedback, Grant, GrantId};

/// A request that leaves this long after its permit was granted (its journal was slow) has its
/// minute begin anew. Less is covered by what a window allows for the way to the provider.
const LATE: Duration = Duration::from_millis(100);

/// Leave to send one request. Dropped, it is given back as if it had never been taken.
#[must_use = "a permit that is dropped is given back"]
#[derive(Debug)]
pub struct Permit {
    grant: Grant,
    limiter: Option<Addr<RateLimiter>>,
}

impl Permit {
    pub(super) fn new(grant: Grant, limiter: Addr<RateLimiter>) -> Permit {
        Permit { grant, limiter: Some(limiter) }
    }

    /// How long its caller waited.
    pub fn waited(&self) -> Duration {
        self.grant.waited
    }

    /// When its worker may call once more, by its own limit.
    pub fn worker_free_at(&self) -> Timestamp {
        self.grant.worker_free_at
    }

    /// The request leaves at `now`: from then on it counts.
    pub fn depart(mut self, now: Timestamp) -> Departed {
        let (id, limiter) = (self.grant.id, self.limiter.take());
        if let Some(limiter) = &limiter
            && now.since(self.grant.at) > LATE
        {
            limiter.do_send(Late { id, at: now });
        }
        Departed { id, limiter }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(limiter) = self.limiter.take() {
            limiter.do_send(GiveBack(self.grant.id));
        }
    }
}

/// A request under way. Dropped, all that was taken for it stays counted.
#[must_use = "a request that is dropped counts as much as was estimated"]
#[derive(Debug)]
pub struct Departed {
    id: GrantId,
    limiter: Option<Addr<RateLimiter>>,
}

impl Departed {
    /// The attempt ended.
    pub fn settle(mut self, feedback: Feedback) {
        self.end(feedback);
    }

    fn end(&mut self, feedback: Feedback) {
        if let Some(limiter) = self.limiter.take() {
            limiter.do_send(Settle { id: self.id, feedback });
        }
    }
}

impl Drop for Departed {
    fn drop(&mut self) {
        self.end(Feedback::default());
    }
}

// === Late, GiveBack, Settle ===

#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Late {
    id: GrantId,
    at: Timestamp,
}

impl Handler<Late> for RateLimiter {
    type Result = ();

    fn handle(&mut self, Late { id, at }: Late, _ctx: &mut Context<Self>) {
        self.permits.depart(at, id);
    }
}

#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct GiveBack(GrantId);

impl Handler<GiveBack> for RateLimiter {
    type Result = ();

    fn handle(&mut self, GiveBack(id): GiveBack, ctx: &mut Context<Self>) {
        self.permits.give_back(id);
        self.admit(ctx);
    }
}

#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Settle {
    id: GrantId,
    feedback: Feedback,
}

impl Handler<Settle> for RateLimiter {
    type Result = ();

    fn handle(&mut self, Settle { id, feedback }: Settle, ctx: &mut Context<Self>) {
        for (waiter, error) in self.permits.settle(self.clock.now(), id, &feedback) {
            self.tell(waiter, Err(error));
        }
        self.admit(ctx);
    }
}
