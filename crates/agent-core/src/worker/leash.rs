//! A future that runs by itself on this thread, until its leash is cut: then it is gone at once.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::future::LocalBoxFuture;
use tokio::task::JoinHandle;

use crate::panics::Contained;

/// Holds a future that runs by itself.
///
/// To abort a task would have it dropped some time later; what is under a parent must be gone
/// before the parent's end is told.
#[derive(Debug)]
pub(super) struct Leash {
    held: Rc<Held>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Held {
    /// None once it is done or cut, and while it is polled.
    future: RefCell<Option<Contained<LocalBoxFuture<'static, ()>>>>,
    cut: Cell<bool>,
}

impl Leash {
    /// Has `future` run.
    pub(super) fn new(future: LocalBoxFuture<'static, ()>) -> Leash {
        let future = RefCell::new(Some(Contained::new(future)));
        let held = Rc::new(Held { future, cut: Cell::new(false) });
        let task = actix::spawn(Led(Rc::clone(&held)));
        Leash { held, task }
    }

    /// Drops the future now; a panic in its drop goes no further. Where it is being polled, when
    /// that returns.
    pub(super) fn cut(self) {
        self.held.cut.set(true);
        let future = self.held.future.borrow_mut().take();
        drop(future);
        self.task.abort();
    }
}

struct Led(Rc<Held>);

impl Future for Led {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(mut future) = self.0.future.borrow_mut().take() else { return Poll::Ready(()) };
        if Pin::new(&mut future).poll(cx).is_ready() || self.0.cut.get() {
            return Poll::Ready(());
        }
        *self.0.future.borrow_mut() = Some(future);
        Poll::Pending
    }
}
