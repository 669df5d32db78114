//! Everything at once, at random: floods, cancellations, deadlines, crashes, hangs and sub-agents,
//! while an auditor checks that money and tasks are conserved all along.

use std::collections::BTreeMap;
use std::future::pending;
use std::time::Duration;

use agent_core::agent::{AgentSpec, Scene};
use agent_core::clock::Clock;
use agent_core::ledger::{BudgetSpec, OnExhausted, Window};
use agent_core::money::NanoUsd;
use agent_core::permits::ProviderLimits;
use agent_core::supervision::{GroupSpec, Restart, Strategy, Supervision};
use agent_core::system::{AgentSystem, Ended, SubmitError, TaskHandle};
use agent_core::task::{Deadline, Priority, Task, TaskId};
use futures_util::future::{Either, select};

use crate::behaviour::Does;
use crate::support::{Scripted, agent, budget, expect_panics, run, system};

/// Tasks that may be open at once: few, so that a flood meets the limit.
const OPEN: usize = 40;
const STEPS: u32 = 250;

#[test]
fn nothing_that_crashes_hangs_or_floods_loses_a_task_or_a_cent() {
    expect_panics();
    let only: Option<u64> = std::env::var("IMPRESARIO_SEED").ok().and_then(|s| s.parse().ok());
    for seed in only.map_or(0..10, |seed| seed..seed + 1) {
        run(|clock| chaos(clock, seed));
    }
}

/// An agent that lets sub-agents do half of the work, and sometimes crashes among them.
fn lead(seed: u64) -> AgentSpec {
    let named = |name: &str, workers| AgentSpec { name: name.into(), ..agent(workers) };
    named("lead", 3).behaviour(move || {
        let mut random = fastrand::Rng::with_seed(seed);
        Does(async move |scene: &Scene, task: &Task| {
            let helpers = scene.spawn(named("helper", 2))?;
            let parts = (0..random.u32(1..4)).map(|part| Task::new(part.to_string(), "A part"));
            for part in parts.map(|part| helpers.execute(part)).collect::<Vec<_>>() {
                match random.u32(..8) {
                    0 => panic!("scripted panic"),
                    1 => drop(part),
                    _ => drop(part.await),
                }
            }
            scene.answer(task).await
        })
    })
}

/// An agent that now and then loses sight of a call that has left, and never moves again.
fn lost(seed: u64) -> AgentSpec {
    let named = AgentSpec { name: "lost".into(), ..agent(2) };
    named.group("team").behaviour(move || {
        let mut random = fastrand::Rng::with_seed(seed);
        Does(async move |scene: &Scene, task: &Task| {
            let call = Box::pin(scene.answer(task));
            if random.bool() {
                return call.await;
            }
            let glance = Box::pin(scene.clock().sleep(Duration::from_millis(50)));
            match select(call, glance).await {
                Either::Left((done, _)) => done,
                Either::Right((_, _call)) => pending().await,
            }
        })
    })
}

async fn start(clock: &Clock, client: &Scripted, seed: u64) -> AgentSystem {
    let named = |name: &str, workers| AgentSpec { name: name.into(), ..agent(workers) };
    let per_minute = BudgetSpec {
        window: Window::Rolling(Duration::from_secs(60)),
        on_exhausted: OnExhausted::Wait,
        ..budget("project:*", "0.02")
    };
    let wedged_after = Duration::from_secs(20);
    let poison_limit = 2.try_into().unwrap();
    let supervision =
        Supervision { max_restarts: 40, wedged_after, poison_limit, ..Supervision::default() };
    let limits = ProviderLimits {
        requests_per_minute: 120.try_into().ok(),
        max_concurrent: 10.try_into().unwrap(),
        ..ProviderLimits::default()
    };
    system(clock, client)
        .agent(named("clerk", 8))
        .agent(named("brittle", 4).restart(Restart::Temporary))
        .agent(lead(seed))
        .agent(lost(seed))
        .agent(named("second", 3).group("team"))
        .group(GroupSpec::new("team", Strategy::OneForAll).policy(supervision.clone()))
        .eager_workers(10, Duration::from_secs(20))
        .budget(budget("global", "0.06"))
        .budget(per_minute)
        .budget(budget("task:*", "0.01"))
        .limits(limits)
        .supervision(supervision)
        .max_open_tasks(OPEN)
        .start()
        .await
        .unwrap()
}

fn random_task(random: &mut fastrand::Rng, id: u32) -> Task {
    let mut task = Task::new(id.to_string(), "Whatever comes");
    task.priority = [Priority::Low, Priority::Normal, Priority::High][random.usize(..3)];
    task.project_id = (random.u32(..10) > 0).then(|| format!("p{}", random.u32(..3)));
    task.agent = [None, Some("clerk"), Some("brittle"), Some("lead"), Some("lost")]
        [random.usize(..5)]
    .map(Into::into);
    task.deadline = (random.u32(..3) == 0)
        .then(|| Deadline::After(Duration::from_millis(random.u64(1..120_000))));
    task
}

/// Holds what may never be, at this moment.
async fn audit(system: &AgentSystem, accepted: usize, seed: u64) {
    for balance in system.balances().await.unwrap() {
        let all = balance.spent.saturating_add(balance.presumed).saturating_add(balance.reserved);
        assert!(all <= balance.limit, "seed {seed}: {balance:?}");
    }
    for pair in system.headroom().await.unwrap() {
        assert!(pair.in_flight <= 10, "seed {seed}: {pair:?}");
    }
    let snapshot = system.snapshot().await.unwrap();
    let tasks = snapshot.summary.tasks;
    assert_eq!(tasks.total, accepted as u64, "seed {seed}");
    let open = tasks.total - tasks.completed - tasks.failed;
    assert!(open <= OPEN as u64, "seed {seed}: {open} open");
    assert!((snapshot.queued + snapshot.running) as u64 <= open, "seed {seed}: {snapshot:?}");
}

async fn chaos(clock: Clock, seed: u64) {
    let client = Scripted::wild(&clock, seed);
    let system = start(&clock, &client, seed).await;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut outcomes = system.outcomes();
    let mut handles: BTreeMap<TaskId, TaskHandle> = BTreeMap::new();
    let mut refused = 0;
    for step in 0..STEPS {
        match random.u32(..6) {
            0 => {
                // One of the last, so that it is often open.
                let last = handles.keys().rev().take(OPEN).cloned().collect::<Vec<_>>();
                let unknown = TaskId::from("unknown");
                let id = last.get(random.usize(..OPEN)).unwrap_or(&unknown).clone();
                let was_open = system.cancel(id.clone()).await.unwrap();
                assert!(!was_open || id != unknown, "seed {seed}");
            }
            1 => clock.sleep(Duration::from_millis(random.u64(..4_000))).await,
            // A burst that nobody waits for.
            burst => {
                for number in 0..burst * 2 {
                    let task = random_task(&mut random, step * 100 + number);
                    let id = task.id.clone();
                    match system.try_submit(task).await {
                        Ok(handle) => drop(handles.insert(id, handle)),
                        Err(SubmitError::Full { limit: OPEN }) => refused += 1,
                        Err(error) => panic!("seed {seed}: {error}"),
                    }
                }
            }
        }
        audit(&system, handles.len(), seed).await;
    }
    assert!(refused > 0, "seed {seed}: no flood met the limit");
    let (mut charged, accepted) = (0, handles.len());
    for (id, handle) in handles {
        let outcome = handle.outcome().await.unwrap();
        assert_eq!(outcome.task_id, id, "seed {seed}");
        charged += outcome.cost_usd.nanos() + outcome.presumed_cost_usd.nanos();
    }
    audit(&system, accepted, seed).await;
    let told = std::iter::from_fn(|| outcomes.try_next()).count();
    assert_eq!(told, accepted, "seed {seed}: each task ends once");
    assert!(client.billed_nanos() <= charged, "seed {seed}: more was billed than charged");
    let global = system.balances().await.unwrap().remove(0);
    let all = global.spent.saturating_add(global.presumed);
    assert_eq!((all.nanos(), global.reserved), (charged, NanoUsd::ZERO), "seed {seed}");
    let idle = system.headroom().await.unwrap();
    assert!(idle.iter().all(|pair| pair.in_flight == 0), "seed {seed}: {idle:?}");
    assert_eq!(system.finish().await, Ended::Finished, "seed {seed}");
}
