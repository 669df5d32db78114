//! Runs that end before their tasks do, and go on.

use super::*;
use crate::ledger::BudgetSpec;

/// A run with a call in flight, ended at once as `how`; what it says of its end.
fn cut_short(disk: &Disk, how: Ended) -> Ended {
    on_a_system(async {
        let gate = Gate::default();
        let system = disk.system(&gate).budget(each_task()).start().await.unwrap();
        submitted(&system, 3).await;
        until("two calls are in flight", async || gate.sent() == 2).await;
        system.shutdown(how, Duration::ZERO).await
    })
}

fn each_task() -> BudgetSpec {
    BudgetSpec::new("task:*".parse().unwrap(), "1".parse().unwrap())
}

#[test]
fn a_run_that_is_finished_with_tasks_open_is_interrupted_and_loses_none() {
    let disk = Disk::new();
    assert_eq!(cut_short(&disk, Ended::Finished), Ended::Interrupted);
    assert_eq!(disk.holds(), (0, 3, 2, 0));
}

#[test]
fn the_open_tasks_of_a_run_that_goes_on_take_their_places_among_those_that_may_be_open() {
    let disk = Disk::new();
    cut_short(&disk, Ended::Interrupted);
    on_a_system(async {
        let gate = Gate::default();
        let builder = disk.system(&gate).max_open_tasks(3).unfinished(Unfinished::Resume);
        let system = builder.start().await.unwrap();
        let mut outcomes = system.outcomes();
        let another = || Task::new("another", "a task");
        let refused = system.try_submit(another()).await;
        assert!(matches!(refused, Err(SubmitError::Full { limit: 3 })), "{refused:?}");
        gate.open();
        outcomes.next().await.unwrap();
        system.try_submit(another()).await.unwrap();
        system.finish().await;
    });
}

#[test]
fn what_a_task_has_spent_before_a_restart_counts_once_against_its_budget() {
    let disk = Disk::new();
    cut_short(&disk, Ended::Interrupted);
    let spent = disk.reader().usage(&UsageQuery::default()).unwrap().total.totals.presumed;
    assert!(!spent.is_zero());
    let presumed = on_a_system(async {
        let gate = Gate::default();
        let builder = disk.system(&gate).budget(each_task()).unfinished(Unfinished::Resume);
        let system = builder.start().await.unwrap();
        let balances = system.balances().await.unwrap();
        system.shutdown(Ended::Interrupted, Duration::ZERO).await;
        balances.iter().map(|balance| balance.presumed.nanos()).sum::<u64>()
    });
    assert_eq!(presumed, spent.nanos());
}

#[test]
#[expect(clippy::await_holding_lock, reason = "it is the disk that is held up")]
fn a_task_whose_deadline_passes_in_its_journal_is_never_sent_nor_charged() {
    let disk = Disk::new();
    on_a_system(async {
        let gate = Gate::default();
        gate.open();
        let system = disk.system(&gate).start().await.unwrap();
        let held = lock(&disk.slow);
        // Its acceptance is durable; what is synced after that hangs.
        disk.slow_from.store(disk.syncs.load(Ordering::SeqCst) + 1, Ordering::SeqCst);
        let mut task = Task::new("1", "a task");
        task.deadline = Some("300ms".parse().unwrap());
        let task = system.submit(task).await.unwrap();
        Clock::real().sleep(Duration::from_millis(600)).await;
        drop(held);
        let outcome = task.outcome().await.unwrap();
        let code = outcome.error.as_ref().map(|error| error.code);
        assert_eq!(code, Some(crate::task::ErrorCode::DeadlineExceeded));
        assert_eq!((gate.sent(), outcome.attempts), (0, 0));
        system.finish().await;
    });
    let reader = disk.reader();
    assert_eq!(reader.recovered().open_attempts, []);
    assert_eq!(reader.usage(&UsageQuery::default()).unwrap().total.totals.calls, 0);
}

#[test]
fn the_budget_of_a_task_is_forgotten_when_the_task_has_ended() {
    VirtualClock::run(Timestamp::from_millis(0), |clock| async move {
        let gate = Gate::default();
        gate.open();
        let agent = AgentSpec::new("clerk", "claude-haiku-4-5").count(2);
        let builder = AgentSystem::builder(gate).clock(clock.clone()).agent(agent);
        let system = builder.budget(each_task()).start().await.unwrap();
        for id in 0..3 {
            system.run(Task::new(id.to_string(), "a task")).await.unwrap();
        }
        clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(system.balances().await.unwrap(), []);
        system.finish().await;
    });
}

#[test]
#[expect(clippy::await_holding_lock, reason = "it is the disk that is held up")]
fn a_run_over_a_disk_that_hangs_without_an_error_ends_all_the_same() {
    let (disk, gate) = (Disk::new(), Gate::default());
    on_a_system(async {
        let system = disk.system(&gate).start().await.unwrap();
        submitted(&system, 1).await;
        until("a call is in flight", async || gate.sent() == 1).await;
        let held = lock(&disk.slow);
        disk.slow_from.store(0, Ordering::SeqCst);
        gate.open();
        let (clock, minute) = (Clock::real(), Duration::from_secs(60));
        let ends = system.shutdown(Ended::Interrupted, Duration::ZERO);
        let ended = clock.timeout(clock.now() + minute, std::pin::pin!(ends)).await;
        drop(held);
        assert_eq!(ended.ok(), Some(Ended::Interrupted));
    });
}
