//! What happens when an actor that all workers share panics: the run goes on, or stops in order.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::{Context, Handler, Message, Recipient};
use futures_util::future::LocalBoxFuture;
use tokio::sync::Semaphore;

use super::Coordinator;
use super::supervise::pauses;
use crate::clock::Clock;
use crate::guard::Watcher;
use crate::panics::log;
use crate::supervision::{RestartHistory, Supervision};

/// Watches the budget, the rate limiter or the store.
pub(crate) struct SharedWatch {
    name: &'static str,
    /// How often it may come back.
    policy: Supervision,
    history: RefCell<RestartHistory>,
    clock: Clock,
    /// Closed when the system is over.
    open: Arc<Semaphore>,
    coordinator: Recipient<SharedGone>,
}

impl fmt::Debug for SharedWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedWatch").field("name", &self.name).finish_non_exhaustive()
    }
}

impl SharedWatch {
    pub(crate) fn new(
        name: &'static str,
        policy: Supervision,
        clock: Clock,
        open: Arc<Semaphore>,
        coordinator: Recipient<SharedGone>,
    ) -> SharedWatch {
        SharedWatch { name, policy, history: RefCell::default(), clock, open, coordinator }
    }
}

impl Watcher for SharedWatch {
    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn panicked(&self, reason: &str) -> Option<Duration> {
        let reason = crate::llm::redact(reason);
        log!(error, actor = self.name, reason, "an actor that all workers share panicked");
        // One actor restarts: there is nobody to keep apart from by jitter.
        self.history.borrow_mut().restart(self.clock.now(), &self.policy, 0.0)
    }

    fn pause(&self, pause: Duration) -> LocalBoxFuture<'static, ()> {
        pauses(&self.clock, pause, &self.open)
    }

    fn resumed(&self) {
        log!(warn, actor = self.name, "it goes on");
    }

    fn ended(&self) {
        self.coordinator.do_send(SharedGone(self.name));
    }
}

/// A shared actor ended for good.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct SharedGone(&'static str);

impl Handler<SharedGone> for Coordinator {
    type Result = ();

    fn handle(&mut self, SharedGone(name): SharedGone, ctx: &mut Context<Self>) {
        if self.feeds() {
            log!(error, actor = name, "the run stops: nothing can be called without it");
        }
        self.stop_run(ctx);
        self.tell_if_idle();
    }
}
