//! One attempt after it was opened: settled and recorded once, whatever happens to its worker.

use std::sync::Arc;
use std::time::Duration;

use crate::audit::AuditKind;
use crate::budget::InFlight;
use crate::clock::Timestamp;
use crate::llm::{Answer, Fate, LlmError};
use crate::money::NanoUsd;
use crate::permits::{Feedback, RateHeaders};
use crate::pricing::Model;
use crate::rate_limiter::Departed;
use crate::record::{OpenAttempt, UsageRecord};
use crate::store::Entry;
use crate::usage::{TokenCounts, Usage};
use crate::worker::call::Call;
use crate::worker::job::{Job, millis};
use crate::worker::services::Services;
use crate::worker::tree::Away;

/// Waits before an attempt left.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Waits {
    pub(super) permit: Duration,
    pub(super) money: Duration,
}

/// An attempt that has left. Dropped unanswered (its worker died, or its task was cancelled), it
/// is recorded at its bound: it may have been billed.
pub(super) struct Attempt<'a> {
    services: &'a Services,
    job: &'a Job,
    open: Arc<OpenAttempt>,
    /// What it is priced by.
    model: Option<&'a Model>,
    max_tokens: u32,
    waits: Waits,
    money: Option<InFlight>,
    permit: Option<Departed>,
    /// Where several calls of the task may be made at once.
    _away: Option<Away>,
}

/// What is charged for an attempt, and what it used as far as that is known.
#[derive(Debug, Default)]
struct Charge {
    cost: NanoUsd,
    presumed: NanoUsd,
    usage: TokenCounts,
    priced: bool,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(
        call: &mut Call<'a>,
        open: Arc<OpenAttempt>,
        max_tokens: u32,
        money: InFlight,
        permit: Departed,
    ) -> Attempt<'a> {
        let Call { services, job, model, .. } = *call;
        let waits = std::mem::take(&mut call.waits);
        let (money, permit) = (Some(money), Some(permit));
        let _away = job.family.as_ref().map(|family| family.tree().depart(open.bound));
        Attempt { services, job, open, model, max_tokens, waits, money, permit, _away }
    }

    /// Who pays for it.
    pub(super) fn account(&self) -> &str {
        &self.open.account
    }

    /// The most that it may cost.
    pub(super) fn bound(&self) -> NanoUsd {
        self.open.bound
    }

    /// What its task will be charged for it where it ends with `error`.
    pub(super) fn takes(&self, error: &LlmError) -> NanoUsd {
        let Charge { cost, presumed, .. } = self.charge(error);
        cost.saturating_add(presumed)
    }

    /// Records an answer that came at `now`, and settles it.
    pub(super) fn answered(mut self, now: Timestamp, answer: &Answer) {
        let charge = self.price(&answer.usage);
        self.tally(&charge, true);
        self.record(now, &charge, |record| {
            record.stop_reason = answer.stop_reason.as_ref().map(|r| r.as_str().to_owned());
            record.request_id.clone_from(&answer.request_id);
            let answered_by = (!answer.model.is_empty() && *answer.model != *self.job.model)
                .then(|| answer.model.clone());
            record.answered_by = answered_by;
            let event = || AuditKind::CallSuccess {
                attempt: record.attempt,
                usage: record.usage,
                cost: record.cost,
                duration_ms: record.duration_ms,
                stop_reason: record.stop_reason.clone(),
                provider_request_id: record.request_id.clone(),
            };
            self.services.event_of_call(record.call_id, &self.open.subject, event)
        });
        if let Some(money) = self.money.take() {
            money.settle_at(now, charge.cost, charge.presumed);
        }
        self.return_permit(now, Some(&answer.usage), &answer.limits, None);
    }

    /// Records a failure at `now`, and settles it by its fate.
    pub(super) fn failed(
        mut self,
        now: Timestamp,
        error: &LlmError,
        will_retry: bool,
        pause: Option<Duration>,
        out_of_service: Option<Timestamp>,
    ) {
        let charge = self.charge(error);
        self.tally(&charge, false);
        self.record(now, &charge, |record| {
            record.error = Some(error.kind.as_str().to_owned());
            record.status = error.status;
            record.request_id.clone_from(&error.request_id);
            let event = AuditKind::CallFailure {
                attempt: record.attempt,
                error_type: error.kind.as_str().to_owned(),
                error_message: error.message.clone(),
                status: error.status,
                will_retry,
                retry_after_ms: error.retry_after.map(millis),
                duration_ms: record.duration_ms,
                presumed: !charge.presumed.is_zero(),
            };
            Some(self.event(event))
        });
        if let Some(money) = self.money.take() {
            if charge.cost.is_zero() && charge.presumed.is_zero() && error.fate() == Fate::NotBilled
            {
                money.release();
            } else {
                money.settle_at(now, charge.cost, charge.presumed);
            }
        }
        self.return_permit(
            now,
            error.seen.as_ref(),
            &error.limits,
            Some((error, pause, out_of_service)),
        );
    }

    /// What `usage` costs. Where a part of it has no price (a step by a model that is not known,
    /// say), it is not free: the bound is presumed.
    fn price(&self, usage: &Usage) -> Charge {
        let cost = self.model.map(|model| self.services.catalogue.cost_by(model, usage));
        let usage = usage.counts();
        match cost {
            Some(Ok(cost)) => Charge { cost, usage, priced: true, ..Charge::default() },
            _ => Charge { presumed: self.open.bound, usage, ..Charge::default() },
        }
    }

    fn charge(&self, error: &LlmError) -> Charge {
        let unknown = Charge { presumed: self.open.bound, priced: true, ..Charge::default() };
        match error.fate() {
            Fate::NotBilled => Charge { priced: true, ..Charge::default() },
            Fate::Unknown => unknown,
            Fate::AtLeast(usage) => {
                let seen = self.price(&usage);
                let rest = self.open.bound.saturating_sub(seen.cost);
                Charge { presumed: rest, ..seen }
            }
        }
    }

    fn return_permit(
        &mut self,
        now: Timestamp,
        usage: Option<&Usage>,
        headers: &RateHeaders,
        failure: Option<(&LlmError, Option<Duration>, Option<Timestamp>)>,
    ) {
        let Some(permit) = self.permit.take() else { return };
        let counts = usage.map(Usage::counts);
        let feedback = Feedback {
            input_tokens: counts
                .map(|n| n.input_tokens.saturating_add(n.cache_creation_input_tokens)),
            output_tokens: counts.map(|n| n.output_tokens),
            headers: *headers,
            pause: failure.and_then(|(_, pause, _)| pause),
            congested: failure.is_some_and(|(error, _, _)| error.kind.is_congestion()),
            out_of_service: failure.and_then(|(_, _, until)| until),
        };
        permit.settle_at(now, feedback);
    }

    fn tally(&self, charge: &Charge, succeeded: bool) {
        self.job.add(self.services, |tally| {
            *if succeeded { &mut tally.succeeded } else { &mut tally.failed } += 1;
            tally.in_flight = tally.in_flight.saturating_sub(self.open.bound);
            tally.usage += charge.usage;
            tally.cost = tally.cost.saturating_add(charge.cost);
            tally.presumed = tally.presumed.saturating_add(charge.presumed);
        });
    }

    /// Records what became of it, with what `end` adds to the record and says of it, without
    /// waiting: entries are made durable in the order in which they are sent, so the outcome that is
    /// told later, or the next attempt, is durable only after them. Where the store is down it keeps
    /// them and writes them later.
    ///
    /// Sent before the money is settled, so that a budget that is rebuilt misses nothing that it
    /// had settled.
    fn record(
        &self,
        now: Timestamp,
        charge: &Charge,
        end: impl FnOnce(&mut UsageRecord) -> Option<Entry>,
    ) {
        if !self.services.is_heard() {
            return;
        }
        let open = &self.open;
        let mut record = UsageRecord {
            permit_wait_ms: millis(self.waits.permit),
            money_wait_ms: millis(self.waits.money),
            usage: charge.usage,
            max_tokens: self.max_tokens,
            cost: charge.cost,
            presumed: charge.presumed,
            priced: charge.priced,
            ..open.ended(now)
        };
        let event = end(&mut record);
        let mut entries = Vec::with_capacity(2);
        entries.push(Entry::AttemptClosed(record));
        entries.extend(event);
        self.services.note(entries);
    }

    fn event(&self, kind: AuditKind) -> Entry {
        self.services.event(Some(self.open.call_id), &self.open.subject, kind)
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        // Taken where the attempt was settled.
        let Some(money) = self.money.take() else { return };
        let charge = Charge { presumed: self.open.bound, priced: true, ..Charge::default() };
        self.tally(&charge, false);
        self.record(self.services.clock.now(), &charge, |record| {
            record.error = Some("abandoned".to_owned());
            let event = AuditKind::CallFailure {
                attempt: record.attempt,
                error_type: "abandoned".to_owned(),
                error_message: "the worker ended before the answer came".to_owned(),
                status: None,
                will_retry: false,
                retry_after_ms: None,
                duration_ms: record.duration_ms,
                presumed: true,
            };
            Some(self.event(event))
        });
        money.presume();
    }
}
