//! A client that panics anywhere but in a call: no more is lost than by a panic in one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use agent_core::agent::AgentSpec;
use agent_core::estimate::Bounding;
use agent_core::llm::{Answer, LlmClient, LlmError, LlmErrorKind, Request};
use agent_core::money::NanoUsd;
use agent_core::system::{AgentSystem, Ended};
use agent_core::task::ErrorCode;
use futures_util::future::LocalBoxFuture;

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
