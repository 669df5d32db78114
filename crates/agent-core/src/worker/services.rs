//! What every worker shares: one allocation for all of them.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::Addr;

use crate::agent::ChildLimits;
use crate::audit::{AuditEvent, AuditKind};
use crate::budget::{self, Budget};
use crate::clock::{Clock, Timestamp};
use crate::estimate::Estimator;
use crate::llm::LlmClient;
use crate::money::NanoUsd;
use crate::panics::{self, log};
use crate::pricing::Catalogue;
use crate::prompt::PromptPolicy;
use crate::rate_limiter::{self, RateLimiter};
use crate::record::{CallId, Subject};
use crate::retry::{self, AttemptTimeout, RetryPolicy};
use crate::store::{self, Entry, Note, Store, StoreError, Write};
use crate::supervision::Supervision;
use crate::task::TaskId;
use crate::worker::job::Tally;

/// The rules that every call follows.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) retry: RetryPolicy,
    pub(crate) timeout: AttemptTimeout,
    /// Longest wait for a permit, for money, or for a retry.
    pub(crate) max_wait: Duration,
    pub(crate) max_cost_per_task: NanoUsd,
    pub(crate) prompt: PromptPolicy,
    /// How many sub-agents a task may have.
    pub(crate) children: ChildLimits,
    /// How sub-agents are restarted, unless their parent says otherwise.
    pub(crate) supervision: Supervision,
}

/// Whether entries are as durable as they will be.
pub(crate) type Written = Result<(), StoreError>;

/// Entries that must be waited for, and whom to send them to.
pub(crate) type Unwritten<'a> = (Vec<Entry>, &'a Addr<Store>);

/// Where what happens is written down.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    store: Addr<Store>,
    /// Where the store is in memory.
    desk: Option<store::Desk>,
}

impl Records {
    pub(crate) fn new(store: Addr<Store>, desk: Option<store::Desk>) -> Records {
        Records { store, desk }
    }

    /// Whether an observer is shown them, and nothing is kept.
    fn are_observed(&self) -> bool {
        self.desk.as_ref().is_some_and(store::Desk::is_observed)
    }

    /// Writes entries without waiting for it.
    pub(crate) fn note(&self, entries: Vec<Entry>) {
        match &self.desk {
            None => self.store.do_send(Note { entries }),
            Some(desk) => {
                if let Err(error) = desk.write(entries) {
                    log!(error, %error, "a note could not be written");
                }
            }
        }
    }
}

/// The actors, the provider and the rules.
pub(crate) struct Services {
    pub(crate) clock: Clock,
    pub(crate) client: Arc<dyn LlmClient>,
    /// The client's name.
    pub(crate) provider: Arc<str>,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) budget: (Addr<Budget>, budget::Desk),
    pub(crate) limiter: (Addr<RateLimiter>, rate_limiter::Desk),
    /// Where what happens is written down, where it is.
    records: Option<Records>,
    pub(crate) rules: Rules,
    estimator: Mutex<Estimator>,
    seed: u64,
    random: Mutex<fastrand::Rng>,
    warnings: Mutex<std::collections::BTreeMap<&'static str, u64>>,
    /// What all calls of the run have taken so far.
    taken: Mutex<Tally>,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Services {
    #[expect(clippy::too_many_arguments, reason = "the composition root names each part once")]
    pub(crate) fn new(
        clock: Clock,
        client: Arc<dyn LlmClient>,
        catalogue: Arc<Catalogue>,
        budget: (Addr<Budget>, budget::Desk),
        limiter: (Addr<RateLimiter>, rate_limiter::Desk),
        records: Option<Records>,
        rules: Rules,
        seed: u64,
    ) -> Services {
        Services {
            clock,
            provider: client.provider().into(),
            client,
            catalogue,
            budget,
            limiter,
            records,
            rules,
            estimator: Mutex::new(Estimator::default()),
            seed,
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            warnings: Mutex::default(),
            taken: Mutex::default(),
        }
    }

    pub(crate) fn estimator(&self) -> MutexGuard<'_, Estimator> {
        lock(&self.estimator)
    }

    pub(crate) fn call_id(&self, now: Timestamp) -> CallId {
        let random = lock(&self.random).u128(..);
        CallId::new(now, random)
    }

    /// A fraction from 0 to 1, for the jitter after an attempt of a task.
    pub(crate) fn retry_jitter(&self, task: &TaskId, attempt: u32) -> f64 {
        retry::jitter(self.seed, task.as_str(), attempt)
    }

    /// A fraction from 0 to 1, for the jitter of restarts.
    pub(crate) fn jitter(&self) -> f64 {
        lock(&self.random).f64()
    }

    /// Makes an event, counts it where it is a warning, and emits it; it is not stored yet.
    pub(crate) fn event(
        &self,
        call_id: Option<CallId>,
        subject: &Arc<Subject>,
        kind: AuditKind,
    ) -> Entry {
        let event =
            AuditEvent { timestamp: self.clock.now(), call_id, subject: Arc::clone(subject), kind };
        if event.kind.is_warning() {
            *lock(&self.warnings).entry(event.kind.name()).or_default() += 1;
        }
        event.trace();
        Entry::Audit(event)
    }

    /// The event of a call that goes its way, where it is to be written; emitted where anybody listens.
    /// An observer is shown the attempt's own entries, which say as much.
    pub(crate) fn event_of_call(
        &self,
        call_id: CallId,
        subject: &Arc<Subject>,
        kind: impl FnOnce() -> AuditKind,
    ) -> Option<Entry> {
        let is_kept = self.records.as_ref().is_some_and(|records| !records.are_observed());
        let event = (is_kept || is_traced()).then(|| self.event(Some(call_id), subject, kind()));
        event.filter(|_| is_kept)
    }

    /// Makes an event and stores it, without waiting for it to be durable.
    pub(crate) fn audit(&self, call_id: Option<CallId>, subject: &Arc<Subject>, kind: AuditKind) {
        let entry = self.event(call_id, subject, kind);
        self.note(vec![entry]);
    }

    /// Whether anything hears of what is not a warning: if not, it need not be made.
    pub(crate) fn is_heard(&self) -> bool {
        self.records.is_some() || is_traced()
    }

    /// Writes entries with the next commit; nobody is told when.
    pub(crate) fn note(&self, entries: Vec<Entry>) {
        if let Some(records) = &self.records {
            records.note(entries);
        }
    }

    /// Writes entries where that needs no waiting: nothing is kept, or in memory. Otherwise they are
    /// given back, with whom to send them to.
    pub(crate) fn write_now(
        &self,
        entries: impl FnOnce() -> Vec<Entry>,
    ) -> Result<Written, Unwritten<'_>> {
        if !self.is_heard() {
            return Ok(Ok(()));
        }
        let entries = entries();
        match &self.records {
            None => Ok(Ok(())),
            Some(Records { desk: Some(desk), .. }) => Ok(desk.write(entries)),
            Some(Records { store, desk: None }) => Err((entries, store)),
        }
    }

    /// Writes what could not be written at once, and waits until it is durable.
    pub(crate) async fn write((entries, store): Unwritten<'_>) -> Written {
        store.send(Write { entries }).await.unwrap_or(Err(StoreError::Closed))
    }

    /// How many events of each kind a person should look at.
    pub(crate) fn warnings(&self) -> std::collections::BTreeMap<&'static str, u64> {
        lock(&self.warnings).clone()
    }

    /// Counts the events of an earlier part of the run.
    pub(crate) fn restore_warnings(
        &self,
        warnings: &std::collections::BTreeMap<&'static str, u64>,
    ) {
        lock(&self.warnings).clone_from(warnings);
    }

    /// The one name of a model, whatever alias or date it is asked for by: what budgets, limits and
    /// totals go by.
    pub(crate) fn model_name(&self, model: &Arc<str>) -> Arc<str> {
        match self.catalogue.resolve(model) {
            Some(known) if known.name() != &**model => known.name().into(),
            _ => Arc::clone(model),
        }
    }

    /// Adds to what the run has taken.
    pub(crate) fn add(&self, add: impl FnOnce(&mut Tally)) {
        add(&mut lock(&self.taken));
    }

    /// What all calls of the run have taken so far, those of tasks that have not ended included.
    pub(crate) fn taken(&self) -> Tally {
        lock(&self.taken).clone()
    }
}

/// Whether somebody listens to audit events that are no warnings.
fn is_traced() -> bool {
    let listens = || tracing::enabled!(target: "audit", tracing::Level::INFO);
    panics::contain(listens).unwrap_or_default()
}

/// Locks what holds no promise across a panic: each critical section is one assignment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
