//! The one timer of the coordinator: for workers that rest, and for deadlines of tasks that wait.

use actix::{Context, Handler, Message};

use super::Coordinator;
use crate::clock::Timestamp;

impl Coordinator {
    /// Arms the one timer: for the earliest resting worker where a task waits for it, and for the
    /// earliest deadline of a queued task.
    pub(super) fn arm_wake(&mut self, ctx: &mut Context<Self>) {
        let rested = self.roster.next_wake().filter(|_| !self.queue.is_empty());
        let deadline = self.deadlines.first().map(|&(at, _)| at);
        let Some(at) = rested.into_iter().chain(deadline).min() else { return };
        if self.wake_at.is_some_and(|armed| armed <= at) {
            return;
        }
        self.wake_at = Some(at);
        self.notify_at(at, Wake { at }, ctx);
    }
}

// === Wake ===

/// A resting worker may call again, or a queued task's deadline has come.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Wake {
    at: Timestamp,
}

impl Handler<Wake> for Coordinator {
    type Result = ();

    fn handle(&mut self, Wake { at }: Wake, ctx: &mut Context<Self>) {
        if self.wake_at != Some(at) {
            // An earlier one was armed after it, and has come.
            return;
        }
        self.wake_at = None;
        let now = self.services.clock.now();
        self.end_expired(now, ctx);
        for worker in self.roster.wake(now) {
            self.watch_idle(worker, now, ctx);
            self.feed(worker, ctx);
        }
        self.arm_wake(ctx);
    }
}

/// Tries again to give out what waits.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct FeedAll;

impl Handler<FeedAll> for Coordinator {
    type Result = ();

    fn handle(&mut self, _msg: FeedAll, ctx: &mut Context<Self>) {
        self.feed_all(ctx);
        self.arm_wake(ctx);
    }
}
