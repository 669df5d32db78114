//! A store in memory whose book panics while it files.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::prelude::*;

use super::support::{on_a_system, open, record};
use crate::clock::Timestamp;
use crate::panics;
use crate::store::backend::{Backend, Each, Memory};
use crate::store::codec::Changes;
use crate::store::error::StoreError;
use crate::store::{Entry, GetHealth, GetUsage, Observer, Store, UsageQuery, Write};

/// Panics at its second commit.
#[derive(Debug)]
struct Panics {
    memory: Memory,
    commits: u32,
    /// Whether that is after it has taken what it was given.
    late: bool,
}

impl Backend for Panics {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.memory.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], each: &mut Each<'_>) -> Result<(), StoreError> {
        self.memory.scan(from, to, each)
    }

    fn commit(&mut self, changes: Changes) -> Result<(), StoreError> {
        self.commits += 1;
        let panics = self.commits == 2;
        assert!(!panics || self.late, "scripted panic");
        self.memory.commit(changes)?;
        assert!(!panics, "scripted panic");
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        self.memory.reopen()
    }
}

#[test]
fn what_was_pending_when_the_book_panicked_is_filed_exactly_once() {
    for (late, unwinds) in [(false, false), (true, false), (false, true), (true, true)] {
        on_a_system(async {
            let backend = Panics { memory: Memory::default(), commits: 0, late };
            let store = Store::in_memory(Box::new(backend), None);
            let desk = store.desk().unwrap();
            let store = store.start();
            let at = Timestamp::from_millis(1_000);
            for n in 0..600 {
                let entries =
                    vec![Entry::AttemptOpened(open(n, at)), Entry::AttemptClosed(record(n, at))];
                if unwinds {
                    panics::while_unwinding(|| desk.write(entries).unwrap());
                } else {
                    store.send(Write { entries }).await.unwrap().unwrap();
                }
            }
            // Where it panicked in the middle of a question, that is asked again.
            let usage = async || store.send(GetUsage(UsageQuery::default())).await.unwrap();
            let report = match usage().await {
                Ok(report) => report,
                Err(_) => usage().await.unwrap(),
            };
            let totals = report.total.totals;
            let cost: u64 = (0..600).map(|n| n + 1).sum();
            assert_eq!(
                (totals.calls, totals.cost.nanos()),
                (600, cost),
                "late: {late}, unwinds: {unwinds}"
            );
            let health = store.send(GetHealth).await.unwrap();
            assert_eq!(health.records, 600, "late: {late}, unwinds: {unwinds}");
        });
    }
}

#[test]
fn a_second_end_counts_for_nothing_in_memory_either() {
    on_a_system(async {
        let store = Store::memory();
        let desk = store.desk().unwrap();
        let store = store.start();
        let at = Timestamp::from_millis(1_000);
        let closed = || Entry::AttemptClosed(record(1, at));
        desk.write(vec![Entry::AttemptOpened(open(1, at)), closed(), closed()]).unwrap();
        desk.write(vec![closed()]).unwrap();
        let usage = store.send(GetUsage(UsageQuery::default())).await.unwrap().unwrap();
        let health = store.send(GetHealth).await.unwrap();
        assert_eq!((usage.total.totals.calls, health.records, health.ignored), (1, 1, 2));
    });
}

#[test]
fn an_observer_that_panics_is_shown_what_comes_after_it_whatever_unwound_already() {
    on_a_system(async {
        let seen = Arc::new(AtomicUsize::new(0));
        let sees = Arc::clone(&seen);
        let observe = move |_: &[Entry]| {
            assert!(sees.fetch_add(1, Ordering::SeqCst) > 1, "scripted panic");
        };
        let desk = Store::observed(Observer::new(observe)).desk().unwrap();
        let write = || desk.write(vec![Entry::AttemptOpened(open(1, Timestamp::EPOCH))]);
        panics::while_unwinding(|| assert!(write().is_err()));
        assert!(write().is_err());
        assert!(write().is_ok());
        assert_eq!(seen.load(Ordering::SeqCst), 3);
    });
}
