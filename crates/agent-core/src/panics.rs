//! Panics of user code, kept where they arise: what they said, and drops that may panic.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Runs user code.
///
/// # Errors
///
/// What it panicked with, in words.
pub(crate) fn contain<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        let reason = reason(payload.as_ref());
        // A payload is user code too.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
            std::mem::forget(payload);
        }
        reason
    })
}

fn reason(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without words").to_owned()
}

/// Tells whoever listens of something, as the macro of `tracing` for this level does. A panic of who
/// listens goes no further.
macro_rules! log {
    ($level:ident, $($event:tt)*) => {
        // The panic hook has told of it; to say so here would ask the same listener.
        _ = $crate::panics::contain(|| ::tracing::$level!($($event)*))
    };
}

pub(crate) use log;

/// A value made by user code. A panic in its drop does not leave it, so that it may be dropped
/// anywhere, even while another panic unwinds, which would end the process otherwise.
pub(crate) struct Contained<T>(Option<T>);

impl<T> Contained<T> {
    pub(crate) fn new(value: T) -> Contained<T> {
        Contained(Some(value))
    }

    /// The value; there until it ends.
    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        self.0.as_mut()
    }

    /// Drops the value, and returns what its drop panicked with.
    pub(crate) fn end(mut self) -> Option<String> {
        self.drop_value()
    }

    fn drop_value(&mut self) -> Option<String> {
        let value = self.0.take()?;
        contain(move || drop(value)).err()
    }
}

/// A panic in its poll does leave it.
impl<F: Future + Unpin> Future for Contained<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.0.as_mut().map_or(Poll::Pending, |future| Pin::new(future).poll(cx))
    }
}

impl<T> Unpin for Contained<T> {}

impl<T> fmt::Debug for Contained<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contained").finish_non_exhaustive()
    }
}

impl<T> Drop for Contained<T> {
    fn drop(&mut self) {
        if let Some(reason) = self.drop_value() {
            log!(error, reason, "user code panicked while it was dropped");
        }
    }
}

/// Runs it while a panic unwinds.
#[cfg(test)]
pub(crate) fn while_unwinding(run: impl FnOnce()) {
    struct Runs<F: FnOnce()>(Option<F>);

    impl<F: FnOnce()> Drop for Runs<F> {
        fn drop(&mut self) {
            self.0.take().expect("it is dropped once")();
        }
    }

    let unwound = contain(|| {
        let _runs = Runs(Some(run));
        std::panic::resume_unwind(Box::new("unwinds"));
    });
    assert_eq!(unwound, Err("unwinds".to_owned()));
}

#[cfg(test)]
mod tests {
    use std::panic::resume_unwind;

    use super::*;

    struct Bomb(&'static str);

    impl Drop for Bomb {
        fn drop(&mut self) {
            resume_unwind(Box::new(self.0));
        }
    }

    #[test]
    fn a_drop_that_panics_while_a_panic_unwinds_does_not_end_the_process() {
        let unwound = contain(|| {
            let _bomb = Contained::new(Bomb("dropped"));
            resume_unwind(Box::new("first"));
        });
        assert_eq!(unwound, Err("first".to_owned()));
        assert_eq!(Contained::new(Bomb("dropped")).end().as_deref(), Some("dropped"));
    }

    #[test]
    fn a_panic_whose_payload_panics_when_it_is_dropped_is_contained_too() {
        let unwound = contain(|| resume_unwind(Box::new(Bomb("payload"))));
        assert_eq!(unwound, Err("a panic without words".to_owned()));
    }
}
