//! A place in the queue for money, and the wait for its turn.

use actix::{Addr, Context, Handler, Message, ResponseFuture};
use tokio::sync::oneshot;

use super::queue::Turn;
use super::{Books, Budget, ReserveError};
use crate::clock::Timestamp;

/// A place in the queue for money; dropped, it is given up.
#[must_use = "a ticket that is dropped leaves the queue"]
#[derive(Debug)]
pub struct Ticket {
    number: u64,
    budget: Option<Addr<Budget>>,
}

impl Ticket {
    pub(super) fn new(number: u64, budget: Addr<Budget>) -> Ticket {
        Ticket { number, budget: Some(budget) }
    }

    /// Waits like [`AwaitRoom`], and leaves the queue at once where the wait is dropped.
    ///
    /// # Errors
    ///
    /// Those of [`AwaitRoom`].
    pub async fn room(self, deadline: Timestamp) -> Result<Ticket, ReserveError> {
        let (reply, turn) = oneshot::channel();
        if let Some(budget) = &self.budget {
            budget.do_send(Listen { number: self.number, deadline, reply });
        }
        self.called(turn).await
    }

    /// The ticket, once its turn has come.
    async fn called(self, turn: oneshot::Receiver<Turn>) -> Result<Ticket, ReserveError> {
        match turn.await {
            Ok(Err(no_room)) => Err(ReserveError::Refused(no_room)),
            // Where the queue knows nothing of the ticket, `Reserve` decides.
            Ok(Ok(())) | Err(_) => Ok(self),
        }
    }

    /// Its number, without leaving the queue.
    pub(super) fn redeem(mut self) -> u64 {
        self.budget = None;
        self.number
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(budget) = self.budget.take() {
            budget.do_send(Leave { number: self.number });
        }
    }
}

// === AwaitRoom ===

/// Waits until there is room for the ticket's call and nobody is before it.
///
/// The money is set aside for the ticket then, until it is sent with [`Reserve`](super::Reserve), is dropped, or
/// `deadline` has come. A request that is dropped keeps its place until then: a caller that may give
/// up waits with [`Ticket::room`].
///
/// # Errors
///
/// [`ReserveError::Refused`] where the deadline comes first, or no room is to come.
#[derive(Debug, Message)]
#[rtype(result = "Result<Ticket, ReserveError>")]
pub struct AwaitRoom {
    /// From [`ReserveError::MustWait`].
    pub ticket: Ticket,
    /// The caller cannot wait longer.
    pub deadline: Timestamp,
}

impl Handler<AwaitRoom> for Budget {
    type Result = ResponseFuture<Result<Ticket, ReserveError>>;

    fn handle(&mut self, msg: AwaitRoom, ctx: &mut Context<Self>) -> Self::Result {
        let AwaitRoom { ticket, deadline } = msg;
        let (reply, turn) = oneshot::channel();
        self.handle(Listen { number: ticket.number, deadline, reply }, ctx);
        Box::pin(ticket.called(turn))
    }
}

/// Tells `reply` when the turn of a ticket has come; the ticket stays with its owner.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Listen {
    number: u64,
    deadline: Timestamp,
    reply: oneshot::Sender<Turn>,
}

impl Handler<Listen> for Budget {
    type Result = ();

    fn handle(&mut self, msg: Listen, ctx: &mut Context<Self>) {
        let Listen { number, deadline, reply } = msg;
        self.now();
        self.desk.lock().queue.wait(number, deadline, reply);
        // A deadline that has passed already is met here.
        self.now();
        self.finish(ctx);
    }
}

// === Leave ===

/// A ticket was dropped.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Leave {
    number: u64,
}

impl Handler<Leave> for Budget {
    type Result = ();

    fn handle(&mut self, msg: Leave, ctx: &mut Context<Self>) {
        let now = self.now();
        {
            let Books { queue, ledger, .. } = &mut *self.desk.lock();
            queue.leave(ledger, now, msg.number);
        }
        self.finish(ctx);
    }
}
