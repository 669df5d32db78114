//! What is over is told to whoever waits: a run that stopped itself, a deadline that has passed.

use std::time::Duration;

use agent_core::agent::{AgentSpec, Scene};
use agent_core::clock::Clock;
use agent_core::coordinator::{Lifecycle, SubmitError};
use agent_core::ledger::{BudgetSpec, OnExhausted, Window};
use agent_core::store::StoreError;
use agent_core::supervision::{GroupSpec, Strategy, Supervision};
use agent_core::system::{AgentSystem, Ended, StartError, Unfinished};
use agent_core::task::{Deadline, ErrorCode, Task};
use futures_util::future::join;

use crate::behaviour::Does;
use crate::support::{Act, GOOD, Scripted, agent, budget, expect_panics, run, system, task};

#[test]
fn who_waits_for_a_place_in_a_run_that_stops_itself_is_told_so() {
    expect_panics();
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), Act::Panic(Duration::ZERO));
        let mut clerk = agent(1);
        clerk.group = Some("team".into());
        let once = Supervision { max_restarts: 1, ..Supervision::default() };
        let system = system(&clock, &client)
            .group(GroupSpec::new("team", Strategy::OneForAll).policy(once))
            .agent(clerk)
            .max_open_tasks(1)
            .start()
            .await
            .unwrap();
        let mut outcomes = system.outcomes();
        let kept = system.submit(task(1)).await.unwrap();
        let handle = system.agent("clerk").unwrap();
        let (waits, sent) = join(system.submit(task(2)), handle.execute(task(3))).await;
        assert!(matches!(waits, Err(SubmitError::Closed)), "{waits:?}");
        assert!(matches!(sent, Err(SubmitError::Closed)), "{sent:?}");
        let refused = system.try_submit(task(4)).await;
        assert!(matches!(refused, Err(SubmitError::Closed)), "{refused:?}");
        assert!(kept.outcome().await.is_err());
        assert!(outcomes.next().await.is_none());
        assert_eq!(system.stopped().await, Ended::Stopped);
    });
}

#[test]
fn a_run_that_stops_itself_cancels_what_outlives_the_grace_period() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        // It has room for one call a month.
        let waits = BudgetSpec {
            window: Window::Month,
            on_exhausted: OnExhausted::Wait,
            ..budget("project:web", "0.0008")
        };
        let stops =
            BudgetSpec { on_exhausted: OnExhausted::StopRun, ..budget("project:app", "0.0001") };
        let system = system(&clock, &client)
            .agent(agent(3))
            .agent(AgentSpec { name: "sleeper".into(), ..agent(1) }.behaviour(|| {
                Does(async |scene: &Scene, _: &Task| {
                    scene.sleep(Duration::from_secs(86_400)).await;
                    Ok("never".into())
                })
            }))
            .budget(waits)
            .budget(stops)
            .start()
            .await
            .unwrap();
        let of = |project: &str, id| Task { project_id: Some(project.into()), ..task(id) };
        let sleeps = Task { agent: Some("sleeper".into()), ..of("web", 0) };
        let mut kept = vec![system.submit(sleeps).await.unwrap()];
        assert!(system.run(of("web", 1)).await.unwrap().error.is_none());
        kept.push(system.submit(of("web", 2)).await.unwrap());
        clock.sleep(Duration::from_secs(1)).await;
        let began = clock.now();
        kept.push(system.submit(of("app", 3)).await.unwrap());
        assert_eq!(system.stopped().await, Ended::Stopped);
        assert_eq!(clock.now().since(began), Duration::from_secs(30));
        for handle in kept {
            assert!(handle.outcome().await.is_err(), "the task is kept, not ended");
        }
        let seen = system.snapshot().await.unwrap();
        assert_eq!((seen.summary.tasks.total, seen.summary.tasks.completed), (4, 1));
        assert_eq!((seen.running, seen.queued), (0, 3));
    });
}

#[test]
fn outcomes_end_with_the_run_and_not_before_the_last_was_taken() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let system = system(&clock, &client).agent(agent(2)).start().await.unwrap();
        let mut outcomes = system.outcomes();
        for id in 0..3 {
            system.submit(task(id)).await.unwrap();
        }
        clock.sleep(Duration::from_secs(60)).await;
        assert_eq!(system.finish().await, Ended::Finished);
        for id in 0..3 {
            assert_eq!(outcomes.next().await.unwrap().task_id, task(id).id);
        }
        assert!(outcomes.next().await.is_none());
        assert!(system.outcomes().next().await.is_none());
    });
}

#[test]
fn a_task_that_comes_after_its_deadline_is_never_begun() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let system = system(&clock, &client).agent(agent(1)).start().await.unwrap();
        let mut lives = system.lifecycle();
        for (id, seconds) in [(0, 0), (1, 5)] {
            let moment = clock.now().saturating_sub(Duration::from_secs(seconds));
            let late = Task { deadline: Some(Deadline::At(moment)), ..task(id) };
            let outcome = system.run(late).await.unwrap();
            let error = outcome.error.clone().unwrap();
            assert_eq!((error.code, outcome.attempts), (ErrorCode::DeadlineExceeded, 0));
            assert!(error.message.contains(&moment.to_string()), "{}", error.message);
        }
        let began = |event: &Lifecycle| matches!(event, Lifecycle::TaskStarted { .. });
        assert!(!std::iter::from_fn(|| lives.try_next()).any(|event| began(&event.what)));
        assert!(system.run(task(2)).await.unwrap().error.is_none());
    });
}

#[test]
fn a_pause_of_a_worker_holds_nobody_up_who_lets_go_of_the_system() {
    expect_panics();
    actix::System::new().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let day = Duration::from_secs(86_400);
        let long = Supervision { backoff: day, max_backoff: day, ..Supervision::default() };
        let client = Scripted::new(&Clock::real(), vec![Act::Panic(Duration::ZERO)], GOOD);
        let building =
            AgentSystem::builder(client).agent(agent(1)).supervision(long).store(folder.path());
        let system = building.clone().start().await.unwrap();
        let kept = system.submit(task(1)).await.unwrap();
        while system.snapshot().await.unwrap().workers.down == 0 {
            Clock::real().sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(system.interrupt().await, Ended::Interrupted);
        drop((system, kept));
        // The folder is free as soon as its actors have ended.
        for _ in 0..1_000 {
            match building.clone().unfinished(Unfinished::Resume).start().await {
                Err(StartError::Store(StoreError::InUse { .. })) => {
                    Clock::real().sleep(Duration::from_millis(10)).await;
                }
                started => return drop(started.unwrap()),
            }
        }
        panic!("the folder is not free after 10 s");
    });
}
