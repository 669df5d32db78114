//! What the provider says in its headers.

use std::time::Duration;

use agent_core::clock::Timestamp;
use agent_core::llm::{LlmClient, LlmErrorKind as K};

use crate::wire::{GOOD, KEY, Server, call, client, http, reply, request};

const LIMITS: &str = "request-id: req_011\r\n\
    anthropic-ratelimit-requests-limit: 50\r\n\
    anthropic-ratelimit-requests-remaining: 49\r\n\
    anthropic-ratelimit-requests-reset: 2026-11-24T10:00:01Z\r\n\
    anthropic-ratelimit-input-tokens-limit: 30000\r\n\
    anthropic-ratelimit-input-tokens-remaining: 0\r\n\
    anthropic-ratelimit-input-tokens-reset: 2026-11-24T10:00:02Z\r\n\
    anthropic-ratelimit-output-tokens-limit: many\r\n\
    anthropic-ratelimit-output-tokens-remaining: 1\r\n\
    anthropic-ratelimit-output-tokens-reset: 2026-11-24T10:00:03Z\r\n\
    anthropic-ratelimit-tokens-limit: -1\r\n";

#[tokio::test]
async fn an_answer_and_a_refusal_both_tell_their_name_and_the_limits() {
    let answer = call(reply(http("200 OK", LIMITS, GOOD))).await.unwrap();
    let error = call(reply(http("429 Too Many Requests", LIMITS, "{}"))).await.unwrap_err();
    for (id, limits) in [(answer.request_id, answer.limits), (error.request_id, error.limits)] {
        assert_eq!(id.as_deref(), Some("req_011"));
        let requests = limits.requests.unwrap();
        let reset: Timestamp = "2026-11-24T10:00:01Z".parse().unwrap();
        assert_eq!((requests.limit, requests.remaining, requests.reset), (50, 49, reset));
        let input = limits.input_tokens.unwrap();
        assert_eq!((input.limit, input.remaining), (30_000, 0));
        assert!(limits.output_tokens.is_none() && limits.tokens.is_none(), "told in part");
    }
}

#[tokio::test]
async fn a_refusal_without_the_header_is_named_by_its_body() {
    let body = r#"{"error":{"type":"x","message":"y"},"request_id":"req_2"}"#;
    let error = call(reply(http("400 Bad Request", "", body))).await.unwrap_err();
    assert_eq!(error.request_id.as_deref(), Some("req_2"));
    let both = call(reply(http("400 Bad Request", "request-id: req_1\r\n", body))).await;
    assert_eq!(both.unwrap_err().request_id.as_deref(), Some("req_1"));
}

#[tokio::test]
async fn retry_after_is_read_in_seconds_and_as_a_date() {
    let retry_after = async |text: &str| {
        let headers = format!("retry-after: {text}\r\n");
        call(reply(http("429 Too Many Requests", &headers, "{}"))).await.unwrap_err().retry_after
    };
    assert_eq!(retry_after("505").await, Some(Duration::from_secs(505)));
    assert_eq!(retry_after("1.5").await, Some(Duration::from_millis(1_500)));
    assert_eq!(retry_after("soon").await, None);
    let now = agent_core::clock::Clock::real().now();
    let soon = std::time::UNIX_EPOCH + Duration::from_millis(now.millis() + 90_000);
    let wait = retry_after(&httpdate::fmt_http_date(soon)).await.unwrap();
    assert!((60..=90).contains(&wait.as_secs()), "{wait:?}");
    let past = std::time::UNIX_EPOCH + Duration::from_millis(now.millis() - 90_000);
    assert_eq!(retry_after(&httpdate::fmt_http_date(past)).await, Some(Duration::ZERO));
}

#[tokio::test]
async fn the_provider_may_forbid_a_retry_but_a_word_that_is_neither_says_nothing() {
    for (text, read) in
        [("false", Some(false)), ("true", Some(true)), ("False", Some(false)), ("maybe", None)]
    {
        let headers = format!("x-should-retry: {text}\r\n");
        let error = call(reply(http("529 Overloaded", &headers, "{}"))).await.unwrap_err();
        assert_eq!((error.kind, error.should_retry), (K::Overloaded, read), "{text}");
    }
}

#[tokio::test]
async fn a_spend_limit_is_no_rate_limit_and_used_up_credit_no_bad_request() {
    let says = |message: &str, code: &str| {
        format!(
            r#"{{"type":"error","error":{{"type":"rate_limit_error","message":"{message}",
            "details":{{"error_code":"{code}"}}}}}}"#
        )
    };
    let limit = "429 Too Many Requests";
    for (status, headers, body, kind) in [
        (limit, "", says("x", "enforced_spend_limit_reached"), K::Billing),
        (limit, "", says("x", "contract_spend_limit_reached"), K::Billing),
        (limit, "", says("x", "ramp_limit_exceeded"), K::RateLimited),
        (limit, "retry-after: 9\r\n", says("x", "ramp_limit_exceeded"), K::RateLimited),
        (limit, "", says("reached your specified API usage limits", ""), K::Billing),
        ("400 Bad Request", "", says("Your credit balance is too low", ""), K::Billing),
        ("400 Bad Request", "", says("prompt is too long: 9 > 8", ""), K::InvalidRequest),
        ("402 Payment Required", "", says("x", ""), K::Billing),
    ] {
        let error = call(reply(http(status, headers, &body))).await.unwrap_err();
        assert_eq!(error.kind, kind, "{status} {headers}{body}");
    }
}

#[tokio::test]
async fn tokens_are_counted_at_an_endpoint_of_their_own_without_what_it_refuses() {
    for (body, counted) in [
        (r#"{"input_tokens":641}"#, Some(641)),
        (r#"{"input_tokens":-1}"#, None),
        (r#"{"input_tokens":1e99}"#, None),
        ("{}", None),
        ("", None),
    ] {
        let server = Server::always(reply(http("200 OK", "", body))).await;
        let result = client(&server.url).count_tokens(&request()).await.unwrap();
        assert_eq!(result.ok(), counted, "{body}");
        let seen = server.seen.requests.lock().unwrap();
        assert!(seen[0].starts_with("POST /v1/messages/count_tokens HTTP/1.1\r\n"), "{seen:?}");
        assert!(!seen[0].contains("max_tokens"), "{seen:?}");
    }
}

#[tokio::test]
async fn a_key_that_the_provider_sends_back_is_not_shown() {
    let says = |key: &str| format!(r#"{{"error":{{"type":"{key}","message":"bad {key}"}}}}"#);
    let location = format!("location: https://{KEY}.test/{KEY}?{KEY}\r\nrequest-id: {KEY}\r\n");
    for (status, headers, body) in [
        ("401 Unauthorized", "", says(KEY)),
        ("200 OK", "", says(KEY)),
        ("307 Moved", &location, String::new()),
        ("502 Bad Gateway", &location, format!("<html>{KEY}")),
        ("200 OK", &location, format!("<html>{KEY}")),
        ("200 OK", "", KEY.to_owned()),
    ] {
        // `call` looks at what is shown.
        assert!(call(reply(http(status, headers, &body))).await.is_err(), "{status}");
    }
}
