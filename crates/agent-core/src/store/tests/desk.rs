//! A store in memory whose book panics while it files.

use actix::prelude::*;

use super::support::{on_a_system, open, record};
use crate::clock::Timestamp;
use crate::store::backend::{Backend, Each, Memory};
use crate::store::codec::Changes;
use crate::store::error::StoreError;
use crate::store::{Entry, GetUsage, Store, UsageQuery, Write};

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
    for late in [false, true] {
        on_a_system(async {
            let backend = Panics { memory: Memory::default(), commits: 0, late };
            let store = Store::in_memory(Box::new(backend), None).start();
            let at = Timestamp::from_millis(1_000);
            for n in 0..600 {
                let entries =
                    vec![Entry::AttemptOpened(open(n, at)), Entry::AttemptClosed(record(n, at))];
                store.send(Write { entries }).await.unwrap().unwrap();
            }
            // Where it panicked in the middle of a question, that is asked again.
            let usage = async || store.send(GetUsage(UsageQuery::default())).await.unwrap();
            let report = match usage().await {
                Ok(report) => report,
                Err(_) => usage().await.unwrap(),
            };
            let totals = report.total.totals;
            let cost: u64 = (0..600).map(|n| n + 1).sum();
            assert_eq!((totals.calls, totals.cost.nanos()), (600, cost), "late: {late}");
        });
    }
}
