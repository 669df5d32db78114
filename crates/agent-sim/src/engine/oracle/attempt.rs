//! The life of an attempt: cost guard, permit, money, departure, return, settlement, retry.

use std::sync::Arc;
use std::time::Duration;

use agent_core::clock::Timestamp;
use agent_core::ledger::ReservationId;
use agent_core::llm::{Fate, LlmError, LlmErrorKind};
use agent_core::money::NanoUsd;
use agent_core::permits::{Answer, Ask, Feedback, Grant, GrantId, PermitError, RateHeaders};
use agent_core::pricing::BoundInput;
use agent_core::retry::{Failure, Retry, jitter};
use agent_core::task::ErrorCode;

use super::agenda::Due;
use super::till::{Paid, Wish};
use super::{Heap, What, counts};
use crate::engine::provider::{Course, End, Served, usage};

/// What comes back from the provider, and what was admitted there.
pub(super) type Back = (Option<Served>, End);

/// The account of all calls.
pub(super) fn account() -> Arc<str> {
    "default".into()
}

fn refusal(error: &PermitError) -> ErrorCode {
    match error {
        PermitError::OutOfService { .. } => ErrorCode::Billing,
        _ => ErrorCode::RateLimitWaitExceeded,
    }
}

impl Heap<'_> {
    fn bound(&self, task: u64) -> NanoUsd {
        let play = &self.plays[task as usize];
        let input = BoundInput {
            input_tokens: play.call.input_bound,
            max_tokens: play.max_tokens,
            ..BoundInput::default()
        };
        self.scenario.prices.bound(&play.model, &input).expect("the scenario has checked prices")
    }

    /// Whether another attempt passes the cost guard once `more` is charged.
    fn may_cost(&self, task: u64, more: NanoUsd) -> bool {
        let charged = self.plays[task as usize].charged.saturating_add(more);
        let most = self.scenario.fleet.guards.max_cost_per_task;
        self.bound(task).saturating_add(charged) <= most
    }

    /// Begins an attempt.
    pub(super) fn attempt(&mut self, task: u64) {
        if self.may_cost(task, NanoUsd::ZERO) {
            self.agenda.soon(Due::Asks(task));
        } else {
            self.end(task, Some(ErrorCode::CostLimitExceeded));
        }
    }

    fn wait_deadline(&self) -> Timestamp {
        self.agenda.now() + self.scenario.fleet.limits.max_wait
    }

    // === permit ===

    pub(super) fn asks(&mut self, task: u64) {
        let play = &self.plays[task as usize];
        let agents = &self.scenario.fleet.agent;
        let spec = agents.iter().find(|agent| is_of(&play.worker_name, &agent.name));
        let estimated = self.estimator.estimate(&play.model, None, play.call.bytes);
        let ask = Ask {
            account: account(),
            model: Arc::clone(&play.model_name),
            worker: Arc::clone(&play.worker_name),
            worker_limit: spec.and_then(|spec| spec.rate_limit.clone()).unwrap_or_default(),
            priority: play.task.priority,
            input_tokens: estimated.min(play.call.input_bound),
            output_tokens: u64::from(play.max_tokens),
            deadline: self.wait_deadline(),
        };
        match self.permits.ask(self.agenda.now(), ask) {
            Answer::Granted(grant) => self.granted(task, grant),
            Answer::Refused(error) => self.end(task, Some(refusal(&error))),
            Answer::Waits(waiter) => {
                self.waiting.insert(waiter, task);
                self.admit();
            }
        }
    }

    fn granted(&mut self, task: u64, grant: Grant) {
        let play = self.play(task);
        play.free_at = grant.worker_free_at;
        play.call.grant = Some(grant);
        self.agenda.soon(Due::Pays(task));
    }

    /// Tells who may go or has waited too long, and sets the timer for the next.
    fn admit(&mut self) {
        self.ring_at = self.ring_at.filter(|_| !self.waiting.is_empty());
        if self.waiting.is_empty() {
            return;
        }
        let now = self.agenda.now();
        for (waiter, answer) in self.permits.admit(now) {
            let Some(task) = self.waiting.remove(&waiter) else { continue };
            match answer {
                Ok(grant) => self.granted(task, grant),
                Err(error) => self.end(task, Some(refusal(&error))),
            }
        }
        let next = self.permits.next_event(now);
        if next != self.ring_at {
            self.ring_at = next;
            next.into_iter().for_each(|at| self.agenda.at(at, Due::Ring(at)));
        }
    }

    pub(super) fn ring(&mut self, at: Timestamp) {
        if self.ring_at == Some(at) {
            self.ring_at = None;
            self.admit();
        }
    }

    pub(super) fn given_back(&mut self, grant: GrantId) {
        self.permits.give_back(grant);
        self.admit();
    }

    pub(super) fn settled(&mut self, grant: GrantId, feedback: &Feedback) {
        for (waiter, error) in self.permits.settle(self.agenda.now(), grant, feedback) {
            if let Some(task) = self.waiting.remove(&waiter) {
                self.end(task, Some(refusal(&error)));
            }
        }
        self.admit();
    }

    // === money ===

    pub(super) fn pays(&mut self, task: u64) {
        let (amount, now) = (self.bound(task), self.agenda.now());
        let play = &mut self.plays[task as usize];
        let wish = Wish { task, scopes: Arc::clone(&play.scopes), amount };
        let paid = self.till.reserve(now, wish, play.call.ticket.take());
        if let Paid::Held(id) = paid {
            play.call.money = Some((id, amount));
            return self.agenda.soon(Due::Leaves(task));
        }
        // No permit is held while its owner waits for money.
        let grant = play.call.grant.take();
        grant.into_iter().for_each(|grant| self.agenda.soon(Due::GivenBack(grant.id)));
        match paid {
            Paid::Waits(number) => self.play(task).call.ticket = Some(number),
            _ => self.end(task, Some(ErrorCode::BudgetExceeded)),
        }
    }

    pub(super) fn resolved(&mut self, task: u64, id: ReservationId, charge: (NanoUsd, NanoUsd)) {
        let scopes = Arc::clone(&self.play(task).scopes);
        for (waiter, may_go) in self.till.settle(self.agenda.now(), id, &scopes, charge) {
            if may_go {
                self.agenda.soon(Due::Asks(waiter));
            } else {
                self.end(waiter, Some(ErrorCode::BudgetExceeded));
            }
        }
    }

    // === the attempt itself ===

    pub(super) fn leaves(&mut self, task: u64) {
        let now = self.agenda.now();
        let play = &mut self.plays[task as usize];
        play.attempts += 1;
        let (Some(ask), Some((_, bound))) = (play.call.ask, play.call.money) else { return };
        let course = self.world.arrive(now, &play.model, play.max_tokens, &ask);
        let timeout = self.scenario.fleet.timeouts.of(play.max_tokens);
        let what = What::Opened { attempt: play.call.attempt };
        self.note(task, what, bound);
        let Course { after, served, end } = course;
        if after <= timeout {
            return self.agenda.at(now + after, Due::Returns(task, Box::new((served, end))));
        }
        let late = LlmError::new(LlmErrorKind::Timeout, "too late");
        let back = (served, Err(Box::new(late)));
        self.agenda.at(now + timeout, Due::Returns(task, Box::new(back)));
    }

    pub(super) fn returns(&mut self, task: u64, (served, end): Back) {
        served.iter().for_each(|served| self.world.over(served));
        match end {
            Ok(headers) => self.answered(task, headers.map(|it| *it).unwrap_or_default()),
            Err(error) => self.failed(task, &error),
        }
    }

    fn answered(&mut self, task: u64, headers: RateHeaders) {
        let play = &self.plays[task as usize];
        let (Some(ask), Some((_, bound))) = (play.call.ask, play.call.money) else { return };
        self.world.answered(&ask);
        let usage = usage(&ask, play.max_tokens);
        let tokens = usage.counts();
        self.estimator.learn(&play.model, None, play.call.bytes, tokens.all_input());
        let charge = match self.scenario.prices.cost(&play.model, &usage) {
            Ok(cost) => (cost, NanoUsd::ZERO),
            Err(_) => (NanoUsd::ZERO, bound),
        };
        let feedback = Feedback {
            input_tokens: Some(tokens.input_tokens + tokens.cache_creation_input_tokens),
            output_tokens: Some(tokens.output_tokens),
            headers,
            ..Feedback::default()
        };
        self.close(task, None, counts(tokens), charge, feedback);
        self.step(task);
    }

    fn failed(&mut self, task: u64, error: &LlmError) {
        let (now, retry) = (self.agenda.now(), &self.scenario.fleet.retry);
        let play = &self.plays[task as usize];
        let Some((_, bound)) = play.call.money else { return };
        let presumed = if error.fate() == Fate::Unknown { bound } else { NanoUsd::ZERO };
        let failure = Failure {
            transient: error.kind.is_transient(),
            retry_after: error.retry_after,
            should_retry: None,
        };
        let drawn = jitter(self.seed, play.task.id.as_str(), play.attempts);
        let wait = match retry.decide(play.call.attempt, &failure, now, self.wait_deadline(), drawn)
        {
            Retry::After(wait) => Some(wait),
            Retry::GiveUp(_) => None,
        };
        let pauses = matches!(error.kind, LlmErrorKind::RateLimited | LlmErrorKind::Overloaded);
        let pause = error.retry_after.or(wait).unwrap_or(retry.initial_backoff);
        let feedback = Feedback {
            headers: error.limits,
            pause: pauses.then_some(pause),
            congested: error.kind.is_congestion(),
            ..Feedback::default()
        };
        let is_too_dear = !self.may_cost(task, presumed);
        self.close(task, Some(error.kind), [0; 4], (NanoUsd::ZERO, presumed), feedback);
        match wait {
            None => self.end(task, Some(error.kind.code())),
            Some(wait) => {
                self.play(task).call.attempt += 1;
                let wait = if is_too_dear { Duration::ZERO } else { wait };
                self.agenda.at(now + wait, Due::Retries(task));
            }
        }
    }

    fn close(
        &mut self,
        task: u64,
        error: Option<LlmErrorKind>,
        tokens: [u64; 4],
        (cost, presumed): (NanoUsd, NanoUsd),
        feedback: Feedback,
    ) {
        let charged = cost.saturating_add(presumed);
        let play = self.play(task);
        play.charged = play.charged.saturating_add(charged);
        let attempt = play.call.attempt;
        let (money, grant) = (play.call.money.take(), play.call.grant.take());
        let error = error.map(|kind| kind.as_str().to_owned());
        self.note(task, What::Closed { attempt, error, tokens }, charged);
        if let Some((id, _)) = money {
            self.agenda.soon(Due::Resolved(task, id, cost, presumed));
        }
        if let Some(grant) = grant {
            self.agenda.soon(Due::Settled(grant.id, Box::new(feedback)));
        }
    }
}

fn is_of(worker: &str, agent: &str) -> bool {
    worker.rsplit_once('-').is_some_and(|(name, _)| name == agent)
}
