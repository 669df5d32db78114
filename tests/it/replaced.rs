//! Workers that do not hear of it that their task was taken from them: they make no call for it.

use std::sync::Arc;
use std::time::Duration;

use agent_core::agent::{AgentSpec, Scene};
use agent_core::clock::Clock;
use agent_core::ledger::{BudgetSpec, OnExhausted};
use agent_core::money::NanoUsd;
use agent_core::system::{AgentSystem, AgentSystemBuilder, Ended};
use agent_core::task::{Outcome, Task};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::behaviour::Does;
use crate::held_up::{Gate, Opens, replaces, soon};
use crate::support::{Act, Scripted, agent, budget, spent, task};

const QUICK: Act = Act::Answer { input: 10, output: 10, after: Duration::ZERO };

/// Sends a word where it is dropped.
struct Gone(UnboundedSender<()>);

impl Drop for Gone {
    fn drop(&mut self) {
        // Who has heard enough is gone.
        _ = self.0.send(());
    }
}

/// An agent whose first performance holds its thread until the gate is open, and calls then, by itself
/// or through a sub-agent; each says when it is over.
fn holds(gate: &Gate, over: UnboundedSender<()>, by_child: bool) -> AgentSpec {
    let gate = gate.clone();
    agent(2).behaviour(move || {
        let (gate, over) = (gate.clone(), over.clone());
        Does(async move |scene: &Scene, task: &Task| {
            let _gone = Gone(over.clone());
            let child = scene.spawn(AgentSpec { name: "helper".into(), ..agent(1) })?;
            if gate.begin(task) == 1 {
                gate.pass();
            }
            if by_child {
                return Ok(child.execute(Task::new("part", "A part")).await?);
            }
            scene.answer(task).await
        })
    })
}

/// The outcome of a task of which the first performance holds its thread, which is replaced, and goes on
/// once there is an outcome; both are over then.
async fn played_twice(
    system: &AgentSystem,
    opens: Opens,
    overs: &mut UnboundedReceiver<()>,
) -> Arc<Outcome> {
    let outcome = soon("an outcome", system.run(task(0))).await.unwrap();
    assert_eq!((outcome.error.as_ref(), outcome.attempts), (None, 1));
    drop(opens);
    for _ in 0..2 {
        soon("the end of a performance", overs.recv()).await.unwrap();
    }
    outcome
}

fn building(client: &Scripted) -> AgentSystemBuilder {
    replaces(client, NanoUsd::from_dollars(1)).budget(budget("global", "1.00"))
}

#[test]
fn a_worker_that_was_replaced_while_it_held_its_thread_makes_no_call_when_that_is_free() {
    for by_child in [false, true] {
        actix::System::new().block_on(async {
            let gate = Gate::default();
            let opens = Opens(gate.clone());
            let (over, mut overs) = unbounded_channel();
            let client = Scripted::new(&Clock::real(), Vec::new(), QUICK);
            let system = building(&client).agent(holds(&gate, over, by_child));
            let system = system.start().await.unwrap();
            let outcome = played_twice(&system, opens, &mut overs).await;
            assert_eq!(client.sent().len(), 1, "by a sub-agent: {by_child}");
            assert_eq!(spent(&system).await, (outcome.cost_usd, NanoUsd::ZERO));
            let summary = system.snapshot().await.unwrap().summary;
            assert_eq!((summary.calls.attempts, summary.cost_usd), (1, outcome.cost_usd));
            system.finish().await;
        });
    }
}

#[test]
fn a_worker_that_was_replaced_asks_for_no_money_when_its_thread_is_free() {
    actix::System::new().block_on(async {
        let gate = Gate::default();
        let opens = Opens(gate.clone());
        let (over, mut overs) = unbounded_channel();
        let dear = Act::Answer { input: 150, output: 100, after: Duration::ZERO };
        let client = Scripted::new(&Clock::real(), Vec::new(), dear);
        // There is room for one call, and after it for no other.
        let once = BudgetSpec { on_exhausted: OnExhausted::StopRun, ..budget("global", "0.001") };
        let wedges = replaces(&client, NanoUsd::from_dollars(1)).budget(once);
        let system = wedges.agent(holds(&gate, over, false)).start().await.unwrap();
        let outcome = played_twice(&system, opens, &mut overs).await;
        // The budget has heard whoever asked.
        assert_eq!(spent(&system).await, (outcome.cost_usd, NanoUsd::ZERO));
        assert!(system.submit(task(1)).await.is_ok(), "the run goes on");
        system.finish().await;
    });
}

#[test]
fn a_worker_that_a_run_ended_without_makes_no_call_when_its_thread_is_free() {
    actix::System::new().block_on(async {
        let gate = Gate::default();
        let opens = Opens(gate.clone());
        let (over, mut overs) = unbounded_channel();
        let client = Scripted::new(&Clock::real(), Vec::new(), QUICK);
        let wedges = building(&client).supervision(Default::default()).grace(Duration::ZERO);
        let system = wedges.agent(holds(&gate, over, false)).start().await.unwrap();
        let kept = system.submit(task(0)).await.unwrap();
        let begun = async {
            while gate.begun().is_empty() {
                Clock::real().sleep(Duration::from_millis(1)).await;
            }
        };
        soon("its beginning", begun).await;
        assert_eq!(soon("the end", system.interrupt()).await, Ended::Interrupted);
        drop(opens);
        soon("the end of its performance", overs.recv()).await.unwrap();
        assert_eq!(client.sent().len(), 0);
        assert!(kept.outcome().await.is_err(), "the task is kept, not ended");
    });
}
