//! How a caller gets its answer: at once, or when its turn comes, as long as it is there.

use std::pin::pin;

use actix::dev::{MessageResponse, OneshotSender};
use actix::{Addr, Context};
use futures_util::future::{Either, select};
use tokio::sync::oneshot;

use super::{Acquire, Desk, Leave, Permit, RateLimiter};
use crate::permits::{Grant, PermitError, WaiterId};

/// The answer to [`Acquire`].
///
/// A future of actix would run on when nobody waits for it any more, and keep the caller's place
/// until its turn; this gives the place back as soon as the caller is gone, and lets the caller go
/// (`MailboxError::Closed`) when the limiter is.
#[derive(Debug)]
pub struct Turn(Kind);

#[derive(Debug)]
enum Kind {
    Now(Result<Permit, PermitError>),
    Waits(InQueue),
}

impl Turn {
    pub(super) fn now(answer: Result<Permit, PermitError>) -> Turn {
        Turn(Kind::Now(answer))
    }

    pub(super) fn waits(
        waiter: WaiterId,
        limiter: Addr<RateLimiter>,
        desk: Desk,
        answer: oneshot::Receiver<Result<Grant, PermitError>>,
    ) -> Turn {
        Turn(Kind::Waits(InQueue { waiter: Some(waiter), limiter, desk, answer }))
    }
}

impl MessageResponse<RateLimiter, Acquire> for Turn {
    fn handle(
        self,
        _ctx: &mut Context<RateLimiter>,
        reply: Option<OneshotSender<Result<Permit, PermitError>>>,
    ) {
        let Some(mut reply) = reply else { return };
        match self.0 {
            Kind::Now(answer) => drop(reply.send(answer)),
            Kind::Waits(mut place) => {
                actix::spawn(async move {
                    let answer = match select(&mut place.answer, pin!(reply.closed())).await {
                        Either::Left((Ok(answer), _)) => answer,
                        // The limiter or the caller is gone.
                        Either::Left((Err(_), _)) | Either::Right(_) => return,
                    };
                    place.waiter = None;
                    let desk = place.desk.clone();
                    drop(reply.send(answer.map(|grant| Permit::new(grant, desk))));
                });
            }
        }
    }
}

/// A place in the queue; given up when its caller goes away.
#[derive(Debug)]
struct InQueue {
    /// `None` once it was answered.
    waiter: Option<WaiterId>,
    limiter: Addr<RateLimiter>,
    desk: Desk,
    answer: oneshot::Receiver<Result<Grant, PermitError>>,
}

impl Drop for InQueue {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter else { return };
        self.answer.close();
        match self.answer.try_recv() {
            Ok(Ok(grant)) => drop(Permit::new(grant, self.desk.clone())),
            Ok(Err(_)) => {}
            Err(_) => self.limiter.do_send(Leave(waiter)),
        }
    }
}
