//! The whole system over a store that goes down while it works.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, io};

use futures_util::future::LocalBoxFuture;
use tokio::sync::Notify;

use crate::agent::AgentSpec;
use crate::clock::{Clock, Timestamp, VirtualClock};
use crate::llm::{Answer, Block, LlmClient, LlmError, Request, StopReason};
use crate::store::{Reader, StoreError, StoreNotice, SyncFile, UsageQuery};
use crate::system::{AgentSystem, AgentSystemBuilder, Ended, SubmitError, Unfinished};
use crate::task::Task;
use crate::usage::Usage;
use crate::worker::services::lock;

mod ends;
mod limited;
mod rebuilt;
mod shared;
mod tool;
mod wakes;

/// A provider that answers when it is let.
#[derive(Debug, Clone, Default)]
struct Gate(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    sent: AtomicUsize,
    open: AtomicBool,
    opened: Notify,
}

impl Gate {
    fn sent(&self) -> usize {
        self.0.sent.load(Ordering::SeqCst)
    }

    fn open(&self) {
        self.0.open.store(true, Ordering::SeqCst);
        self.0.opened.notify_waiters();
    }
}

impl LlmClient for Gate {
    fn complete<'a>(&'a self, _: &'a Request) -> LocalBoxFuture<'a, Result<Answer, LlmError>> {
        Box::pin(async move {
            self.0.sent.fetch_add(1, Ordering::SeqCst);
            loop {
                let opened = self.0.opened.notified();
                if self.0.open.load(Ordering::SeqCst) {
                    break;
                }
                opened.await;
            }
            Ok(Answer {
                content: vec![Block::Text { text: "done".into() }],
                stop_reason: Some(StopReason::EndTurn),
                usage: Usage { input_tokens: 100, output_tokens: 50, ..Usage::default() },
                ..Answer::default()
            })
        })
    }

    fn provider(&self) -> &str {
        "gate"
    }
}

/// A folder whose disk fails on demand.
struct Disk {
    root: tempfile::TempDir,
    fails: Arc<AtomicBool>,
    syncs: Arc<AtomicUsize>,
    /// From this sync on each waits for the lock, which a test may hold.
    slow_from: Arc<AtomicUsize>,
    slow: Arc<Mutex<()>>,
}

impl Disk {
    fn new() -> Disk {
        Disk {
            root: tempfile::tempdir().unwrap(),
            fails: Arc::default(),
            syncs: Arc::default(),
            slow_from: Arc::new(AtomicUsize::new(usize::MAX)),
            slow: Arc::default(),
        }
    }

    fn fails(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }

    fn dir(&self) -> &Path {
        self.root.path()
    }

    /// Two workers over this disk, which may call as often as they like.
    fn system(&self, client: &Gate) -> AgentSystemBuilder {
        let (fails, syncs) = (self.fails.clone(), self.syncs.clone());
        let (slow_from, slow) = (self.slow_from.clone(), self.slow.clone());
        let sync = SyncFile::new(move |file: &fs::File| {
            if syncs.fetch_add(1, Ordering::SeqCst) >= slow_from.load(Ordering::SeqCst) {
                drop(lock(&slow));
            }
            if fails.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            file.sync_all()
        });
        let agent = AgentSpec::new("clerk", "claude-haiku-4-5").count(2).max_tokens(100);
        AgentSystem::builder(client.clone()).agent(agent).store(self.dir()).sync(sync)
    }

    /// Opens the store when the system before has let go of it: the database's own threads may
    /// hold its lock for a moment longer.
    fn reader(&self) -> Reader {
        for _ in 0..1_000 {
            match Reader::open(self.dir()) {
                Err(StoreError::InUse { .. }) => {
                    #[expect(clippy::disallowed_methods, reason = "other threads are waited for")]
                    std::thread::sleep(Duration::from_millis(5));
                }
                opened => return opened.unwrap(),
            }
        }
        panic!("the store is never let go of");
    }

    /// Tasks with an outcome on disk, tasks without, calls on record, attempts left open.
    fn holds(&self) -> (usize, usize, u64, usize) {
        let reader = self.reader();
        assert_eq!(reader.verify().unwrap(), []);
        let calls = reader.usage(&UsageQuery::default()).unwrap().total.totals.calls;
        let left = reader.recovered();
        let run = left.run.as_ref();
        let ended = run.map_or(0, |run| run.ended.len());
        (ended, run.map_or(0, |run| run.tasks.len()), calls, left.open_attempts.len())
    }
}

fn on_a_system<T>(test: impl Future<Output = T>) -> T {
    actix::System::new().block_on(test)
}

/// Waits until `holds`; a test that waits in vain fails.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let clock = Clock::real();
    for _ in 0..6_000 {
        if holds().await {
            return;
        }
        clock.sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

async fn submitted(system: &AgentSystem, tasks: u32) {
    for id in 0..tasks {
        system.submit(Task::new(id.to_string(), "a task")).await.unwrap();
    }
}

async fn is_down(system: &AgentSystem) -> bool {
    system.store.send(crate::store::GetHealth).await.unwrap().down.is_some()
}

#[test]
fn no_attempt_starts_while_the_store_is_down_and_no_outcome_is_told_before_it_is_back() {
    let (disk, gate) = (Disk::new(), Gate::default());
    on_a_system(async {
        let system = disk.system(&gate).start().await.unwrap();
        let mut outcomes = system.outcomes();
        submitted(&system, 6).await;
        until("two attempts", async || gate.sent() == 2).await;
        disk.fails(true);
        gate.open();
        until("the store is down", async || is_down(&system).await).await;
        // Both workers have their answers, and no more work.
        until("idle", async || system.snapshot().await.unwrap().running == 0).await;
        assert!(outcomes.try_next().is_none(), "told, and not durable");
        assert_eq!(gate.sent(), 2);
        let refused = system.submit(Task::new("late", "a task")).await;
        assert!(matches!(refused, Err(SubmitError::Store(_))), "{refused:?}");
        let refused = system.run(Task::new("later", "a task")).await;
        assert!(matches!(refused, Err(SubmitError::Store(_))), "{refused:?}");

        disk.fails(false);
        let mut told = BTreeMap::<String, u32>::new();
        for _ in 0..6 {
            *told.entry(outcomes.next().await.unwrap().task_id.to_string()).or_default() += 1;
        }
        assert!(told.len() == 6 && told.values().all(|times| *times == 1), "{told:?}");
        assert_eq!(gate.sent(), 6);
        system.interrupt().await;
    });
    assert_eq!(disk.holds(), (6, 0, 6, 0));
}

#[test]
fn a_run_that_gives_up_on_its_store_stops_and_goes_on_later_without_a_task_lost() {
    let (disk, gate) = (Disk::new(), Gate::default());
    let told = on_a_system(async {
        let grace = Duration::from_millis(300);
        let system = disk.system(&gate).store_grace(grace).start().await.unwrap();
        let mut outcomes = system.outcomes();
        submitted(&system, 6).await;
        until("two attempts", async || gate.sent() == 2).await;
        disk.fails(true);
        gate.open();
        assert_eq!(system.stopped().await, Ended::Stopped);
        // It does not wait for a disk that stays full.
        assert_eq!(system.shutdown(Ended::Stopped, Duration::ZERO).await, Ended::Stopped);
        assert_eq!(gate.sent(), 2);
        outcomes.try_next().is_some()
    });
    assert!(!told, "told, and never durable");
    disk.fails(false);
    // The commit that failed may be on disk, with attempts that were refused and never left: they
    // are charged at their bounds too. What came after it is not.
    let (ended, open, calls, left_open) = disk.holds();
    let before = calls + left_open as u64;
    assert!(ended + open == 6 && (2..=4).contains(&before), "{ended} {open} {before}");
    let attempts = before + open as u64;
    on_a_system(async {
        let system = disk.system(&gate).unfinished(Unfinished::Resume).start().await.unwrap();
        let mut outcomes = system.outcomes();
        for _ in 0..open {
            assert!(outcomes.next().await.unwrap().error.is_none());
        }
        let summary = system.snapshot().await.unwrap().summary;
        assert_eq!((summary.tasks.completed, summary.calls.attempts), (6, attempts));
        system.interrupt().await;
    });
    // What was left open is charged at its bound.
    assert_eq!(disk.holds(), (6, 0, attempts, 0));
}

#[test]
fn an_interrupt_ends_within_its_grace_period_however_long_the_store_is_down() {
    let (disk, gate) = (Disk::new(), Gate::default());
    on_a_system(async {
        let system =
            disk.system(&gate).store_grace(Duration::from_secs(3_600)).start().await.unwrap();
        submitted(&system, 2).await;
        until("two attempts", async || gate.sent() == 2).await;
        disk.fails(true);
        gate.open();
        until("the store is down", async || is_down(&system).await).await;
        let how = system.shutdown(Ended::Interrupted, Duration::from_millis(100)).await;
        assert_eq!(how, Ended::Interrupted);
    });
}

#[test]
fn who_waits_for_a_task_of_a_run_that_stopped_is_told_that_the_run_ended() {
    let (disk, gate) = (Disk::new(), Gate::default());
    on_a_system(async {
        let grace = Duration::from_millis(50);
        let system = disk.system(&gate).store_grace(grace).start().await.unwrap();
        let mut handles = Vec::new();
        for id in 0..4 {
            handles.push(system.submit(Task::new(id.to_string(), "a task")).await.unwrap());
        }
        until("two attempts", async || gate.sent() == 2).await;
        disk.fails(true);
        gate.open();
        for handle in handles {
            // Two were at work, two in the queue.
            let told = handle.outcome().await;
            assert!(matches!(told, Err(SubmitError::Closed)), "{told:?}");
        }
    });
}

#[test]
fn warnings_of_the_earlier_part_count_in_a_run_that_goes_on() {
    let (disk, gate) = (Disk::new(), Gate::default());
    let long = "x".repeat(5_000);
    on_a_system(async {
        let system = disk.system(&gate).start().await.unwrap();
        for id in 0..2 {
            let mut task = Task::new(id.to_string(), "a task");
            task.description = Some(long.clone());
            system.submit(task).await.unwrap();
        }
        until("two attempts", async || gate.sent() == 2).await;
        // Dropped as a kill would: the attempts stay open.
        disk.fails(true);
    });
    disk.fails(false);
    gate.open();
    drop(disk.reader());
    on_a_system(async {
        let system = disk.system(&gate).unfinished(Unfinished::Resume).start().await.unwrap();
        let mut outcomes = system.outcomes();
        for _ in 0..2 {
            outcomes.next().await.unwrap();
        }
        let warnings = system.snapshot().await.unwrap().summary.audit_warnings;
        let named = |name: &str| warnings.get(name).copied().unwrap_or_default();
        // Each prompt is rendered in both parts of the run.
        assert_eq!((named("prompt_truncated"), named("usage_presumed")), (4, 2), "{warnings:?}");
        assert!(system.resumed().started_at > Timestamp::EPOCH);
    });
}

#[test]
fn a_second_outage_has_the_whole_of_its_grace_period() {
    VirtualClock::run(Timestamp::from_millis(0), |clock| async move {
        let gate = Gate::default();
        let agent = AgentSpec::new("clerk", "claude-haiku-4-5").max_tokens(100);
        let system = AgentSystem::builder(gate).agent(agent).clock(clock.clone());
        let system = system.start().await.unwrap();
        let tell = |notice| system.coordinator.do_send(notice);
        let down = || StoreNotice::Down { reason: "a test".to_owned() };
        tell(down());
        clock.sleep(Duration::from_secs(10)).await;
        tell(StoreNotice::Back);
        clock.sleep(Duration::from_secs(15)).await;
        tell(down());
        clock.sleep(Duration::from_secs(29)).await;
        assert!(system.submit(Task::new("1", "a task")).await.is_ok(), "given up too early");
        assert_eq!(system.stopped().await, Ended::Stopped);
        assert_eq!(clock.now(), Timestamp::from_millis(55_000));
    });
}

#[test]
#[expect(clippy::await_holding_lock, reason = "the store's thread waits for it, not this one")]
fn an_attempt_whose_task_is_cancelled_before_it_leaves_is_not_charged() {
    let (disk, gate) = (Disk::new(), Gate::default());
    on_a_system(async {
        let system = disk.system(&gate).start().await.unwrap();
        // The next commit is the task's, and the one after it that of its attempt.
        let attempt = disk.syncs.load(Ordering::SeqCst) + 1;
        disk.slow_from.store(attempt, Ordering::SeqCst);
        let slow = lock(&disk.slow);
        let handle = system.submit(Task::new("1", "a task")).await.unwrap();
        until("on its way to the disk", async || disk.syncs.load(Ordering::SeqCst) > attempt).await;
        assert!(system.cancel("1".into()).await.unwrap());
        until("idle", async || system.snapshot().await.unwrap().running == 0).await;
        drop(slow);
        handle.outcome().await.unwrap();
        system.interrupt().await;
        assert_eq!(gate.sent(), 0);
    });
    assert_eq!(disk.holds(), (1, 0, 0, 0), "(ended, open, charged, left open)");
}
