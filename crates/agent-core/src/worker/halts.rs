//! What ends a performance from below: the store is down, or a linked sub-agent gave up.

use std::cell::RefCell;
use std::task::{Context, Poll, Waker};

/// Why a performance does not go on.
#[derive(Debug)]
pub(super) enum Halt {
    /// The task goes back to the queue untouched: the store is down, or the run stops.
    Returned,
    /// The worker crashes.
    Crashed(String),
}

/// Where a performance is told to halt; the first reason counts.
#[derive(Debug, Default)]
pub(super) struct Halts(RefCell<Halted>);

#[derive(Debug, Default)]
struct Halted {
    halt: Option<Halt>,
    waker: Option<Waker>,
}

impl Halts {
    pub(super) fn raise(&self, halt: Halt) {
        let mut halted = self.0.borrow_mut();
        halted.halt.get_or_insert(halt);
        let waker = halted.waker.take();
        drop(halted);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Halt> {
        let mut halted = self.0.borrow_mut();
        if let Some(halt) = halted.halt.take() {
            return Poll::Ready(halt);
        }
        match &mut halted.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}
