//! What the API refuses, and in which words.

use serde_json::json;

use super::*;

fn refusal(body: &str) -> String {
    Request::read(body.as_bytes(), false, "2023-06-01").err().unwrap_or_default()
}

#[test]
fn a_bad_field_is_named_as_the_api_names_it() {
    let user = r#"{"role":"user","content":"x"}"#;
    let cases = [
        ("{", "The request body is not valid JSON"),
        ("[1]", "valid dictionary"),
        ("{}", "model: Field required"),
        (r#"{"model":1}"#, "model: Input should be a valid string"),
        (r#"{"model":"m"}"#, "max_tokens: Field required"),
        (r#"{"model":"m","max_tokens":"x"}"#, "max_tokens: Input should be a valid integer"),
        (r#"{"model":"m","max_tokens":-1}"#, "max_tokens: Input should be greater"),
        (r#"{"model":"m","max_tokens":1}"#, "messages: Field required"),
        (r#"{"model":"m","max_tokens":1,"messages":{}}"#, "messages: Input should be"),
        (r#"{"model":"m","max_tokens":1,"messages":[]}"#, "messages: at least one"),
        (r#"{"model":"m","max_tokens":1,"messages":[{}]}"#, "messages.0.role: Field required"),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"robot","content":"x"}]}"#,
            "messages.0.role: Input should be",
        ),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"user"}]}"#,
            "messages.0.content: Field required",
        ),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[]}]}"#,
            "messages.0: all messages must have non-empty content",
        ),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{}]}]}"#,
            "messages.0.content.0.type: Field required",
        ),
    ];
    for (body, says) in cases {
        assert!(refusal(body).starts_with(says) || refusal(body).contains(says), "{body}");
    }
    let more = |more: &str| {
        refusal(&format!(r#"{{"model":"m","max_tokens":1,"messages":[{user}],{more}}}"#))
    };
    assert_eq!(more(r#""stream":1"#), "stream: Input should be a valid boolean");
    assert_eq!(more(r#""temperature":2"#), "temperature: range: 0..1");
    assert_eq!(more(r#""tools":3"#), "tools: Input should be a valid list");
    assert_eq!(more(r#""temperature":0.5,"stream":true,"thinking":{"type":"disabled"}"#), "");
}

#[test]
fn sampling_is_refused_since_the_version_of_october_2026() {
    let body = json!({"model": "m", "max_tokens": 1, "top_k": 3,
        "messages": [{"role": "user", "content": "x"}]})
    .to_string();
    assert_eq!(refusal(&body), "");
    let refused = Request::read(body.as_bytes(), false, "2026-10-21").err().unwrap();
    assert_eq!(refused, "top_k: Extra inputs are not permitted");
}

#[test]
fn more_than_a_model_has_room_for_is_refused() {
    let too_long = |max_tokens: u64, chars: usize| {
        let body = json!({"model": "claude-haiku-4-5", "max_tokens": max_tokens,
            "messages": [{"role": "user", "content": "x".repeat(chars)}]})
        .to_string();
        Request::read(body.as_bytes(), false, "").ok().unwrap().too_long()
    };
    assert_eq!(too_long(64_000, 600_000), None);
    assert!(too_long(64_001, 1).unwrap().starts_with("max_tokens: 64001 > 64000, which is"));
    let words = too_long(1, 800_000).unwrap();
    assert!(words.starts_with("prompt is too long: 2000") && words.contains("> 200000 maximum"));
}

#[test]
fn a_tool_is_called_where_it_is_there_and_allowed_and_brings_no_result() {
    let calls = |more: serde_json::Value| {
        let mut body = json!({"model": "m", "max_tokens": 1, "tools": [{"name": "a"}],
            "messages": [{"role": "user", "content": "x"}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let body = body.to_string();
        let asked = Request::read(body.as_bytes(), false, "").ok().unwrap();
        asked.called(Some("a")) == Some("a")
    };
    assert!(calls(json!({})));
    assert!(calls(json!({"tool_choice": {"type": "any"}})));
    assert!(calls(json!({"tool_choice": {"type": "tool", "name": "a"}})));
    assert!(!calls(json!({"tools": [{"name": "a"}, {"name": "b"}],
        "tool_choice": {"type": "tool", "name": "b"}})));
    assert!(!calls(json!({"tool_choice": {"type": "none"}})));
    assert!(!calls(json!({"tools": [{"name": "b"}]})));
    assert!(!calls(json!({"messages": [{"role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "t", "content": "1"}]}]})));
}
