//! Answers that think first.

use serde_json::{Value, json};

use super::client::{post, start};

const TOOL: &str = "[output]\ntool = 'weather'\ntool_input = { city = 'Oslo' }";

fn body(thinking: &Value, more: &Value) -> String {
    let mut body = json!({"model": "m", "max_tokens": 4096, "thinking": thinking,
        "messages": [{"role": "user", "content": "x"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

fn enabled(budget: i64) -> Value {
    json!({"type": "enabled", "budget_tokens": budget})
}

#[tokio::test]
async fn a_thought_stands_before_the_text_and_its_tokens_are_output() {
    let mock = start("[output]\ntokens = 3000").await;
    for (thinking, tokens) in
        [(enabled(1024), 1024), (enabled(4000), 1500), (json!({"type": "adaptive"}), 1500)]
    {
        let message = post(&mock, &body(&thinking, &json!({}))).await.json();
        let kinds = message["content"].as_array().unwrap().iter().map(|block| &block["type"]);
        assert_eq!(kinds.collect::<Vec<_>>(), ["thinking", "text"], "{thinking}");
        let thought = &message["content"][0];
        assert_ne!((&thought["thinking"], &thought["signature"]), (&"".into(), &"".into()));
        let usage = &message["usage"];
        assert_eq!(usage["output_tokens"], 3000);
        assert_eq!(usage["output_tokens_details"]["thinking_tokens"], tokens, "{thinking}");
        assert_eq!(message["stop_reason"], "end_turn");
    }
    let plain = post(&mock, &body(&json!({"type": "disabled"}), &json!({}))).await.json();
    assert_eq!(plain["content"][0]["type"], "text");
    assert_eq!(plain["usage"]["output_tokens_details"], Value::Null);
    assert_eq!(mock.billed().output_tokens, 4 * 3000);
}

#[tokio::test]
async fn a_streamed_thought_is_a_block_of_its_own_with_its_signature() {
    for latency in ["", "\n[latency]\nper_output_token = '1us'"] {
        let mock = start(&format!("[output]\ntokens = 40{latency}")).await;
        let events = post(&mock, &body(&enabled(1024), &json!({"stream": true}))).await.events();
        let started = |index: u64, kind: &str| {
            events.iter().any(|event| {
                event["type"] == "content_block_start"
                    && event["index"] == index
                    && event["content_block"]["type"] == kind
            })
        };
        assert!(started(0, "thinking") && started(1, "text"), "{events:?}");
        let joined = |index: u64, key: &str| {
            let deltas = events.iter().filter(|event| event["index"] == index);
            deltas.filter_map(|event| event["delta"][key].as_str()).collect::<String>()
        };
        assert!(!joined(0, "thinking").is_empty() && !joined(0, "signature").is_empty());
        assert_eq!(joined(1, "text"), "Done.");
        let stops = events.iter().filter(|event| event["type"] == "content_block_stop");
        assert_eq!(stops.map(|event| &event["index"]).collect::<Vec<_>>(), [0, 1]);
        let usage = &events[events.len() - 2]["usage"];
        assert_eq!(usage["output_tokens"], 40);
        assert_eq!(usage["output_tokens_details"]["thinking_tokens"], 20);
        assert_eq!(mock.billed().output_tokens, 40);
    }
}

#[tokio::test]
async fn a_thought_between_tools_stands_where_a_result_is_brought() {
    let mock = start(TOOL).await;
    let between = json!({"type": "between_tools"});
    let tools = json!([{"name": "weather"}]);
    let first = post(&mock, &body(&between, &json!({"tools": tools}))).await.json();
    assert_eq!(first["content"][0]["type"], "tool_use");
    let messages = json!([{"role": "user", "content":
        [{"type": "tool_result", "tool_use_id": "t", "content": "1"}]}]);
    let more = json!({"tools": tools, "messages": messages});
    let second = post(&mock, &body(&between, &more)).await.json();
    assert_eq!(second["content"][0]["type"], "thinking");
    // Before a call too.
    let thought = post(&mock, &body(&enabled(1024), &json!({"tools": tools}))).await.json();
    let kinds = thought["content"].as_array().unwrap().iter().map(|block| &block["type"]);
    assert_eq!(kinds.collect::<Vec<_>>(), ["thinking", "tool_use"]);
}

#[tokio::test]
async fn a_thought_that_is_out_of_bounds_is_refused_as_the_api_refuses_it() {
    let mock = start("").await;
    let no = json!({});
    let forced = json!({"tools": [{"name": "a"}], "tool_choice": {"type": "any"}});
    for (thinking, more, says) in [
        (enabled(1023), &no, "thinking.enabled.budget_tokens: Input should be greater than or"),
        (enabled(4096), &no, "`max_tokens` must be greater than `thinking.budget_tokens`."),
        (json!({"type": "enabled"}), &no, "thinking.enabled.budget_tokens: Field required"),
        (
            json!({"type": "enabled", "budget_tokens": "2000"}),
            &no,
            "thinking.enabled.budget_tokens: Input should be a valid integer",
        ),
        (json!({"type": "deep"}), &no, "thinking: Input tag 'deep' found using 'type' does not"),
        (json!({}), &no, "thinking.type: Field required"),
        (json!(true), &no, "thinking: Input should be an object"),
        (enabled(1024), &forced, "Thinking may not be enabled when tool_choice forces tool use."),
        (enabled(1024), &json!({"temperature": 0.5}), "`temperature` may only be set to 1 when"),
    ] {
        let answer = post(&mock, &body(&thinking, more)).await;
        let message = answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert_eq!(answer.status, 400, "{thinking} {more}");
        assert!(message.starts_with(says), "{message}");
    }
    let warm = json!({"temperature": 1, "max_tokens": 1025});
    assert_eq!(post(&mock, &body(&enabled(1024), &warm)).await.status, 200);
    assert_eq!(mock.bill().len(), 1);
}
