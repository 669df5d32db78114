//! Answers that are not quite as documented: read where they can be, never under-billed.

use agent_core::llm::anthropic::stream;
use agent_core::llm::{Answer, Block, Fate, LlmError, LlmErrorKind as K, StopReason};
use agent_core::usage::Usage;
use serde_json::{Value, json};

use crate::wire::{GOOD, KEY, call, http, reply};

async fn answer(body: &str) -> Result<Answer, LlmError> {
    call(reply(http("200 OK", "", body))).await
}

/// A good answer with `key` set to `value`, or left out where that is `null`.
fn with(key: &str, value: Value) -> String {
    let mut body: Value = serde_json::from_str(GOOD).unwrap();
    body[key] = value;
    body.to_string()
}

#[tokio::test]
async fn what_is_missing_or_odd_beside_the_bill_does_not_spoil_an_answer() {
    let bare = answer(GOOD).await.unwrap();
    for (key, value) in [
        ("stop_reason", Value::Null),
        ("stop_reason", json!(7)),
        ("stop_sequence", json!(["a"])),
        ("id", json!(12)),
        ("model", json!({"name": "m"})),
        ("role", json!(null)),
        ("container", json!({"id": "c", "expires_at": "x"})),
        ("error", Value::Null),
    ] {
        let read = answer(&with(key, value.clone())).await.unwrap();
        assert_eq!(read, bare, "{key}: {value}");
    }
    let without_type = b"HTTP/1.1 200 OK\r\n\r\n".iter().chain(GOOD.as_bytes()).copied().collect();
    assert_eq!(call(reply(without_type)).await.unwrap(), bare);
}

#[tokio::test]
async fn a_block_of_any_shape_is_kept() {
    let blocks = [
        json!({"type": "hologram", "x": [1]}),
        json!({"type": "text"}),
        json!({"type": "tool_use", "id": "t"}),
        json!({"type": "web_search_tool_result", "content": [{"url": "u"}]}),
        json!(null),
        json!("bare"),
    ];
    let read = answer(&with("content", json!(blocks))).await.unwrap();
    let kept: Vec<_> = blocks.into_iter().map(Block::Other).collect();
    assert_eq!(read.content, kept);
    assert_eq!(read.text(), "");
}

#[tokio::test]
async fn an_answer_whose_content_cannot_be_used_is_charged_for_its_usage_at_least() {
    let usage = Usage { input_tokens: 3, output_tokens: 1, ..Usage::default() };
    for (key, value) in [
        ("content", Value::Null),
        ("content", json!("hi")),
        ("content", json!({"type": "text", "text": "hi"})),
        ("type", json!("completion")),
        ("type", Value::Null),
    ] {
        let error = answer(&with(key, value.clone())).await.unwrap_err();
        assert_eq!(error.kind, K::NotUnderstood, "{key}: {value}");
        assert_eq!(error.fate(), Fate::AtLeast(usage.clone()), "{key}: {value}");
    }
}

#[tokio::test]
async fn usage_that_cannot_be_true_is_not_believed() {
    for usage in [
        json!(null),
        json!({}),
        json!({"input_tokens": 3}),
        json!({"output_tokens": 3}),
        json!({"input_tokens": -3, "output_tokens": 1}),
        json!({"input_tokens": 3.5, "output_tokens": 1}),
        json!({"input_tokens": "3", "output_tokens": 1}),
        json!({"input_tokens": 1e30, "output_tokens": 1}),
        json!({"input_tokens": u64::MAX, "output_tokens": 1}),
        json!({"input_tokens": 3, "output_tokens": u64::MAX}),
        json!({"input_tokens": 3, "output_tokens": 1, "cache_read_input_tokens": u64::MAX}),
        json!({"input_tokens": 3, "output_tokens": 1, "cache_creation_input_tokens": u64::MAX}),
        json!({"input_tokens": 3, "output_tokens": 1,
            "server_tool_use": {"web_search_requests": u64::MAX}}),
        json!({"input_tokens": 3, "output_tokens": 1,
            "iterations": [{"input_tokens": u64::MAX, "output_tokens": 1}]}),
        json!({"input_tokens": 3, "output_tokens": 1, "iterations": [{"output_tokens": 1}]}),
    ] {
        let error = answer(&with("usage", usage.clone())).await.unwrap_err();
        assert_eq!((error.kind, error.fate()), (K::NotUnderstood, Fate::Unknown), "{usage}");
    }
    let twice = GOOD.replace("\"input_tokens\":3", "\"input_tokens\":3,\"input_tokens\":0");
    assert_eq!(answer(&twice).await.unwrap_err().fate(), Fate::Unknown);
    let null = json!({"input_tokens": 3, "output_tokens": 1, "cache_read_input_tokens": null,
        "cache_creation": null, "server_tool_use": null, "iterations": null, "new": {"a": 1}});
    assert!(answer(&with("usage", null)).await.is_ok());
}

#[tokio::test]
async fn what_is_recorded_of_an_answer_is_short_and_holds_no_key() {
    let long = format!("{KEY}{}", "x".repeat(1_000));
    let mut body: Value = serde_json::from_str(GOOD).unwrap();
    for key in ["id", "model", "stop_reason"] {
        body[key] = json!(long);
    }
    let headers = format!("request-id: {long}\r\n");
    let read = call(reply(http("200 OK", &headers, &body.to_string()))).await.unwrap();
    let reason = read.stop_reason.as_ref().map(StopReason::as_str).unwrap();
    for text in [&read.id, &read.model, reason, read.request_id.as_deref().unwrap()] {
        assert!(text.len() < 400 && !text.contains("secret"), "{text}");
    }
}

#[tokio::test]
async fn a_compressed_answer_is_neither_asked_for_nor_taken_for_an_answer() {
    let server = crate::wire::Server::always(reply(
        [&b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n"[..], b"\x1f\x8b\x08\x00"].concat(),
    ))
    .await;
    let client = crate::wire::client(&server.url);
    let request = crate::wire::request();
    let error = agent_core::llm::LlmClient::complete(&client, &request).await.unwrap_err();
    assert_eq!((error.kind, error.fate()), (K::NotUnderstood, Fate::Unknown));
    let asked = server.seen.requests.lock().unwrap()[0].to_lowercase();
    assert!(asked.contains("accept-encoding: identity\r\n"), "{asked}");
}

fn event(value: &Value) -> String {
    format!("event: x\ndata: {value}\n\n")
}

const START: &str = r#"{"type":"message_start","message":{"id":"m","content":[],
    "usage":{"input_tokens":3,"output_tokens":1}}}"#;

#[test]
fn events_of_unknown_kinds_do_not_end_a_stream_whatever_they_hold() {
    let start: Value = serde_json::from_str(START).unwrap();
    let text = [
        start,
        json!({"type": "notice", "message": "hello", "index": "first", "usage": 7}),
        json!({"type": "content_block_start", "index": 0,
            "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0,
            "delta": {"type": "text_delta", "text": "hi"}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 5}}),
        json!({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 6}}),
        json!({"type": "message_stop"}),
    ]
    .iter()
    .map(event)
    .collect::<String>();
    let read = stream::assemble(text.as_bytes()).unwrap();
    assert_eq!((read.text().as_str(), read.usage.output_tokens), ("hi", 6));
    assert_eq!(read.stop_reason, Some(StopReason::EndTurn));
}

#[test]
fn a_stream_of_many_pieces_is_put_together_in_linear_time() {
    let mut text = event(&serde_json::from_str(START).unwrap());
    text += &event(&json!({"type": "content_block_start", "index": 0,
        "content_block": {"type": "text", "text": ""}}));
    let piece = event(&json!({"type": "content_block_delta", "index": 0,
        "delta": {"type": "text_delta", "text": "0123456789abcdef"}}));
    text += &piece.repeat(30_000);
    text += &event(&json!({"type": "message_stop"}));
    // Copying the text at every piece would move 7 GB.
    assert_eq!(stream::assemble(text.as_bytes()).unwrap().text().len(), 16 * 30_000);
}
