//! Sled behind the log: whatever fails and whenever it ends, what was committed is there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::store::backend::Backend;
use crate::store::codec::{self, Changes};
use crate::store::logged::Logged;
use crate::store::sled_backend::Sled;
use crate::store::{StoreError, StoreOptions, SyncFile};

/// A folder whose syncs fail when they are told to.
struct Disk {
    root: tempfile::TempDir,
    /// Syncs until one fails; negative: none does.
    good: Arc<AtomicI64>,
}

impl Disk {
    fn new() -> Disk {
        Disk { root: tempfile::tempdir().unwrap(), good: Arc::new(AtomicI64::new(-1)) }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("store")
    }

    fn fails_after(&self, syncs: i64) {
        self.good.store(syncs, Ordering::SeqCst);
    }

    fn try_open(&self, log_bytes: u64) -> Result<Logged, StoreError> {
        let good = self.good.clone();
        let sync = SyncFile::new(move |file: &File| {
            if good.load(Ordering::SeqCst) == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            good.fetch_sub(1, Ordering::SeqCst);
            file.sync_data()
        });
        let options = StoreOptions { log_bytes, cache_bytes: 1 << 20 };
        Logged::open(&self.dir(), &options, sync)
    }

    fn open(&self, log_bytes: u64) -> Logged {
        self.try_open(log_bytes).unwrap()
    }
}

fn put(key: u8, value: &[u8]) -> Changes {
    Changes { puts: vec![(vec![key], value.to_vec())], removes: Vec::new() }
}

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// All rows but those of the store itself.
fn rows(backend: &dyn Backend) -> Rows {
    let mut rows = Rows::new();
    let mut each = |key: &[u8], value: &[u8]| {
        assert_eq!(rows.insert(key.to_vec(), value.to_vec()), None, "{key:?} is told twice");
        Ok(true)
    };
    backend.scan(&[0], b"l", &mut each).unwrap();
    rows
}

#[test]
fn a_commit_is_one_sync_and_a_row_that_changes_often_reaches_sled_once() {
    let disk = Disk::new();
    let mut store = disk.open(4 << 20);
    let before = fs::metadata(disk.dir().join("db")).unwrap().len();
    for n in 0..200u8 {
        disk.fails_after(1);
        store.commit(put(7, &[n; 4_000])).unwrap();
    }
    disk.fails_after(-1);
    assert_eq!(rows(&store), Rows::from([(vec![7], vec![199; 4_000])]));
    drop(store);
    let grown = fs::metadata(disk.dir().join("db")).unwrap().len() - before;
    assert!(grown < 200 * 4_000, "{grown} bytes");
    assert_eq!(rows(&disk.open(4 << 20)), Rows::from([(vec![7], vec![199; 4_000])]));
}

#[test]
fn the_log_does_not_outgrow_its_bound_by_more_than_a_commit() {
    let disk = Disk::new();
    let mut store = disk.open(2 << 20);
    for n in 0..1_000u32 {
        let value = vec![1; 20_000];
        store
            .commit(Changes { puts: vec![(n.to_be_bytes().into(), value)], removes: vec![] })
            .unwrap();
    }
    // One growth more than the bound.
    assert_eq!(fs::metadata(disk.dir().join("log")).unwrap().len(), 3 << 20);
}

#[test]
fn a_checkpoint_that_fails_at_either_sync_loses_nothing_and_brings_nothing_back() {
    for syncs in [0, 1] {
        for killed in [false, true] {
            let disk = Disk::new();
            let mut store = disk.open(4_096);
            store.commit(put(1, b"old")).unwrap();
            store.commit(Changes { puts: vec![], removes: vec![vec![1]] }).unwrap();
            disk.fails_after(syncs);
            // The log is full: this one has to make room first.
            assert!(store.commit(put(2, b"new")).is_err());
            assert!(store.commit(put(3, b"after a failure")).is_err(), "only a reopening helps");
            disk.fails_after(-1);
            if killed {
                store.kill();
                store = disk.open(4_096);
            } else {
                store.reopen().unwrap();
            }
            assert_eq!(rows(&store), Rows::new(), "{syncs} {killed}");
            store.commit(put(4, b"next")).unwrap();
            store.kill();
            assert_eq!(rows(&disk.open(1)), Rows::from([(vec![4], b"next".to_vec())]));
        }
    }
}

#[test]
fn a_failed_sync_of_the_log_is_latched_until_it_is_read_again() {
    let disk = Disk::new();
    let mut store = disk.open(4 << 20);
    store.commit(put(1, b"a")).unwrap();
    disk.fails_after(0);
    assert!(store.commit(put(2, b"b")).is_err());
    disk.fails_after(-1);
    // The disk is good again, but what it made of the failed sync is not known.
    assert!(matches!(store.commit(put(3, b"c")), Err(StoreError::Down { .. })));
    assert_eq!(store.get(&[1]).unwrap().as_deref(), Some(&b"a"[..]));
    store.reopen().unwrap();
    store.commit(put(3, b"c")).unwrap();
    let read = rows(&store);
    assert_eq!(
        (read.get(&[1][..]), read.get(&[3][..])),
        (Some(&b"a".to_vec()), Some(&b"c".to_vec()))
    );
    store.kill();
    assert_eq!(rows(&disk.open(1)), read);
}

#[test]
fn a_store_that_cannot_be_checkpointed_as_it_closes_is_replayed() {
    let disk = Disk::new();
    let mut store = disk.open(4 << 20);
    store.commit(put(1, b"a")).unwrap();
    disk.fails_after(0);
    drop(store);
    let refused = disk.try_open(4 << 20).unwrap_err();
    assert!(matches!(refused, StoreError::Io { .. }), "{refused}");
    disk.fails_after(-1);
    assert_eq!(rows(&disk.open(4 << 20)), Rows::from([(vec![1], b"a".to_vec())]));
}

#[test]
fn a_log_of_before_the_last_checkpoint_brings_nothing_back() {
    let disk = Disk::new();
    let path = disk.dir().join("log");
    let mut store = disk.open(4 << 20);
    store.commit(put(1, b"a")).unwrap();
    let stale = fs::read(&path).unwrap();
    drop(store);
    let mut store = disk.open(4 << 20);
    store.commit(Changes { puts: vec![], removes: vec![vec![1]] }).unwrap();
    drop(store);
    fs::write(&path, &stale).unwrap();
    assert_eq!(rows(&disk.open(4 << 20)), Rows::new());

    // The other way round: a database of before, with a log that goes on where it does not.
    let saved = disk.root.path().join("saved");
    copy(&disk.dir(), &saved);
    for n in 0..2 {
        let mut store = disk.open(4 << 20);
        store.commit(put(n, b"b")).unwrap();
        if n == 0 { drop(store) } else { store.kill() }
    }
    fs::copy(&path, saved.join("log")).unwrap();
    let error = Logged::open(&saved, &StoreOptions::default(), SyncFile::real()).unwrap_err();
    assert!(error.to_string().contains("later state than the database"), "{error}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn a_store_of_the_older_format_is_opened_and_gets_a_log() {
    let disk = Disk::new();
    let mut store = disk.open(1);
    for n in 0..20 {
        store.commit(put(n, b"value")).unwrap();
    }
    drop(store);
    let old = || {
        let mut sled = Sled::open(&disk.dir(), 1 << 20, SyncFile::real()).unwrap();
        sled.take_over([(codec::MARK, None)]).unwrap();
        sled.set_format(1);
    };
    old();
    fs::remove_file(disk.dir().join("log")).unwrap();
    let mut store = disk.open(4 << 20);
    assert_eq!(rows(&store).len(), 20);
    store.commit(put(99, b"new")).unwrap();
    store.kill();
    let sled = Sled::open(&disk.dir(), 1 << 20, SyncFile::real()).unwrap();
    let format = sled.get(codec::FORMAT_KEY).unwrap().unwrap();
    drop(sled);
    assert_eq!(format, 2u32.to_be_bytes(), "an older program would not see the log");
    assert_eq!(rows(&disk.open(4 << 20)).len(), 21);

    // Killed before the format was raised: the log that it had made is taken.
    old();
    fs::write(disk.dir().join("log"), "").unwrap();
    assert_eq!(rows(&disk.open(4 << 20)).len(), 21);
}

/// Changes of a few of a few keys.
fn changes(random: &mut fastrand::Rng) -> Changes {
    let mut changes = Changes::default();
    for _ in 0..random.usize(0..6) {
        let key = vec![b'a' + random.u8(..8), random.u8(..3)];
        if random.u8(..4) == 0 {
            changes.removes.push(key);
        } else {
            let len = if random.u8(..20) == 0 { 9_000 } else { random.usize(..60) };
            changes.puts.push((key, vec![random.u8(..); len]));
        }
    }
    changes
}

fn applied(rows: &Rows, changes: &Changes) -> Rows {
    let mut rows = rows.clone();
    for key in &changes.removes {
        rows.remove(key);
    }
    rows.extend(changes.puts.iter().cloned());
    rows
}

/// Whatever is read in part is what a map tells.
fn assert_scans_agree(store: &dyn Backend, model: &Rows, random: &mut fastrand::Rng, seed: u64) {
    let edge = |random: &mut fastrand::Rng| vec![b'a' + random.u8(..9), random.u8(..3)];
    let (from, to, key) = (edge(random), edge(random), edge(random));
    let most = random.usize(1..12);
    let mut read = Vec::new();
    let mut each = |key: &[u8], value: &[u8]| {
        read.push((key.to_vec(), value.to_vec()));
        Ok(read.len() < most)
    };
    store.scan(&from, &to, &mut each).unwrap();
    let expected: Vec<_> =
        model.iter().filter(|(key, _)| (&from..=&to).contains(key)).take(most).collect();
    assert!(read.iter().map(|(key, value)| (key, value)).eq(expected), "seed {seed}");
    assert_eq!(store.get(&key).unwrap().as_ref(), model.get(&key), "seed {seed}");
}

#[test]
fn random_commits_failures_and_kills_leave_what_a_map_would_hold() {
    let first = std::env::var("IMPRESARIO_SEED").ok().and_then(|seed| seed.parse().ok());
    let first = first.unwrap_or_else(|| fastrand::u64(..1 << 48));
    for seed in first..first + 12 {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = Disk::new();
        let log_bytes = [1, 20_000, 4 << 20][random.usize(..3)];
        let mut store = disk.open(log_bytes);
        let mut model = Rows::new();
        for _ in 0..120 {
            if random.u8(..8) == 0 {
                disk.fails_after(random.i64(..4));
            }
            let changes = changes(&mut random);
            match store.commit(changes.clone()) {
                Ok(()) => {
                    model = applied(&model, &changes);
                    if random.u8(..12) == 0 {
                        store.kill();
                        tear(&disk.dir().join("log"), &mut random);
                        disk.fails_after(-1);
                        store = disk.open(log_bytes);
                    }
                }
                Err(_) => {
                    disk.fails_after(if random.bool() { random.i64(..6) } else { -1 });
                    if random.bool() || store.reopen().is_err() {
                        store.kill();
                        disk.fails_after(-1);
                        store = disk.open(log_bytes);
                    }
                    // It may have got there, as a whole.
                    let read = rows(&store);
                    let after = applied(&model, &changes);
                    assert!(read == model || read == after, "seed {seed}");
                    model = read;
                }
            }
            assert_scans_agree(&store, &model, &mut random, seed);
        }
        disk.fails_after(-1);
        drop(store);
        assert_eq!(rows(&disk.open(log_bytes)), model, "seed {seed}");
    }
}

/// A commit was under way: some bytes of it stand after the last frame that counts.
fn tear(log: &Path, random: &mut fastrand::Rng) {
    let mut bytes = fs::read(log).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let end = used.next_multiple_of(4_096);
    bytes.resize(bytes.len().max(end + 20_000), 0);
    for byte in &mut bytes[end..end + random.usize(..20_000)] {
        *byte = random.u8(..);
    }
    fs::write(log, bytes).unwrap();
}
