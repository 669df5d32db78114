//! Which answers of a provider, over HTTP, are tried again.

use std::time::Duration;

use agent_core::clock::Timestamp;
use agent_core::llm::{LlmClient, LlmError, LlmErrorKind};
use agent_core::retry::{Failure, Retry, RetryPolicy, Why};

use crate::wire::{Step, call, client, http, reply, request};

fn decide(error: &LlmError) -> Retry {
    let failure = Failure {
        transient: error.kind.is_transient(),
        retry_after: error.retry_after,
        should_retry: error.should_retry,
    };
    RetryPolicy::default().decide(1, &failure, Timestamp::EPOCH, Timestamp::NEVER, 0.0)
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_would_fail_again_is_not() {
    for status in [400, 401, 402, 403, 404, 405, 410, 413, 415, 422, 451] {
        let error = call(reply(http(&format!("{status} x"), "", "{}"))).await.unwrap_err();
        assert_eq!(decide(&error), Retry::GiveUp(Why::NotTransient), "{status}: {error}");
    }
    let again = Retry::After(Duration::from_secs(2));
    for status in [408, 409, 429, 500, 501, 502, 503, 504, 520, 524, 529, 599] {
        let error = call(reply(http(&format!("{status} x"), "", "{}"))).await.unwrap_err();
        assert_eq!(decide(&error), again, "{status}: {error}");
    }
    let reset = call(vec![Step::Close]).await.unwrap_err();
    assert_eq!(decide(&reset), again, "{reset}");
    let not_connected = client("http://127.0.0.1:1").complete(&request()).await.unwrap_err();
    assert_eq!(decide(&not_connected), again, "{not_connected}");
    assert_eq!(decide(&LlmError::new(LlmErrorKind::Timeout, "too late")), again);
}

#[tokio::test]
async fn the_provider_says_how_long_to_wait_and_whether_to_try_again() {
    for (headers, expected) in [
        ("retry-after: 7\r\n", Retry::After(Duration::from_secs(7))),
        ("retry-after: 1\r\n", Retry::After(Duration::from_secs(2))),
        ("retry-after: -5\r\n", Retry::After(Duration::from_secs(2))),
        ("retry-after: soon\r\n", Retry::After(Duration::from_secs(2))),
        ("retry-after-ms: 2500\r\n", Retry::After(Duration::from_millis(2_500))),
        ("x-should-retry: false\r\n", Retry::GiveUp(Why::NotTransient)),
        ("x-should-retry: true\r\n", Retry::After(Duration::from_secs(2))),
    ] {
        for status in ["429 Too Many Requests", "529 x", "503 x"] {
            let error = call(reply(http(status, headers, "{}"))).await.unwrap_err();
            assert_eq!(decide(&error), expected, "{status} {headers}");
        }
    }
}
