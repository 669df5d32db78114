//! Panics of user code, kept where they arise: what they said, and drops that may panic.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a panic carries.
pub(crate) type Payload = Box<dyn Any + Send>;

/// What a panic said.
pub(crate) fn reason(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without words").to_owned()
}

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
    pub(crate) fn end(mut self) -> Option<Payload> {
        self.drop_value()
    }

    fn drop_value(&mut self) -> Option<Payload> {
        let value = self.0.take()?;
        catch_unwind(AssertUnwindSafe(move || drop(value))).err()
    }
}

impl<T> fmt::Debug for Contained<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contained").finish_non_exhaustive()
    }
}

impl<T> Drop for Contained<T> {
    fn drop(&mut self) {
        if let Some(payload) = self.drop_value() {
            let reason = reason(payload.as_ref());
            tracing::error!(reason, "user code panicked while it was dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("dropped"));
        }
    }

    #[test]
    fn a_drop_that_panics_while_a_panic_unwinds_does_not_end_the_process() {
        let unwound = catch_unwind(|| {
            let _bomb = Contained::new(Bomb);
            std::panic::resume_unwind(Box::new("first"));
        });
        assert_eq!(reason(unwound.unwrap_err().as_ref()), "first");
        let payload = Contained::new(Bomb).end().unwrap();
        assert_eq!(reason(payload.as_ref()), "dropped");
    }
}
