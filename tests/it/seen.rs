//! What can be seen of a run, and that a flood hides nothing and holds nobody up.

use std::pin::pin;
use std::time::Duration;

use agent_core::clock::Clock;
use agent_core::coordinator::{BEHIND, Lifecycle, SubmitError};
use agent_core::supervision::{Restart, Supervision};
use agent_core::system::AgentSystem;
use agent_core::task::{ErrorCode, Priority, Task};
use futures_util::FutureExt;
use futures_util::future::{join, join_all};

use crate::support::{Act, GOOD, Scripted, agent, budget, expect_panics, run, system, task};

const SLOW: Act = Act::Answer { input: 10, output: 10, after: Duration::from_secs(10) };

async fn busy(clock: &Clock, workers: u32, tasks: u32) -> AgentSystem {
    let client = Scripted::new(clock, Vec::new(), SLOW);
    let system = system(clock, &client)
        .agent(agent(workers))
        .budget(budget("global", "1.00"))
        .budget(budget("task:*", "0.50"))
        .start()
        .await
        .unwrap();
    for id in 0..tasks {
        let priority = [Priority::Low, Priority::Normal, Priority::High][id as usize % 3];
        system.submit(Task { priority, ..task(id) }).await.unwrap();
    }
    system
}

#[test]
fn a_snapshot_counts_every_task_and_every_worker_once() {
    run(|clock| async move {
        let system = busy(&clock, 4, 10).await;
        clock.sleep(Duration::from_secs(1)).await;
        let seen = system.snapshot().await.unwrap();
        assert_eq!((seen.running, seen.queued, seen.summary.tasks.total), (4, 6, 10));
        assert_eq!((seen.queues.low, seen.queues.normal, seen.queues.high), (2, 2, 2));
        assert_eq!((seen.workers.busy, seen.workers.ready, seen.in_flight), (4, 0, 4));
        assert_eq!((seen.actors, seen.at), (4, clock.now()));
        // The budgets that are named, not one for each task.
        assert_eq!(seen.budgets.len(), 1);
        assert!(!seen.budgets[0].reserved.is_zero());
        assert_eq!(seen.limits[0].in_flight, 4);
        clock.sleep(Duration::from_secs(60)).await;
        let seen = system.snapshot().await.unwrap();
        assert_eq!((seen.running, seen.queued, seen.summary.tasks.completed), (0, 0, 10));
        assert_eq!((seen.workers.ready, seen.summary.calls.succeeded), (4, 10));
        assert_eq!(seen.summary.cost_usd, seen.budgets[0].spent);
    });
}

#[test]
fn every_attempt_is_counted_once_in_a_snapshot_however_many_threads_there_are() {
    actix::System::new().block_on(async {
        let clock = Clock::real();
        let at_once = Act::Answer { input: 10, output: 10, after: Duration::ZERO };
        let client = Scripted::new(&clock, Vec::new(), at_once);
        let builder = AgentSystem::builder(client).arbiters(2.try_into().unwrap());
        let system = builder.agent(agent(50)).start().await.unwrap();
        let mut tasks = pin!(join_all((0..2_000).map(|id| system.run(task(id)))));
        loop {
            let done = (&mut tasks).now_or_never().is_some();
            let seen = system.snapshot().await.unwrap();
            let calls = seen.summary.calls;
            assert_eq!(calls.attempts, calls.succeeded + calls.failed + seen.in_flight);
            assert!(seen.in_flight <= 50, "{} in flight, of a worker each", seen.in_flight);
            if done {
                assert_eq!((calls.succeeded, seen.in_flight), (2_000, 0));
                break;
            }
        }
    });
}

#[test]
fn an_agent_can_be_inspected_while_it_works() {
    run(|clock| async move {
        let system = busy(&clock, 2, 3).await;
        let began = clock.now();
        clock.sleep(Duration::from_secs(3)).await;
        let view = system.inspect("clerk").await.unwrap().unwrap();
        let working: Vec<_> = view.working.iter().map(|it| (&*it.worker, it.since)).collect();
        assert_eq!(working, [("clerk-1", began), ("clerk-2", began)]);
        assert_eq!((view.workers.busy, view.restarts, view.last_failure), (2, 0, None));
        // The third waited for one of them.
        clock.sleep(Duration::from_secs(9)).await;
        let view = system.inspect("clerk").await.unwrap().unwrap();
        let since: Vec<_> = view.working.iter().map(|it| it.since).collect();
        assert_eq!(since, [began + Duration::from_secs(10)]);
        assert_eq!(system.inspect("nobody").await.unwrap(), None);
    });
}

#[test]
fn the_lives_of_a_task_and_its_worker_are_told_in_order() {
    expect_panics();
    run(|clock| async move {
        let client = Scripted::new(&clock, vec![Act::Panic(Duration::ZERO)], GOOD);
        let spec = agent(1).restart(Restart::Transient);
        let system = system(&clock, &client).agent(spec).start().await.unwrap();
        let mut lives = system.lifecycle();
        system.run(task(7)).await.unwrap();
        let told: Vec<_> =
            std::iter::from_fn(|| lives.try_next()).map(|event| event.what).collect();
        let names: Vec<_> = told
            .iter()
            .map(|what| match what {
                Lifecycle::WorkerStarted { .. } => "made",
                Lifecycle::TaskAccepted { .. } => "accepted",
                Lifecycle::TaskStarted { .. } => "started",
                Lifecycle::WorkerPanicked { reason, pause: Some(_), .. } => {
                    assert_eq!(reason, "scripted panic");
                    "panicked"
                }
                Lifecycle::TaskRequeued { crashes: 1, .. } => "requeued",
                Lifecycle::WorkerRestarted { .. } => "restarted",
                Lifecycle::TaskEnded { error: None, .. } => "ended",
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [
            "made",
            "accepted",
            "started",
            "panicked",
            "requeued",
            "restarted",
            "started",
            "ended",
        ];
        assert_eq!(names, expected);
        let view = system.inspect("clerk").await.unwrap().unwrap();
        assert_eq!((view.restarts, view.last_failure.as_deref()), (1, Some("scripted panic")));
    });
}

#[test]
fn who_watches_too_slowly_misses_events_and_holds_nobody_up() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let system = system(&clock, &client).agent(agent(10)).start().await.unwrap();
        let mut lives = system.lifecycle();
        let tasks = u32::try_from(BEHIND).unwrap() / 2;
        join_all((0..tasks).map(|id| system.run(task(id)))).await;
        // Accepted, started, ended: three events a task; and one for each worker.
        let told = std::iter::from_fn(|| lives.try_next()).count();
        assert_eq!((told, lives.missed()), (BEHIND, u64::from(tasks) * 3 + 10 - BEHIND as u64));
    });
}

#[test]
fn tasks_that_no_worker_is_left_for_are_counted_as_dead_letters() {
    expect_panics();
    run(|clock| async move {
        let client = Scripted::new(&clock, vec![Act::Panic(Duration::ZERO)], GOOD);
        let spec = agent(1).restart(Restart::Temporary);
        let system = system(&clock, &client).agent(spec).start().await.unwrap();
        let all = join_all((0..3).map(|id| system.run(task(id)))).await;
        for outcome in all {
            let error = outcome.unwrap().error.clone().unwrap();
            assert_eq!(error.code, ErrorCode::WorkerCrashed);
        }
        let seen = system.snapshot().await.unwrap();
        assert_eq!((seen.dead_letters, seen.workers.gone), (3, 1));
    });
}

#[test]
fn a_flood_of_submissions_does_not_hold_up_who_cancels_or_looks() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), SLOW);
        let system = system(&clock, &client).agent(agent(1)).start().await.unwrap();
        system.submit(task(0)).await.unwrap();
        // They are on their way in before the others are asked.
        let mut flood: Vec<_> =
            (1..20_000).map(|id| system.submit(task(id)).boxed_local()).collect();
        for submission in &mut flood {
            assert!(submission.now_or_never().is_none());
        }
        assert!(system.cancel("0".into()).await.unwrap());
        let seen = system.snapshot().await.unwrap();
        assert!(
            seen.summary.tasks.total < 1_000,
            "{} were taken in first",
            seen.summary.tasks.total
        );
        join_all(flood).await;
        assert_eq!(system.snapshot().await.unwrap().summary.tasks.total, 20_000);
    });
}

#[test]
fn outcomes_that_nobody_takes_hold_their_places_until_they_are_taken() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let system =
            system(&clock, &client).agent(agent(4)).max_open_tasks(5).start().await.unwrap();
        let mut outcomes = system.outcomes();
        for id in 0..5 {
            system.try_submit(task(id)).await.unwrap();
        }
        clock.sleep(Duration::from_secs(60)).await;
        assert_eq!(system.snapshot().await.unwrap().summary.tasks.completed, 5);
        let refused = system.try_submit(task(5)).await;
        assert!(matches!(refused, Err(SubmitError::Full { limit: 5 })));
        outcomes.next().await.unwrap();
        system.try_submit(task(6)).await.unwrap();
        // Who does not listen any more holds nothing.
        drop(outcomes);
        clock.sleep(Duration::from_secs(60)).await;
        for id in 10..15 {
            system.try_submit(task(id)).await.unwrap();
        }
    });
}

#[test]
fn a_handle_refuses_what_it_has_no_place_for() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), SLOW);
        let supervision = Supervision::default();
        let system = system(&clock, &client)
            .agent(agent(4))
            .supervision(supervision)
            .max_open_tasks(1)
            .start()
            .await
            .unwrap();
        let clerk = system.agent("clerk").unwrap();
        let (first, second) = join(clerk.try_execute(task(1)), clerk.try_execute(task(2))).await;
        assert!(first.unwrap().error.is_none());
        assert!(matches!(second, Err(SubmitError::Full { limit: 1 })));
    });
}

#[test]
fn one_task_at_least_may_be_open_or_nothing_would_ever_be_accepted() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let builder = system(&clock, &client).agent(agent(1)).max_open_tasks(0);
        let system = builder.start().await.unwrap();
        let soon = clock.now() + Duration::from_secs(60);
        let outcome = clock.timeout(soon, system.run(task(1)).boxed_local()).await;
        assert!(outcome.unwrap().unwrap().error.is_none());
    });
}
