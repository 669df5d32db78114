//! A ledger that is rebuilt from a random history says what the one says that never panicked.

use std::ops::Range;

use actix::{Actor, Addr};

use super::*;
use crate::budget::Durable;
use crate::ledger::{Ledger, OnExhausted, ReservationId, Scope, Window};
use crate::lookup::Lookup;
use crate::pricing::Catalogue;
use crate::record::{AttemptId, CallId, OpenAttempt, Subject, UsageRecord};
use crate::store::{Entry, Store, Write};
use crate::system::durable::source;

const RUN: &str = "a run";

type Held = Lookup<AttemptId, ReservationId>;

fn specs() -> Vec<BudgetSpec> {
    let spec = |scope: &str, dollars, window| {
        let limit = NanoUsd::from_dollars(dollars);
        let on_exhausted = OnExhausted::Reject;
        BudgetSpec { limit, window, on_exhausted, ..BudgetSpec::new(scope.parse().unwrap(), limit) }
    };
    vec![
        spec("global", 400, Window::Total),
        spec("project:*", 60, Window::Day),
        spec("agent:clerk", 25, Window::Hour),
        spec("user:*", 20, Window::Rolling(Duration::from_secs(5_400))),
        spec("task:*", 30, Window::Total),
        spec("task:*", 20, Window::Hour),
        spec("task:*", 22, Window::Rolling(Duration::from_secs(4_000))),
        spec("task:*", 25, Window::Day),
    ]
}

/// Two ledgers with one history, one of which is thrown away and rebuilt now and then.
struct Twins {
    steady: (Ledger, Held),
    rebuilt: (Ledger, Held),
    store: Addr<Store>,
    clock: Clock,
    random: fastrand::Rng,
    open: Vec<OpenAttempt>,
    calls: u32,
}

impl Twins {
    async fn start(clock: &Clock, seed: u64) -> Twins {
        let store = Store::memory().start();
        let at = clock.now();
        let started = Entry::RunStarted { run_id: RUN.into(), at, fleet: None };
        let accepted = (0..4).map(|seq| {
            let task = Arc::new(Task::new(seq.to_string(), "a task"));
            Entry::TaskAccepted { run_id: RUN.into(), at, seq, task }
        });
        let entries = [started].into_iter().chain(accepted).collect();
        store.send(Write { entries }).await.unwrap().unwrap();
        let new = || (Ledger::new(specs()), Held::default());
        let (random, open) = (fastrand::Rng::with_seed(seed), Vec::new());
        let (steady, rebuilt) = (new(), new());
        Twins { steady, rebuilt, store, clock: clock.clone(), random, open, calls: 0 }
    }

    async fn write(&self, entry: Entry) {
        self.store.send(Write { entries: vec![entry] }).await.unwrap().unwrap();
    }

    fn name(&mut self, names: Range<u32>) -> Option<Arc<str>> {
        Some(self.random.u32(names).to_string().into())
    }

    async fn reserve(&mut self) {
        self.calls += 1;
        let subject = Subject {
            run_id: RUN.into(),
            agent: Some(["clerk", "lead>clerk", "scribe"][self.random.usize(..3)].into()),
            task_id: self.name(0..4),
            project_id: self.name(0..2),
            user_id: self.name(0..3),
            ..Subject::default()
        };
        let open = OpenAttempt {
            call_id: CallId::new(self.clock.now(), self.calls.into()),
            attempt: self.calls,
            at: self.clock.now(),
            bound: NanoUsd::from_dollars(self.random.u64(1..9)),
            account: "a key".into(),
            provider: "nobody".into(),
            subject: Arc::new(subject),
        };
        let scopes: Vec<Scope> = open.subject.scopes(&open.account);
        let mut granted = [&mut self.steady, &mut self.rebuilt].map(|(ledger, held)| {
            let id = ledger.reserve(open.at, &scopes, open.bound)?;
            held.insert(open.id(), id);
            Ok::<_, crate::ledger::NoRoom>(())
        });
        let [one, other] = &mut granted;
        assert_eq!(one, other);
        if one.is_ok() {
            self.write(Entry::AttemptOpened(open.clone().into())).await;
            self.open.push(open);
        }
    }

    async fn resolve(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let open = self.open.swap_remove(self.random.usize(..self.open.len()));
        let part = |share| NanoUsd::from_nanos(open.bound.nanos() / 4 * share);
        let (cost, presumed) = match self.random.u8(..4) {
            0 => (NanoUsd::ZERO, open.bound),
            1 => (part(1), part(2)),
            2 => (part(self.random.u64(0..5)), NanoUsd::ZERO),
            _ => (NanoUsd::ZERO, NanoUsd::ZERO),
        };
        let now = self.clock.now();
        if cost.is_zero() && presumed.is_zero() && self.random.bool() {
            let (call_id, attempt) = (open.call_id, open.attempt);
            self.write(Entry::AttemptWithdrawn { call_id, attempt }).await;
        } else {
            self.write(Entry::AttemptClosed(record(&open, now, cost, presumed))).await;
        }
        let told = [&mut self.steady, &mut self.rebuilt].map(|(ledger, held)| {
            let id = held.remove(&open.id()).expect("it is held under its name");
            ledger.settle(now, id, cost, presumed).expect("it is settled once")
        });
        // No threshold is told twice, and none is left out.
        assert_eq!(told[0], told[1]);
    }

    async fn rebuild(&mut self) {
        let budgets = (specs().into(), Catalogue::builtin());
        let source = source(self.store.downgrade(), budgets, self.clock.clone());
        let durable: Durable = source().await.expect("the store answers");
        self.rebuilt = durable.reserved();
    }

    fn compare(&mut self, seed: u64) {
        let now = self.clock.now();
        let (steady, rebuilt) = (self.steady.0.balances(now), self.rebuilt.0.balances(now));
        assert_eq!(steady, rebuilt, "seed {seed}");
        assert_eq!(self.steady.0.in_flight(), self.rebuilt.0.in_flight(), "seed {seed}");
    }
}

fn record(open: &OpenAttempt, at: Timestamp, cost: NanoUsd, presumed: NanoUsd) -> UsageRecord {
    UsageRecord { cost, presumed, ..open.ended(at) }
}

#[test]
fn a_ledger_rebuilt_from_any_history_says_what_the_one_says_that_never_panicked() {
    for seed in 0..30 {
        // Some way into a day, so that windows turn on the way.
        VirtualClock::run(Timestamp::from_millis(80_000_000), |clock| async move {
            let mut twins = Twins::start(&clock, seed).await;
            for _ in 0..120 {
                match twins.random.u8(..10) {
                    0..5 => twins.reserve().await,
                    5..8 => twins.resolve().await,
                    8 => {
                        let millis = twins.random.u64(..2_400_000);
                        clock.sleep(Duration::from_millis(millis)).await;
                    }
                    _ => twins.rebuild().await,
                }
                twins.compare(seed);
            }
            while !twins.open.is_empty() {
                twins.rebuild().await;
                twins.resolve().await;
                twins.compare(seed);
            }
        });
    }
}

#[test]
fn what_was_recorded_under_an_older_name_of_a_model_counts_in_its_budget() {
    VirtualClock::run(Timestamp::from_millis(80_000_000), |clock| async move {
        let store = Store::memory().start();
        let model = Some("claude-sonnet-4-5-20250929".into());
        let open = OpenAttempt {
            call_id: CallId::new(clock.now(), 1),
            attempt: 1,
            at: clock.now(),
            bound: NanoUsd::from_dollars(3),
            account: "a key".into(),
            provider: "nobody".into(),
            subject: Arc::new(Subject { run_id: RUN.into(), model, ..Subject::default() }),
        };
        let closed = record(&open, clock.now(), NanoUsd::from_dollars(2), NanoUsd::ZERO);
        let entries = vec![Entry::AttemptOpened(open.into()), Entry::AttemptClosed(closed)];
        store.send(Write { entries }).await.unwrap().unwrap();
        let scope = "model:claude-sonnet-4-5".parse().unwrap();
        let specs = vec![BudgetSpec::new(scope, NanoUsd::from_dollars(5))];
        let budgets = (specs.into(), Catalogue::builtin());
        let source = source(store.downgrade(), budgets, clock.clone());
        let (mut ledger, _) = source().await.expect("the store answers").reserved();
        assert_eq!(ledger.balances(clock.now())[0].spent, NanoUsd::from_dollars(2));
    });
}
