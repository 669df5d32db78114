//! The mock provider over real sockets.

mod client;
mod faults;
mod limits;
mod streams;
mod thinking;
mod tools;

use std::sync::atomic::Ordering;

use client::{BODY, KEY, post, request, send, start};

use super::*;

#[tokio::test]
async fn an_answer_is_billed_to_the_ledger_with_its_task() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.jsonl");
    let mock = MockProvider::start(LOCAL, Scenario::default(), Some(path.clone())).await.unwrap();
    let answer = post(&mock, BODY).await;
    assert_eq!((answer.status, &answer.json()["usage"]["output_tokens"]), (200, &9.into()));
    assert_eq!(answer.json()["id"], answer.header("request-id").replace("req_", "msg_"));
    assert!(!answer.header("anthropic-organization-id").is_empty());
    mock.shutdown().await.unwrap();
    let line = std::fs::read_to_string(path).unwrap();
    assert!(line.contains("\"key\":\"abcd\"") && line.contains("\"task\":\"7\""), "{line}");
}

#[tokio::test]
async fn an_answer_that_cannot_be_billed_is_an_error_and_no_silence() {
    if !std::path::Path::new("/dev/full").exists() {
        return;
    }
    let slow = Scenario::from_toml("[latency]\nper_output_token = '1ms'").unwrap();
    for scenario in [Scenario::default(), slow] {
        let mock = MockProvider::start(LOCAL, scenario, Some("/dev/full".into())).await.unwrap();
        let answer = post(&mock, BODY).await;
        assert_eq!((answer.status, &answer.json()["error"]["type"]), (500, &"api_error".into()));
        assert!(answer.body.contains("ledger cannot be written"), "{}", answer.body);
        let streamed = post(&mock, &BODY.replacen('{', "{\"stream\":true,", 1)).await;
        assert!(streamed.body.contains("ledger cannot be written"), "{}", streamed.body);
        assert_eq!(mock.billed().answers, 0);
    }
}

#[tokio::test]
async fn a_body_of_more_than_32_mb_is_refused_as_the_edge_of_the_api_does_it() {
    let mock = start("").await;
    for (bytes, status) in [(32_000_000, 400), (32_000_000 + 1, 413)] {
        let answer = post(&mock, &" ".repeat(bytes)).await;
        assert_eq!(answer.status, status, "{bytes}");
    }
}

#[tokio::test]
async fn bad_bodies_are_refused_and_not_billed() {
    let mock = start("").await;
    for body in ["{", "{}", "[]"] {
        let answer = post(&mock, body).await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
        assert_eq!(answer.json()["request_id"], answer.header("request-id"));
        assert_eq!(answer.header("x-should-retry"), "false");
    }
    assert_eq!((mock.bill().len(), mock.requests()[&400]), (0, 3));
}

#[tokio::test]
async fn a_key_is_taken_from_either_header_and_a_wrong_one_is_refused() {
    let any = start("").await;
    let one = start("valid_keys = ['sk-ant-right']").await;
    for (mock, header, status) in [
        (&any, "x-api-key: sk-ant-x", 200),
        (&any, "Authorization: Bearer sk-ant-x", 200),
        (&any, "authorization: bearer sk-ant-x", 200),
        (&any, "x-api-key: nope", 401),
        (&any, "x-other: y", 401),
        (&one, "x-api-key: sk-ant-right", 200),
        (&one, "authorization: Bearer sk-ant-right", 200),
        (&one, "x-api-key: sk-ant-x", 401),
        (&one, "authorization: Bearer sk-ant-right2", 401),
    ] {
        let answer = request(mock, "POST", "/v1/messages", header, BODY).await.unwrap();
        assert_eq!(answer.status, status, "{header}");
        if status == 401 {
            assert_eq!(answer.json()["error"]["type"], "authentication_error");
            assert_eq!(answer.header("x-should-retry"), "false");
        }
    }
    assert_eq!((any.billed().answers, one.billed().answers), (3, 2));
}

#[tokio::test]
async fn a_request_without_a_version_or_with_an_unknown_one_is_refused() {
    let mock = start("").await;
    for path in ["/v1/messages", "/v1/messages/count_tokens"] {
        for (version, says) in [
            (None, "anthropic-version: header is required"),
            (Some("1999-01-01"), "anthropic-version: \"1999-01-01\" is not a valid version"),
        ] {
            let answer = client::versioned(&mock, path, version).await;
            let error = &answer.json()["error"];
            assert_eq!((answer.status, &error["type"]), (400, &"invalid_request_error".into()));
            assert_eq!(error["message"], says);
            assert_eq!(answer.header("x-should-retry"), "false");
        }
    }
    assert_eq!((mock.bill().len(), mock.requests()[&400]), (0, 4));
}

#[tokio::test]
async fn tokens_are_counted_for_nothing() {
    let mock = start("").await;
    let body = BODY.replace("\"max_tokens\":9,", "");
    let counted = request(&mock, "POST", "/v1/messages/count_tokens", KEY, &body).await.unwrap();
    let answered = post(&mock, BODY).await;
    assert_eq!(counted.json()["input_tokens"], answered.json()["usage"]["input_tokens"]);
    assert_eq!(mock.bill().len(), 1);
}

#[tokio::test]
async fn models_are_listed_found_and_refused_by_name() {
    let mock = start("models = ['a', 'b', 'c']").await;
    let get = async |path| request(&mock, "GET", path, KEY, "").await.unwrap();
    let page = get("/v1/models?limit=2").await.json();
    assert_eq!((&page["data"][1]["id"], &page["has_more"]), (&"b".into(), &true.into()));
    let rest = get("/v1/models?after_id=b&limit=2").await.json();
    assert_eq!((&rest["data"][0]["id"], &rest["has_more"]), (&"c".into(), &false.into()));
    assert_eq!(get("/v1/models/b").await.json()["type"], "model");
    assert_eq!(get("/v1/models/m").await.status, 404);
    let refused = post(&mock, BODY).await;
    assert_eq!(refused.status, 404);
    assert_eq!(refused.json()["error"]["message"], "model: m");
    assert_eq!(get("/v1/other").await.status, 404);
    assert_eq!(get("/v1/messages").await.status, 405);
}

#[tokio::test]
async fn once_the_credit_is_used_up_calls_are_refused_for_good() {
    let mock = start("spend_limit_usd = '0.0001'\n[output]\ninput_tokens = 10\ntokens = 9").await;
    let body = BODY.replace("\"m\"", "\"claude-haiku-4-5\"");
    // Each costs 10 × $1 + 9 × $5 a million: the second goes over.
    for _ in 0..2 {
        assert_eq!(post(&mock, &body).await.status, 200);
    }
    let refused = post(&mock, &body).await;
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(refused.status == 400 && message.contains("credit balance is too low"), "{message}");
    // What has no price could be used without end.
    assert_eq!(post(&mock, BODY).await.status, 404);
    assert_eq!(mock.bill().len(), 2);
}

#[tokio::test]
async fn a_call_that_the_client_abandons_is_billed() {
    let mock = start("[latency]\nbase = '1h'").await;
    let call = send(mock.address(), "POST", "/v1/messages", KEY, BODY).await.unwrap();
    while mock.state.calls.load(Ordering::Relaxed) == 0 {
        pause(5).await;
    }
    drop(call);
    while mock.bill().is_empty() {
        pause(5).await;
    }
    assert_eq!(mock.billed(), Billed { answers: 1, input_tokens: 10, output_tokens: 9 });
}

#[tokio::test]
async fn shutdown_ends_open_connections() {
    let mock = start("[[fault]]\nkind = 'hang'").await;
    let address = mock.address();
    let state = Arc::clone(&mock.state);
    let call = tokio::spawn(async move { client::raw(address, BODY).await });
    while state.bill().sum().answers == 0 {
        pause(5).await;
    }
    mock.shutdown().await.unwrap();
    assert!(call.await.unwrap().unwrap_or_default().is_empty());
    assert!(client::raw(address, BODY).await.is_err());
    assert_eq!(Arc::strong_count(&state), 1, "a connection is still open");
}

async fn pause(millis: u64) {
    Clock::real().sleep(Duration::from_millis(millis)).await;
}
