//! Permits without a message: as long as nobody waits, callers take and return them on their own
//! thread; the actor is for those who wait.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use actix::{Message, WeakAddr};

use super::{Acquire, Permit, RateLimiter};
use crate::clock::{Clock, Timestamp};
use crate::panics::{self, log};
use crate::permits::{Ask, PermitError, Permits, ProviderLimits};

/// What the limiter shares with its callers.
#[derive(Debug, Clone)]
pub struct Desk(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    clock: Clock,
    limiter: OnceLock<WeakAddr<RateLimiter>>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) permits: Permits,
    /// Callers who are on their way to the queue: nobody is to overtake them.
    coming: usize,
    /// A change was begun here, and has not ended: where one panic unwinds already, another does
    /// not poison the lock.
    is_changing: bool,
}

impl State {
    fn is_quiet(&self) -> bool {
        self.coming == 0 && self.permits.nobody_waits()
    }

    /// After a panic, which may have come in the middle of anything.
    pub(super) fn recount(&mut self) {
        let nothing = Permits::new(ProviderLimits::default());
        self.permits = std::mem::replace(&mut self.permits, nothing).anew();
        self.is_changing = false;
    }
}

impl Desk {
    pub(super) fn new(permits: Permits, clock: Clock) -> Desk {
        let state = Mutex::new(State { permits, coming: 0, is_changing: false });
        Desk(Arc::new(Shared { state, clock, limiter: OnceLock::new() }))
    }

    /// Those who must wait are sent to this limiter.
    pub(super) fn belongs_to(&self, limiter: WeakAddr<RateLimiter>) {
        // It has one address all its life.
        _ = self.0.limiter.set(limiter);
    }

    pub(super) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.0.state.is_poisoned() || state.is_changing {
            state.recount();
            self.0.state.clear_poison();
        }
        state
    }

    /// A permit, or why there is none, where that can be said at once; else what to send to the
    /// limiter.
    pub(crate) fn ask(
        &self,
        now: Timestamp,
        ask: Ask,
    ) -> Result<Result<Permit, PermitError>, Acquire> {
        let mut state = self.lock();
        if state.is_quiet()
            && let Some(answer) = state.permits.at_once(now, &ask)
        {
            return Ok(answer.map(|grant| Permit::new(grant, self.clone())));
        }
        state.coming += 1;
        drop(state);
        Err(Acquire { ask, _coming: Some(Coming(self.clone())) })
    }

    /// Has `change` done here where nobody waits for it, else `message` by the limiter. It may be
    /// called while a panic unwinds.
    pub(super) fn change<M>(&self, message: M, change: impl FnOnce(&mut Permits, M))
    where
        M: Message<Result = ()> + Send + 'static,
        RateLimiter: actix::Handler<M>,
    {
        let changed = panics::contain(|| {
            let mut state = self.lock();
            let limiter = if state.is_quiet() { None } else { self.0.limiter.get() };
            match limiter.and_then(WeakAddr::upgrade) {
                Some(limiter) => {
                    drop(state);
                    limiter.do_send(message);
                }
                // Nobody waits, or the limiter has not begun yet, or has ended.
                None => {
                    state.is_changing = true;
                    change(&mut state.permits, message);
                    state.is_changing = false;
                }
            }
        });
        if let Err(reason) = changed {
            log!(error, reason, "permits panicked");
        }
    }
}

/// Somebody is on the way to the queue, until this is dropped.
#[derive(Debug)]
pub(super) struct Coming(Desk);

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.lock().coming -= 1;
    }
}
