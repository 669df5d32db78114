//! What is measured of a simulated run: every entry that would be written, summed as it comes.

mod latencies;
mod series;
mod spending;

use std::collections::BTreeMap;
use std::hash::Hasher as _;

use agent_core::audit::AuditKind;
use agent_core::clock::Timestamp;
use agent_core::hash::Digest;
use agent_core::ledger::BudgetSpec;
use agent_core::lookup::Lookup;
use agent_core::money::NanoUsd;
use agent_core::record::{CallId, OpenAttempt, UsageRecord};
use agent_core::store::Entry;
use agent_core::task::{ErrorCode, Outcome, Status};
use agent_core::usage::TokenCounts;
use serde::Serialize;

use super::script::Place;

pub use latencies::Latencies;
pub use series::{Series, Sums};
use spending::Spending;
pub use spending::Spent;

/// Where the time of a task goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It waits for a worker.
    Queue,
    /// For a permit: the limits, and the cap on calls at once.
    Permit,
    /// For room in a budget.
    Money,
    /// Between attempts.
    Backoff,
    /// The provider works.
    Provider,
    /// Its own tools work between calls.
    Tools,
}

impl Stage {
    /// All stages, in the order of a task's life.
    pub const ALL: [Stage; 6] =
        [Stage::Queue, Stage::Permit, Stage::Money, Stage::Backoff, Stage::Provider, Stage::Tools];

    /// Its name in reports: `queue`.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Queue => "queue",
            Stage::Permit => "permit",
            Stage::Money => "money",
            Stage::Backoff => "backoff",
            Stage::Provider => "provider",
            Stage::Tools => "tools",
        }
    }
}

/// Nanoseconds by stage, in the order of [`Stage::ALL`].
pub type Waits = [u64; Stage::ALL.len()];

/// A stretch of a task's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// What it was spent on.
    pub stage: Stage,
    /// From when, in nanoseconds since the start.
    pub from_ns: u64,
    /// Until when.
    pub until_ns: u64,
}

/// A task that took long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slow {
    /// Its id.
    pub task: String,
    /// How long it took from its arrival, in nanoseconds.
    pub took_ns: u64,
    /// What it did, stretch by stretch, the first of them.
    pub spans: Vec<Span>,
    /// The code in which it failed, where it did.
    pub error: Option<ErrorCode>,
}

/// How many slow tasks are kept.
const SLOWEST: usize = 50;

/// How many stretches of a task are kept.
const SPANS: usize = 120;

/// What the calls of one model took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ModelSums {
    /// Attempts that ended.
    pub attempts: u64,
    /// Input tokens, cache reads left out.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Nanoseconds in flight, all attempts together.
    pub in_flight_ns: u64,
}

impl ModelSums {
    fn add(&mut self, record: &UsageRecord) {
        self.attempts += 1;
        self.input_tokens += record.usage.input_tokens + record.usage.cache_creation_input_tokens;
        self.output_tokens += record.usage.output_tokens;
        self.in_flight_ns += record.at.since(record.opened_at).as_nanos() as u64;
    }
}

/// A task under way.
#[derive(Debug)]
struct Under {
    arrived: Timestamp,
    /// The end of what is accounted for so far.
    until: Timestamp,
    last_call: Option<CallId>,
    waits: Waits,
    spans: Vec<Span>,
}

/// Sums of a run.
#[derive(Debug)]
pub(crate) struct Meter {
    start: Timestamp,
    under: Lookup<Place, Under>,
    hash: Digest,
    events: u64,
    pub(crate) arrived: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) errors: BTreeMap<ErrorCode, u64>,
    pub(crate) attempts: u64,
    pub(crate) succeeded: u64,
    pub(crate) retried: u64,
    pub(crate) rate_limited: u64,
    pub(crate) usage: TokenCounts,
    pub(crate) models: BTreeMap<String, ModelSums>,
    pub(crate) cost: NanoUsd,
    pub(crate) presumed: NanoUsd,
    pub(crate) waits: Waits,
    pub(crate) latency: Latencies,
    pub(crate) latency_sum_ns: u128,
    pub(crate) last_end: Timestamp,
    pub(crate) slowest: Vec<Slow>,
    pub(crate) series: Series,
    pub(crate) spending: Spending,
}

impl Meter {
    pub(crate) fn new(start: Timestamp, budgets: &[BudgetSpec]) -> Meter {
        Meter {
            start,
            under: Lookup::default(),
            hash: Digest::default(),
            events: 0,
            arrived: 0,
            completed: 0,
            failed: 0,
            errors: BTreeMap::new(),
            attempts: 0,
            succeeded: 0,
            retried: 0,
            rate_limited: 0,
            usage: TokenCounts::default(),
            models: BTreeMap::new(),
            cost: NanoUsd::ZERO,
            presumed: NanoUsd::ZERO,
            waits: Waits::default(),
            latency: Latencies::default(),
            latency_sum_ns: 0,
            last_end: start,
            slowest: Vec::new(),
            series: Series::new(start),
            spending: Spending::new(budgets),
        }
    }

    /// A task arrives, whether or not it can be submitted at once.
    pub(crate) fn arrives(&mut self, place: Place, now: Timestamp) {
        self.arrived += 1;
        self.series.arrived(now);
        let under = Under {
            arrived: now,
            until: now,
            last_call: None,
            waits: Waits::default(),
            spans: Vec::new(),
        };
        self.under.insert(place, under);
    }

    /// Tasks that have arrived and not ended.
    pub(crate) fn open(&self) -> u64 {
        self.under.len() as u64
    }

    /// What happened so far, as a number: the same where the same happened in the same order.
    pub(crate) fn event_hash(&self) -> u64 {
        self.hash.finish()
    }

    /// How many events there were.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    /// Takes note of an entry; `place` is that of its task.
    pub(crate) fn see(&mut self, entry: &Entry, place: impl Fn(&str) -> Option<Place>) {
        match entry {
            Entry::AttemptOpened(open) => self.opened(open),
            Entry::AttemptClosed(record) => {
                let place = record.subject.task_id.as_deref().and_then(place);
                self.closed(record, place);
            }
            Entry::TaskEnded { outcome, .. } => {
                self.ended(outcome, place(outcome.task_id.as_str()));
            }
            Entry::AttemptWithdrawn { call_id, .. } => self.note(3, 0, *call_id, 0, 0),
            Entry::Audit(event) => match &event.kind {
                AuditKind::WorkerRestarted { .. } | AuditKind::WorkerGaveUp { .. } => {
                    self.event(4, event.timestamp, 0, 0);
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn opened(&mut self, open: &OpenAttempt) {
        self.attempts += 1;
        self.retried += u64::from(open.attempt > 1);
        self.series.opened(open.at);
        let at = open.at.since(self.start).as_nanos() as u64;
        self.note(1, at, open.call_id, u64::from(open.attempt), open.bound.nanos());
    }

    fn closed(&mut self, record: &UsageRecord, place: Option<Place>) {
        self.succeeded += u64::from(record.error.is_none());
        self.rate_limited += u64::from(record.status == Some(429));
        self.usage += record.usage;
        if let Some(model) = &record.subject.model {
            self.of_model(model).add(record);
        }
        self.cost = self.cost.saturating_add(record.cost);
        self.presumed = self.presumed.saturating_add(record.presumed);
        self.series.closed(record);
        self.spending.charged(record);
        let at = record.at.since(self.start).as_nanos() as u64;
        let charged = record.cost.saturating_add(record.presumed).nanos();
        self.note(2, at, record.call_id, record.usage.total(), charged);
        if let Some(under) = place.and_then(|place| self.under.get_mut(&place)) {
            under.attempt(record, self.start);
        }
    }

    fn of_model(&mut self, model: &str) -> &mut ModelSums {
        if !self.models.contains_key(model) {
            self.models.insert(model.to_owned(), ModelSums::default());
        }
        self.models.get_mut(model).expect("it was inserted")
    }

    fn ended(&mut self, outcome: &Outcome, place: Option<Place>) {
        let (now, start) = (outcome.finished_at, self.start);
        self.last_end = self.last_end.max(now);
        match outcome.status {
            Status::Completed => self.completed += 1,
            Status::Failed => self.failed += 1,
        }
        let error = outcome.error.as_ref().map(|error| error.code);
        if let Some(code) = error {
            *self.errors.entry(code).or_default() += 1;
        }
        let failed = u64::from(error.is_some());
        self.event(5, now, failed, outcome.cost_usd.nanos());
        self.series.ended(now, error.is_some());
        let Some(mut under) = place.and_then(|place| self.under.remove(&place)) else { return };
        under.rest(outcome, start);
        let took = now.since(under.arrived);
        self.latency_sum_ns += took.as_nanos();
        self.latency.record(took);
        for (sum, wait) in self.waits.iter_mut().zip(under.waits) {
            *sum += wait;
        }
        self.series.waited(now, &under.waits);
        self.keep_if_slow(outcome, took.as_nanos() as u64, under.spans, error);
    }

    fn keep_if_slow(
        &mut self,
        outcome: &Outcome,
        took_ns: u64,
        spans: Vec<Span>,
        error: Option<ErrorCode>,
    ) {
        let full = self.slowest.len() == SLOWEST;
        if full && self.slowest.last().is_some_and(|last| last.took_ns >= took_ns) {
            return;
        }
        let at = self.slowest.partition_point(|slow| slow.took_ns >= took_ns);
        let task = outcome.task_id.to_string();
        self.slowest.insert(at, Slow { task, took_ns, spans, error });
        self.slowest.truncate(SLOWEST);
    }

    fn note(&mut self, kind: u64, at: u64, call: CallId, a: u64, b: u64) {
        self.events += 1;
        self.hash.write_u64(kind);
        self.hash.write_u64(at);
        self.hash.write(call.0.as_bytes());
        self.hash.write_u64(a);
        self.hash.write_u64(b);
    }

    fn event(&mut self, kind: u64, at: Timestamp, a: u64, b: u64) {
        self.events += 1;
        let at = at.since(self.start).as_nanos() as u64;
        [kind, at, a, b].into_iter().for_each(|number| self.hash.write_u64(number));
    }
}

impl Under {
    fn spend(&mut self, stage: Stage, until: Timestamp, start: Timestamp) {
        let (from, until) = (self.until, until.max(self.until));
        let took = until.since(from).as_nanos() as u64;
        if took == 0 {
            return;
        }
        self.waits[stage as usize] += took;
        self.until = until;
        if self.spans.len() < SPANS {
            let since = |at: Timestamp| at.since(start).as_nanos() as u64;
            self.spans.push(Span { stage, from_ns: since(from), until_ns: since(until) });
        }
    }

    /// Accounts for an attempt, and for what was before it.
    fn attempt(&mut self, record: &UsageRecord, start: Timestamp) {
        let ms = std::time::Duration::from_millis;
        let (permit, money) = (ms(record.permit_wait_ms), ms(record.money_wait_ms));
        let asked = record.opened_at.saturating_sub(permit + money);
        let before = match self.last_call {
            None => Stage::Queue,
            Some(call) if call == record.call_id => Stage::Backoff,
            Some(_) => Stage::Tools,
        };
        // Waits are known to the millisecond: less than one of them is none.
        if asked.since(self.until) >= ms(1) || (permit + money).is_zero() {
            self.spend(before, asked, start);
        }
        self.spend(Stage::Money, (self.until + money).min(record.opened_at), start);
        self.spend(Stage::Permit, record.opened_at, start);
        self.spend(Stage::Provider, record.at, start);
        self.last_call = Some(record.call_id);
    }

    /// Accounts for what was after the last attempt; all, where there was none: first for a worker,
    /// then for what its end says.
    fn rest(&mut self, outcome: &Outcome, start: Timestamp) {
        let now = outcome.finished_at;
        if self.last_call.is_none() {
            let played = std::time::Duration::from_millis(outcome.duration_ms);
            self.spend(Stage::Queue, now.saturating_sub(played), start);
        }
        let stage = match outcome.error.as_ref().map(|error| error.code) {
            Some(ErrorCode::RateLimitWaitExceeded | ErrorCode::AgentRateLimitExceeded) => {
                Stage::Permit
            }
            Some(ErrorCode::BudgetExceeded) => Stage::Money,
            Some(_) if self.last_call.is_none() => Stage::Queue,
            Some(ErrorCode::DeadlineExceeded | ErrorCode::WorkerCrashed) => Stage::Backoff,
            _ => Stage::Tools,
        };
        self.spend(stage, now, start);
    }
}
