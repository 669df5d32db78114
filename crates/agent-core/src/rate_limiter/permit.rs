//! Permits: leave to send one request, until the request has ended.

use std::time::Duration;

use actix::{Context, Handler, Message};

use super::{Desk, RateLimiter};
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
    desk: Option<Desk>,
}

impl Permit {
    pub(super) fn new(grant: Grant, desk: Desk) -> Permit {
        Permit { grant, desk: Some(desk) }
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
        let (id, desk) = (self.grant.id, self.desk.take());
        if let Some(desk) = &desk
            && now.since(self.grant.at) > LATE
        {
            desk.change(Late { id, at: now }, |permits, Late { id, at }| permits.depart(at, id));
        }
        Departed { id, desk }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(desk) = self.desk.take() {
            desk.change(GiveBack(self.grant.id), |permits, GiveBack(id)| permits.give_back(id));
        }
    }
}

/// A request under way. Dropped, all that was taken for it stays counted.
#[must_use = "a request that is dropped counts as much as was estimated"]
#[derive(Debug)]
pub struct Departed {
    id: GrantId,
    desk: Option<Desk>,
}

impl Departed {
    /// The attempt ended.
    pub fn settle(mut self, feedback: Feedback) {
        self.end(None, feedback);
    }

    /// The attempt ended at `now`.
    pub(crate) fn settle_at(mut self, now: Timestamp, feedback: Feedback) {
        self.end(Some(now), feedback);
    }

    fn end(&mut self, now: Option<Timestamp>, feedback: Feedback) {
        if let Some(desk) = self.desk.take() {
            let now = now.unwrap_or_else(|| desk.now());
            desk.change(Settle { id: self.id, feedback }, |permits, Settle { id, feedback }| {
                // Nobody waits, so nobody is refused.
                permits.settle(now, id, &feedback);
            });
        }
    }
}

impl Drop for Departed {
    fn drop(&mut self) {
        if self.desk.is_some() {
            self.end(None, Feedback::default());
        }
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
        self.desk.lock().permits.depart(at, id);
    }
}

#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct GiveBack(GrantId);

impl Handler<GiveBack> for RateLimiter {
    type Result = ();

    fn handle(&mut self, GiveBack(id): GiveBack, ctx: &mut Context<Self>) {
        self.desk.lock().permits.give_back(id);
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
        let refused = self.desk.lock().permits.settle(self.clock.now(), id, &feedback);
        for (waiter, error) in refused {
            self.tell(waiter, Err(error));
        }
        self.admit(ctx);
    }
}
