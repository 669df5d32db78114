//! Temporary workers that fail: each ends alone, as OTP's temporary children do.

use std::future::pending;
use std::time::Duration;

use agent_core::agent::{AgentSpec, Scene};
use agent_core::coordinator::Lifecycle;
use agent_core::supervision::{GroupSpec, Restart, Strategy};
use agent_core::task::{ErrorCode, Task};

use crate::behaviour::Does;
use crate::support::{Act, GOOD, Scripted, agent, expect_panics, run, system, task};

/// Has a temporary worker fail beside one that works for ten minutes, in a group of one for all.
fn fails_alone(fails: AgentSpec) {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let named =
            |name: &str, spec: AgentSpec| AgentSpec { name: name.into(), ..spec }.group("team");
        let stays = agent(1).behaviour(|| {
            Does(async |scene: &Scene, task: &Task| {
                scene.sleep(Duration::from_secs(600)).await;
                scene.answer(task).await
            })
        });
        let system = system(&clock, &client)
            .agent(named("stays", stays))
            .agent(named("fails", fails.restart(Restart::Temporary)))
            .group(GroupSpec::new("team", Strategy::OneForAll))
            .start()
            .await
            .unwrap();
        let mut lives = system.lifecycle();
        let of = |agent: &str, id| Task { agent: Some(agent.into()), ..task(id) };
        let stays = system.submit(of("stays", 1)).await.unwrap();
        let error = system.run(of("fails", 2)).await.unwrap().error.clone().unwrap();
        assert_eq!(error.code, ErrorCode::WorkerCrashed);
        assert!(stays.outcome().await.unwrap().error.is_none());
        assert_eq!(system.snapshot().await.unwrap().summary.restarts, 0);
        let told = std::iter::from_fn(|| lives.try_next()).map(|event| event.what);
        let touched = |what: &Lifecycle| {
            matches!(what, Lifecycle::WorkerStopped { .. } | Lifecycle::GroupRestarts { .. })
        };
        assert_eq!(told.filter(touched).count(), 0);
        assert_eq!(system.inspect("fails").await.unwrap().unwrap().workers.gone, 1);
    });
}

#[test]
fn a_temporary_worker_that_panics_ends_alone_whatever_its_group_is() {
    expect_panics();
    fails_alone(agent(1).behaviour(|| Does(async |_: &Scene, _: &Task| panic!("scripted panic"))));
}

#[test]
fn a_temporary_worker_that_is_wedged_ends_alone_whatever_its_group_is() {
    fails_alone(agent(1).behaviour(|| Does(async |_: &Scene, _: &Task| pending().await)));
}

#[test]
fn what_waits_for_an_agent_of_which_one_worker_is_gone_is_done_by_the_others() {
    expect_panics();
    run(|clock| async move {
        // One of them is gone while the others wait.
        let slow = Act::Answer { input: 10, output: 10, after: Duration::from_secs(10) };
        let client = Scripted::new(&clock, vec![Act::Panic(Duration::from_secs(1))], slow);
        let spec = agent(2).restart(Restart::Temporary);
        let system = system(&clock, &client).agent(spec).start().await.unwrap();
        let mut handles = Vec::new();
        for id in 0..6 {
            let of_clerk = Task { agent: Some("clerk".into()), ..task(id) };
            handles.push(system.submit(of_clerk).await.unwrap());
        }
        for handle in handles {
            let outcome = handle.outcome().await.unwrap();
            assert!(outcome.error.is_none(), "{outcome:?}");
        }
        let seen = system.snapshot().await.unwrap();
        assert_eq!((seen.workers.gone, seen.workers.ready, seen.dead_letters), (1, 1, 0));
    });
}
