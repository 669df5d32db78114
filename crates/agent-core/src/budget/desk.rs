//! Money without a message: as long as nobody waits for any, callers set it aside and settle it on
//! their own thread; the actor is for those who wait, and for what comes after a panic.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use actix::{Addr, Recipient, WeakAddr};

use super::queue::Queue;
use super::reservation::{Lives, Resolve};
use super::{Budget, BudgetNotice, Forget, Reservation};
use crate::clock::{Clock, Timestamp};
use crate::ledger::{Ledger, NoRoom, OnExhausted, ReservationId, Scope, Scopes};
use crate::lookup::Lookup;
use crate::money::NanoUsd;
use crate::panics::{self, log};
use crate::record::AttemptId;

/// What the budget shares with its callers.
#[derive(Debug, Clone)]
pub struct Desk(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Poisoned by a panic in the middle of a change, until the budget has been rebuilt.
    books: Mutex<Books>,
    lives: Lives,
    clock: Clock,
    budget: OnceLock<WeakAddr<Budget>>,
}

/// What the budget knows.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) ledger: Ledger,
    pub(super) queue: Queue,
    /// What is set aside for attempts.
    pub(super) held: Lookup<AttemptId, ReservationId>,
    pub(super) notices: Recipient<BudgetNotice>,
    /// Nothing is decided here while the budget is being rebuilt.
    pub(super) is_open: bool,
    /// A change was begun here, and has not ended: where one panic unwinds already, another does
    /// not poison the lock.
    is_changing: bool,
    /// The next change panics half-way.
    #[cfg(test)]
    pub(super) breaks: bool,
    /// Callers who are on their way to the queue: nobody is to overtake them.
    coming: usize,
}

impl Books {
    pub(super) fn new(ledger: Ledger, queue: Queue, notices: Recipient<BudgetNotice>) -> Books {
        Books {
            ledger,
            queue,
            held: Lookup::default(),
            notices,
            is_open: true,
            is_changing: false,
            #[cfg(test)]
            breaks: false,
            coming: 0,
        }
    }

    #[cfg(test)]
    fn break_here(&mut self) {
        assert!(!std::mem::take(&mut self.breaks), "scripted panic");
    }

    fn is_quiet(&self) -> bool {
        self.is_open && !self.is_changing && self.coming == 0 && self.queue.is_empty()
    }

    /// Charges a reservation, and tells what that comes to.
    pub(super) fn settle(
        &mut self,
        now: Timestamp,
        id: ReservationId,
        actual: NanoUsd,
        presumed: NanoUsd,
    ) {
        #[cfg(test)]
        self.break_here();
        let Some(told) = self.ledger.settle(now, id, actual, presumed) else { return };
        for threshold in told.thresholds {
            self.notices.do_send(BudgetNotice::Threshold(threshold));
        }
        for overrun in told.overruns {
            self.notices.do_send(BudgetNotice::Overrun(overrun));
        }
    }

    pub(super) fn notice_refusal(&self, no_room: NoRoom) {
        if no_room.wait_until().is_none() && no_room.on_exhausted == OnExhausted::StopRun {
            self.notices.do_send(BudgetNotice::StopRun(no_room.clone()));
        }
        self.notices.do_send(BudgetNotice::Exceeded(no_room));
    }

    /// The reservation that a resolution of `amount` is about: a part of it, or the whole, which is
    /// not known by its name from here on.
    pub(super) fn resolved(&mut self, name: AttemptId, amount: NanoUsd) -> Option<ReservationId> {
        // After a panic: it was not in the journal any more, or not yet. What it cost is in the
        // totals then.
        let id = *self.held.get(&name)?;
        let is_part = self.ledger.amount(id).is_some_and(|held| amount < held);
        let part = if is_part { self.ledger.split(id, amount) } else { None };
        if part.is_none() {
            self.held.remove(&name);
        }
        Some(part.unwrap_or(id))
    }
}

impl Desk {
    pub(super) fn new(books: Books, clock: Clock) -> Desk {
        let (books, lives) = (Mutex::new(books), Lives::default());
        Desk(Arc::new(Shared { books, lives, clock, budget: OnceLock::new() }))
    }

    /// Those who must wait are sent to this budget.
    pub(super) fn belongs_to(&self, budget: WeakAddr<Budget>) {
        // It has one address all its life.
        _ = self.0.budget.set(budget);
    }

    pub(super) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    pub(super) fn lives(&self) -> &Lives {
        &self.0.lives
    }

    /// For the budget itself, whatever has happened to it.
    pub(super) fn lock(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a panic came in the middle of a change, and they have not been rebuilt since.
    pub(super) fn is_spoiled(&self) -> bool {
        self.0.books.is_poisoned() || self.lock().is_changing
    }

    /// The books, where nobody waits and nothing is wrong with them.
    fn quiet(&self) -> Option<MutexGuard<'_, Books>> {
        self.0.books.lock().ok().filter(|books| books.is_quiet())
    }

    /// What the budget knows is whole again.
    pub(super) fn mend(&self, ledger: Ledger, held: Lookup<AttemptId, ReservationId>) {
        let mut books = self.lock();
        (books.ledger, books.held) = (ledger, held);
        (books.is_open, books.is_changing) = (true, false);
        self.0.books.clear_poison();
    }

    /// Sets money aside for an attempt that has not waited, where that can be said at once; else its
    /// leave to go to the budget.
    pub(crate) fn reserve(
        &self,
        now: Timestamp,
        name: AttemptId,
        scopes: &(impl Scopes + ?Sized),
        amount: NanoUsd,
    ) -> Result<Reservation, Coming> {
        if let Some(mut books) = self.quiet().filter(|books| !books.held.contains_key(&name)) {
            // Where there is no room, the budget says what is to be done.
            if let Ok(room) = books.ledger.room(now, scopes, amount) {
                let id = books.ledger.take(room);
                #[cfg(test)]
                books.break_here();
                books.held.insert(name, id);
                return Ok(Reservation::new(name, amount, self.clone()));
            }
        }
        Err(self.come())
    }

    /// Leave to go to the budget: nobody overtakes who has it.
    pub(crate) fn come(&self) -> Coming {
        self.lock().coming += 1;
        Coming(self.clone())
    }

    /// Resolves it here where nobody waits for money, else has the budget do it; that also where it
    /// panics here, when the budget has been rebuilt. It may be called while a panic unwinds.
    pub(super) fn resolve(&self, now: Timestamp, resolve: Resolve) {
        let Resolve { name, amount, actual, presumed } = resolve;
        let elsewhere = self.change(|books| {
            if let Some(id) = books.resolved(name, amount) {
                books.settle(now, id, actual, presumed);
            }
        });
        if let Some(budget) = elsewhere {
            budget.do_send(resolve);
        }
    }

    /// A scope has ended, such as a task: what is known of it is dropped once nothing is reserved.
    /// One that the fleet names is kept.
    pub(crate) fn forget(&self, scope: Scope) {
        if let Some(budget) = self.change(|books| books.ledger.forget(&scope)) {
            budget.do_send(Forget { scope });
        }
    }

    /// Makes a change where nobody waits for money, and where the budget has not begun yet, or has
    /// ended; else whom to have make it. A panic in it is contained.
    fn change(&self, change: impl FnOnce(&mut Books)) -> Option<Addr<Budget>> {
        let changed = panics::contain(|| {
            let mut books = self.lock();
            let is_whole = books.is_quiet() && !self.0.books.is_poisoned();
            let budget = if is_whole { None } else { self.budget() };
            if budget.is_none() {
                books.is_changing = true;
                change(&mut books);
                books.is_changing = false;
            }
            budget
        });
        changed.unwrap_or_else(|reason| {
            log!(error, reason, "the ledger panicked");
            self.budget()
        })
    }

    fn budget(&self) -> Option<Addr<Budget>> {
        self.0.budget.get().and_then(WeakAddr::upgrade)
    }
}

/// Somebody is on the way to the queue, until this is dropped.
#[derive(Debug)]
pub(crate) struct Coming(Desk);

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.lock().coming -= 1;
    }
}
