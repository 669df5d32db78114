//! The budget actor: money is reserved before an attempt leaves and settled after it.
//!
//! ```text
//! Reserve ──► Reservation                       room in every scope: go ahead
//!    │  └──► Refused                            it would not fit with all money in flight back
//!    └─────► MustWait(ticket) ──► AwaitRoom ──► its turn: Reserve again, with the ticket
//! ```
//!
//! A caller that must wait gives its permit back first, and acquires one anew when its turn has
//! come. Until then its money is set aside, so nobody overtakes it; a ticket that is dropped leaves
//! the queue.
//!
//! Money bears the name of its attempt. After a panic the budget trusts nothing that it held: it is
//! rebuilt from what is durable, in which each attempt that may have left holds its bound, before
//! it reads on. What was settled after that and is in the totals already is not known by its name.

mod desk;
mod queue;
mod rebuild;
mod reservation;
#[cfg(test)]
mod tests;
mod ticket;

use std::fmt;
use std::sync::Arc;

use actix::{Actor, AsyncContext, Context, Handler, Message, MessageResult, Recipient};
use thiserror::Error;
use tokio::task::JoinHandle;

use crate::clock::{Clock, Timestamp};
use crate::ledger::{Balance, Ledger, NoRoom, Overrun, ReservationId, Scope, Threshold};
use crate::money::NanoUsd;
use crate::record::AttemptId;
pub use desk::Desk;
use desk::{Books, Coming};
use queue::{Answer, Queue, Request};
#[cfg(test)]
pub(crate) use rebuild::Ruin;
pub(crate) use rebuild::{Durable, Source};
pub use reservation::{InFlight, Reservation};
pub use ticket::{AwaitRoom, Ticket};

/// Callers that may wait for money at once, unless said otherwise.
const MAX_WAITING: usize = 1_000_000;

// === actor ===

/// Guards all budgets; shared by all workers.
pub struct Budget {
    desk: Desk,
    /// Where it comes back from after a panic.
    source: Option<Source>,
    clock: Clock,
    alarm: Option<Alarm>,
}

/// The one timer, for the earliest of all deadlines and turns; disarmed when dropped.
#[derive(Debug)]
struct Alarm {
    at: Timestamp,
    timer: JoinHandle<()>,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.timer.abort();
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("desk", &self.desk).finish_non_exhaustive()
    }
}

impl Budget {
    /// Guards the budgets of `ledger`, which holds what was spent before.
    pub fn new(ledger: Ledger, clock: Clock, notices: Recipient<BudgetNotice>) -> Budget {
        let books = Books::new(ledger, Queue::new(MAX_WAITING), notices);
        Budget { desk: Desk::new(books, clock.clone()), source: None, clock, alarm: None }
    }

    /// Where money is had without a message, as long as nobody waits for any.
    pub fn desk(&self) -> Desk {
        self.desk.clone()
    }

    /// Replaces the default of 1,000,000 callers that may wait at once; more are refused.
    #[must_use]
    pub fn max_waiting(self, callers: usize) -> Budget {
        self.desk.lock().queue.set_limit(callers);
        self
    }

    /// Does what is due, so that nobody who comes now overtakes those who waited for it.
    fn now(&mut self) -> Timestamp {
        self.must_be_whole();
        let now = self.clock.now();
        let Books { queue, ledger, .. } = &mut *self.desk.lock();
        queue.ring(ledger, now);
        now
    }

    /// Panics over books that a panic has spoiled: they are rebuilt then.
    fn must_be_whole(&self) {
        assert!(!self.desk.is_spoiled(), "a caller panicked over the books");
    }

    /// Tells what has happened to waiters, and sets the timer.
    fn finish(&mut self, ctx: &mut Context<Self>) {
        let next = {
            let books = &mut *self.desk.lock();
            for no_room in books.queue.take_refusals() {
                books.notice_refusal(no_room);
            }
            #[cfg(test)]
            books.queue.check(&mut books.ledger, self.clock.now());
            books.queue.next_alarm()
        };
        let Some(at) = next else { return };
        if self.alarm.as_ref().is_some_and(|alarm| alarm.at <= at) {
            return;
        }
        let (budget, clock) = (ctx.address().downgrade(), self.clock.clone());
        let timer = actix::spawn(async move {
            clock.sleep_until(at).await;
            if let Some(budget) = budget.upgrade() {
                budget.do_send(Ring);
            }
        });
        self.alarm = Some(Alarm { at, timer });
    }

    fn settle(
        &mut self,
        id: ReservationId,
        actual: NanoUsd,
        presumed: NanoUsd,
        ctx: &mut Context<Self>,
    ) {
        let now = self.now();
        {
            let books = &mut *self.desk.lock();
            let lines = !books.queue.has_no_lines();
            let freed = if lines { books.ledger.accounts_of(id).collect() } else { Vec::new() };
            books.settle(now, id, actual, presumed);
            books.queue.serve_all(&mut books.ledger, now, freed);
        }
        self.finish(ctx);
    }
}

impl Actor for Budget {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.desk.belongs_to(ctx.address().downgrade());
    }
}

/// What has happened to a budget.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub enum BudgetNotice {
    /// Spending has reached a percentage of a limit for the first time in its window.
    Threshold(Threshold),
    /// A call cost more than was reserved for it.
    Overrun(Overrun),
    /// A call was refused for money.
    Exceeded(NoRoom),
    /// A call was refused by a budget whose owner wants the run stopped then; told before
    /// [`BudgetNotice::Exceeded`].
    StopRun(NoRoom),
}

// === Reserve ===

/// Sets `amount` aside in every budget of `scopes`, or in none. Answered at once.
///
/// An attempt for which money is set aside already gets that, whatever it asks for.
///
/// # Errors
///
/// [`ReserveError::Refused`] where it would not fit if all money in flight came back, and no window
/// turns in time in a budget that says `wait`; also past the deadline, and where the queue is full.
/// [`ReserveError::MustWait`] otherwise.
#[derive(Debug, Message)]
#[rtype(result = "Result<Reservation, ReserveError>")]
pub struct Reserve {
    /// For which attempt.
    pub name: AttemptId,
    /// All scopes of the call.
    pub scopes: Arc<[Scope]>,
    /// The most that the attempt can cost.
    pub amount: NanoUsd,
    /// The caller's place in the queue, where it has waited.
    pub ticket: Option<Ticket>,
    /// The caller cannot wait longer.
    pub deadline: Timestamp,
    /// Nobody overtakes it at the desk.
    coming: Option<Coming>,
}

impl Reserve {
    /// Asks for `amount` in all of `scopes`.
    pub fn new(
        name: AttemptId,
        scopes: Arc<[Scope]>,
        amount: NanoUsd,
        ticket: Option<Ticket>,
        deadline: Timestamp,
    ) -> Reserve {
        Reserve { name, scopes, amount, ticket, deadline, coming: None }
    }

    /// The same, by one who has leave to come.
    pub(crate) fn coming(self, coming: Coming) -> Reserve {
        Reserve { coming: Some(coming), ..self }
    }
}

/// Why no money was set aside.
#[derive(Debug, Error)]
pub enum ReserveError {
    /// There is none for this call, and waiting does not help, or not in time.
    #[error(transparent)]
    Refused(NoRoom),
    /// It may fit later: give the permit back, and send [`AwaitRoom`] with the ticket.
    #[error("must wait for money: {1}")]
    MustWait(Ticket, NoRoom),
}

impl Handler<Reserve> for Budget {
    type Result = Result<Reservation, ReserveError>;

    fn handle(&mut self, msg: Reserve, ctx: &mut Context<Self>) -> Self::Result {
        let Reserve { name, scopes, amount, ticket, deadline, coming } = msg;
        let now = self.now();
        let request = Request { scopes, amount, deadline };
        let answer = {
            let books = &mut *self.desk.lock();
            if let Some(held) = books.held.get(&name).and_then(|id| books.ledger.amount(*id)) {
                return Ok(Reservation::new(name, held, self.desk.clone()));
            }
            let number = ticket.map(Ticket::redeem);
            match books.queue.reserve(&mut books.ledger, now, request, number) {
                Answer::Granted(id) => {
                    books.held.insert(name, id);
                    Ok(Reservation::new(name, amount, self.desk.clone()))
                }
                Answer::Waits(number, no_room) => {
                    Err(ReserveError::MustWait(Ticket::new(number, ctx.address()), no_room))
                }
                Answer::Refused(no_room) => {
                    books.notice_refusal(no_room.clone());
                    Err(ReserveError::Refused(no_room))
                }
            }
        };
        // It is in the queue, or need not be.
        drop(coming);
        self.finish(ctx);
        answer
    }
}

// === GetBalances, Forget ===

/// All budgets as they stand.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Balance>")]
pub struct GetBalances {
    /// Only those of scopes that the fleet names, leaving out each `x:*` that has come up.
    pub named: bool,
}

impl Handler<GetBalances> for Budget {
    type Result = MessageResult<GetBalances>;

    fn handle(&mut self, msg: GetBalances, ctx: &mut Context<Self>) -> Self::Result {
        let now = self.now();
        self.finish(ctx);
        let ledger = &mut self.desk.lock().ledger;
        let named = msg.named.then(|| ledger.named_balances(now));
        MessageResult(named.unwrap_or_else(|| ledger.balances(now)))
    }
}

/// A scope has ended while somebody waited for money: see [`Desk::forget`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Forget {
    scope: Scope,
}

impl Handler<Forget> for Budget {
    type Result = ();

    fn handle(&mut self, msg: Forget, ctx: &mut Context<Self>) {
        let now = self.now();
        {
            let Books { queue, ledger, .. } = &mut *self.desk.lock();
            let freed = ledger.accounts(now, std::slice::from_ref(&msg.scope));
            ledger.forget(&msg.scope);
            queue.serve_all(ledger, now, freed);
        }
        self.finish(ctx);
    }
}

// === Ring ===

/// Something is due.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Ring;

impl Handler<Ring> for Budget {
    type Result = ();

    fn handle(&mut self, _msg: Ring, ctx: &mut Context<Self>) {
        self.alarm = None;
        self.now();
        self.finish(ctx);
    }
}
