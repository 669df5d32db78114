//! Random histories of the ledger, compared with a model that only keeps a list of what happened.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

/// One reservation, open or resolved, as the model keeps it.
#[derive(Debug, Clone)]
struct Entry {
    at: u64,
    scopes: Vec<Scope>,
    id: Option<ReservationId>,
    /// The id, after it was resolved.
    was: ReservationId,
    reserved: u64,
    spent: u64,
    presumed: u64,
}

/// Whether money of `at` is in the window at `now`, said without spans.
fn counts(window: Window, at: u64, now: u64) -> bool {
    let calendar = |format| {
        let text = |nanos| Timestamp::from_nanos(nanos).to_jiff().strftime(format).to_string();
        text(at) == text(now)
    };
    match window {
        Window::Total => true,
        Window::Hour => calendar("%F %H"),
        Window::Day => calendar("%F"),
        Window::Month => calendar("%Y-%m"),
        Window::Rolling(length) => {
            let length = u64::try_from(length.as_nanos()).unwrap();
            let step = length.div_ceil(60).max(1);
            now < (at / step + 1) * step + length
        }
    }
}

fn covers(spec: &BudgetSpec, scope: &Scope) -> bool {
    match &spec.scope {
        ScopePattern::One(one) => one == scope,
        ScopePattern::Each(kind) => *kind == scope.kind,
    }
}

#[derive(Debug)]
struct Model {
    specs: Vec<BudgetSpec>,
    now: u64,
    entries: Vec<Entry>,
}

impl Model {
    /// Spent, presumed and reserved.
    fn sums(&self, spec: &BudgetSpec, scope: &Scope) -> [u64; 3] {
        let mut sums = [0; 3];
        for entry in &self.entries {
            if entry.scopes.contains(scope) && counts(spec.window, entry.at, self.now) {
                sums[0] += entry.spent;
                sums[1] += entry.presumed;
                sums[2] += entry.reserved;
            }
        }
        sums
    }

    fn budgets_of(&self, scopes: &[Scope]) -> Vec<(BudgetSpec, Scope)> {
        let pairs = scopes.iter().flat_map(|scope| self.specs.iter().map(move |b| (b, scope)));
        pairs
            .filter(|(spec, scope)| covers(spec, scope))
            .map(|(spec, scope)| (spec.clone(), scope.clone()))
            .collect()
    }

    fn balances(&self) -> Vec<(Scope, Window, [u64; 3])> {
        let mut scopes: Vec<Scope> = self.entries.iter().flat_map(|e| e.scopes.clone()).collect();
        scopes.sort();
        scopes.dedup();
        let mut all = Vec::new();
        for (spec, scope) in self.budgets_of(&scopes) {
            let sums = self.sums(&spec, &scope);
            if sums != [0; 3] {
                all.push((scope, spec.window, sums));
            }
        }
        all.sort();
        all
    }
}

#[derive(Debug, Clone)]
enum Step {
    Reserve { scopes: Vec<Scope>, amount: u64 },
    Settle { which: usize, percent: u64, presumed: u64 },
    Overrun { which: usize, by: u64 },
    Presume { which: usize },
    Release { which: usize },
    Split { which: usize, amount: u64 },
    Pass { seconds: u64 },
    GoBack { seconds: u64 },
    Forget { scope: Scope },
}

fn scope() -> impl Strategy<Value = Scope> {
    let texts = ["project:a", "project:b", "agent:x", "user:u", "task:1", "task:2", "task:3"];
    prop_oneof![
        2 => Just(Scope::global()),
        5 => proptest::sample::select(texts.to_vec()).prop_map(|text| {
            match text.parse() {
                Ok(ScopePattern::One(scope)) => scope,
                _ => Scope::global(),
            }
        }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<usize>;
    let scopes = proptest::collection::vec(scope(), 0..5);
    prop_oneof![
        8 => (scopes, 0..60u64).prop_map(|(scopes, amount)| Step::Reserve { scopes, amount }),
        4 => (which(), 0..=100u64, 0..=100u64)
            .prop_map(|(which, percent, presumed)| Step::Settle { which, percent, presumed }),
        1 => (which(), 1..50u64).prop_map(|(which, by)| Step::Overrun { which, by }),
        1 => which().prop_map(|which| Step::Presume { which }),
        2 => which().prop_map(|which| Step::Release { which }),
        1 => (which(), 0..40u64).prop_map(|(which, amount)| Step::Split { which, amount }),
        2 => (0..100u64).prop_map(|seconds| Step::Pass { seconds }),
        1 => (0..3_000_000u64).prop_map(|seconds| Step::Pass { seconds }),
        1 => (0..3_000_000u64).prop_map(|seconds| Step::GoBack { seconds }),
        1 => scope().prop_map(|scope| Step::Forget { scope }),
    ]
}

fn specs() -> impl Strategy<Value = Vec<BudgetSpec>> {
    let windows = vec![
        Window::Total,
        Window::Hour,
        Window::Day,
        Window::Month,
        Window::Rolling(Duration::from_secs(100)),
        Window::Rolling(Duration::from_secs(40_000)),
    ];
    let patterns = ["global", "project:a", "project:*", "agent:x", "task:*", "task:1"];
    let spec = (
        proptest::sample::select(patterns.to_vec()),
        proptest::sample::select(windows),
        0..200u64,
        proptest::sample::select(vec![
            OnExhausted::Reject,
            OnExhausted::Wait,
            OnExhausted::StopRun,
        ]),
    )
        .prop_map(|(pattern, window, limit, on_exhausted)| BudgetSpec {
            scope: pattern.parse().unwrap(),
            limit: NanoUsd::from_nanos(limit),
            window,
            on_exhausted,
            thresholds: vec![80, 50, 100],
        });
    proptest::collection::vec(spec, 0..6)
}

struct Run {
    ledger: Ledger,
    model: Model,
    /// How far the clock that the ledger is told is behind what it has seen.
    behind: Duration,
    /// A call cost more than was reserved, so a limit may be passed.
    overran: bool,
}

impl Run {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.model.now).saturating_sub(self.behind)
    }

    fn open(&self, which: usize) -> Option<usize> {
        let open: Vec<usize> =
            (0..self.model.entries.len()).filter(|i| self.model.entries[*i].id.is_some()).collect();
        (!open.is_empty()).then(|| open[which % open.len()])
    }

    fn reserve(&mut self, mut scopes: Vec<Scope>, amount: u64) -> Result<(), TestCaseError> {
        let money = NanoUsd::from_nanos(amount);
        let outcome = self.ledger.reserve(self.now(), &scopes, money);
        scopes.sort();
        scopes.dedup();
        let budgets = self.model.budgets_of(&scopes);
        let rooms: Vec<(BudgetSpec, u64, u64)> = budgets
            .into_iter()
            .map(|(spec, scope)| {
                let [spent, presumed, reserved] = self.model.sums(&spec, &scope);
                (spec, spent + presumed, reserved)
            })
            .collect();
        let limit = |spec: &BudgetSpec| spec.limit.nanos();
        let fits = rooms.iter().all(|(b, settled, held)| settled + held + amount <= limit(b));
        prop_assert_eq!(outcome.is_ok(), fits);
        match outcome {
            Ok(id) => self.model.entries.push(Entry {
                at: self.model.now,
                scopes,
                id: Some(id),
                was: id,
                reserved: amount,
                spent: 0,
                presumed: 0,
            }),
            Err(no_room) => {
                let available = rooms
                    .iter()
                    .map(|(b, settled, held)| limit(b).saturating_sub(settled + held))
                    .min();
                prop_assert_eq!(Some(no_room.available.nanos()), available);
                let all_back = rooms.iter().all(|(b, settled, _)| settled + amount <= limit(b));
                prop_assert_eq!(no_room.when == When::InFlight, all_back);
                let refused = rooms.iter().any(|(b, settled, _)| {
                    settled + amount > limit(b)
                        && (b.on_exhausted != OnExhausted::Wait
                            || amount > limit(b)
                            || b.window == Window::Total)
                });
                prop_assert_eq!(no_room.wait_until().is_none(), refused);
            }
        }
        Ok(())
    }

    /// Resolves in both, and again in the ledger, which must do nothing.
    fn resolve(&mut self, place: usize, spent: u64, presumed: u64) -> Result<(), TestCaseError> {
        let now = self.now();
        let entry = &mut self.model.entries[place];
        let Some(id) = entry.id.take() else { return Ok(()) };
        let over = (spent + presumed).saturating_sub(entry.reserved);
        (entry.reserved, entry.spent, entry.presumed) = (0, spent, presumed);
        let amounts = (NanoUsd::from_nanos(spent), NanoUsd::from_nanos(presumed));
        let told = self.ledger.settle(now, id, amounts.0, amounts.1);
        prop_assert!(told.is_some_and(|told| told.overruns.iter().all(|o| o.by.nanos() == over)));
        self.overran |= over > 0;
        for entry in self.model.entries.iter().filter(|entry| entry.id.is_none()) {
            prop_assert_eq!(self.ledger.settle(now, entry.was, NanoUsd::MAX, NanoUsd::MAX), None);
        }
        Ok(())
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Reserve { scopes, amount } => self.reserve(scopes, amount)?,
            Step::Settle { which, percent, presumed } => {
                if let Some(place) = self.open(which) {
                    let total = self.model.entries[place].reserved * percent / 100;
                    let unknown = total * presumed / 100;
                    self.resolve(place, total - unknown, unknown)?;
                }
            }
            Step::Overrun { which, by } => {
                if let Some(place) = self.open(which) {
                    self.resolve(place, self.model.entries[place].reserved + by, 0)?;
                }
            }
            Step::Presume { which } => {
                if let Some(place) = self.open(which) {
                    self.resolve(place, 0, self.model.entries[place].reserved)?;
                }
            }
            Step::Release { which } => {
                if let Some(place) = self.open(which) {
                    self.resolve(place, 0, 0)?;
                }
            }
            Step::Split { which, amount } => {
                if let Some(place) = self.open(which) {
                    self.split(place, amount)?;
                }
            }
            Step::Pass { seconds } => {
                self.behind = Duration::ZERO;
                self.model.now += seconds * 1_000_000_000;
            }
            // A clock that goes back changes nothing: the ledger goes by the latest it saw.
            Step::GoBack { seconds } => self.behind = Duration::from_secs(seconds),
            Step::Forget { scope } => {
                // Only what the model would not miss: a scope in which nothing counts.
                let gone = self.model.budgets_of(std::slice::from_ref(&scope));
                let in_flight = |e: &Entry| e.id.is_some() && e.scopes.contains(&scope);
                if !self.model.entries.iter().any(in_flight)
                    && gone.iter().all(|(spec, scope)| self.model.sums(spec, scope) == [0; 3])
                {
                    self.ledger.forget(&scope);
                }
            }
        }
        Ok(())
    }

    fn split(&mut self, place: usize, amount: u64) -> Result<(), TestCaseError> {
        let entry = &mut self.model.entries[place];
        let Some(id) = entry.id else { return Ok(()) };
        let parted = self.ledger.split(id, NanoUsd::from_nanos(amount));
        prop_assert_eq!(parted.is_some(), amount <= entry.reserved);
        if let Some(parted) = parted {
            entry.reserved -= amount;
            let entry = Entry { id: Some(parted), was: parted, reserved: amount, ..entry.clone() };
            self.model.entries.push(entry);
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        let mut told = Vec::new();
        for balance in self.ledger.balances(self.now()) {
            let sums = [balance.spent, balance.presumed, balance.reserved].map(NanoUsd::nanos);
            let within = sums.iter().sum::<u64>() <= balance.limit.nanos();
            prop_assert!(within || self.overran, "conservation is broken: {balance:?}");
            if sums != [0; 3] {
                told.push((balance.scope, balance.window, sums));
            }
        }
        told.sort();
        prop_assert_eq!(told, self.model.balances());
        Ok(())
    }

    /// No interval as long as a rolling window holds more than its limit, wherever it begins.
    fn check_intervals(&self) -> Result<(), TestCaseError> {
        for (spec, scope) in self.model.budgets_of(
            &self.model.entries.iter().flat_map(|e| e.scopes.clone()).collect::<Vec<_>>(),
        ) {
            let Window::Rolling(length) = spec.window else { continue };
            let length = u64::try_from(length.as_nanos()).unwrap();
            let entries = || self.model.entries.iter().filter(|e| e.scopes.contains(&scope));
            for first in entries() {
                let inside = entries().filter(|e| first.at <= e.at && e.at < first.at + length);
                let sum: u64 = inside.map(|e| e.spent + e.presumed + e.reserved).sum();
                prop_assert!(sum <= spec.limit.nanos(), "{sum} from {} on: {spec:?}", first.at);
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        rng_seed: RngSeed::Fixed(2),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_history_leaves_the_sums_of_a_list_of_what_happened(
        specs in specs(),
        start in 0..4_000_000_000u64,
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let model = Model { specs: specs.clone(), now: start * 1_000_000_000, entries: vec![] };
        let mut run = Run { ledger: Ledger::new(specs), model, behind: Duration::ZERO, overran: false };
        run.check()?;
        for step in steps {
            run.step(step)?;
            run.check()?;
        }
        if !run.overran {
            run.check_intervals()?;
        }
        while let Some(place) = run.open(0) {
            run.resolve(place, 0, 0)?;
        }
        run.check()?;
        prop_assert_eq!(run.ledger.in_flight(), 0);
        prop_assert!(run.ledger.balances(run.now()).iter().all(|b| b.reserved.is_zero()));
    }
}
