//! Processes that are killed, and power that is cut: nothing acknowledged is lost.

use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use actix::Actor;

use super::support::*;
use crate::clock::Timestamp;
use crate::store::{
    Reader, Recovered, Store, StoreError, StoreOptions, SyncFile, UsageQuery, Write,
};

const CHILD: &str = "IMPRESARIO_STORE_CHILD";
const NO_SYNC: &str = "IMPRESARIO_STORE_NO_SYNC";
const LOG_BYTES: &str = "IMPRESARIO_STORE_LOG_BYTES";

/// Not a test of its own: the process that is killed, which says what was acknowledged.
#[test]
fn a_child_writes_until_it_is_killed() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let no_sync = std::env::var(NO_SYNC).is_ok();
    let sync = move |file: &fs::File| if no_sync { Ok(()) } else { file.sync_data() };
    let log_bytes = std::env::var(LOG_BYTES).unwrap().parse().unwrap();
    let options = StoreOptions { log_bytes, ..StoreOptions::default() };
    let (store, recovered) =
        Store::sled_with(Path::new(&dir), &options, SyncFile::new(sync)).unwrap();
    let first = next_task(&recovered);
    on_a_system(async move {
        let store = store.start();
        store.send(Write { entries: vec![started(Timestamp::EPOCH)] }).await.unwrap().unwrap();
        let writers = (0..16).map(|lane| {
            let store = store.clone();
            async move {
                for n in (first + lane..).step_by(16) {
                    let entries = whole_task(n, Timestamp::from_millis(n * 1_000));
                    store.send(Write { entries }).await.unwrap().unwrap();
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "\nack {n}").and_then(|()| out.flush()).unwrap();
                }
            }
        });
        futures_util::future::join_all(writers).await;
    });
}

fn next_task(recovered: &Recovered) -> u64 {
    let ended = recovered.run.iter().flat_map(|run| run.ended.keys());
    ended.filter_map(|id| id.as_str().parse::<u64>().ok()).max().map_or(0, |last| last + 1)
}

/// Runs the child until it has acknowledged `acks` tasks, kills it, and returns all of them.
///
/// The round decides how often it takes its log over: with each commit, now and then, never.
fn killed_after(acks: usize, dir: &Path, round: usize, environment: &[(&str, &Path)]) -> Vec<u64> {
    let log_bytes = ["1", "100000", "4194304"][round % 3];
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::crash::a_child_writes_until_it_is_killed", "--nocapture"])
        .env(CHILD, dir)
        .env(LOG_BYTES, log_bytes)
        .envs(environment.iter().copied())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        if let Some(n) = line.unwrap().strip_prefix("ack ").and_then(|n| n.parse().ok()) {
            acknowledged.push(n);
        }
        if acknowledged.len() == acks {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(acknowledged.len() >= acks, "the child ended by itself");
    acknowledged
}

/// How many of the acknowledged tasks are not there; all of them where it cannot be opened.
fn missing(dir: &Path, acknowledged: &[u64]) -> usize {
    let reader: Result<Reader, StoreError> = Reader::open(dir);
    let Ok(reader) = reader else { return acknowledged.len() };
    let mut found = std::collections::BTreeSet::new();
    let read = reader.records(Timestamp::EPOCH, Timestamp::NEVER, &mut |record| {
        let id = record.subject.task_id.as_deref().and_then(|id| id.parse::<u64>().ok());
        found.extend(id);
        true
    });
    let ended = reader.recovered().run.iter().flat_map(|run| run.ended.keys());
    let ended: std::collections::BTreeSet<u64> =
        ended.filter_map(|id| id.as_str().parse().ok()).collect();
    if read.is_err() || !reader.verify().is_ok_and(|differences| differences.is_empty()) {
        return acknowledged.len();
    }
    let total = reader.usage(&UsageQuery::default()).unwrap().total.totals.calls;
    assert_eq!(total, found.len() as u64, "a record is there twice");
    acknowledged.iter().filter(|n| !found.contains(n) || !ended.contains(n)).count()
}

#[test]
fn a_process_that_is_killed_loses_nothing_that_it_acknowledged() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let mut random = fastrand::Rng::with_seed(7);
    let mut acknowledged = Vec::new();
    for round in 0..6 {
        let acks = random.usize(1..300);
        acknowledged.extend(killed_after(acks, &dir, round, &[]));
        assert_eq!(missing(&dir, &acknowledged), 0, "seed 7, round {round}, {acks} acks");
    }
}

/// Compiles the layer that keeps a copy of only what was synced.
fn power_cut_layer(root: &Path) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tools/powercut.c");
    let layer = root.join("powercut.so");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-w", "-o"])
        .args([&layer, &source])
        .args(["-ldl", "-lpthread"])
        .status();
    compiled.is_ok_and(|status| status.success()).then_some(layer)
}

/// The acknowledged tasks that a power cut loses, over some rounds.
fn lost_to_power_cuts(layer: &Path, root: &Path, with_sync: bool) -> usize {
    let mut random = fastrand::Rng::with_seed(11);
    let mut lost = 0;
    for round in 0..4 {
        let named = |what: &str| root.join(format!("{what}-{with_sync}-{round}"));
        let (live, image) = (named("live"), named("image"));
        fs::create_dir_all(&live).unwrap();
        fs::create_dir_all(&image).unwrap();
        let mut environment =
            vec![("LD_PRELOAD", layer), ("PC_ROOT", &*live), ("PC_SHADOW", &*image)];
        if !with_sync {
            environment.push((NO_SYNC, Path::new("1")));
        }
        let acknowledged = killed_after(random.usize(20..400), &live, round, &environment);
        lost += missing(&image, &acknowledged);
    }
    lost
}

#[test]
fn a_power_cut_loses_nothing_acknowledged_and_without_the_sync_it_would() {
    let root = tempfile::tempdir().unwrap();
    let Some(layer) = power_cut_layer(root.path()) else {
        tracing::error!("SKIPPED: no C compiler, so no power was cut");
        return;
    };
    assert_eq!(lost_to_power_cuts(&layer, root.path(), true), 0, "seed 11");
    assert!(lost_to_power_cuts(&layer, root.path(), false) > 0, "the layer has no effect");
}

/// Sled keeps what is above 128 KiB in files of its own and never syncs them.
#[test]
fn nothing_that_is_written_lands_in_a_file_that_is_never_synced() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = Store::sled(root.path(), &StoreOptions::default()).unwrap();
    on_a_system(async move {
        let store = store.start();
        for commit in 0..60 {
            let tasks = commit * 400..commit * 400 + if commit % 10 == 0 { 400 } else { 16 };
            let entries =
                tasks.flat_map(|n| whole_task(n, Timestamp::from_millis(n * 50))).collect();
            store.send(Write { entries }).await.unwrap().unwrap();
        }
    });
    let apart: Vec<_> = fs::read_dir(root.path().join("blobs")).unwrap().collect();
    assert!(apart.is_empty(), "{} values are in files of their own", apart.len());
}
