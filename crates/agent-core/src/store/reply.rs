//! Who is told what became of a write: a caller that waits for it, or what is done then.

use std::fmt;

use actix::dev::OneshotSender;

use super::error::StoreError;

/// What is told: entries are durable, or cannot be made so.
type Told = Result<(), StoreError>;

/// Done when that is known, on the store actor's thread, or on its own while it closes.
pub(crate) type Then = Box<dyn FnOnce(Told) + Send>;

/// Whom to tell; one that is dropped is told that the store is closed.
pub(crate) struct Reply(Option<Kind>);

enum Kind {
    Caller(OneshotSender<Told>),
    Then(Then),
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").finish_non_exhaustive()
    }
}

impl From<OneshotSender<Told>> for Reply {
    fn from(caller: OneshotSender<Told>) -> Reply {
        Reply(Some(Kind::Caller(caller)))
    }
}

impl From<Then> for Reply {
    fn from(then: Then) -> Reply {
        Reply(Some(Kind::Then(then)))
    }
}

impl Reply {
    /// A writer that does not wait.
    pub(super) fn nobody() -> Reply {
        Reply(None)
    }

    /// Tells it.
    pub(super) fn give(mut self, result: Told) {
        self.tell(result);
    }

    fn tell(&mut self, result: Told) {
        match self.0.take() {
            // Who does not wait any more need not be told.
            Some(Kind::Caller(caller)) => drop(caller.send(result)),
            Some(Kind::Then(then)) => then(result),
            None => {}
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.tell(Err(StoreError::Closed));
    }
}
