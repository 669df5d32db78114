//! A store that is down for a while: nothing is lost, nothing is told too early, and it comes back.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::mpsc::UnboundedReceiver;

use super::support::*;
use crate::clock::{Clock, Timestamp};
use crate::store::{
    AuditFilter, Entry, Flush, GetHealth, Note, Reader, Store, StoreError, StoreNotice,
    StoreOptions, SyncFile, UsageQuery, Write,
};

const GOOD: u8 = 0;
const FAILS: u8 = 1;
const PANICS: u8 = 2;

/// A store whose disk does what it is told, with one task accepted and at work.
struct Disk {
    root: tempfile::TempDir,
    does: Arc<AtomicU8>,
}

impl Disk {
    fn new() -> Disk {
        Disk { root: tempfile::tempdir().unwrap(), does: Arc::new(AtomicU8::new(GOOD)) }
    }

    fn does(&self, what: u8) {
        self.does.store(what, Ordering::SeqCst);
    }

    fn dir(&self) -> &Path {
        self.root.path()
    }

    async fn start(&self) -> (Addr<Store>, UnboundedReceiver<StoreNotice>) {
        let does = self.does.clone();
        let sync = SyncFile::new(move |file: &fs::File| match does.load(Ordering::SeqCst) {
            GOOD => file.sync_all(),
            FAILS => Err(io::ErrorKind::StorageFull.into()),
            _ => panic!("the disk panics"),
        });
        let (store, _) = Store::sled_with(self.dir(), &StoreOptions::default(), sync).unwrap();
        let store = store.start();
        let notices = notices(&store);
        let at = Timestamp::EPOCH;
        let entries = vec![started(at), accepted(1, at), Entry::AttemptOpened(open(1, at))];
        store.send(Write { entries }).await.unwrap().unwrap();
        (store, notices)
    }

    /// How many calls are on record, tasks have ended, and audit events are kept.
    fn holds(&self) -> (u64, usize, Vec<&'static str>) {
        let reader = Reader::open(self.dir()).unwrap();
        assert_eq!(reader.verify().unwrap(), []);
        let calls = reader.usage(&UsageQuery::default()).unwrap().total.totals.calls;
        let mut names = Vec::new();
        let all = AuditFilter::default();
        let mut each = |event: crate::audit::AuditEvent| {
            names.push(event.kind.name());
            true
        };
        reader.audit(&all, &mut each).unwrap();
        (calls, reader.recovered().run.as_ref().map_or(0, |run| run.ended.len()), names)
    }
}

fn closing() -> Vec<Entry> {
    vec![Entry::AttemptClosed(record(1, Timestamp::EPOCH)), ended(1)]
}

#[test]
fn what_is_kept_is_answered_when_it_is_durable_and_not_before() {
    let disk = Disk::new();
    on_a_system(async {
        let (store, mut notices) = disk.start().await;
        disk.does(FAILS);
        let mut kept = std::pin::pin!(store.send(Write { entries: closing() }));
        // The first is the commit that fails, the second comes while the store is down.
        for _ in 0..2 {
            let flushed = store.send(Flush);
            tokio::select! {
                biased;
                told = &mut kept => panic!("told while the disk fails: {told:?}"),
                flushed = flushed => {
                    let flushed = flushed.unwrap();
                    assert!(matches!(flushed, Err(StoreError::Kept { .. })), "{flushed:?}");
                }
            }
        }
        assert!(matches!(notices.recv().await.unwrap(), StoreNotice::Down { .. }));
        disk.does(GOOD);
        kept.await.unwrap().unwrap();
        assert_eq!(notices.recv().await.unwrap(), StoreNotice::Back);
    });
    assert_eq!(disk.holds(), (1, 1, vec![]));
}

#[test]
fn what_was_written_again_after_a_failure_is_counted_once() {
    for how in [FAILS, PANICS] {
        let disk = Disk::new();
        on_a_system(async {
            let (store, mut notices) = disk.start().await;
            disk.does(how);
            // The first is the only one that ends an attempt and a task.
            let mut entries = closing();
            entries.extend(closing());
            let kept = store.send(Write { entries });
            let down = async {
                while !matches!(notices.recv().await, Some(StoreNotice::Down { .. })) {}
                disk.does(GOOD);
            };
            let (kept, ()) = futures_util::future::join(kept, down).await;
            kept.unwrap().unwrap();
            let health = store.send(GetHealth).await.unwrap();
            assert_eq!((health.records, health.ignored), (1, 2));
        });
        assert_eq!(disk.holds(), (1, 1, vec![]));
    }
}

#[test]
fn a_store_that_is_asked_all_the_time_comes_back_all_the_same() {
    let disk = Disk::new();
    on_a_system(async {
        let (store, mut notices) = disk.start().await;
        disk.does(FAILS);
        store.do_send(Note { entries: closing() });
        assert!(matches!(notices.recv().await.unwrap(), StoreNotice::Down { .. }));
        disk.does(GOOD);
        let clock = Clock::real();
        // More often than the store tries to come back; a store that never does fails the test.
        for asked in 0.. {
            assert!(asked < 3_000, "it never came back");
            if let Ok(notice) = notices.try_recv() {
                assert_eq!(notice, StoreNotice::Back);
                break;
            }
            store.do_send(Note { entries: Vec::new() });
            clock.sleep(Duration::from_millis(5)).await;
        }
    });
    assert_eq!(disk.holds(), (1, 1, vec![]));
}

#[test]
fn a_message_is_kept_or_refused_as_a_whole() {
    let disk = Disk::new();
    let at = Timestamp::EPOCH;
    let opening = || vec![Entry::AttemptOpened(open(2, at)), Entry::Audit(event(2, at))];
    on_a_system(async {
        let (store, mut notices) = disk.start().await;
        disk.does(FAILS);
        store.do_send(Note { entries: closing() });
        assert!(matches!(notices.recv().await.unwrap(), StoreNotice::Down { .. }));
        let refused = store.send(Write { entries: opening() }).await.unwrap();
        assert!(matches!(refused, Err(StoreError::Down { .. })), "{refused:?}");
        disk.does(GOOD);
        assert_eq!(notices.recv().await.unwrap(), StoreNotice::Back);
    });
    // No event tells of an attempt that never left.
    assert_eq!(disk.holds(), (1, 1, vec![]));
    assert_eq!(Reader::open(disk.dir()).unwrap().recovered().open_attempts, []);
}

#[test]
fn a_database_that_panics_is_a_store_that_is_down_and_comes_back() {
    let disk = Disk::new();
    on_a_system(async {
        let (store, mut notices) = disk.start().await;
        disk.does(PANICS);
        let kept = store.send(Write { entries: closing() });
        assert!(matches!(notices.recv().await, Some(StoreNotice::Down { .. })));
        let down = store.send(GetHealth).await.unwrap().down;
        assert!(down.as_ref().is_some_and(|why| why.contains("the disk panics")), "{down:?}");
        disk.does(GOOD);
        kept.await.unwrap().unwrap();
        assert_eq!(notices.recv().await.unwrap(), StoreNotice::Back);
    });
    assert_eq!(disk.holds(), (1, 1, vec![]));
}

#[test]
#[expect(clippy::async_yields_async, reason = "the answer is asked for when the store is gone")]
fn a_process_that_ends_while_the_store_is_down_has_told_nobody_that_it_is_durable() {
    let disk = Disk::new();
    let told = on_a_system(async {
        let (store, mut notices) = disk.start().await;
        disk.does(FAILS);
        let kept = store.send(Write { entries: closing() });
        assert!(matches!(notices.recv().await.unwrap(), StoreNotice::Down { .. }));
        drop(store);
        kept
    });
    // The system is gone, and with it the store: who waits is not told that it went well.
    let told = futures_util::FutureExt::now_or_never(told);
    assert!(!matches!(told, Some(Ok(Ok(())))), "{told:?}");
}

#[test]
fn faults_at_random_moments_lose_nothing_and_double_nothing() {
    let seed = std::env::var("IMPRESARIO_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    tracing::info!(seed);
    let mut random = fastrand::Rng::with_seed(seed);
    let disk = Disk::new();
    let at = Timestamp::EPOCH;
    let mut done = std::collections::BTreeSet::new();
    on_a_system(async {
        let (store, _) = disk.start().await;
        store.send(Write { entries: closing() }).await.unwrap().unwrap();
        let clock = Clock::real();
        for n in 2..60 {
            if random.u32(..6) == 0 {
                disk.does(FAILS);
            }
            // What is refused is asked again, as the runtime does.
            for begins in [accepted(n, at), Entry::AttemptOpened(open(n, at))] {
                while store.send(Write { entries: vec![begins.clone()] }).await.unwrap().is_err() {
                    disk.does(if random.bool() { GOOD } else { FAILS });
                    clock.sleep(Duration::from_millis(random.u64(..120))).await;
                }
            }
            store.do_send(Note { entries: vec![Entry::AttemptClosed(record(n, at))] });
            let ended = store.send(Write { entries: vec![ended(n)] });
            if random.u32(..6) == 0 {
                disk.does(FAILS);
                clock.sleep(Duration::from_millis(random.u64(..20))).await;
                disk.does(GOOD);
            }
            ended.await.unwrap().unwrap();
            done.insert(n.to_string());
        }
        disk.does(GOOD);
    });
    let (calls, _, _) = disk.holds();
    assert_eq!(calls, done.len() as u64 + 1, "seed {seed}");
    let reader = Reader::open(disk.dir()).unwrap();
    let run = reader.recovered().run.as_ref().unwrap();
    assert!(done.iter().all(|id| run.ended.keys().any(|k| k.as_str() == id)), "seed {seed}");
    assert_eq!((run.tasks.len(), reader.recovered().open_attempts.len()), (0, 0), "seed {seed}");
}
