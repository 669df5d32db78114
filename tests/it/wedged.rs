//! Workers at whose task nothing moves any more: replaced, while who only waits is left alone.

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use agent_core::agent::{AgentSpec, Scene};
use agent_core::clock::Clock;
use agent_core::coordinator::Lifecycle;
use agent_core::ledger::{BudgetSpec, OnExhausted, Window};
use agent_core::money::NanoUsd;
use agent_core::permits::AgentRateLimit;
use agent_core::supervision::{GroupSpec, Restart, Strategy, Supervision};
use agent_core::system::{AgentSystem, AgentSystemBuilder};
use agent_core::task::{ErrorCode, Task, TaskError};

use crate::behaviour::{Does, ask};
use crate::support::{Act, GOOD, Scripted, agent, budget, expect_panics, run, spent, system, task};

const MINUTE: Duration = Duration::from_secs(60);

/// Does its task, but for the first `lost` times: then it loses sight of a call that has left, and
/// never moves again.
fn loses(client: &Scripted, lost: u32) -> AgentSpec {
    let (client, times) = (client.clone(), Arc::new(AtomicU32::new(0)));
    agent(1).behaviour(move || {
        let (client, times) = (client.clone(), Arc::clone(&times));
        Does(async move |scene: &Scene, task: &Task| {
            let before = client.sent().len();
            if times.fetch_add(1, Ordering::SeqCst) < lost {
                let mut call = Box::pin(scene.complete(ask("anybody?")));
                while client.sent().len() == before {
                    poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_ready())).await;
                    scene.clock().sleep(Duration::from_millis(1)).await;
                }
                pending::<()>().await;
            }
            scene.answer(task).await
        })
    })
}

fn building(clock: &Clock, client: &Scripted, spec: AgentSpec) -> AgentSystemBuilder {
    system(clock, client).agent(spec).budget(budget("global", "1.00"))
}

fn told(lives: &mut agent_core::coordinator::Lifecycles) -> Vec<String> {
    let events = std::iter::from_fn(|| lives.try_next());
    let names = events.filter_map(|event| match event.what {
        Lifecycle::WorkerWedged { worker, since, pause } => {
            assert!(since >= 5 * MINUTE, "{since:?}");
            Some(format!("wedged {worker} {}", pause.is_some()))
        }
        Lifecycle::WorkerStopped { worker } => Some(format!("stopped {worker}")),
        Lifecycle::WorkerPanicked { worker, .. } => Some(format!("panicked {worker}")),
        Lifecycle::TaskRequeued { crashes, .. } => Some(format!("requeued {crashes}")),
        Lifecycle::WorkerRestarted { worker } => Some(format!("restarted {worker}")),
        Lifecycle::WorkerGone { worker } => Some(format!("gone {worker}")),
        _ => None,
    });
    names.collect()
}

#[test]
fn a_worker_that_never_moves_again_is_replaced_and_what_had_left_for_it_is_presumed() {
    run(|clock| async move {
        let client = Scripted::new(&clock, vec![Act::Hang], GOOD);
        let system = building(&clock, &client, loses(&client, 1)).start().await.unwrap();
        let mut lives = system.lifecycle();
        let began = clock.now();
        let outcome = system.run(task(1)).await.unwrap();
        assert!(outcome.error.is_none(), "{outcome:?}");
        // The attempt must have ended after half a minute; what is beyond is given 5 minutes.
        let took = clock.now().since(began);
        assert!(took > 5 * MINUTE && took < 7 * MINUTE, "{took:?}");
        assert_eq!(told(&mut lives), ["wedged clerk-1 true", "requeued 1", "restarted clerk-1"]);
        assert_eq!(outcome.attempts, 2);
        assert!(!outcome.presumed_cost_usd.is_zero());
        let charged = outcome.cost_usd.saturating_add(outcome.presumed_cost_usd);
        assert_eq!(spent(&system).await, (charged, NanoUsd::ZERO));
        assert!(client.billed_nanos() <= charged.nanos());
        let limits = system.headroom().await.unwrap();
        assert!(limits.iter().all(|pair| pair.in_flight == 0), "{limits:?}");
        let summary = system.snapshot().await.unwrap().summary;
        assert_eq!((summary.restarts, summary.audit_warnings["worker_restarted"]), (1, 1));
        let view = system.inspect("clerk").await.unwrap().unwrap();
        assert_eq!(view.last_failure.as_deref(), Some("wedged"));
        // The one in its place is as good as new.
        assert!(system.run(task(2)).await.unwrap().error.is_none());
    });
}

#[test]
fn a_task_that_wedges_every_worker_is_poison() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), Act::Hang);
        let spec = loses(&client, 4);
        let system = building(&clock, &client, spec).start().await.unwrap();
        let outcome = system.run(task(1)).await.unwrap();
        let error = outcome.error.clone().unwrap();
        assert_eq!(error.code, ErrorCode::WorkerCrashed);
        assert!(error.message.contains("wedged"), "{}", error.message);
        // What the last of them had sent is in the outcome, although that one has not ended yet.
        let each = outcome.presumed_cost_usd.nanos() / 4;
        assert_eq!((outcome.attempts, each > 0), (4, true));
        clock.sleep(Duration::from_millis(1)).await;
        assert_eq!(spent(&system).await, (outcome.presumed_cost_usd, NanoUsd::ZERO));
        let summary = system.snapshot().await.unwrap().summary;
        assert_eq!(summary.presumed_cost_usd, outcome.presumed_cost_usd);
    });
}

#[test]
fn a_temporary_worker_that_is_wedged_is_not_replaced() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let spec = loses(&client, 1).restart(Restart::Temporary);
        let system = building(&clock, &client, spec).start().await.unwrap();
        let mut lives = system.lifecycle();
        let error = system.run(task(1)).await.unwrap().error.clone().unwrap();
        assert_eq!(error.code, ErrorCode::WorkerCrashed);
        assert_eq!(told(&mut lives), ["wedged clerk-1 false", "requeued 1", "gone clerk-1"]);
    });
}

#[test]
fn a_worker_of_a_group_that_is_wedged_is_restarted_with_its_group() {
    run(|clock| async move {
        let client = Scripted::new(&clock, vec![Act::Hang], GOOD);
        let first = AgentSpec { group: Some("team".into()), ..loses(&client, 1) };
        let second = AgentSpec { name: "b".into(), group: Some("team".into()), ..agent(1) };
        let system = building(&clock, &client, first)
            .agent(second)
            .group(GroupSpec::new("team", Strategy::OneForAll))
            .start()
            .await
            .unwrap();
        let mut lives = system.lifecycle();
        let given = Task { agent: Some("clerk".into()), ..task(1) };
        assert!(system.run(given).await.unwrap().error.is_none());
        assert_eq!(
            told(&mut lives),
            [
                "wedged clerk-1 true",
                "stopped b-1",
                "requeued 1",
                "restarted clerk-1",
                "restarted b-1"
            ]
        );
    });
}

#[test]
fn a_worker_that_is_wedged_too_often_stays_down() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let policy = Supervision {
            max_restarts: 1,
            within: 24 * 60 * MINUTE,
            wedged_after: MINUTE,
            ..Supervision::default()
        };
        let builder = building(&clock, &client, loses(&client, 10)).supervision(policy);
        let system = builder.start().await.unwrap();
        let began = clock.now();
        let error = system.run(task(1)).await.unwrap().error.clone().unwrap();
        assert_eq!(error.code, ErrorCode::WorkerCrashed);
        assert!(clock.now().since(began) < 5 * MINUTE);
        assert_eq!(system.inspect("clerk").await.unwrap().unwrap().workers.gone, 1);
    });
}

#[test]
fn crashes_and_wedges_of_a_worker_count_together() {
    expect_panics();
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let policy = Supervision {
            max_restarts: 3,
            within: 24 * 60 * MINUTE,
            poison_limit: 100.try_into().unwrap(),
            ..Supervision::default()
        };
        let times = Arc::new(AtomicU32::new(0));
        let begun = Arc::clone(&times);
        let spec = agent(1).behaviour(move || {
            let begun = Arc::clone(&begun);
            Does(async move |_: &Scene, _: &Task| {
                assert!(begun.fetch_add(1, Ordering::SeqCst) % 2 == 1, "scripted panic");
                pending().await
            })
        });
        let system = building(&clock, &client, spec).supervision(policy).start().await.unwrap();
        let error = system.run(task(1)).await.unwrap().error.clone().unwrap();
        assert_eq!(error.code, ErrorCode::WorkerCrashed);
        assert_eq!(times.load(Ordering::SeqCst), 4, "three restarts");
    });
}

/// Runs one task of `spec`, and checks that it was left in peace.
async fn is_left_alone(what: &str, builder: AgentSystemBuilder, at_least: Duration, clock: &Clock) {
    let system: AgentSystem = builder.start().await.unwrap();
    let began = clock.now();
    let outcome = system.run(task(1)).await.unwrap();
    assert!(outcome.error.is_none(), "{what}: {outcome:?}");
    assert!(clock.now().since(began) >= at_least, "{what}");
    let summary = system.snapshot().await.unwrap().summary;
    let wedged = summary.audit_warnings.contains_key("worker_restarted");
    assert!(!wedged, "{what}: {summary:?}");
}

#[test]
fn who_waits_for_long_and_moves_is_not_wedged() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let ticks = agent(1).behaviour(|| {
            Does(async |scene: &Scene, task: &Task| {
                for _ in 0..120 {
                    scene.clock().sleep(MINUTE).await;
                }
                scene.answer(task).await
            })
        });
        is_left_alone("ticks", building(&clock, &client, ticks), 120 * MINUTE, &clock).await;

        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let sleeps = agent(1).behaviour(|| {
            Does(async |scene: &Scene, task: &Task| {
                scene.sleep(120 * MINUTE).await;
                scene.answer(task).await
            })
        });
        is_left_alone("sleeps", building(&clock, &client, sleeps), 120 * MINUTE, &clock).await;

        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let dear = BudgetSpec {
            window: Window::Hour,
            on_exhausted: OnExhausted::Wait,
            ..budget("global", "0.0007")
        };
        let spends = agent(1).behaviour(|| {
            Does(async |scene: &Scene, task: &Task| {
                scene.answer(task).await?;
                scene.answer(task).await
            })
        });
        let waits = system(&clock, &client).agent(spends).budget(dear);
        is_left_alone("waits for money", waits, 50 * MINUTE, &clock).await;
    });
}

#[test]
fn who_hangs_after_a_sleep_is_wedged_as_long_after_it_as_anybody() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let times = Arc::new(AtomicU32::new(0));
        let sleeps = agent(1).behaviour(move || {
            let times = Arc::clone(&times);
            Does(async move |scene: &Scene, task: &Task| {
                if times.fetch_add(1, Ordering::SeqCst) == 0 {
                    scene.sleep(20 * MINUTE).await;
                    pending::<()>().await;
                }
                scene.answer(task).await
            })
        });
        let system = building(&clock, &client, sleeps).start().await.unwrap();
        let mut lives = system.lifecycle();
        let began = clock.now();
        assert!(system.run(task(1)).await.unwrap().error.is_none());
        let took = clock.now().since(began);
        assert!(took > 25 * MINUTE && took < 27 * MINUTE, "{took:?}");
        assert_eq!(told(&mut lives), ["wedged clerk-1 true", "requeued 1", "restarted clerk-1"]);
    });
}

#[test]
fn a_parent_whose_sub_agent_pauses_or_works_for_long_is_not_wedged() {
    expect_panics();
    run(|clock| async move {
        let slow = Act::Answer { input: 10, output: 10, after: 20 * MINUTE };
        let client = Scripted::new(&clock, vec![Act::Panic(Duration::ZERO), slow], GOOD);
        // Longer than the call that crashed could have taken.
        let pause = 60 * MINUTE;
        let spec = agent(1).behaviour(move || {
            Does(async move |scene: &Scene, _: &Task| {
                let policy = Supervision {
                    backoff: pause,
                    max_backoff: pause,
                    within: 2 * pause,
                    ..Supervision::default()
                };
                let helper = AgentSpec { name: "helper".into(), ..agent(1) };
                let helper = scene.spawn_under(helper, policy)?;
                let part = helper.execute(Task::new("part", "A part"));
                let failed = |_| TaskError::new(ErrorCode::WorkerCrashed, "a part failed");
                part.await.map_err(failed)
            })
        });
        let timeouts = agent_core::retry::AttemptTimeout {
            base: 30 * MINUTE,
            ..agent_core::retry::AttemptTimeout::default()
        };
        let system = building(&clock, &client, spec).timeouts(timeouts).start().await.unwrap();
        let mut lives = system.lifecycle();
        let began = clock.now();
        let outcome = system.run(task(1)).await.unwrap();
        assert!(outcome.error.is_none(), "{outcome:?}");
        assert!(clock.now().since(began) >= 80 * MINUTE);
        assert_eq!(told(&mut lives), Vec::<String>::new());
    });
}

#[test]
fn a_worker_that_waits_for_its_turn_to_call_is_not_wedged() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let one = AgentRateLimit {
            calls: 1.try_into().unwrap(),
            per: 4 * MINUTE,
            ..AgentRateLimit::default()
        };
        let twice = agent(1).rate_limit(one).behaviour(|| {
            Does(async |scene: &Scene, task: &Task| {
                scene.answer(task).await?;
                scene.answer(task).await
            })
        });
        let policy = Supervision { wedged_after: MINUTE, ..Supervision::default() };
        let builder = building(&clock, &client, twice).supervision(policy);
        is_left_alone("waits for a permit", builder, 4 * MINUTE, &clock).await;
    });
}
