//! The two engines side by side.

mod kinds;

use std::cell::OnceCell;
use std::sync::{Arc, Mutex};

use agent_core::clock::VirtualClock;

use super::*;
use crate::engine::{Replica, ScriptedProvider};

/// The first engine, and its events.
fn actors(scenario: &Scenario, seed: u64) -> (Replica, Vec<Event>) {
    let start = scenario.run.start;
    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let seen = Arc::clone(&events);
    let see = move |entries: &[Entry]| {
        let new = entries.iter().filter_map(|entry| event(entry, start));
        seen.lock().unwrap().extend(new);
    };
    let replica = VirtualClock::run(start, |clock| async move {
        let provider = ScriptedProvider::new(scenario, seed, clock.clone());
        crate::engine::run(scenario, seed, clock, provider, &OnceCell::new(), see).await
    });
    let events = std::mem::take(&mut *events.lock().unwrap());
    (replica.unwrap(), events)
}

/// Runs both, and shows the first event that only one of them has.
fn agree(text: &str, seed: u64) -> Replica {
    let scenario = Scenario::parse(text).unwrap();
    let (replica, mut first) = actors(&scenario, seed);
    let mut ran = run(&scenario, seed);
    first.sort();
    ran.events.sort();
    if first != ran.events {
        let same = first.iter().zip(&ran.events).take_while(|(one, other)| one == other);
        let at = same.count();
        let around = at.saturating_sub(3)..;
        let show = |events: &[Event]| {
            let lines = events.get(around.clone()).unwrap_or_default().iter().take(8);
            lines.map(|event| format!("  {event:?}\n")).collect::<String>()
        };
        panic!(
            "seed {seed}: {} and {} events, of which the {at}th is the first that differs\n\
             actors:\n{}heap:\n{}",
            first.len(),
            ran.events.len(),
            show(&first),
            show(&ran.events)
        );
    }
    assert_eq!(replica.makespan, ran.makespan, "seed {seed}");
    assert_eq!(replica.charged(), ran.charged, "seed {seed}");
    assert_eq!(replica.attempts, count(&ran, |what| matches!(what, What::Opened { .. })));
    replica
}

fn count(ran: &Ran, is: impl Fn(&What) -> bool) -> u64 {
    ran.events.iter().filter(|event| is(&event.what)).count() as u64
}

const SEEDS: [u64; 2] = [1, 2];

fn fleet(limits: &str, agent: &str) -> String {
    format!(
        "[limits]\n{limits}\n[[agent]]\nname = \"coder\"\nmodel = \"claude-sonnet-4-5\"\n{agent}\n"
    )
}

#[test]
fn a_batch_within_a_cap_on_calls_at_once() {
    for seed in SEEDS {
        let text =
            fleet("max_concurrent = 7", "count = 20") + "[[workload]]\nname = \"t\"\ncount = 300\n";
        assert_eq!(agree(&text, seed).completed, 300);
    }
}
