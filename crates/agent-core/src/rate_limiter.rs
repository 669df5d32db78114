//! The rate limiter: permits are granted first come first served, within every limit.
//!
//! ```text
//! Acquire ──► Permit ──depart──► Departed ──settle(feedback)──► corrected
//!                   └──drop──► given back     └──drop──► stays counted
//! ```

mod desk;
mod permit;
#[cfg(test)]
mod tests;
mod turn;

use std::collections::BTreeMap;
use std::fmt;

use actix::{Actor, AsyncContext, Context, Handler, Message, MessageResult, Supervised};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::clock::{Clock, Timestamp};
use crate::permits::{
    Answer, Ask, Grant, PairHeadroom, PermitError, Permits, ProviderLimits, WaiterId,
};

use desk::Coming;
pub use desk::Desk;
pub use permit::{Departed, Permit};
pub use turn::Turn;

type Reply = oneshot::Sender<Result<Grant, PermitError>>;

/// Guards the limits of every key and model, and of every worker.
pub struct RateLimiter {
    desk: Desk,
    clock: Clock,
    waiting: BTreeMap<WaiterId, Reply>,
    alarm: Option<Alarm>,
}

/// The one timer; disarmed when dropped.
struct Alarm {
    at: Timestamp,
    timer: JoinHandle<()>,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.timer.abort();
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl RateLimiter {
    /// A limiter of which nothing is taken; `limits` hold for each key and model.
    pub fn new(limits: ProviderLimits, clock: Clock) -> RateLimiter {
        let desk = Desk::new(Permits::new(limits), clock.clone());
        RateLimiter { desk, clock, waiting: BTreeMap::new(), alarm: None }
    }

    /// Where permits are had without a message, as long as nobody waits.
    pub fn desk(&self) -> Desk {
        self.desk.clone()
    }

    /// Tells whoever may go or has waited too long, and arms the timer for the next.
    fn admit(&mut self, ctx: &mut Context<Self>) {
        if self.waiting.is_empty() {
            self.alarm = None;
            return;
        }
        let now = self.clock.now();
        loop {
            let told = self.desk.lock().permits.admit(now);
            let mut unwanted = false;
            for (waiter, answer) in told {
                unwanted |= !self.tell(waiter, answer);
            }
            // What nobody wanted any more may be wanted by the next.
            if !unwanted {
                break;
            }
        }
        let next = self.desk.lock().permits.next_event(now);
        if next == self.alarm.as_ref().map(|alarm| alarm.at) {
            return;
        }
        self.alarm = next.map(|at| {
            let (clock, address) = (self.clock.clone(), ctx.address());
            let timer = actix::spawn(async move {
                clock.sleep_until(at).await;
                address.do_send(Ring);
            });
            Alarm { at, timer }
        });
    }

    /// Answers a waiter; `false` where it is gone and its permit was given back.
    fn tell(&mut self, waiter: WaiterId, answer: Result<Grant, PermitError>) -> bool {
        let Some(reply) = self.waiting.remove(&waiter) else { return true };
        if let Err(Ok(unwanted)) = reply.send(answer) {
            self.desk.lock().permits.give_back(unwanted.id);
            return false;
        }
        true
    }
}

impl Actor for RateLimiter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        // Bounded by the workers, each of which asks once at a time.
        ctx.set_mailbox_capacity(0);
        self.desk.belongs_to(ctx.address().downgrade());
    }
}

impl Supervised for RateLimiter {
    /// All that was granted stays counted. Those who waited find that it is gone, and ask again in
    /// the order in which they came.
    fn restarting(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(0);
        self.alarm = None;
        self.desk.lock().recount();
        self.waiting.clear();
    }
}

/// Ruins what follows from what was taken, and panics.
#[cfg(test)]
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Ruin;

#[cfg(test)]
impl Handler<Ruin> for RateLimiter {
    type Result = ();

    fn handle(&mut self, _: Ruin, _: &mut Context<Self>) {
        self.desk.lock().permits.ruin();
        panic!("scripted panic");
    }
}

#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Ring;

impl Handler<Ring> for RateLimiter {
    type Result = ();

    fn handle(&mut self, _msg: Ring, ctx: &mut Context<Self>) {
        self.alarm = None;
        self.admit(ctx);
    }
}

// === Acquire ===

/// Asks for a permit; answers when the request may leave.
///
/// # Errors
///
/// [`PermitError`]; nothing was taken then.
#[derive(Debug, Message)]
#[rtype(result = "Result<Permit, PermitError>")]
pub struct Acquire {
    /// What for.
    ask: Ask,
    /// Nobody overtakes it at the desk.
    _coming: Option<Coming>,
}

impl Acquire {
    /// Asks the limiter itself.
    pub fn new(ask: Ask) -> Acquire {
        Acquire { ask, _coming: None }
    }
}

impl Handler<Acquire> for RateLimiter {
    type Result = Turn;

    fn handle(&mut self, Acquire { ask, _coming }: Acquire, ctx: &mut Context<Self>) -> Turn {
        let answer = self.desk.lock().permits.ask(self.clock.now(), ask);
        match answer {
            Answer::Granted(grant) => Turn::now(Ok(Permit::new(grant, self.desk.clone()))),
            Answer::Refused(error) => Turn::now(Err(error)),
            Answer::Waits(waiter) => {
                let (reply, answer) = oneshot::channel();
                self.waiting.insert(waiter, reply);
                self.admit(ctx);
                Turn::waits(waiter, ctx.address(), self.desk.clone(), answer)
            }
        }
    }
}

#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Leave(WaiterId);

impl Handler<Leave> for RateLimiter {
    type Result = ();

    fn handle(&mut self, Leave(waiter): Leave, ctx: &mut Context<Self>) {
        if self.waiting.remove(&waiter).is_some() {
            self.desk.lock().permits.cancel(waiter);
            self.admit(ctx);
        }
    }
}

// === Restore, GetHeadroom ===

/// A key is in service again.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Restore {
    /// The masked key.
    pub account: String,
}

impl Handler<Restore> for RateLimiter {
    type Result = ();

    fn handle(&mut self, msg: Restore, _ctx: &mut Context<Self>) {
        self.desk.lock().permits.restore(&msg.account);
    }
}

/// How each key and model stands.
#[derive(Debug, Message)]
#[rtype(result = "Vec<PairHeadroom>")]
pub struct GetHeadroom;

impl Handler<GetHeadroom> for RateLimiter {
    type Result = MessageResult<GetHeadroom>;

    fn handle(&mut self, _msg: GetHeadroom, _ctx: &mut Context<Self>) -> Self::Result {
        MessageResult(self.desk.lock().permits.headroom(self.clock.now()))
    }
}
