//! User code in an agent: what it may do, and that its panics cost one worker one restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use agent_core::agent::{AgentSpec, Behaviour, Output, Scene};
use agent_core::clock::Clock;
use agent_core::config::Guards;
use agent_core::ledger::{BudgetSpec, OnExhausted, ScopePattern};
use agent_core::llm::{Answer, LlmClient, LlmError, Message, Request};
use agent_core::money::NanoUsd;
use agent_core::store::{Dimension, UsageQuery};
use agent_core::system::{AgentSystem, Ended};
use agent_core::task::{Deadline, ErrorCode, Task, TaskError};
use futures_util::future::{LocalBoxFuture, join, join_all};

use crate::support::{
    Act, GOOD, MODEL, Scripted, agent, budget, expect_panics, run, spent, system, task,
};

/// A behaviour that is one closure.
pub(crate) struct Does<F>(pub(crate) F);

impl<F> Behaviour for Does<F>
where
    F: AsyncFnMut(&Scene, &Task) -> Result<Output, TaskError> + 'static,
{
    async fn perform(&mut self, scene: &Scene, task: &Task) -> Result<Output, TaskError> {
        (self.0)(scene, task).await
    }
}

/// A call with nothing but a word in it.
pub(crate) fn ask(word: &str) -> Request {
    Request { messages: vec![Message::user(word)], ..Request::default() }
}

/// Fails the first time that it is asked, once over all workers.
#[derive(Debug, Clone, Default)]
struct Once(Arc<AtomicU32>);

impl Once {
    fn is_first(&self) -> bool {
        self.0.fetch_add(1, Ordering::SeqCst) == 0
    }

    fn panic(&self) {
        assert!(!self.is_first(), "scripted panic");
    }
}

#[derive(Default)]
struct Counts {
    seen: u32,
}

impl Behaviour for Counts {
    async fn perform(&mut self, scene: &Scene, task: &Task) -> Result<Output, TaskError> {
        self.seen += 1;
        scene.answer(task).await?;
        Ok(self.seen.to_string().into())
    }
}

#[test]
fn what_a_behaviour_holds_lasts_from_task_to_task_and_is_made_anew_after_a_panic() {
    expect_panics();
    run(|clock| async move {
        let crash = Act::Panic(Duration::from_millis(5));
        let client = Scripted::new(&clock, vec![GOOD, GOOD, crash], GOOD);
        let spec = agent(1).behaviour(Counts::default);
        let system = system(&clock, &client).agent(spec).start().await.unwrap();
        for (id, seen) in [(1, "1"), (2, "2"), (3, "1"), (4, "2")] {
            let outcome = system.run(task(id)).await.unwrap();
            assert_eq!(outcome.output.as_deref(), Some(seen), "task {id}");
        }
    });
}

/// Runs three tasks, and checks that one crash costs a restart, what had left, and nothing else.
async fn costs_one_restart(clock: &Clock, place: &str, spec: AgentSpec, script: Vec<Act>) {
    let client = Scripted::new(clock, script, GOOD);
    let system =
        system(clock, &client).agent(spec).budget(budget("global", "1.00")).start().await.unwrap();
    let mut outcomes = system.outcomes();
    for id in 1..4 {
        let outcome = system.run(task(id)).await.unwrap();
        assert!(outcome.error.is_none(), "{place}: {outcome:?}");
        assert_eq!(outcomes.next().await.unwrap().task_id, outcome.task_id, "{place}");
    }
    assert!(outcomes.try_next().is_none(), "{place}: an outcome too many");
    let summary = system.snapshot().await.unwrap().summary;
    assert_eq!((summary.restarts, summary.tasks.completed), (1, 3), "{place}");
    let (spent, reserved) = spent(&system).await;
    let charged = summary.cost_usd.saturating_add(summary.presumed_cost_usd);
    assert_eq!((spent, reserved), (charged, NanoUsd::ZERO), "{place}");
    assert!(client.billed_nanos() <= charged.nanos(), "{place}");
    let in_flight: u32 = system.headroom().await.unwrap().iter().map(|pair| pair.in_flight).sum();
    assert_eq!(in_flight, 0, "{place}: a permit is still out");
}

/// Panics when it is dropped, the first time.
struct Bomb(Once);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.panic();
    }
}

/// Fails in `perform`, and then again when it is dropped for it.
struct FailsTwice {
    first: Once,
    _bomb: Bomb,
}

impl Behaviour for FailsTwice {
    async fn perform(&mut self, scene: &Scene, task: &Task) -> Result<Output, TaskError> {
        let output = scene.answer(task).await?;
        self.first.panic();
        Ok(output)
    }
}

#[test]
fn a_panic_anywhere_in_user_code_costs_one_worker_one_restart() {
    expect_panics();
    run(|clock| async move {
        let once = Once::default();
        let factory = agent(1).behaviour(move || {
            once.panic();
            Counts::default()
        });
        costs_one_restart(&clock, "factory", factory, Vec::new()).await;

        let once = Once::default();
        let perform = agent(1).behaviour(move || {
            let once = once.clone();
            Does(async move |scene: &Scene, task: &Task| {
                let calls = [scene.answer(task), scene.answer(task)];
                let half = scene.clock().sleep(Duration::from_millis(50));
                let calls = futures_util::future::select(Box::pin(join_all(calls)), Box::pin(half));
                calls.await;
                once.panic();
                scene.answer(task).await
            })
        });
        costs_one_restart(&clock, "perform", perform, Vec::new()).await;

        let once = Once::default();
        let tool = agent(1).behaviour(move || {
            let once = once.clone();
            Does(async move |scene: &Scene, task: &Task| {
                scene.tool("search", || once.panic());
                scene.answer(task).await
            })
        });
        costs_one_restart(&clock, "tool", tool, Vec::new()).await;

        let client = agent(1).behaviour(Counts::default);
        let crash = Act::Panic(Duration::from_millis(5));
        costs_one_restart(&clock, "client", client, vec![GOOD, crash]).await;

        let (first, second) = (Once::default(), Once::default());
        let drop_after_panic = agent(1)
            .behaviour(move || FailsTwice { first: first.clone(), _bomb: Bomb(second.clone()) });
        costs_one_restart(&clock, "drop after a panic", drop_after_panic, Vec::new()).await;
    });
}

/// A provider whose requests panic once where they are dropped under way.
#[derive(Debug)]
struct Brittle(Scripted, Once);

impl LlmClient for Brittle {
    fn complete<'a>(
        &'a self,
        request: &'a Request,
    ) -> LocalBoxFuture<'a, Result<Answer, LlmError>> {
        Box::pin(async move {
            let bomb = Bomb(self.1.clone());
            let answer = self.0.complete(request).await;
            // It answered: there is nothing to be dropped.
            std::mem::forget(bomb);
            answer
        })
    }

    fn provider(&self) -> &str {
        "brittle"
    }
}

#[test]
fn neither_a_request_that_panics_while_a_panic_drops_it_nor_a_payload_that_does_ends_the_process() {
    expect_panics();
    run(|clock| async move {
        let scripted = Scripted::new(&clock, Vec::new(), GOOD);
        let (panics, payload) = (Once::default(), Once::default());
        let spec = agent(1).behaviour(move || {
            let (panics, payload) = (panics.clone(), payload.clone());
            Does(async move |scene: &Scene, task: &Task| {
                let crash = async {
                    scene.clock().sleep(Duration::from_millis(50)).await;
                    panics.panic();
                };
                let (output, ()) = join(scene.answer(task), crash).await;
                if payload.is_first() {
                    std::panic::resume_unwind(Box::new(Bomb(Once::default())));
                }
                output
            })
        });
        let client = Brittle(scripted.clone(), Once::default());
        let builder = AgentSystem::builder(client).clock(clock.clone()).seed(7);
        let system = builder.agent(spec).start().await.unwrap();
        let outcome = system.run(task(1)).await.unwrap();
        assert_eq!((outcome.output.as_deref(), outcome.attempts), (Some("done"), 3));
        assert_eq!(system.snapshot().await.unwrap().summary.restarts, 2);
    });
}

#[test]
fn a_drop_that_panics_where_a_task_is_cancelled_costs_one_restart_and_the_task_still_ends_once() {
    expect_panics();
    run(|clock| async move {
        let client = Scripted::new(&clock, vec![Act::Hang], GOOD);
        let once = Once::default();
        let spec = agent(1).behaviour(move || {
            let bomb = Bomb(once.clone());
            Does(async move |scene: &Scene, task: &Task| {
                let _bomb = &bomb;
                scene.answer(task).await
            })
        });
        let system = system(&clock, &client).agent(spec).start().await.unwrap();
        let mut outcomes = system.outcomes();
        let hangs = system.submit(task(1)).await.unwrap();
        clock.sleep(Duration::from_secs(1)).await;
        assert!(system.cancel("1".into()).await.unwrap());
        let cancelled = hangs.outcome().await.unwrap();
        assert_eq!(cancelled.error.as_ref().unwrap().code, ErrorCode::Cancelled);
        assert!(!cancelled.presumed_cost_usd.is_zero());
        assert!(system.run(task(2)).await.unwrap().error.is_none());
        assert_eq!(system.snapshot().await.unwrap().summary.restarts, 1);
        let told: Vec<_> = std::iter::from_fn(|| outcomes.try_next()).collect();
        assert_eq!(told.len(), 2);
    });
}

#[test]
fn a_panic_in_a_tool_is_told_with_the_name_of_the_tool() {
    expect_panics();
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let spec = agent(1).behaviour(|| {
            Does(async |scene: &Scene, _: &Task| {
                scene.tool("search", || panic!("scripted panic"));
                Ok("never".into())
            })
        });
        let system = system(&clock, &client).agent(spec).start().await.unwrap();
        let error = system.run(task(1)).await.unwrap().error.clone().unwrap();
        assert_eq!(error.code, ErrorCode::WorkerCrashed);
        assert!(error.message.contains("tool search: scripted panic"), "{error}");
    });
}

#[test]
fn a_performance_that_waits_for_ever_ends_at_its_deadline_and_is_made_anew() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let spec = agent(1).behaviour(|| {
            let mut seen = 0;
            Does(async move |_: &Scene, task: &Task| {
                seen += 1;
                if task.deadline.is_some() {
                    std::future::pending::<()>().await;
                }
                Ok(seen.to_string().into())
            })
        });
        let system = system(&clock, &client).agent(spec).start().await.unwrap();
        let began = clock.now();
        let deadline = Some(Deadline::After(Duration::from_secs(9)));
        let late = system.run(Task { deadline, ..task(1) }).await.unwrap();
        assert_eq!(late.error.as_ref().unwrap().code, ErrorCode::DeadlineExceeded);
        assert_eq!(clock.now().since(began), Duration::from_secs(9));
        let next = system.run(task(2)).await.unwrap();
        assert_eq!(next.output.as_deref(), Some("1"));
        assert_eq!(system.snapshot().await.unwrap().summary.restarts, 0);
    });
}

#[test]
fn every_call_of_a_behaviour_counts_for_its_task_at_the_price_of_its_own_model() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let spec = agent(1).behaviour(|| {
            Does(async |scene: &Scene, task: &Task| {
                let first = scene.complete(ask("hello")).await?;
                assert_eq!(first.text(), "done");
                let model = "claude-opus-4-5".to_owned();
                let second = Request { model, max_tokens: 60, ..scene.opening(task)? };
                Ok(scene.complete(second).await?.into())
            })
        });
        let system = system(&clock, &client)
            .agent(spec)
            .budget(budget("model:claude-opus-4-5", "1.00"))
            .budget(budget("task:*", "1.00"))
            .start()
            .await
            .unwrap();
        let outcome = system.run(task(1)).await.unwrap();
        assert_eq!((outcome.attempts, outcome.usage.output_tokens), (2, 100));
        assert_eq!(outcome.stop_reason.as_deref(), Some("end_turn"));
        let query = UsageQuery { by: vec![Dimension::Model], ..UsageQuery::default() };
        let report = system.usage(query).await.unwrap();
        let dear = &report.rows[1];
        assert_eq!(dear.group[0].1.as_deref(), Some("claude-opus-4-5"));
        assert!(dear.totals.cost > report.rows[0].totals.cost, "{report:?}");
        assert_eq!(report.total.totals.cost, outcome.cost_usd);
        assert_eq!(spent(&system).await.0, dear.totals.cost);
    });
}

#[test]
fn calls_at_once_wait_for_each_other_where_together_they_could_cost_more_than_the_task_may() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let spec = agent(1).behaviour(|| {
            Does(async |scene: &Scene, _: &Task| {
                let calls = (0..10).map(|_| scene.complete(ask("hello")));
                let answered = join_all(calls).await.into_iter().filter(Result::is_ok).count();
                Ok(answered.to_string().into())
            })
        });
        // A call is bounded at 100 tokens of output for $5 a million and 69 of input for $1:
        // $0.000569. It is billed for 50 and 100: $0.00035.
        let max_cost_per_task: NanoUsd = "0.0027".parse().unwrap();
        let guards = Guards { max_cost_per_task, ..Guards::default() };
        let system = system(&clock, &client).agent(spec).guards(guards).start().await.unwrap();
        let outcome = system.run(task(1)).await.unwrap();
        let sent = client.sent();
        let at_first = sent.iter().filter(|at| **at == sent[0]).count();
        assert_eq!(at_first, 4, "as many as fit if each costs the most that it can");
        assert_eq!(outcome.output.as_deref(), Some("7"), "and more when they cost less");
        assert!(outcome.cost_usd <= max_cost_per_task, "{outcome:?}");
    });
}

#[test]
fn a_task_whose_budget_stops_the_run_is_kept_however_its_behaviour_takes_it() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let spec = agent(1).behaviour(|| {
            Does(async |scene: &Scene, task: &Task| {
                // It must not be able to turn the end of the run into an answer.
                let call = Box::pin(scene.answer(task));
                let pause = Box::pin(scene.clock().sleep(Duration::from_secs(5)));
                futures_util::future::select(call, pause).await;
                Ok("settled for less".into())
            })
        });
        let stop = BudgetSpec {
            on_exhausted: OnExhausted::StopRun,
            ..BudgetSpec::new(ScopePattern::global(), "0.0001".parse().unwrap())
        };
        let system = system(&clock, &client).agent(spec).budget(stop).start().await.unwrap();
        let handle = system.submit(task(1)).await.unwrap();
        assert_eq!(system.stopped().await, Ended::Stopped);
        assert!(handle.outcome().await.is_err(), "it has not ended");
        assert_eq!((client.sent().len(), MODEL), (0, "claude-haiku-4-5"));
    });
}
