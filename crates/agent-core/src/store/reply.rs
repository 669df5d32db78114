//! Who is told what became of a write: a caller that waits for it, or what is done then.

use std::fmt;

use actix::dev::OneshotSender;

use super::error::StoreError;

/// Told when entries are durable, or cannot be made so.
type Result = std::result::Result<(), StoreError>;

/// Done on the store actor's thread, or its own while it closes, when entries are durable, or cannot be made so.
pub(crate) type Then = Box<dyn FnOnce(Result) + Send>;

/// Whom to tell; one that is dropped is told that the store is closed.
pub(crate) struct Reply(Option<Kind>);

enum Kind {
    Caller(OneshotSender<Result>),
    Then(Then),
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").finish_non_exhaustive()
    }
}

impl From<OneshotSender<Result>> for Reply {
    fn from(caller: OneshotSender<Result>) -> Reply {
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
    pub(super) fn give(mut self, result: Result) {
        self.tell(result);
    }

    fn tell(&mut self, result: Result) {
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
