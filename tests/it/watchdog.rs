//! A thread that is held up by code that does not yield is reported by name.

use std::num::NonZeroUsize;
use std::time::Duration;

use agent_core::agent::Scene;
use agent_core::clock::Clock;
use agent_core::coordinator::Lifecycle;
use agent_core::system::AgentSystem;
use agent_core::task::Task;

use crate::behaviour::Does;
use crate::support::{Act, Scripted, agent, task};

const LIMIT: Duration = Duration::from_millis(60);

/// Holds its thread, as no behaviour should.
fn block() {
    #[expect(clippy::disallowed_methods, reason = "what is looked for")]
    std::thread::sleep(LIMIT * 6);
}

/// Runs one task whose behaviour blocks, and says what was told of it.
fn blocked(arbiters: usize, in_tool: bool) -> Vec<(Option<String>, Option<String>)> {
    actix::System::new().block_on(async {
        let quick = Act::Answer { input: 10, output: 10, after: Duration::ZERO };
        let client = Scripted::new(&Clock::real(), Vec::new(), quick);
        let spec = agent(2).behaviour(move || {
            Does(async move |scene: &Scene, task: &Task| {
                if in_tool {
                    scene.tool("compress", block);
                } else {
                    block();
                }
                scene.answer(task).await
            })
        });
        let system = AgentSystem::builder(client)
            .agent(spec)
            .arbiters(NonZeroUsize::new(arbiters).unwrap())
            .blocked_after(LIMIT)
            .start()
            .await
            .unwrap();
        let mut lives = system.lifecycle();
        assert!(system.run(task(1)).await.unwrap().error.is_none());
        system.finish().await;
        let told = std::iter::from_fn(|| lives.try_next()).filter_map(|event| match event.what {
            Lifecycle::ThreadBlocked { worker, tool, since } => {
                assert!(since > LIMIT);
                Some((worker.map(|worker| worker.to_string()), tool))
            }
            _ => None,
        });
        told.collect()
    })
}

#[test]
fn code_that_is_no_workers_is_not_reported_as_that_of_who_ran_there_before() {
    actix::System::new().block_on(async {
        let quick = Act::Answer { input: 10, output: 10, after: Duration::ZERO };
        let client = Scripted::new(&Clock::real(), Vec::new(), quick);
        let builder = AgentSystem::builder(client).agent(agent(1)).blocked_after(LIMIT);
        let system = builder.start().await.unwrap();
        assert!(system.run(task(1)).await.unwrap().error.is_none());
        let mut lives = system.lifecycle();
        // The program around the system.
        block();
        let told = std::iter::from_fn(|| lives.try_next()).find_map(|event| match event.what {
            Lifecycle::ThreadBlocked { worker, .. } => Some(worker),
            _ => None,
        });
        assert_eq!(told, Some(None));
        system.finish().await;
    });
}

#[test]
fn a_tool_that_holds_its_thread_is_reported_with_its_name_and_its_worker() {
    let told = blocked(2, true);
    assert!(told.contains(&(Some("clerk-1".to_owned()), Some("compress".to_owned()))), "{told:?}");
}

#[test]
fn a_behaviour_that_holds_the_systems_own_thread_is_reported_too() {
    let told = blocked(1, false);
    assert!(told.contains(&(Some("clerk-1".to_owned()), None)), "{told:?}");
}
