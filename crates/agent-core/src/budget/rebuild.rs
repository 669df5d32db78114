//! After a panic: what the budget held is thrown away, and rebuilt from what is durable.

use std::mem;
use std::sync::Arc;

use actix::{ActorContext, ActorFutureExt, AsyncContext, Context, Supervised, WrapFuture};
use futures_util::future::LocalBoxFuture;

use super::Budget;
use crate::ledger::{Ledger, ReservationId};
use crate::lookup::Lookup;
use crate::record::{AttemptId, OpenAttempt};

/// Asks for what is durable, behind everything that was written before; `None` where it is not to
/// be had. It waits as long as it must.
pub(crate) type Source = Box<dyn Fn() -> LocalBoxFuture<'static, Option<Durable>>>;

/// Numbers of tickets in one life: those of an earlier one are never given again, and come first.
const TICKETS: u64 = 1 << 40;

/// What is durable of the money.
#[derive(Debug)]
pub(crate) struct Durable {
    /// The budgets, with what was spent; nothing is reserved in it.
    pub(crate) ledger: Ledger,
    /// Attempts that have left, or may leave at any moment.
    pub(crate) open: Vec<Arc<OpenAttempt>>,
}

impl Durable {
    /// The ledger with the bound of each open attempt set aside again, and under which name.
    pub(crate) fn reserved(self) -> (Ledger, Lookup<AttemptId, ReservationId>) {
        let Durable { mut ledger, open } = self;
        let mut held = Lookup::default();
        for attempt in open {
            let scopes = attempt.subject.scopes(&attempt.account);
            let id = ledger.restore_reserved(attempt.at, &scopes, attempt.bound);
            held.insert(attempt.id(), id);
        }
        (ledger, held)
    }
}

impl Budget {
    /// Comes back from `source` after a panic; without one it ends.
    #[must_use]
    pub(crate) fn rebuilt_from(mut self, source: Source) -> Budget {
        self.source = Some(source);
        self
    }
}

impl Supervised for Budget {
    /// Nothing is read until it is rebuilt. Those who waited in the queue find that it is gone, and
    /// ask again.
    fn restarting(&mut self, ctx: &mut Context<Self>) {
        // First of all: an attempt that is not in the journal yet sees it before it leaves, and one
        // that left without seeing it is in the answer.
        let mut books = self.desk.lock();
        let life = self.desk.lives().next();
        self.alarm = None;
        books.is_open = false;
        books.held = Lookup::default();
        books.ledger = Ledger::new(Vec::new());
        let anew = books.queue.anew(life.saturating_mul(TICKETS));
        let queue = mem::replace(&mut books.queue, anew);
        drop(books);
        drop(queue);
        let Some(source) = &self.source else { return ctx.stop() };
        let rebuilt = source().into_actor(self).map(|durable, budget, ctx| match durable {
            Some(durable) => {
                let (ledger, held) = durable.reserved();
                budget.desk.mend(ledger, held);
            }
            None => ctx.stop(),
        });
        ctx.wait(rebuilt);
    }
}

/// Ruins what it holds, and panics.
#[cfg(test)]
#[derive(Debug, actix::Message)]
#[rtype(result = "()")]
pub(crate) struct Ruin;

#[cfg(test)]
impl actix::Handler<Ruin> for Budget {
    type Result = ();

    fn handle(&mut self, _: Ruin, _: &mut Context<Self>) {
        // A ledger without budgets has room for everything.
        let mut books = self.desk.lock();
        books.ledger = Ledger::new(Vec::new());
        panic!("scripted panic");
    }
}
