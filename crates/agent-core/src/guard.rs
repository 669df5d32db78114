//! A guard around an actor: a panic costs it its state, not its address or its mailbox.
//!
//! `actix::Supervisor` restarts an actor that stops, but not one that panics. The guard owns the
//! actor's future and polls it under `catch_unwind`; after a panic it drops what the actor was
//! doing at once, so that money and permits go back, pauses, and goes on with the next message.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll, ready};
use std::time::Duration;

use actix::dev::ContextFut;
use actix::dev::channel::AddressReceiver;
use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Supervised};
use futures_util::future::LocalBoxFuture;

use crate::clock::Clock;
use crate::panics;

/// Is told what becomes of a guarded actor, and decides whether it goes on.
pub(crate) trait Watcher: 'static {
    /// What its pauses are measured by.
    fn clock(&self) -> &Clock;
    /// Its code runs now, or has yielded.
    fn runs(&self, _now: bool) {}
    /// It panicked. The pause before it goes on, or `None` where it must end.
    fn panicked(&self, reason: &str) -> Option<Duration>;
    /// Waits for so long.
    fn pause(&self, pause: Duration) -> LocalBoxFuture<'static, ()> {
        Box::pin(self.clock().sleep(pause))
    }
    /// It goes on after a pause.
    fn resumed(&self);
    /// It ended for good.
    fn ended(&self);
}

/// Starts `actor` under a guard on this thread.
pub(crate) fn start<A>(actor: A, watcher: impl Watcher) -> Addr<A>
where
    A: Actor<Context = Context<A>> + Supervised,
{
    let (address, guarded) = guarded(actor, watcher);
    actix::spawn(guarded);
    address
}

/// The same, for an actor that has an address already: its mailbox is `mail`.
pub(crate) fn start_with<A>(mail: AddressReceiver<A>, actor: A, watcher: impl Watcher)
where
    A: Actor<Context = Context<A>> + Supervised,
{
    let running = Some(Context::with_receiver(mail).into_future(actor));
    actix::spawn(Guard { running, watcher, pause: None });
}

/// `actor` under a guard: it lives in the future, as long as that is polled and not dropped.
pub(crate) fn guarded<A>(
    actor: A,
    watcher: impl Watcher,
) -> (Addr<A>, impl Future<Output = ()> + 'static)
where
    A: Actor<Context = Context<A>> + Supervised,
{
    let ctx = Context::new();
    let address = ctx.address();
    let running = Some(ctx.into_future(actor));
    (address, Guard { running, watcher, pause: None })
}

thread_local! {
    /// Why the actor that runs now has crashed.
    static CRASH: Cell<Option<String>> = const { Cell::new(None) };
}

/// Has an actor under a guard crash for `reason`, as if it had panicked, once it returns to its
/// guard: a panic that was caught further up needs no second unwinding, which is what costs most of
/// a restart.
pub(crate) fn crash<A: Actor<Context = Context<A>>>(reason: String, ctx: &mut Context<A>) {
    CRASH.set(Some(reason));
    ctx.terminate();
}

struct Guard<A: Actor<Context = Context<A>>, W> {
    running: Option<ContextFut<A, Context<A>>>,
    watcher: W,
    pause: Option<LocalBoxFuture<'static, ()>>,
}

impl<A: Actor<Context = Context<A>>, W> fmt::Debug for Guard<A, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("paused", &self.pause.is_some()).finish_non_exhaustive()
    }
}

impl<A: Actor<Context = Context<A>>, W> Unpin for Guard<A, W> {}

impl<A, W> Guard<A, W>
where
    A: Actor<Context = Context<A>> + Supervised,
    W: Watcher,
{
    /// Drops what the actor was doing and pauses it, or ends it.
    fn panicked(&mut self, reason: &str) -> Poll<()> {
        let Some(pause) = self.watcher.panicked(reason) else { return self.end() };
        let Some(running) = self.running.as_mut() else { return self.end() };
        match panics::contain(|| running.restart()) {
            Ok(true) => {}
            Ok(false) | Err(_) => return self.end(),
        }
        self.pause = Some(self.watcher.pause(pause));
        Poll::Pending
    }

    fn end(&mut self) -> Poll<()> {
        let running = self.running.take();
        // Its fields may panic when dropped; there is nobody left to be told.
        drop(panics::contain(move || drop(running)));
        self.watcher.ended();
        Poll::Ready(())
    }
}

impl<A, W> Future for Guard<A, W>
where
    A: Actor<Context = Context<A>> + Supervised,
    W: Watcher,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            if let Some(pause) = this.pause.as_mut() {
                ready!(pause.as_mut().poll(cx));
                this.pause = None;
                this.watcher.resumed();
            }
            let Some(running) = this.running.as_mut() else { return Poll::Ready(()) };
            this.watcher.runs(true);
            let polled = panics::contain(|| Pin::new(running).poll(cx));
            this.watcher.runs(false);
            match (polled, CRASH.take()) {
                (Ok(Poll::Pending), None) => return Poll::Pending,
                (Ok(Poll::Ready(())), None) => return this.end(),
                (Err(reason), _) | (Ok(_), Some(reason)) => {
                    if this.panicked(&reason).is_ready() {
                        return Poll::Ready(());
                    }
                }
            }
        }
    }
}
