//! A client that panics anywhere but in a call: no more is lost than by a panic in one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use agent_core::agent::{AgentSpec, Scene};
use agent_core::estimate::Bounding;
use agent_core::llm::{Answer, LlmClient, LlmError, LlmErrorKind, Request};
use agent_core::money::NanoUsd;
use agent_core::system::{AgentSystem, Ended};
use agent_core::task::{ErrorCode, Task};
use futures_util::future::{LocalBoxFuture, join};

use crate::behaviour::Does;
use crate::support::{Act, GOOD, Scripted, agent, budget, expect_panics, run, spent, task};

/// Panics once, in what `place` names.
#[derive(Debug, Clone)]
struct Fragile {
    client: Scripted,
    place: &'static str,
    whole: Arc<AtomicBool>,
}

impl Fragile {
    fn at(&self, place: &str) {
        let breaks = place == self.place && self.whole.swap(false, Ordering::SeqCst);
        assert!(!breaks, "scripted panic");
    }
}

impl LlmClient for Fragile {
    fn complete<'a>(
        &'a self,
        request: &'a Request,
    ) -> LocalBoxFuture<'a, Result<Answer, LlmError>> {
        self.client.complete(request)
    }

    fn provider(&self) -> &str {
        "fragile"
    }

    fn account(&self) -> Arc<str> {
        self.at("account");
        "sk-ant-***abcd".into()
    }

    fn rotate(&self) -> Option<String> {
        self.at("rotate");
        Some("sk-ant-***efgh".to_owned())
    }

    fn key_source(&self) -> Option<String> {
        self.at("key_source");
        None
    }

    fn mask(&self, _: &str) -> Option<String> {
        self.at("mask");
        None
    }

    fn count_tokens<'a>(
        &'a self,
        _: &'a Request,
    ) -> LocalBoxFuture<'a, Option<Result<u64, LlmError>>> {
        self.at("count_tokens");
        Box::pin(async {
            self.at("the count");
            None
        })
    }
}

#[test]
fn a_client_that_panics_in_anything_costs_one_task_at_most_and_the_run_goes_on() {
    expect_panics();
    for place in ["account", "rotate", "key_source", "mask", "count_tokens", "the count"] {
        run(|clock| async move {
            let refused = Act::Fail(LlmErrorKind::Authentication);
            let client = Scripted::new(&clock, vec![refused], GOOD);
            let whole = Arc::new(AtomicBool::new(true));
            let fragile = Fragile { client: client.clone(), place, whole: Arc::clone(&whole) };
            let counts = AgentSpec { bounding: Bounding::Counted, ..agent(1) };
            let system = AgentSystem::builder(fragile)
                .clock(clock)
                .seed(7)
                .agent(counts)
                .budget(budget("global", "1.00"))
                .start()
                .await
                .unwrap();
            let mut charged = 0;
            for id in 0..3 {
                let outcome = system.run(task(id)).await.unwrap();
                charged += outcome.cost_usd.nanos() + outcome.presumed_cost_usd.nanos();
                let code = outcome.error.as_ref().map(|error| error.code);
                // What it cannot look through may hold a key: it is told to nobody.
                let lost = (place, id) == ("mask", 0);
                assert_eq!(code, lost.then_some(ErrorCode::WorkerCrashed), "{place}: {outcome:?}");
                assert_eq!(outcome.output.is_none(), lost, "{place}");
            }
            assert!(!whole.load(Ordering::SeqCst), "{place} was not reached");
            assert!(client.billed_nanos() <= charged, "{place}");
            let (all, reserved) = spent(&system).await;
            assert_eq!((all.nanos(), reserved), (charged, NanoUsd::ZERO), "{place}");
            assert_eq!(system.finish().await, Ended::Finished, "{place}");
        });
    }
}

/// Counts twice in vain: it panics as it counts, and never answers; and each time where it is dropped.
#[derive(Debug)]
struct Counts(Scripted, Arc<AtomicU32>);

impl LlmClient for Counts {
    fn complete<'a>(
        &'a self,
        request: &'a Request,
    ) -> LocalBoxFuture<'a, Result<Answer, LlmError>> {
        self.0.complete(request)
    }

    fn provider(&self) -> &str {
        "counts"
    }

    fn count_tokens<'a>(
        &'a self,
        _: &'a Request,
    ) -> LocalBoxFuture<'a, Option<Result<u64, LlmError>>> {
        Box::pin(Counting(self.1.fetch_add(1, Ordering::SeqCst)))
    }
}

struct Counting(u32);

impl Future for Counting {
    type Output = Option<Result<u64, LlmError>>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        match self.0 {
            0 => panic!("scripted panic"),
            1 => Poll::Pending,
            _ => Poll::Ready(None),
        }
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        assert!(self.0 > 1, "scripted panic");
    }
}

#[test]
fn a_count_that_panics_where_a_panic_drops_it_costs_one_worker_one_restart_each_time() {
    expect_panics();
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let client = Counts(client, Arc::default());
        let counted = AgentSpec { bounding: Bounding::Counted, ..agent(1) };
        let begun = Arc::new(AtomicU32::new(0));
        let counted = counted.behaviour(move || {
            let begun = Arc::clone(&begun);
            Does(async move |scene: &Scene, task: &Task| {
                let second = begun.fetch_add(1, Ordering::SeqCst) == 1;
                let crash = async {
                    scene.clock().sleep(Duration::from_millis(50)).await;
                    assert!(!second, "scripted panic");
                };
                join(scene.answer(task), crash).await.0
            })
        });
        let builder = AgentSystem::builder(client).clock(clock).seed(7);
        let system = builder.agent(counted).start().await.unwrap();
        let outcome = system.run(task(1)).await.unwrap();
        assert_eq!((outcome.output.as_deref(), outcome.attempts), (Some("done"), 1));
        assert_eq!(system.snapshot().await.unwrap().summary.restarts, 2);
    });
}
