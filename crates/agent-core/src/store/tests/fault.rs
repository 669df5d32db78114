//! Faults of the disk and of what stands on it.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::Actor;

use super::support::*;
use crate::clock::Timestamp;
use crate::money::NanoUsd;
use crate::store::disk::enough;
use crate::store::sled_backend::Sled;
use crate::store::{
    AuditFilter, Entry, GetHealth, Reader, Store, StoreError, StoreNotice, StoreOptions, SyncFile,
    UsageQuery, Write,
};

fn sled(dir: &Path) -> Result<(Store, crate::store::Recovered), StoreError> {
    Store::sled(dir, &StoreOptions::default())
}

fn folder() -> (tempfile::TempDir, std::path::PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    (root, dir)
}

#[test]
fn a_second_holder_a_file_and_an_empty_folder_are_refused_by_name() {
    let (root, dir) = folder();
    assert!(matches!(Reader::open(&dir), Err(StoreError::Missing { .. })));
    let held = sled(&dir).unwrap();
    let error = Reader::open(&dir).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    assert!(error.to_string().contains(dir.to_str().unwrap()));
    drop(held);
    let file = root.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(matches!(Reader::open(&file), Err(StoreError::NotAFolder { .. })));
    assert!(matches!(sled(&file.join("below")), Err(StoreError::NotAFolder { .. })));
    assert!(matches!(sled(&file), Err(StoreError::NotAFolder { .. })));
}

/// As a child has it that was started by the process before, until it runs its own program.
#[test]
fn a_lock_that_is_let_go_in_a_moment_is_waited_for() {
    let (_root, dir) = folder();
    written(&dir, 3);
    let held = fs::File::options().read(true).write(true).open(dir.join("db")).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    std::thread::scope(|scope| {
        let opened = scope.spawn(|| Reader::open(&dir).map(drop));
        #[expect(clippy::disallowed_methods, reason = "the lock is of the machine, not of a run")]
        std::thread::sleep(std::time::Duration::from_millis(30));
        drop(held);
        opened.join().unwrap().unwrap();
    });
}

#[test]
fn a_folder_that_cannot_be_written_to_is_refused() {
    // A folder of the kernel is read-only even for root.
    if let Err(error) = sled(Path::new("/proc/impresario-store")) {
        assert!(error.to_string().contains("/proc/impresario-store"), "{error}");
    } else {
        panic!("a store was made in /proc");
    }
    let denied = StoreError::io(Path::new("d"), "x", io::ErrorKind::ReadOnlyFilesystem.into());
    assert!(matches!(denied, StoreError::ReadOnly { .. }));
}

#[test]
fn a_newer_format_and_a_foreign_database_are_refused_and_left_alone() {
    let (root, dir) = folder();
    Sled::open(&dir, 8 << 20, SyncFile::real()).unwrap().set_format(3);
    let error = sled(&dir).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 3, known: 2, .. }), "{error}");

    let foreign = root.path().join("foreign");
    let db = sled::open(&foreign).unwrap();
    db.insert("theirs", "1").unwrap();
    drop(db);
    assert!(matches!(sled(&foreign), Err(StoreError::Foreign { .. })));
    assert!(sled::open(&foreign).unwrap().contains_key("theirs").unwrap());

    let other = root.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("db"), "something else").unwrap();
    assert!(matches!(sled(&other), Err(StoreError::Foreign { .. })));
    assert_eq!(fs::read(other.join("db")).unwrap(), b"something else");
}

#[test]
fn too_little_space_is_refused_before_anything_is_touched() {
    let error = enough(Path::new("data"), 10 << 20, 64 << 20).unwrap_err();
    assert_eq!(
        error.to_string(),
        "10 MiB are free for the store data, 64 MiB are needed; free space"
    );
    enough(Path::new("data"), 64 << 20, 64 << 20).unwrap();
}

fn written(dir: &Path, tasks: u64) {
    let (store, _) = sled(dir).unwrap();
    on_a_system(async {
        let store = store.start();
        store.send(Write { entries: vec![started(Timestamp::EPOCH)] }).await.unwrap().unwrap();
        for n in 0..tasks {
            let entries = whole_task(n, Timestamp::from_millis(n));
            store.send(Write { entries }).await.unwrap().unwrap();
        }
    });
}

#[test]
fn a_left_over_index_file_is_removed_and_a_damaged_index_is_rebuilt() {
    let (root, dir) = folder();
    written(&dir, 20);
    let calls = || {
        let usage = Reader::open(&dir).unwrap().usage(&UsageQuery::default()).unwrap();
        usage.total.totals.calls
    };
    fs::write(dir.join("snap.00000000000000FF.generating"), "").unwrap();
    assert_eq!(calls(), 20);
    assert!(!dir.join("snap.00000000000000FF.generating").exists());

    fs::write(dir.join("snap.00FFFFFFFFFFFFFF"), "torn").unwrap();
    assert_eq!(calls(), 20);
    for file in ["db", "log"] {
        assert!(root.path().join("store.damaged-1").join(file).exists());
    }
}

#[test]
fn a_failed_sync_is_latched_and_what_must_not_be_lost_is_written_when_the_store_is_back() {
    let (_root, dir) = folder();
    let fails = Arc::new(AtomicBool::new(false));
    let seam = fails.clone();
    let sync = move |file: &fs::File| {
        if seam.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.sync_all()
    };
    let (store, _) = Store::sled_with(&dir, &StoreOptions::default(), SyncFile::new(sync)).unwrap();
    let at = Timestamp::EPOCH;
    on_a_system(async {
        let store = store.start();
        let mut notices = notices(&store);
        let write = |entries| {
            let sent = store.send(Write { entries });
            async move { sent.await.unwrap() }
        };
        write(vec![started(at), accepted(1, at), Entry::AttemptOpened(open(1, at))]).await.unwrap();

        fails.store(true, Ordering::SeqCst);
        let opening = vec![accepted(2, at), Entry::AttemptOpened(open(2, at))];
        let refused = write(opening.clone()).await;
        assert!(matches!(refused, Err(StoreError::Down { .. })), "{refused:?}");
        let kept = write(vec![Entry::AttemptClosed(record(1, at)), ended(1)]);
        assert!(matches!(write(opening.clone()).await, Err(StoreError::Down { .. })));
        let health = store.send(GetHealth).await.unwrap();
        assert_eq!((health.backlog, health.down.is_some()), (2, true));
        assert!(matches!(notices.recv().await.unwrap(), StoreNotice::Down { .. }));

        fails.store(false, Ordering::SeqCst);
        assert_eq!(notices.recv().await.unwrap(), StoreNotice::Back);
        kept.await.unwrap();
        write(vec![accepted(3, at)]).await.unwrap();
        assert_eq!(store.send(GetHealth).await.unwrap().down, None);
    });
    let reader = Reader::open(&dir).unwrap();
    let run = reader.recovered().run.as_ref().unwrap();
    let ids: Vec<_> = run.tasks.iter().map(|left| left.task.id.to_string()).collect();
    assert_eq!((ids, run.ended.len()), (vec!["3".to_owned()], 1));
    assert_eq!(reader.recovered().open_attempts, []);
    assert_eq!(reader.usage(&UsageQuery::default()).unwrap().total.totals.calls, 1);
    assert_eq!(reader.verify().unwrap(), []);
}

#[test]
fn an_attempt_that_a_killed_process_left_open_is_charged_at_its_bound_once() {
    let (_root, dir) = folder();
    let at = Timestamp::EPOCH;
    on_a_system(async {
        let store = sled(&dir).unwrap().0.start();
        let entries = vec![started(at), accepted(4, at), Entry::AttemptOpened(open(4, at))];
        store.send(Write { entries }).await.unwrap().unwrap();
    });
    let now = Timestamp::from_millis(90_000);
    for times in 0..2 {
        let (mut store, mut recovered) = sled(&dir).unwrap();
        let settled = store.settle_left_open(&mut recovered, now).unwrap();
        assert_eq!(settled.len(), 1 - times);
        assert_eq!(recovered.open_attempts, []);
        let spent = recovered.run.unwrap().tasks[0].spent;
        assert_eq!((spent.presumed, spent.failed), (NanoUsd::from_nanos(1_000), 1));
    }
    let reader = Reader::open(&dir).unwrap();
    let total = reader.usage(&UsageQuery::default()).unwrap().total.totals;
    assert_eq!((total.calls, total.presumed), (1, NanoUsd::from_nanos(1_000)));
    let mut events = Vec::new();
    reader
        .audit(&AuditFilter::default(), &mut |event| {
            events.push(event.kind.name());
            true
        })
        .unwrap();
    assert_eq!(events, ["usage_presumed"]);
}

#[test]
fn who_waits_while_the_store_closes_is_told_that_what_was_written_is_durable() {
    let (_root, dir) = folder();
    let slow = Arc::new(AtomicBool::new(false));
    let slows = slow.clone();
    let sync = SyncFile::new(move |file| {
        if slows.load(Ordering::SeqCst) {
            #[expect(clippy::disallowed_methods, reason = "the store's thread is slow, no other")]
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        file.sync_all()
    });
    let (store, _) = Store::sled_with(&dir, &StoreOptions::default(), sync).unwrap();
    let told = on_a_system(async move {
        let store = store.start();
        store.send(Write { entries: vec![started(Timestamp::EPOCH)] }).await.unwrap().unwrap();
        slow.store(true, Ordering::SeqCst);
        let write = store.send(Write { entries: vec![accepted(1, Timestamp::EPOCH)] });
        let waits = actix::spawn(write);
        // One turn for the message to reach the store, whose last address then goes.
        tokio::task::yield_now().await;
        drop(store);
        waits.await.unwrap()
    });
    told.unwrap().unwrap();
    let reader = Reader::open(&dir).unwrap();
    assert_eq!(reader.recovered().run.as_ref().unwrap().tasks.len(), 1);
}
