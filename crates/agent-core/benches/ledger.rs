//! What reserving and settling costs, over five scopes, against additions that check nothing.

use std::collections::BTreeMap;
use std::hint::black_box;

use agent_core::clock::Timestamp;
use agent_core::ledger::{BudgetSpec, Ledger, OnExhausted, Scope, ScopeKind, Window};
use agent_core::money::NanoUsd;
use criterion::{Criterion, criterion_group, criterion_main};

/// Tasks whose balances are kept at the same time.
const TASKS: u32 = 10_000;

fn budget(scope: &str, window: Window) -> BudgetSpec {
    BudgetSpec {
        scope: scope.parse().expect("a scope"),
        limit: NanoUsd::from_dollars(1_000_000_000),
        window,
        on_exhausted: OnExhausted::Reject,
        thresholds: vec![50, 80, 100],
    }
}

fn scopes_of(task: u32) -> [Scope; 5] {
    [
        Scope::global(),
        Scope::new(ScopeKind::Project, format!("project-{}", task % 20)),
        Scope::new(ScopeKind::Agent, format!("agent-{}", task % 50)),
        Scope::new(ScopeKind::User, format!("user-{}", task % 500)),
        Scope::new(ScopeKind::Task, task.to_string()),
    ]
}

fn ledger(criterion: &mut Criterion) {
    let hour = Window::Rolling(std::time::Duration::from_secs(3_600));
    let specs = vec![
        budget("global", Window::Month),
        budget("project:*", Window::Day),
        budget("agent:*", Window::Hour),
        budget("user:*", hour),
        budget("task:*", Window::Total),
    ];
    let calls: Vec<[Scope; 5]> = (0..TASKS).map(scopes_of).collect();
    let mut group = criterion.benchmark_group("five scopes");
    let start: Timestamp = "2026-11-24T09:00:00Z".parse().expect("a time");

    let mut sums: BTreeMap<Scope, u64> = calls.iter().flatten().map(|s| (s.clone(), 0)).collect();
    let mut turns = calls.iter().cycle();
    group.bench_function("reference: five unchecked additions in a BTreeMap", |bencher| {
        bencher.iter(|| {
            for scope in turns.next().into_iter().flatten() {
                if let Some(sum) = sums.get_mut(scope) {
                    *sum = sum.wrapping_add(black_box(1_000));
                }
            }
        });
    });

    let (amount, actual) = (NanoUsd::from_nanos(1_000), NanoUsd::from_nanos(400));
    for (name, tasks) in [("one task", 1), ("10,000 tasks in turn", calls.len())] {
        let mut ledger = Ledger::new(specs.clone());
        let mut turns = calls[..tasks].iter().cycle();
        let mut nanos = start.nanos();
        group.bench_function(format!("reserve and settle: {name}"), |bencher| {
            bencher.iter(|| {
                let Some(scopes) = turns.next() else { return };
                nanos += 100_000;
                let now = Timestamp::from_nanos(nanos);
                let id = ledger.reserve(now, scopes, black_box(amount)).expect("room");
                black_box(ledger.settle(now, id, black_box(actual), NanoUsd::ZERO));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, ledger);
criterion_main!(benches);
