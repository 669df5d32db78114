//! Workers without actors: made at their first task, given up when idle, and the same to everyone.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use agent_core::agent::{AgentSpec, Scene};
use agent_core::clock::Clock;
use agent_core::permits::{AgentRateLimit, LimitMode};
use agent_core::supervision::{GroupSpec, Strategy, Supervision};
use agent_core::system::{AgentSystem, StartError};
use agent_core::task::{ErrorCode, Task};

use crate::behaviour::Does;
use crate::support::{Act, GOOD, Scripted, agent, expect_panics, run, system, task};

const IDLE: Duration = Duration::from_secs(60);

/// Held by the behaviour of each actor that lives.
type Life = Arc<()>;

/// Workers of which each living actor holds `life`.
fn counted(workers: u32, life: &Life) -> AgentSpec {
    let life = Arc::clone(life);
    agent(workers).behaviour(move || {
        let held = Arc::clone(&life);
        Does(async move |scene: &Scene, task: &Task| {
            _ = &held;
            scene.answer(task).await
        })
    })
}

/// A system of these workers, of which so many have actors from the start.
async fn started(clock: &Clock, workers: AgentSpec, eager: usize) -> AgentSystem {
    let client = Scripted::new(clock, Vec::new(), GOOD);
    system(clock, &client).agent(workers).eager_workers(eager, IDLE).start().await.unwrap()
}

fn living(life: &Life) -> usize {
    // The test's own, and the factory's.
    Arc::strong_count(life) - 2
}

#[test]
fn a_worker_beyond_the_eager_ones_is_given_up_when_idle_for_long_and_comes_back_for_the_next_task()
{
    run(|clock| async move {
        let life = Life::default();
        let system = started(&clock, counted(3, &life), 1).await;
        let all = [system.run(task(1)), system.run(task(2)), system.run(task(3))];
        for outcome in futures_util::future::join_all(all).await {
            assert!(outcome.unwrap().error.is_none());
        }
        assert_eq!(living(&life), 3);
        clock.sleep(IDLE - Duration::from_secs(1)).await;
        assert_eq!(living(&life), 3);
        clock.sleep(Duration::from_secs(2)).await;
        assert_eq!(living(&life), 1, "the eager one keeps its actor");
        let all = [system.run(task(4)), system.run(task(5))];
        let names = futures_util::future::join_all(all).await.into_iter();
        let names: Vec<_> = names.map(|o| o.unwrap().agent_id.clone().unwrap()).collect();
        assert_eq!(names, ["clerk-1", "clerk-2"]);
        assert_eq!(living(&life), 2);
    });
}

#[test]
fn a_worker_that_works_again_and_again_is_not_given_up() {
    run(|clock| async move {
        let life = Life::default();
        let system = started(&clock, counted(1, &life), 0).await;
        for id in 0..10 {
            system.run(task(id)).await.unwrap();
            clock.sleep(IDLE / 2).await;
            assert_eq!(living(&life), 1, "task {id}");
        }
        clock.sleep(IDLE * 2).await;
        assert_eq!(living(&life), 0);
    });
}

#[test]
fn an_actor_is_given_up_when_its_worker_has_been_idle_for_so_long_and_not_much_later() {
    run(|clock| async move {
        let life = Life::default();
        let system = started(&clock, counted(1, &life), 0).await;
        system.run(task(1)).await.unwrap();
        clock.sleep(IDLE / 2).await;
        system.run(task(2)).await.unwrap();
        clock.sleep(IDLE - Duration::from_secs(1)).await;
        assert_eq!(living(&life), 1);
        clock.sleep(Duration::from_secs(2)).await;
        assert_eq!(living(&life), 0);
    });
}

#[test]
fn a_worker_that_may_not_call_and_has_nothing_to_do_is_given_up_too() {
    run(|clock| async move {
        let per = IDLE * 10;
        let limit =
            AgentRateLimit { calls: 1.try_into().unwrap(), per, ..AgentRateLimit::default() };
        let life = Life::default();
        let system = started(&clock, counted(1, &life).rate_limit(limit), 0).await;
        let began = clock.now();
        system.run(task(1)).await.unwrap();
        clock.sleep(IDLE + Duration::from_secs(1)).await;
        assert_eq!(living(&life), 0);
        assert!(system.run(task(2)).await.unwrap().error.is_none());
        assert!(clock.now().since(began) >= per, "its limit is kept");
    });
}

#[test]
fn a_worker_that_was_given_up_keeps_its_own_limit() {
    run(|clock| async move {
        let limit = AgentRateLimit {
            calls: 1.try_into().unwrap(),
            per: Duration::from_secs(600),
            mode: LimitMode::Reject,
        };
        let system = started(&clock, agent(1).rate_limit(limit), 0).await;
        assert!(system.run(task(1)).await.unwrap().error.is_none());
        clock.sleep(IDLE * 3).await;
        let refused = system.run(task(2)).await.unwrap().error.clone().unwrap();
        assert_eq!(refused.code, ErrorCode::AgentRateLimitExceeded);
    });
}

#[test]
fn the_crashes_of_a_worker_that_was_given_up_count_as_long_as_anybodys() {
    expect_panics();
    run(|clock| async move {
        let panic = Act::Panic(Duration::ZERO);
        let script = vec![panic.clone(), GOOD, panic.clone(), GOOD, panic];
        let client = Scripted::new(&clock, script, GOOD);
        let within = IDLE * 10;
        let supervision = Supervision { max_restarts: 1, within, ..Supervision::default() };
        let life = Life::default();
        let system = system(&clock, &client)
            .agent(counted(1, &life))
            .supervision(supervision)
            .eager_workers(0, IDLE)
            .start()
            .await
            .unwrap();
        for (id, pause) in [(1, within), (2, IDLE * 3)] {
            assert!(system.run(task(id)).await.unwrap().error.is_none());
            clock.sleep(pause + Duration::from_secs(1)).await;
            assert_eq!(living(&life), 0);
        }
        let error = system.run(task(3)).await.unwrap().error.clone().unwrap();
        assert_eq!(error.code, ErrorCode::WorkerCrashed);
        assert_eq!(system.snapshot().await.unwrap().workers.gone, 1);
    });
}

#[test]
fn workers_on_threads_of_their_own_share_limits_and_budgets_and_end_every_task() {
    expect_panics();
    actix::System::new().block_on(async {
        let clock = Clock::real();
        let quick = Act::Answer { input: 10, output: 10, after: Duration::from_millis(1) };
        let panics = vec![Act::Panic(Duration::ZERO); 3];
        let client = Scripted::new(&clock, panics, quick);
        let here = std::thread::current().id();
        let spec = agent(8).behaviour(move || {
            Does(async move |scene: &Scene, task: &Task| {
                assert_ne!(std::thread::current().id(), here);
                scene.answer(task).await
            })
        });
        let supervision =
            Supervision { backoff: Duration::from_millis(1), ..Supervision::default() };
        let system = AgentSystem::builder(client.clone())
            .agent(spec)
            .supervision(supervision)
            .arbiters(NonZeroUsize::new(2).unwrap())
            .eager_workers(3, IDLE)
            .start()
            .await
            .unwrap();
        let all = (0..200).map(|id| system.run(task(id)));
        for outcome in futures_util::future::join_all(all).await {
            assert!(outcome.unwrap().error.is_none());
        }
        let snapshot = system.snapshot().await.unwrap();
        assert_eq!((snapshot.summary.tasks.completed, snapshot.summary.restarts), (200, 3));
        assert_eq!(client.sent().len(), 203);
        system.finish().await;
    });
}

#[test]
fn a_virtual_clock_is_refused_with_several_arbiters() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let two = NonZeroUsize::new(2).unwrap();
        let started = system(&clock, &client).agent(agent(1)).arbiters(two).start().await;
        assert!(matches!(started, Err(StartError::VirtualArbiters)));
    });
}

#[test]
fn a_group_that_is_restarted_leaves_its_lazy_workers_without_actors() {
    expect_panics();
    run(|clock| async move {
        let client = Scripted::new(&clock, vec![Act::Panic(Duration::from_millis(5))], GOOD);
        let system = system(&clock, &client)
            .agent(agent(100).group("team"))
            .group(GroupSpec::new("team", Strategy::OneForAll))
            .eager_workers(2, IDLE)
            .start()
            .await
            .unwrap();
        assert!(system.run(task(1)).await.unwrap().error.is_none());
        let seen = system.snapshot().await.unwrap();
        assert_eq!((seen.actors, seen.workers.ready), (2, 100));
        assert_eq!(seen.summary.restarts, 2, "who had no actor was not restarted");
        // They are as good as ever.
        let all = (2..102).map(|id| system.run(task(id)));
        for outcome in futures_util::future::join_all(all).await {
            assert!(outcome.unwrap().error.is_none());
        }
        assert_eq!(system.snapshot().await.unwrap().actors, 100);
    });
}
