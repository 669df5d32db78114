//! One call: permit, money, journal, attempt, settlement, record; again where it may be retried.

use std::sync::Arc;
use std::time::Duration;

use crate::audit::AuditKind;
use crate::clock::Timestamp;
use crate::llm::{Answer, LlmError, LlmErrorKind, Request, redact};
use crate::money::NanoUsd;
use crate::panics::Contained;
use crate::pricing::{BoundInput, Catalogue, Model};
use crate::record::{CallId, OpenAttempt};
use crate::retry::{Failure, Retry};
use crate::store::Entry;
use crate::task::TaskError;
use crate::worker::admission::Admission;
use crate::worker::attempt::{Attempt, Waits};
use crate::worker::job::{Job, millis};
use crate::worker::opening::Opening;
use crate::worker::progress::{Standing, Step};
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
    pub(super) services: &'a Services,
    pub(super) job: &'a Job,
    pub(super) id: CallId,
    /// Bytes that are sent.
    pub(super) bytes: u64,
    /// The bound on the input that is sent, in tokens.
    pub(super) input_bound: u64,
    /// The bound on the input if nothing had been cut from it, in tokens.
    pub(super) full_input_bound: u64,
    pub(super) waits: Waits,
    /// Which attempt of its task the latest is, from 1: what its jitter is drawn by.
    of_task: u32,
    /// What it is priced by, where that is known.
    pub(super) model: Option<&'a Model>,
    /// By when what it waits for must have come.
    pub(super) step: Step<&'a Standing>,
}

impl<'a> Call<'a> {
    /// A call of which `input_bound` bounds the input that is sent, and `full_input_bound` the
    /// input with nothing cut from it.
    pub(super) fn new(
        services: &'a Services,
        job: &'a Job,
        now: Timestamp,
        request: &Request,
        input_bound: u64,
        full_input_bound: u64,
    ) -> Call<'a> {
        let (id, bytes) = (services.call_id(now), request.text_bytes());
        let model = services.catalogue.resolve(&request.model);
        let (waits, step) =
            (Waits::default(), Step::new(&*job.assignment.standing, Timestamp::NEVER));
        Call {
            services,
            job,
            id,
            bytes,
            input_bound,
            full_input_bound,
            waits,
            of_task: 0,
            model,
            step,
        }
    }

    /// Attempts the call, from `now` on, until there is an answer, or none is to be had. What
    /// `wanted` takes of the answer is all that is carried about.
    pub(super) async fn complete<T>(
        &mut self,
        mut now: Timestamp,
        request: &mut Request,
        wanted: fn(Answer) -> T,
    ) -> Result<T, Ending> {
        let mut attempt = 1;
        loop {
            let held = match &self.job.family {
                None => self.guard_cost(request).map(|()| None)?,
                Some(family) => {
                    let held = Box::pin(self.hold_cost(request, family.tree())).await?;
                    now = self.services.clock.now();
                    Some(held)
                }
            };
            let failed = match self.attempt(attempt, now, request, wanted).await? {
                None => {
                    now = self.services.clock.now();
                    continue;
                }
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(failed)) => failed,
            };
            let wait = match failed.next {
                Next::After(wait) => wait,
                // The guard, which is next, says why there is no other.
                Next::TooDear => Duration::ZERO,
                Next::GiveUp => return Err(refusal::provider(&failed.error, attempt).into()),
                Next::Deadline => return Err(refusal::deadline(self.job).into()),
            };
            drop(failed);
            drop(held);
            self.step.until(self.services.clock.now() + wait);
            self.services.clock.sleep(wait).await;
            now = self.services.clock.now();
            attempt += 1;
        }
    }

    /// The most that an attempt can cost.
    pub(super) fn bound(&self, input_tokens: u64, max_tokens: u32) -> Result<NanoUsd, TaskError> {
        let input = BoundInput {
            input_tokens,
            max_tokens,
            caching: false,
            server_tools: false,
            fast: false,
        };
        let bound = match self.model {
            Some(model) => Catalogue::bound_by(model, &input),
            // It says which are known.
            None => self.services.catalogue.bound(&self.job.model, &input),
        };
        bound.map_err(|error| refusal::unpriced(&error))
    }

    /// `None` where it did not leave, and is to be admitted again.
    async fn attempt<T>(
        &mut self,
        number: u32,
        now: Timestamp,
        request: &mut Request,
        wanted: fn(Answer) -> T,
    ) -> Result<Option<Result<T, Box<Failed>>>, Ending> {
        if !self.job.is_at_hand() {
            return Err(Ending::Returned);
        }
        // In boxes of their own: what is not in flight is no part of what is. Nor has what they give
        // a place of its own here.
        let admission = Box::pin(self.admit(number, now, request)).await?;
        let departed = Box::pin(self.depart(number, request, admission));
        let Some((attempt, left)) = departed.await? else { return Ok(None) };
        let (services, timeout) = (self.services, self.timeout(request));
        let (deadline, ends) = (self.job.assignment.deadline, left + timeout);
        self.step.until(deadline.min(ends));
        let answer = Contained::new(services.client.complete(request));
        let answer = services.clock.timeout(deadline.min(ends), answer).await;
        let now = services.clock.now();
        let error = match answer {
            Ok(Ok(answer)) => {
                let input = answer.usage.counts().all_input();
                services.estimator().learn(&self.job.model, None, self.bytes, input);
                attempt.answered(now, &answer);
                return Ok(Some(Ok(wanted(answer))));
            }
            Ok(Err(error)) => error,
            Err(_) if deadline < ends => refusal::cut_off(deadline),
            Err(_) => refusal::timed_out(timeout),
        };
        let (mut next, pause) = self.next(number, now, attempt.account(), &error);
        if matches!(next, Next::After(_)) && !self.may_try_again(request, &attempt, &error) {
            next = Next::TooDear;
        }
        let out_of_service =
            (error.kind == LlmErrorKind::Billing).then(|| refusal::month_turn(now));
        let will_retry = matches!(next, Next::After(_));
        attempt.failed(now, &error, will_retry, pause, out_of_service);
        Ok(Some(Err(Box::new(Failed { error, next }))))
    }

    fn timeout(&self, request: &Request) -> Duration {
        self.services.rules.timeout.of(request.max_tokens)
    }

    /// Writes the attempt into the journal, and has it leave once that is durable; when that was.
    /// `None` where its money was lost meanwhile.
    async fn depart(
        &mut self,
        number: u32,
        request: &Request,
        admission: Admission,
    ) -> Result<Option<(Attempt<'a>, Timestamp)>, Ending> {
        let services = self.services;
        // Dropped last: what is withdrawn from the journal is sent before what is given back.
        let Admission { permit, mut money, account, at: mut now } = admission;
        let open = Arc::new(OpenAttempt {
            call_id: self.id,
            attempt: number,
            at: now,
            bound: money.amount(),
            account: Arc::clone(&account),
            provider: Arc::clone(&services.provider),
            subject: Arc::clone(&self.job.subject),
        });
        let opening = Opening::new(services, &open);
        let task_deadline = self.job.assignment.deadline;
        let written = match services.write_now(|| self.journal(&open, request)) {
            Ok(written) => Ok(written),
            Err(unwritten) => {
                let journal = Box::pin(Services::write(unwritten));
                let written = services.clock.timeout(task_deadline, journal).await;
                now = services.clock.now();
                written
            }
        };
        if written.is_err() || task_deadline <= now {
            // Nothing has left: it is withdrawn, permit and money go back.
            return Err(refusal::deadline(self.job).into());
        }
        if !matches!(written, Ok(Ok(()))) {
            // Nothing has left: permit and money go back.
            opening.answered();
            return Err(Ending::Returned);
        }
        if !money.is_current() {
            let again = Box::pin(self.reserve_again(&mut money, &account)).await?;
            now = services.clock.now();
            if task_deadline <= now {
                return Err(refusal::deadline(self.job).into());
            }
            if !again {
                return Ok(None);
            }
        }
        let Some(of_task) = self.job.leave(services, number > 1, open.bound) else {
            return Err(Ending::Returned);
        };
        opening.answered();
        self.of_task = of_task;
        let (permit, money) = (permit.depart(now), money.depart());
        let attempt = Attempt::new(self, open, request.max_tokens, money, permit);
        Ok(Some((attempt, now)))
    }

    fn journal(&self, open: &Arc<OpenAttempt>, request: &Request) -> Vec<Entry> {
        let start = || AuditKind::CallStart {
            task_title: redact(self.job.task().title()),
            max_tokens: request.max_tokens,
            attempt: open.attempt,
            estimated_input_tokens: self.estimated_input(),
            reserved: open.bound,
            timeout_ms: millis(self.timeout(request)),
        };
        let mut entries = Vec::with_capacity(2);
        entries.push(Entry::AttemptOpened(Arc::clone(open)));
        entries.extend(self.services.event_of_call(self.id, &self.job.subject, start));
        entries
    }

    /// Decides what follows a failure, and for how long everyone's calls to this model pause.
    fn next(
        &self,
        number: u32,
        now: Timestamp,
        account: &str,
        error: &LlmError,
    ) -> (Next, Option<Duration>) {
        let services = self.services;
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
        let jitter = services.retry_jitter(&self.job.task().id, self.of_task);
        let retry =
            services.rules.retry.decide(number, &failure, now, self.wait_deadline(now), jitter);
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
            let source = client.key_source().unwrap_or_default();
            let event = AuditKind::KeyRotated { key, source };
            self.services.audit(None, &self.job.subject, event);
            return true;
        }
        *client.account() != *account
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
    /// Another attempt could cost the task more than it may.
    TooDear,
    GiveUp,
    /// The task's own deadline passed.
    Deadline,
}
