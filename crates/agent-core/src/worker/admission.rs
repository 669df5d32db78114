//! Leave to send an attempt: a permit and money, never one held while the other is waited for.

use std::sync::Arc;

use actix::MailboxError;

use crate::audit::AuditKind;
use crate::budget::{Reservation, Reserve, ReserveError, Ticket};
use crate::clock::Timestamp;
use crate::ledger::{NoRoom, OnExhausted, When};
use crate::llm::Request;
use crate::money::NanoUsd;
use crate::permits::{AgentRateLimit, Ask};
use crate::rate_limiter::Permit;
use crate::record::{AttemptId, Payer};
use crate::worker::call::{Call, Ending};
use crate::worker::refusal;

/// A permit and money, both in hand, of one account.
pub(super) struct Admission {
    pub(super) permit: Permit,
    pub(super) money: Reservation,
    pub(super) account: Arc<str>,
    /// When both were.
    pub(super) at: Timestamp,
}

impl Call<'_> {
    /// The moment at which a wait that begins at `now` must have ended.
    pub(super) fn wait_deadline(&self, now: Timestamp) -> Timestamp {
        self.job.assignment.deadline.min(now + self.services.rules.max_wait)
    }

    /// Waits from `now` on for a permit and then for money for this attempt; never holds one while
    /// it waits for the other.
    pub(super) async fn admit(
        &mut self,
        attempt: u32,
        mut now: Timestamp,
        request: &mut Request,
    ) -> Result<Admission, Ending> {
        let name = AttemptId { call_id: self.id, attempt };
        let mut ticket = None;
        // Money waits for its window, or for what is in flight, as long as the task may.
        let deadline = self.job.assignment.deadline;
        loop {
            // Read once: a key may be changed while this one waits.
            let account = self.services.client.account();
            let permit = self.permit(request, &account, &mut now).await?;
            let amount = self.bound(self.input_bound, request.max_tokens)?;
            let ticket_of = ticket.take();
            match self.reserve(name, amount, &account, ticket_of, &mut now, deadline).await? {
                Ok(money) => return Ok(Admission { permit, money, account, at: now }),
                Err(ReserveError::MustWait(turn, _)) => {
                    drop(permit);
                    ticket = Some(Box::pin(self.await_room(turn, deadline)).await?);
                    now = self.services.clock.now();
                }
                Err(ReserveError::Refused(no_room)) => {
                    drop(permit);
                    match self.clamped(request, &no_room) {
                        Some(max_tokens) => request.max_tokens = max_tokens,
                        None => return Err(self.no_room(&no_room)),
                    }
                }
            }
        }
    }

    /// The input to expect, in tokens: by what earlier calls have taught, and within its bound.
    pub(super) fn estimated_input(&self) -> u64 {
        let estimated = self.services.estimator().estimate(&self.job.model, None, self.bytes);
        estimated.min(self.input_bound)
    }

    /// Sets `now` anew where it had to wait.
    async fn permit(
        &mut self,
        request: &Request,
        account: &Arc<str>,
        now: &mut Timestamp,
    ) -> Result<Permit, Ending> {
        let deadline = self.wait_deadline(*now);
        self.step.until(deadline);
        let ask = || Ask {
            account: Arc::clone(account),
            model: Arc::clone(&self.job.model_name),
            worker: Arc::clone(&self.job.worker),
            worker_limit: AgentRateLimit {
                mode: self.job.assignment.mode,
                ..self.job.spec.rate_limit.clone().unwrap_or_default()
            },
            priority: self.job.task().priority,
            input_tokens: self.estimated_input(),
            output_tokens: u64::from(request.max_tokens),
            deadline,
        };
        let (limiter, desk) = &self.services.limiter;
        let answer = loop {
            let acquire = match desk.ask(*now, ask()) {
                Ok(answer) => break answer,
                Err(acquire) => acquire,
            };
            let waits = self.job.assignment.standing.wait_for_permit();
            let answer = Box::pin(limiter.send(acquire)).await;
            drop(waits);
            *now = self.services.clock.now();
            match answer {
                Ok(answer) => break answer,
                // It panicked while this waited, and comes back.
                Err(MailboxError::Closed) if limiter.connected() => {}
                Err(_) => return Err(Ending::Returned),
            }
        };
        // Money and the journal are waited for as long as the task may.
        self.step.until(self.job.assignment.deadline);
        match answer {
            Ok(permit) => {
                self.waits.permit += permit.waited();
                self.job.note_free_at(permit.worker_free_at());
                Ok(permit)
            }
            Err(error) => {
                if let Some(event) = refusal::permit_event(&error, &self.job.worker) {
                    self.services.audit(Some(self.id), &self.job.subject, event);
                }
                Err(refusal::permit(&error, &self.job.worker).into())
            }
        }
    }

    /// Sets `now` anew where the budget had to be asked.
    async fn reserve(
        &self,
        name: AttemptId,
        amount: NanoUsd,
        account: &Arc<str>,
        mut ticket: Option<Ticket>,
        now: &mut Timestamp,
        deadline: Timestamp,
    ) -> Result<Result<Reservation, ReserveError>, Ending> {
        let (budget, desk) = &self.services.budget;
        loop {
            let ticket = ticket.take();
            let payer = Payer { subject: &self.job.subject, account };
            let at_once = match &ticket {
                None => desk.reserve(*now, name, &payer, amount),
                Some(_) => Err(desk.come()),
            };
            let coming = match at_once {
                Ok(money) => return Ok(Ok(money)),
                Err(coming) => coming,
            };
            let scopes = self.job.subject.scopes(account).into();
            let reserve = Reserve::new(name, scopes, amount, ticket, deadline).coming(coming);
            let answer = Box::pin(budget.send(reserve)).await;
            *now = self.services.clock.now();
            match answer {
                Ok(answer) => return Ok(answer),
                // It panicked over the request, and comes back.
                Err(MailboxError::Closed) if budget.connected() => {}
                Err(_) => return Err(Ending::Returned),
            }
        }
    }

    /// Reserves the same again from a budget that has panicked since, which may know nothing of
    /// it; `false` where it has no room any more.
    pub(super) async fn reserve_again(
        &self,
        money: &mut Reservation,
        account: &Arc<str>,
    ) -> Result<bool, Ending> {
        while !money.is_current() {
            let (name, amount) = (money.name(), money.amount());
            let mut now = self.services.clock.now();
            let deadline = self.wait_deadline(now);
            match self.reserve(name, amount, account, None, &mut now, deadline).await? {
                Ok(other) => money.replace(other),
                Err(ReserveError::MustWait(..) | ReserveError::Refused(_)) => return Ok(false),
            }
        }
        Ok(true)
    }

    async fn await_room(&mut self, ticket: Ticket, deadline: Timestamp) -> Result<Ticket, Ending> {
        let began = self.services.clock.now();
        let room = ticket.room(deadline).await;
        self.waits.money += self.services.clock.now().since(began);
        match room {
            Ok(ticket) => Ok(ticket),
            Err(ReserveError::Refused(no_room) | ReserveError::MustWait(_, no_room)) => {
                if self.job.assignment.deadline <= self.services.clock.now() {
                    return Err(refusal::deadline(self.job).into());
                }
                Err(self.no_room(&no_room))
            }
        }
    }

    fn no_room(&self, no_room: &NoRoom) -> Ending {
        let event = AuditKind::BudgetExceeded {
            scope: no_room.scope.to_string(),
            limit: no_room.limit,
            spent: no_room.spent,
            reserved: no_room.reserved,
        };
        self.services.audit(Some(self.id), &self.job.subject, event);
        if no_room.on_exhausted == OnExhausted::StopRun {
            return Ending::Returned;
        }
        let mut error = refusal::budget(no_room);
        if let When::Turns(at) = no_room.when {
            let wait = at.since(self.services.clock.now());
            error = error.retryable(true).retry_after(wait);
        }
        error.into()
    }

    /// The most output that the budget has room for, where the agent allows less than it asked.
    fn clamped(&self, request: &Request, no_room: &NoRoom) -> Option<u32> {
        if !self.job.spec.clamp_max_tokens || no_room.on_exhausted == OnExhausted::StopRun {
            return None;
        }
        let fits = |max_tokens: u32| {
            self.bound(self.input_bound, max_tokens).is_ok_and(|bound| bound <= no_room.available)
        };
        let (mut most, mut too_many) = (0, request.max_tokens);
        while most + 1 < too_many {
            let middle = most + (too_many - most) / 2;
            *if fits(middle) { &mut most } else { &mut too_many } = middle;
        }
        (most > 0).then_some(most)
    }
}
