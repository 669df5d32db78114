//! Groups of agents: restarted together, in order, or ended in order where that does not help.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_core::agent::{AgentSpec, Scene};
use agent_core::clock::Clock;
use agent_core::config::Fleet;
use agent_core::coordinator::Lifecycle;
use agent_core::money::NanoUsd;
use agent_core::supervision::{GroupSpec, Restart, Strategy, Supervision};
use agent_core::system::{AgentSystem, Ended, StartError};
use agent_core::task::{Deadline, ErrorCode, Task};
use futures_util::FutureExt;

use crate::behaviour::Does;
use crate::support::{Act, GOOD, Scripted, agent, budget, expect_panics, run, spent, system, task};

const LONG: Act = Act::Answer { input: 10, output: 10, after: Duration::from_secs(20) };

fn named(name: &str, group: Option<&str>) -> AgentSpec {
    AgentSpec { name: name.into(), group: group.map(Into::into), ..agent(1) }
}

fn of(agent: &str, id: u32) -> Task {
    Task { agent: Some(agent.into()), ..task(id) }
}

/// `a`, `b` and `c` in a group of this strategy, `d` in none; the second of them crashes at its
/// first task while the others are at work.
async fn crash_of_b(clock: &Clock, strategy: Strategy) -> (AgentSystem, Scripted, Vec<String>) {
    let script = vec![LONG, Act::Panic(Duration::from_secs(1)), LONG, LONG];
    let client = Scripted::new(clock, script, GOOD);
    let mut builder = system(clock, &client)
        .group(GroupSpec::new("team", strategy))
        .budget(budget("global", "1.00"));
    for name in ["a", "b", "c"] {
        builder = builder.agent(named(name, Some("team")));
    }
    let system = builder.agent(named("d", None)).start().await.unwrap();
    let mut lives = system.lifecycle();
    let mut handles = Vec::new();
    for (id, name) in (0..).zip(["a", "b", "c", "d"]) {
        handles.push(system.submit(of(name, id)).await.unwrap());
    }
    for handle in handles {
        let outcome = handle.outcome().await.unwrap();
        assert!(outcome.error.is_none(), "{outcome:?}");
    }
    let told = std::iter::from_fn(|| lives.try_next()).filter_map(|event| match event.what {
        Lifecycle::WorkerPanicked { worker, .. } | Lifecycle::WorkerStopped { worker } => {
            Some(format!("stop {worker}"))
        }
        Lifecycle::WorkerRestarted { worker } => Some(format!("start {worker}")),
        _ => None,
    });
    let told = told.collect();
    (system, client, told)
}

#[test]
fn one_for_all_stops_the_others_in_reverse_order_and_starts_all_in_order() {
    expect_panics();
    run(|clock| async move {
        let (system, client, told) = crash_of_b(&clock, Strategy::OneForAll).await;
        let expected = ["stop b-1", "stop c-1", "stop a-1", "start a-1", "start b-1", "start c-1"];
        assert_eq!(told, expected);
        // Those of a, b and c were sent again; that of d was left alone.
        assert_eq!(client.sent().len(), 7);
        let summary = system.snapshot().await.unwrap().summary;
        assert_eq!((summary.tasks.completed, summary.restarts), (4, 3));
        for (name, restarts) in [("a", 1), ("b", 1), ("c", 1), ("d", 0)] {
            assert_eq!(system.inspect(name).await.unwrap().unwrap().restarts, restarts, "{name}");
        }
        // What had left is charged at its bound, and nothing stays reserved.
        assert!(!summary.presumed_cost_usd.is_zero());
        let charged = summary.cost_usd.saturating_add(summary.presumed_cost_usd);
        assert_eq!(spent(&system).await, (charged, NanoUsd::ZERO));
        let limits = system.headroom().await.unwrap();
        assert!(limits.iter().all(|pair| pair.in_flight == 0));
    });
}

#[test]
fn rest_for_one_restarts_those_that_were_started_later() {
    expect_panics();
    run(|clock| async move {
        let (_, client, told) = crash_of_b(&clock, Strategy::RestForOne).await;
        assert_eq!(told, ["stop b-1", "stop c-1", "start b-1", "start c-1"]);
        assert_eq!(client.sent().len(), 6);
    });
}

#[test]
fn one_for_one_restarts_nobody_else() {
    expect_panics();
    run(|clock| async move {
        let (_, client, told) = crash_of_b(&clock, Strategy::OneForOne).await;
        assert_eq!(told, ["stop b-1", "start b-1"]);
        assert_eq!(client.sent().len(), 5);
    });
}

#[test]
fn a_task_whose_worker_was_stopped_for_a_sibling_is_not_to_blame() {
    expect_panics();
    run(|clock| async move {
        let panics = vec![Act::Panic(Duration::from_secs(1)), LONG];
        let client = Scripted::new(&clock, panics, GOOD);
        let supervision =
            Supervision { poison_limit: 1.try_into().unwrap(), ..Supervision::default() };
        let system = system(&clock, &client)
            .group(GroupSpec::new("team", Strategy::OneForAll))
            .agent(named("a", Some("team")))
            .agent(named("b", Some("team")))
            .supervision(supervision)
            .start()
            .await
            .unwrap();
        let first = system.submit(of("a", 1)).await.unwrap();
        let second = system.submit(of("b", 2)).await.unwrap();
        for handle in [first, second] {
            assert!(handle.outcome().await.unwrap().error.is_none());
        }
    });
}

#[test]
fn a_task_that_is_cancelled_as_its_worker_is_stopped_for_a_sibling_is_not_done_again() {
    expect_panics();
    run(|clock| async move {
        let client = Scripted::new(&clock, vec![LONG], GOOD);
        let handle = Arc::new(Mutex::new(None::<AgentSystem>));
        let taken = Arc::clone(&handle);
        let crashes = named("b", Some("team")).behaviour(move || {
            let taken = Arc::clone(&taken);
            Does(async move |_: &Scene, _: &Task| {
                let system = taken.lock().unwrap().take();
                if let Some(system) = system {
                    // The coordinator meets the cancel and the crash at once.
                    let mut cancel = Box::pin(async move { system.cancel(task(1).id).await });
                    assert!((&mut cancel).now_or_never().is_none());
                    std::mem::forget(cancel);
                    panic!("scripted panic");
                }
                Ok("done".into())
            })
        });
        let system = system(&clock, &client)
            .group(GroupSpec::new("team", Strategy::OneForAll))
            .agent(named("a", Some("team")))
            .agent(crashes)
            .start()
            .await
            .unwrap();
        let cancelled = system.submit(of("a", 1)).await.unwrap();
        clock.sleep(Duration::from_secs(1)).await;
        *handle.lock().unwrap() = Some(system.clone());
        assert!(system.run(of("b", 2)).await.unwrap().error.is_none());
        let error = cancelled.outcome().await.unwrap().error.clone().unwrap();
        assert_eq!(error.code, ErrorCode::Cancelled);
        assert_eq!(client.sent().len(), 1);
    });
}

#[test]
fn a_group_that_restarts_too_often_fails_its_parent_and_at_the_top_the_run_stops_in_order() {
    expect_panics();
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), Act::Panic(Duration::from_secs(1)));
        let once = Supervision { max_restarts: 1, ..Supervision::default() };
        let system = system(&clock, &client)
            .group(GroupSpec::new("outer", Strategy::OneForAll).policy(once.clone()))
            .group(GroupSpec::new("inner", Strategy::OneForOne).policy(once).parent("outer"))
            .agent(named("a", Some("inner")))
            .agent(named("b", Some("outer")))
            .supervision(Supervision {
                poison_limit: 10.try_into().unwrap(),
                ..Supervision::default()
            })
            .start()
            .await
            .unwrap();
        let mut lives = system.lifecycle();
        let waits = system.submit(of("a", 1)).await.unwrap();
        assert_eq!(system.stopped().await, Ended::Stopped);
        assert!(waits.outcome().await.is_err(), "the task is kept, not ended");
        let told: Vec<_> = std::iter::from_fn(|| lives.try_next())
            .filter_map(|event| match event.what {
                Lifecycle::GroupRestarts { group, workers, .. } => {
                    Some(format!("{group} {workers}"))
                }
                Lifecycle::GroupFailed { group } => Some(format!("{group} failed")),
                _ => None,
            })
            .collect();
        assert_eq!(told, ["inner 1", "outer 2", "inner 1", "outer failed"]);
        let tasks = system.snapshot().await.unwrap().summary.tasks;
        assert_eq!((tasks.total, tasks.completed, tasks.failed), (1, 0, 0));
    });
}

#[test]
fn what_is_sent_to_an_agent_waits_through_its_groups_pause_within_its_deadline() {
    expect_panics();
    run(|clock| async move {
        let client = Scripted::new(&clock, vec![Act::Panic(Duration::ZERO)], GOOD);
        let pause = Duration::from_secs(30);
        let policy =
            Supervision { backoff: pause, max_backoff: pause * 2, ..Supervision::default() };
        let system = system(&clock, &client)
            .group(GroupSpec::new("team", Strategy::OneForAll).policy(policy))
            .agent(named("a", Some("team")))
            .start()
            .await
            .unwrap();
        let a = system.agent("a").unwrap();
        let crashed = system.submit(of("a", 1)).await.unwrap();
        clock.sleep(Duration::from_secs(1)).await;
        let deadline = Some(Deadline::After(Duration::from_secs(5)));
        let late = a.execute(Task { deadline, ..task(2) }).await.unwrap();
        assert_eq!(late.error.as_ref().unwrap().code, ErrorCode::DeadlineExceeded);
        let waited = a.execute(task(3)).await.unwrap();
        assert!(waited.error.is_none(), "{waited:?}");
        assert!(crashed.outcome().await.unwrap().error.is_none());
    });
}

#[test]
fn a_temporary_worker_is_stopped_with_its_group_and_not_started_again() {
    expect_panics();
    run(|clock| async move {
        let client = Scripted::new(&clock, vec![Act::Panic(Duration::ZERO)], GOOD);
        let system = system(&clock, &client)
            .group(GroupSpec::new("team", Strategy::OneForAll))
            .agent(named("a", Some("team")))
            .agent(named("b", Some("team")).restart(Restart::Temporary))
            .start()
            .await
            .unwrap();
        let mut lives = system.lifecycle();
        assert!(system.run(of("a", 1)).await.unwrap().error.is_none());
        let restarted =
            std::iter::from_fn(|| lives.try_next()).find_map(|event| match event.what {
                Lifecycle::GroupRestarts { workers, .. } => Some(workers),
                _ => None,
            });
        assert_eq!(restarted, Some(1), "it is not restarted, and not counted");
        let error = system.run(of("b", 2)).await.unwrap().error.clone().unwrap();
        assert_eq!(error.code, ErrorCode::WorkerCrashed);
    });
}

#[test]
fn a_group_that_is_restarted_again_in_its_pause_still_starts_in_order() {
    expect_panics();
    run(|clock| async move {
        let soon = |millis| Act::Panic(Duration::from_millis(millis));
        let client = Scripted::new(&clock, vec![soon(8), soon(0)], GOOD);
        let system = system(&clock, &client)
            .group(GroupSpec::new("team", Strategy::RestForOne))
            .agent(named("a", Some("team")))
            .agent(named("b", Some("team")))
            .start()
            .await
            .unwrap();
        let mut lives = system.lifecycle();
        let first = system.submit(of("a", 1)).await.unwrap();
        let second = system.submit(of("b", 2)).await.unwrap();
        for handle in [first, second] {
            assert!(handle.outcome().await.unwrap().error.is_none());
        }
        let started: Vec<_> = std::iter::from_fn(|| lives.try_next())
            .filter_map(|event| match event.what {
                Lifecycle::WorkerRestarted { worker } => Some(worker.to_string()),
                _ => None,
            })
            .collect();
        assert_eq!(started, ["a-1", "b-1"]);
    });
}

#[test]
fn what_waits_for_a_temporary_worker_that_is_stopped_with_its_group_ends() {
    expect_panics();
    run(|clock| async move {
        let client = Scripted::new(&clock, vec![LONG, Act::Panic(Duration::from_secs(1))], GOOD);
        let system = system(&clock, &client)
            .group(GroupSpec::new("team", Strategy::OneForAll))
            .agent(named("t", Some("team")).restart(Restart::Temporary))
            .agent(named("p", Some("team")))
            .start()
            .await
            .unwrap();
        let at_work = system.submit(of("t", 1)).await.unwrap();
        let queued = system.submit(of("t", 2)).await.unwrap();
        assert!(system.run(of("p", 3)).await.unwrap().error.is_none());
        for handle in [at_work, queued] {
            let error = handle.outcome().await.unwrap().error.clone().unwrap();
            assert_eq!(error.code, ErrorCode::WorkerCrashed);
        }
        let view = system.inspect("t").await.unwrap().unwrap();
        assert_eq!((view.workers.gone, view.queued, view.last_failure), (1, 0, None));
    });
}

#[test]
fn a_worker_whose_group_was_restarted_by_its_parent_may_crash_as_often_as_before() {
    expect_panics();
    run(|clock| async move {
        let client = Scripted::new(&clock, vec![Act::Panic(Duration::ZERO); 4], GOOD);
        let often = Supervision { max_restarts: 9, ..Supervision::default() };
        let system = system(&clock, &client)
            .group(GroupSpec::new("outer", Strategy::OneForOne).policy(often.clone()))
            .group(GroupSpec::new("inner", Strategy::OneForOne).policy(often).parent("outer"))
            .agent(named("a", Some("inner")))
            .agent(named("b", Some("outer")))
            // Of each worker by itself.
            .supervision(Supervision {
                max_restarts: 1,
                poison_limit: 9.try_into().unwrap(),
                ..Supervision::default()
            })
            .start()
            .await
            .unwrap();
        let mut lives = system.lifecycle();
        assert!(system.run(of("a", 1)).await.unwrap().error.is_none());
        let by: Vec<_> = std::iter::from_fn(|| lives.try_next())
            .filter_map(|event| match event.what {
                Lifecycle::GroupRestarts { group, .. } => Some(group.to_string()),
                _ => None,
            })
            .collect();
        assert_eq!(by, ["inner", "outer", "inner", "outer"]);
    });
}

#[test]
fn groups_that_make_no_tree_are_refused_at_the_start() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let started = system(&clock, &client).agent(named("a", Some("nobody"))).start().await;
        assert!(matches!(started, Err(StartError::Groups(_))));
    });
}

#[test]
fn a_fleet_file_says_which_agents_are_restarted_together() {
    const AGENT: &str = "[[agent]]\nname = \"a\"\nmodel = \"claude-haiku-4-5\"\ngroup = \"team\"\n";
    let parse = |text: &str| Fleet::parse(text, "fleet.toml", &|_| None);
    let text = format!(
        "[supervision]\nmax_restarts = 7\n[[group]]\nname = \"team\"\nstrategy = \"rest_for_one\"\n\
         backoff = \"1s\"\n{AGENT}"
    );
    let fleet = parse(&text).unwrap();
    let policy = fleet.group[0].policy.clone().unwrap();
    assert_eq!((fleet.group[0].strategy, policy.max_restarts), (Strategy::RestForOne, 7));
    assert_eq!(policy.backoff, Duration::from_secs(1));
    assert_eq!(fleet.agent[0].group.as_deref(), Some("team"));

    let wrong = |text: &str, parts: &[&str]| {
        let error = parse(text).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{part}: {error}");
        }
    };
    wrong(AGENT, &["fleet.toml:4:9", "group", "names no group", "[[group]]"]);
    let team = "[[group]]\nname = \"team\"\n";
    wrong(&format!("{team}{team}{AGENT}"), &["fleet.toml:3", "second group named"]);
    wrong(&format!("{team}[[group]]\nname = \"x\"\n{AGENT}"), &["fleet.toml:3", "no agent"]);
    wrong(&format!("{team}parent = \"team\"\n{AGENT}"), &["fleet.toml:1", "its own parent"]);
    wrong(&format!("{team}parent = \"x\"\n{AGENT}"), &["names the group \"x\""]);
    wrong(&format!("{team}strategie = \"x\"\n{AGENT}"), &["fleet.toml:3:1", "strategy"]);
}
