//! All limits together: of each key and model, and of each worker.

mod endings;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::pair::{Blocked, Limit, MINUTE, Pair};
use super::queue::{Waiter, Waiters};
use super::window::{Amounts, CallLog, EntryKey};
use super::{Ask, Hold, LimitMode, PermitError, ProviderLimits};
use crate::clock::Timestamp;
use crate::lookup::Lookup;

pub use endings::{Feedback, PairHeadroom};

/// Most that may wait for one key and model.
const MAX_WAITING: usize = 1_000_000;

/// Names one who waits; smaller came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WaiterId(u64);

/// Names what was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantId(u64);

/// A permit as it was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// Names it.
    pub id: GrantId,
    /// When it was granted.
    pub at: Timestamp,
    /// How long its caller waited.
    pub waited: Duration,
    /// When its worker may call once more, by its own limit.
    pub worker_free_at: Timestamp,
}

/// The answer to a request for a permit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It may go.
    Granted(Grant),
    /// It waits; [`Permits::admit`] names it when it may go, or when it has waited too long.
    Waits(WaiterId),
    /// It may not.
    Refused(PermitError),
}

#[derive(Debug)]
struct Place {
    account: Arc<str>,
    model: Arc<str>,
    pair: Pair,
    waiters: Waiters,
}

#[derive(Debug)]
struct Granted {
    place: usize,
    worker: usize,
    called_at: Timestamp,
    key: EntryKey,
    amounts: Amounts,
}

/// Who asks for a permit: where, and since when.
#[derive(Clone, Copy)]
struct Asker<'a> {
    place: usize,
    worker: usize,
    ask: &'a Ask,
    since: Timestamp,
}

/// Where one must wait, and until when.
struct Wait {
    place: usize,
    worker: usize,
    /// When its worker may call.
    free_at: Timestamp,
    /// When it gives up.
    until: Timestamp,
}

impl Waiter {
    fn asks_at(&self, place: usize) -> Asker<'_> {
        Asker { place, worker: self.worker, ask: &self.ask, since: self.since }
    }
}

/// Who may call when. Time is an argument; one that is a little earlier than the last, since the clock
/// was looked at before the lock was had, does no harm.
#[derive(Debug)]
pub struct Permits {
    limits: ProviderLimits,
    places: Vec<Place>,
    /// By account and model.
    by_pair: Lookup<Arc<str>, Lookup<Arc<str>, usize>>,
    workers: Lookup<Arc<str>, usize>,
    logs: Vec<CallLog>,
    granted: Lookup<GrantId, Granted>,
    waiting_at: BTreeMap<WaiterId, usize>,
    /// When each waiter gives up.
    give_ups: BTreeSet<(Timestamp, WaiterId)>,
    out_of_service: BTreeMap<Arc<str>, Timestamp>,
    next: u64,
}

impl Permits {
    /// Nothing taken yet; `limits` hold for each key and model.
    pub fn new(limits: ProviderLimits) -> Permits {
        Permits {
            limits,
            places: Vec::new(),
            by_pair: Lookup::default(),
            workers: Lookup::default(),
            logs: Vec::new(),
            granted: Lookup::default(),
            waiting_at: BTreeMap::new(),
            give_ups: BTreeSet::new(),
            out_of_service: BTreeMap::new(),
            next: 0,
        }
    }

    /// What is left of them after a panic, which may have come in the middle of anything.
    ///
    /// Kept is what was noted before anything followed from it: what was taken, by whom, and what
    /// the provider said. Each of that is written before what it replaces is dropped, so it may say
    /// too much, and never too little. Sums are made anew, and whoever waited must ask again.
    #[must_use]
    pub fn anew(mut self) -> Permits {
        for (number, Place { pair, waiters, .. }) in self.places.iter_mut().enumerate() {
            let in_flight = self.granted.values().filter(|granted| granted.place == number).count();
            pair.recount(u32::try_from(in_flight).unwrap_or(u32::MAX));
            *waiters = Waiters::default();
        }
        Permits { waiting_at: BTreeMap::new(), give_ups: BTreeSet::new(), ..self }
    }

    fn place(&mut self, account: &Arc<str>, model: &Arc<str>) -> usize {
        if let Some(&place) = self.by_pair.get(account).and_then(|models| models.get(model)) {
            return place;
        }
        self.places.push(Place {
            account: Arc::clone(account),
            model: Arc::clone(model),
            pair: Pair::new(&self.limits),
            waiters: Waiters::default(),
        });
        let (models, place) = (self.by_pair.entry(Arc::clone(account)), self.places.len() - 1);
        models.or_default().insert(Arc::clone(model), place);
        place
    }

    fn worker(&mut self, name: &Arc<str>) -> usize {
        if let Some(&worker) = self.workers.get(name) {
            return worker;
        }
        self.logs.push(CallLog::default());
        self.workers.insert(Arc::clone(name), self.logs.len() - 1);
        self.logs.len() - 1
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Whether everyone has been answered.
    pub(crate) fn nobody_waits(&self) -> bool {
        self.waiting_at.is_empty()
    }

    /// Asks for a permit: granted at once where nobody is before it and every limit admits it.
    pub fn ask(&mut self, now: Timestamp, ask: Ask) -> Answer {
        let Wait { place, worker, free_at, until } = match self.decide(now, &ask) {
            Ok(Ok(grant)) => return Answer::Granted(grant),
            Ok(Err(error)) => return Answer::Refused(error),
            Err(wait) => wait,
        };
        let id = WaiterId(self.number());
        self.waiting_at.insert(id, place);
        self.give_ups.insert((until, id));
        let waiter = Waiter { id, ask, worker, since: now, until };
        let waiters = &mut self.places[place].waiters;
        if free_at > now {
            waiters.rest(free_at, waiter);
        } else {
            waiters.push(waiter);
        }
        Answer::Waits(id)
    }

    /// A permit, or why there is none, where that can be said at once; else nothing has changed.
    pub(crate) fn at_once(
        &mut self,
        now: Timestamp,
        ask: &Ask,
    ) -> Option<Result<Grant, PermitError>> {
        self.decide(now, ask).ok()
    }

    fn decide(&mut self, now: Timestamp, ask: &Ask) -> Result<Result<Grant, PermitError>, Wait> {
        let (place, worker) = (self.place(&ask.account, &ask.model), self.worker(&ask.worker));
        if let Some(error) = self.in_service(now, &ask.account) {
            return Ok(Err(error));
        }
        if let Some(error) = self.too_large(place, ask) {
            return Ok(Err(error));
        }
        let limit = &ask.worker_limit;
        let free_at = self.logs[worker].free_at(now, limit.calls.get(), limit.per);
        if free_at > now && limit.mode == LimitMode::Reject {
            let (calls, per, retry_after) = (limit.calls.get(), limit.per, free_at.since(now));
            return Ok(Err(PermitError::WorkerLimit { calls, per, retry_after }));
        }
        let asker = Asker { place, worker, ask, since: now };
        let Place { pair, waiters, .. } = &mut self.places[place];
        waiters.wake(now);
        if free_at <= now && waiters.first(now).is_none() && pair.admits(now, amounts(ask)).is_ok()
        {
            return Ok(Ok(self.grant(now, asker)));
        }
        if waiters.len() >= MAX_WAITING {
            let scope = format!("model:{}", ask.model);
            return Ok(Err(PermitError::QueueFull { scope }));
        }
        let until = ask.deadline.min(now + self.limits.max_wait);
        if until <= now {
            return Ok(Err(self.too_late(now, asker)));
        }
        Err(Wait { place, worker, free_at, until })
    }

    fn in_service(&mut self, now: Timestamp, account: &Arc<str>) -> Option<PermitError> {
        let until = *self.out_of_service.get(account)?;
        if until <= now {
            self.out_of_service.remove(account);
            return None;
        }
        Some(PermitError::OutOfService { account: account.to_string(), until })
    }

    fn too_large(&self, place: usize, ask: &Ask) -> Option<PermitError> {
        let pair = &self.places[place].pair;
        if pair.can_ever_admit(amounts(ask)) {
            return None;
        }
        let (what, limit, requested) = if ask.input_tokens > pair.limit().input {
            ("input tokens", pair.limit().input, ask.input_tokens)
        } else {
            ("output tokens", pair.limit().output, ask.output_tokens)
        };
        let scope = format!("model:{}", ask.model);
        Some(PermitError::TooLarge { scope, what, limit, requested })
    }

    fn grant(&mut self, now: Timestamp, asker: Asker<'_>) -> Grant {
        let Asker { place, worker, ask, since } = asker;
        let id = GrantId(self.number());
        let limit = &ask.worker_limit;
        self.logs[worker].take(now);
        let worker_free_at = self.logs[worker].free_at(now, limit.calls.get(), limit.per);
        let (key, amounts) = self.places[place].pair.take(now, amounts(ask));
        self.granted.insert(id, Granted { place, worker, called_at: now, key, amounts });
        Grant { id, at: now, waited: now.since(since), worker_free_at }
    }

    /// Admits whoever may go at `now`, and refuses whoever has waited too long.
    pub fn admit(&mut self, now: Timestamp) -> Vec<(WaiterId, Result<Grant, PermitError>)> {
        let mut told = Vec::new();
        loop {
            for place in 0..self.places.len() {
                self.places[place].waiters.wake(now);
                while let Some(waiter) = self.next_to_go(now, place) {
                    let grant = self.grant(now, waiter.asks_at(place));
                    told.push((waiter.id, Ok(grant)));
                }
            }
            let before = told.len();
            while let Some(&(until, id)) = self.give_ups.first().filter(|(at, _)| *at <= now) {
                self.give_ups.remove(&(until, id));
                let Some(place) = self.waiting_at.remove(&id) else { continue };
                if let Some(waiter) = self.places[place].waiters.remove(id) {
                    told.push((id, Err(self.too_late(now, waiter.asks_at(place)))));
                }
            }
            // Whoever was behind one that has given up may go now.
            if told.len() == before {
                return told;
            }
        }
    }

    /// Takes the first out of the queue, if it may go.
    fn next_to_go(&mut self, now: Timestamp, place: usize) -> Option<Waiter> {
        loop {
            let Place { pair, waiters, .. } = &mut self.places[place];
            let first = waiters.first(now)?;
            let limit = &first.ask.worker_limit;
            let log = &mut self.logs[first.worker];
            let free_at = log.free_at(now, limit.calls.get(), limit.per);
            if free_at <= now && pair.admits(now, amounts(&first.ask)).is_err() {
                return None;
            }
            let waiter = waiters.pop(now)?;
            if free_at > now {
                // Its worker has called since it began to wait; others need not wait for it.
                waiters.rest(free_at, waiter);
                continue;
            }
            self.leave(&waiter);
            return Some(waiter);
        }
    }

    fn leave(&mut self, waiter: &Waiter) {
        self.waiting_at.remove(&waiter.id);
        self.give_ups.remove(&(waiter.until, waiter.id));
    }

    fn too_late(&mut self, now: Timestamp, asker: Asker<'_>) -> PermitError {
        let Asker { place, worker, ask, since } = asker;
        let waited = now.since(since);
        let (calls, window) = (ask.worker_limit.calls.get(), ask.worker_limit.per);
        let free_at = self.logs[worker].free_at(now, calls, window);
        if free_at > now {
            let scope = format!("agent:{}", ask.worker);
            let hold = Hold::Used { what: "calls", limit: u64::from(calls), window };
            let retry_after = Some(free_at.since(now));
            return PermitError::WaitExceeded { scope, hold, waited, retry_after };
        }
        let pair = &mut self.places[place].pair;
        let scope = format!("model:{}", ask.model);
        let Err(Blocked { until, by }) = pair.admits(now, amounts(ask)) else {
            let hold = Hold::InLine;
            return PermitError::WaitExceeded { scope, hold, waited, retry_after: None };
        };
        let used = |what, limit| Hold::Used { what, limit, window: MINUTE };
        let hold = match by {
            Limit::Requests => used("requests", pair.limit().requests),
            Limit::Input => used("input tokens", pair.limit().input),
            Limit::Output => used("output tokens", pair.limit().output),
            Limit::Concurrency => Hold::InFlight { most: pair.concurrency() },
            Limit::Pause => Hold::Paused { until: until.unwrap_or(now) },
        };
        let retry_after = until.map(|until| until.since(now));
        PermitError::WaitExceeded { scope, hold, waited, retry_after }
    }

    /// The next moment at which [`admit`](Permits::admit) may have something to tell, other than
    /// by the end of an attempt; `now` where it has.
    pub fn next_event(&mut self, now: Timestamp) -> Option<Timestamp> {
        let mut next = self.give_ups.first().map(|&(until, _)| until);
        for Place { pair, waiters, .. } in &mut self.places {
            let Some(first) = waiters.first(now).map(|first| amounts(&first.ask)) else {
                next = [next, waiters.next_change(now)].into_iter().flatten().min();
                continue;
            };
            let until = match pair.admits(now, first) {
                Ok(()) => Some(now),
                Err(blocked) => blocked.until,
            };
            next = [next, until, waiters.next_change(now)].into_iter().flatten().min();
        }
        next
    }

    /// One who waits does not any more.
    pub fn cancel(&mut self, id: WaiterId) {
        if let Some(place) = self.waiting_at.remove(&id)
            && let Some(waiter) = self.places[place].waiters.remove(id)
        {
            self.give_ups.remove(&(waiter.until, id));
        }
    }
}

fn amounts(ask: &Ask) -> Amounts {
    Amounts { requests: 1, input: ask.input_tokens, output: ask.output_tokens }
}
