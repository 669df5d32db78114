//! From the wire to the books: what a task is charged for what a provider really sent.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use agent_core::agent::AgentSpec;
use agent_core::retry::RetryPolicy;
use agent_core::system::AgentSystem;
use agent_core::task::{ErrorCode, Outcome, Task};
use serde_json::{Value, json};

use crate::wire::{GOOD, Server, Step, client, http, reply, with_length};

/// What a task came to against a server that does one thing after another, the last for ever, and
/// how many requests it saw.
async fn play(script: Vec<Vec<Step>>) -> (Arc<Outcome>, usize) {
    let server = Server::start(move |number, _| script[number.min(script.len() - 1)].clone()).await;
    let tick = Duration::from_millis(1);
    let retry = RetryPolicy {
        max_attempts: NonZeroU32::new(3).unwrap(),
        initial_backoff: tick,
        max_backoff: tick,
    };
    let agent = AgentSpec::new("clerk", "claude-haiku-4-5").max_tokens(9);
    let builder = AgentSystem::builder(client(&server.url)).agent(agent).retry(retry);
    let system = builder.start().await.unwrap();
    let outcome = system.run(Task::new("1", "File a letter")).await.unwrap();
    let balances = system.balances().await.unwrap();
    assert!(balances.iter().all(|balance| balance.reserved.is_zero()));
    (outcome, server.requests())
}

fn code(outcome: &Outcome) -> Option<ErrorCode> {
    outcome.error.as_ref().map(|error| error.code)
}

/// 3 tokens in and 1 out, at $1 and $5 a million.
const PRICE_OF_GOOD: u64 = 3 * 1_000 + 5_000;

#[tokio::test]
async fn a_storm_of_refusals_costs_nothing_and_one_that_was_cut_off_its_bound() {
    let good = reply(http("200 OK", "", GOOD));
    for status in ["429 Too Many Requests", "529 Overloaded", "500 Internal Server Error"] {
        let whole = reply(http(status, "", "{}"));
        let (outcome, sent) = play(vec![whole.clone(), whole, good.clone()]).await;
        assert_eq!((code(&outcome), sent), (None, 3), "{status}");
        assert_eq!(outcome.cost_usd.nanos(), PRICE_OF_GOOD);
        assert!(outcome.presumed_cost_usd.is_zero(), "{status}");

        let cut = reply(with_length(status, "", "{", 9));
        let (outcome, sent) = play(vec![cut, good.clone()]).await;
        assert_eq!((code(&outcome), sent), (None, 2), "{status}");
        assert_eq!(outcome.cost_usd.nanos(), PRICE_OF_GOOD);
        assert!(!outcome.presumed_cost_usd.is_zero(), "{status}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_priced_is_presumed_at_its_bound_and_not_free() {
    let (not_understood, _) = play(vec![reply(http("200 OK", "", "x"))]).await;
    let bound = not_understood.presumed_cost_usd;
    assert!(!bound.is_zero());
    let tokens = json!({"input_tokens": 3, "output_tokens": 1});
    let mut advised = tokens.clone();
    advised["iterations"] =
        json!([{"model": "claude-unheard-of-9", "input_tokens": 3, "output_tokens": 1}]);
    let mut fast = tokens;
    fast["speed"] = json!("fast");
    for usage in [advised, fast] {
        let mut body: Value = serde_json::from_str(GOOD).unwrap();
        body["usage"] = usage.clone();
        let (outcome, sent) = play(vec![reply(http("200 OK", "", &body.to_string()))]).await;
        assert_eq!((code(&outcome), sent), (None, 1), "{usage}");
        let charged = outcome.cost_usd.saturating_add(outcome.presumed_cost_usd);
        assert!(charged >= bound, "{usage}: {charged} of {bound}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_understood_is_charged_once_and_for_what_it_says_at_least() {
    let (page, sent) = play(vec![reply(http("200 OK", "", "<html>"))]).await;
    assert_eq!((code(&page), sent), (Some(ErrorCode::InvalidResponse), 1));
    assert!(page.cost_usd.is_zero() && !page.presumed_cost_usd.is_zero());
    let mut body: Value = serde_json::from_str(GOOD).unwrap();
    body["content"] = Value::Null;
    body["usage"]["input_tokens"] = json!(1_000_000);
    let (odd, sent) = play(vec![reply(http("200 OK", "", &body.to_string()))]).await;
    assert_eq!((code(&odd), sent), (Some(ErrorCode::InvalidResponse), 1));
    assert_eq!(odd.cost_usd.nanos(), 1_000_000 * 1_000 + 5_000);
}
