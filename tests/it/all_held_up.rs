//! Every thread is held up: what comes meanwhile is done on the first that is free again.

use std::num::NonZeroUsize;
use std::time::Duration;

use agent_core::agent::Scene;
use agent_core::clock::Clock;
use agent_core::coordinator::Lifecycle;
use agent_core::system::AgentSystem;
use agent_core::task::Task;

use crate::behaviour::Does;
use crate::held_up::{Gate, Opens, soon};
use crate::support::{Act, Scripted, agent, task};

#[test]
fn what_comes_while_all_threads_are_held_up_is_done_on_the_first_that_is_free() {
    actix::System::new().block_on(async {
        let gates = [Gate::default(), Gate::default()];
        let _opens = gates.clone().map(Opens);
        let quick = Act::Answer { input: 10, output: 10, after: Duration::ZERO };
        let client = Scripted::new(&Clock::real(), Vec::new(), quick);
        let each = gates.clone();
        let spec = agent(3).behaviour(move || {
            let gates = each.clone();
            Does(async move |scene: &Scene, task: &Task| {
                let number: usize = task.id.as_str().parse().unwrap();
                if let Some(gate) = gates.get(number) {
                    gate.pass();
                }
                scene.answer(task).await
            })
        });
        let system = AgentSystem::builder(client)
            .agent(spec)
            .arbiters(NonZeroUsize::new(2).unwrap())
            .blocked_after(Duration::from_millis(40))
            .start()
            .await
            .unwrap();
        let mut lives = system.lifecycle();
        let first = system.submit(task(0)).await.unwrap();
        let second = system.submit(task(1)).await.unwrap();
        let both = async {
            let mut held_up = 0;
            while held_up < 2 {
                let event = lives.next().await.unwrap();
                held_up += usize::from(matches!(event.what, Lifecycle::ThreadBlocked { .. }));
            }
            // The coordinator is told before that, and hears of it by now.
            system.snapshot().await.unwrap();
        };
        soon("the report of both", both).await;
        let third = system.submit(task(2)).await.unwrap();
        gates[1].open();
        for handle in [second, third] {
            assert!(soon("an outcome", handle.outcome()).await.unwrap().error.is_none());
        }
        gates[0].open();
        assert!(soon("an outcome", first.outcome()).await.unwrap().error.is_none());
        assert_eq!(system.snapshot().await.unwrap().workers.down, 0);
        system.finish().await;
    });
}
