//! One call: permit, money, journal, attempt, settlement, record; again where it may be retried.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use crate::audit::AuditKind;
use crate::budget::{Reservation, Reserve, ReserveError, Ticket};
use crate::clock::Timestamp;
use crate::ledger::{NoRoom, OnExhausted, When};
use crate::llm::{Answer, LlmError, LlmErrorKind, Request, redact};
use crate::money::NanoUsd;
use crate::permits::{AgentRateLimit, Ask};
use crate::pricing::BoundInput;
use crate::rate_limiter::{Acquire, Permit};
use crate::record::{CallId, OpenAttempt};
use crate::retry::{Failure, Retry};
use crate::store::{Entry, Note, Write};
use crate::task::TaskError;
use crate::worker::attempt::{Attempt, Waits};
use crate::worker::job::{Job, millis};
use crate::worker::opening::Opening;
use crate::worker::refusal;
use crate::worker::services::Services;

/// Why a call has no answer.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The task fails.
    Failed(TaskError),
    /// The task goes back to the queue untouched: the store is down, or the run stops.
    Returned,
}

impl From<TaskError> for Ending {
    fn from(error: TaskError) -> Ending {
        Ending::Failed(error)
    }
}

/// One completion wanted.
#[derive(Debug)]
pub(super) struct Call<'a> {
    services: &'a Services,
    job: &'a Job,
    id: CallId,
    /// Bytes that are sent.
    bytes: u64,
    /// The bound on the input that is sent, in tokens.
    input_bound: u64,
    /// The bound on the input if nothing had been cut from it, in tokens.
    full_input_bound: u64,
    waits: Waits,
}

/// A permit and money, both in hand, of one account.
struct Admission {
    permit: Permit,
    money: Reservation,
    account: Arc<str>,
}

impl<'a> Call<'a> {
    /// A call of which `input_bound` bounds the input that is sent, and `full_input_bound` the
    /// input with nothing cut from it.
    pub(super) fn new(
        services: &'a Services,
        job: &'a Job,
        request: &Request,
        input_bound: u64,
        full_input_bound: u64,
    ) -> Call<'a> {
        let (id, bytes) = (services.call_id(), request.text_bytes());
        Call { services, job, id, bytes, input_bound, full_input_bound, waits: Waits::default() }
    }

    /// Attempts the call until there is an answer, or none is to be had.
    pub(super) async fn complete(&mut self, request: &mut Request) -> Result<Answer, Ending> {
        let mut attempt = 1;
        loop {
            self.guard_cost(request)?;
            let admission = self.admit(request).await?;
            let wait = match self.attempt(attempt, request, admission).await? {
                Ok(answer) => return Ok(answer),
                Err(Failed { next: Next::After(wait), .. }) => wait,
                Err(Failed { next: Next::GiveUp, error }) => {
                    return Err(refusal::provider(&error, attempt).into());
                }
                Err(Failed { next: Next::Deadline, .. }) => {
                    return Err(refusal::deadline(self.job).into());
                }
            };
            let wait: LocalBoxFuture<'_, ()> = Box::pin(self.services.clock.sleep(wait));
            wait.await;
            self.job.tally(|tally| tally.retried += 1);
            attempt += 1;
        }
    }

    /// Refuses what could cost the task more than it may, before anything is taken.
    fn guard_cost(&self, request: &Request) -> Result<(), TaskError> {
        let bound = self.bound(self.full_input_bound, request)?;
        let limit = self.services.rules.max_cost_per_task;
        let estimated = bound.saturating_add(self.job.tally(|tally| tally.charged()));
        if estimated <= limit {
            return Ok(());
        }
        let event = AuditKind::CostLimitExceeded { estimated, limit };
        self.services.audit(Some(self.id), &self.job.subject, event);
        Err(refusal::cost(estimated, limit))
    }

    fn bound(&self, input_tokens: u64, request: &Request) -> Result<NanoUsd, TaskError> {
        let input = BoundInput {
            input_tokens,
            max_tokens: request.max_tokens,
            caching: false,
            server_tools: false,
            fast: false,
        };
        self.services.catalogue.bound(&request.model, &input).map_err(|e| refusal::unpriced(&e))
    }

    /// The moment at which a wait that begins now must have ended.
    fn wait_deadline(&self) -> Timestamp {
        let clock = &self.services.clock;
        self.job.assignment.deadline.min(clock.now() + self.services.rules.max_wait)
    }

    /// Waits for a permit and then for money; never holds one while it waits for the other.
    async fn admit(&mut self, request: &mut Request) -> Result<Admission, Ending> {
        let mut ticket = None;
        let deadline = self.wait_deadline();
        loop {
            // Read once: a key may be changed while this one waits.
            let account = self.services.client.account();
            let permit = self.permit(request, &account, deadline).await?;
            let amount = self.bound(self.input_bound, request)?;
            match self.reserve(amount, &account, ticket.take(), deadline).await? {
                Ok(money) => return Ok(Admission { permit, money, account }),
                Err(ReserveError::MustWait(turn, _)) => {
                    drop(permit);
                    ticket = Some(Box::pin(self.await_room(turn, deadline)).await?);
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

    async fn permit(
        &mut self,
        request: &Request,
        account: &Arc<str>,
        deadline: Timestamp,
    ) -> Result<Permit, Ending> {
        let estimated = self.services.estimator().estimate(&self.job.model, None, self.bytes);
        let spec_limit = self.job.spec.rate_limit.clone().unwrap_or_default();
        let acquire = Acquire(Ask {
            account: Arc::clone(account),
            model: Arc::clone(&self.job.model),
            worker: Arc::clone(&self.job.worker),
            worker_limit: AgentRateLimit { mode: self.job.assignment.mode, ..spec_limit },
            priority: self.job.task().priority,
            input_tokens: estimated.min(self.input_bound),
            output_tokens: u64::from(request.max_tokens),
            deadline,
        });
        let Ok(answer) = self.services.limiter.send(acquire).await else {
            return Err(Ending::Returned);
        };
        match answer {
            Ok(permit) => {
                self.waits.permit += permit.waited();
                self.job.tally(|tally| tally.worker_free_at = permit.worker_free_at());
                Ok(permit)
            }
            Err(error) => {
                if let Some(event) = refusal::permit_event(&error, &self.job.worker) {
                    self.services.audit(Some(self.id), &self.job.subject, event);
                }
                let now = self.services.clock.now();
                if self.job.assignment.deadline <= now {
                    return Err(refusal::deadline(self.job).into());
                }
                Err(refusal::permit(&error, &self.job.worker).into())
            }
        }
    }

    async fn reserve(
        &self,
        amount: NanoUsd,
        account: &Arc<str>,
        ticket: Option<Ticket>,
        deadline: Timestamp,
    ) -> Result<Result<Reservation, ReserveError>, Ending> {
        let scopes = self.job.scopes_of(account);
        let reserve = Reserve { scopes, amount, ticket, deadline };
        self.services.budget.send(reserve).await.map_err(|_| Ending::Returned)
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
            error = error.retry_after(at.since(self.services.clock.now()));
        }
        error.into()
    }

    /// The most output that the budget has room for, where the agent allows less than it asked.
    fn clamped(&self, request: &Request, no_room: &NoRoom) -> Option<u32> {
        if !self.job.spec.clamp_max_tokens || no_room.on_exhausted == OnExhausted::StopRun {
            return None;
        }
        let fits = |max_tokens: u32| {
            let request =
                Request { model: request.model.clone(), max_tokens, ..Request::default() };
            self.bound(self.input_bound, &request).is_ok_and(|bound| bound <= no_room.available)
        };
        let (mut most, mut too_many) = (0, request.max_tokens);
        while most + 1 < too_many {
            let middle = most + (too_many - most) / 2;
            *if fits(middle) { &mut most } else { &mut too_many } = middle;
        }
        (most > 0).then_some(most)
    }

    async fn attempt(
        &mut self,
        number: u32,
        request: &Request,
        admission: Admission,
    ) -> Result<Result<Answer, Failed>, Ending> {
        let attempt = self.depart(number, request, admission).await?;
        let (services, timeout) = (self.services, self.timeout(request));
        let deadline = self.job.assignment.deadline.min(services.clock.now() + timeout);
        let answer = services.clock.timeout(deadline, services.client.complete(request));
        let error = match answer.await {
            Ok(Ok(answer)) => {
                let input = answer.usage.counts().all_input();
                services.estimator().learn(&self.job.model, None, self.bytes, input);
                self.write(attempt.answered(&answer));
                return Ok(Ok(answer));
            }
            Ok(Err(error)) => error,
            Err(_) => refusal::timed_out(timeout),
        };
        let (next, pause) = self.next(number, attempt.account(), &error);
        let out_of_service = (error.kind == LlmErrorKind::Billing)
            .then(|| refusal::month_turn(services.clock.now()));
        let will_retry = matches!(next, Next::After(_));
        self.write(attempt.failed(&error, will_retry, pause, out_of_service));
        Ok(Err(Failed { error, next }))
    }

    fn timeout(&self, request: &Request) -> Duration {
        self.services.rules.timeout.of(request.max_tokens)
    }

    /// Writes the attempt into the journal, and has it leave once that is durable.
    async fn depart(
        &mut self,
        number: u32,
        request: &Request,
        admission: Admission,
    ) -> Result<Attempt<'a>, Ending> {
        let services = self.services;
        let Admission { permit, money, account } = admission;
        let open = OpenAttempt {
            call_id: self.id,
            attempt: number,
            at: services.clock.now(),
            bound: money.amount(),
            account,
            provider: Arc::clone(&services.provider),
            subject: Arc::clone(&self.job.subject),
        };
        let opening = Opening::new(services, &open);
        let journal = pin!(services.store.send(self.journal(&open, request)));
        let task_deadline = self.job.assignment.deadline;
        let written = services.clock.timeout(task_deadline, journal).await;
        if written.is_err() || task_deadline <= services.clock.now() {
            // Nothing has left: it is withdrawn, permit and money go back.
            return Err(refusal::deadline(self.job).into());
        }
        opening.answered();
        if !matches!(written, Ok(Ok(Ok(())))) {
            // Nothing has left: permit and money go back.
            return Err(Ending::Returned);
        }
        self.job.tally(|tally| tally.attempts += 1);
        let waits = std::mem::take(&mut self.waits);
        let (permit, money) = (permit.depart(services.clock.now()), money.depart());
        Ok(Attempt::new(services, self.job, open, request.max_tokens, waits, money, permit))
    }

    fn journal(&self, open: &OpenAttempt, request: &Request) -> Write {
        let start = AuditKind::CallStart {
            task_title: redact(self.job.task().title()),
            max_tokens: request.max_tokens,
            attempt: open.attempt,
            estimated_input_tokens: self.input_bound,
            reserved: open.bound,
            timeout_ms: millis(self.timeout(request)),
        };
        let start = self.services.event(Some(self.id), &self.job.subject, start);
        Write { entries: vec![Entry::AttemptOpened(open.clone()), start] }
    }

    /// Decides what follows a failure, and for how long everyone's calls to this model pause.
    fn next(&self, number: u32, account: &str, error: &LlmError) -> (Next, Option<Duration>) {
        let services = self.services;
        let now = services.clock.now();
        if self.job.assignment.deadline <= now {
            return (Next::Deadline, None);
        }
        if error.kind == LlmErrorKind::Authentication
            && self.has_new_key(account)
            && number < services.rules.retry.max_attempts.get()
        {
            return (Next::After(Duration::ZERO), None);
        }
        let failure = Failure {
            transient: error.kind.is_transient(),
            retry_after: error.retry_after,
            should_retry: error.should_retry,
        };
        let jitter = services.jitter();
        let retry =
            services.rules.retry.decide(number, &failure, now, self.wait_deadline(), jitter);
        let wait = match retry {
            Retry::After(wait) => Some(wait),
            Retry::GiveUp(_) => None,
        };
        let pauses = matches!(error.kind, LlmErrorKind::RateLimited | LlmErrorKind::Overloaded);
        let pause = pauses
            .then(|| error.retry_after.or(wait).unwrap_or(services.rules.retry.initial_backoff));
        (wait.map_or(Next::GiveUp, Next::After), pause)
    }

    /// Whether there is another key than that of the attempt, after its source was read again.
    /// Another attempt, or a signal, may have read it first.
    fn has_new_key(&self, account: &str) -> bool {
        let client = &self.services.client;
        if let Some(key) = client.rotate() {
            let event = AuditKind::KeyRotated { key, source: "401".to_owned() };
            self.services.audit(None, &self.job.subject, event);
            return true;
        }
        *client.account() != *account
    }

    /// Records what became of an attempt, without waiting: entries are made durable in the order
    /// in which they are sent, so the outcome that is told later, or the next attempt, is durable
    /// only after them. Where the store is down it keeps them and writes them later.
    fn write(&self, entries: Vec<Entry>) {
        self.services.store.do_send(Note { entries });
    }
}

/// A failed attempt, and what follows.
struct Failed {
    error: LlmError,
    next: Next,
}

/// What follows a failed attempt.
enum Next {
    After(Duration),
    GiveUp,
    /// The task's own deadline passed.
    Deadline,
}
