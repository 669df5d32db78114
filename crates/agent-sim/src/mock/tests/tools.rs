//! Answers that call a tool.

use serde_json::{Value, json};

use super::client::{BODY, post, start};

const TOOL: &str = "[output]\ntool = 'weather'\ntool_input = { city = 'Oslo' }";

/// A request with these tools and more.
fn body(names: &[&str], more: &Value) -> String {
    let tools: Vec<Value> =
        names.iter().map(|name| json!({"name": name, "input_schema": {}})).collect();
    let mut body = json!({"model": "m", "max_tokens": 900, "tools": tools,
        "messages": [{"role": "user", "content": "Task #7: x"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

#[tokio::test]
async fn a_tool_is_called_whole_and_streamed() {
    let mock = start(TOOL).await;
    let body = body(&["weather"], &json!({}));
    let message = post(&mock, &body).await.json();
    assert_eq!(message["stop_reason"], "tool_use");
    assert_eq!(message["content"][0]["input"], json!({"city": "Oslo"}));
    let events = post(&mock, &body.replacen('{', r#"{"stream":true,"#, 1)).await.body;
    assert!(events.contains("input_json_delta") && events.contains(r#""stop_reason":"tool_use""#));
    assert_eq!(post(&mock, BODY).await.json()["content"][0]["text"], "Done.");
}

#[tokio::test]
async fn a_tool_is_called_where_the_request_makes_it_called_whatever_the_scenario_says() {
    let (text, tool) = (start("").await, start(TOOL).await);
    let any = json!({"type": "any"});
    let named = json!({"type": "tool", "name": "time"});
    let result = json!([{"role": "user", "content":
        [{"type": "tool_result", "tool_use_id": "t", "content": "1"}]}]);
    for (mock, choice, name, input) in [
        (&text, &any, "weather", json!({})),
        (&text, &named, "time", json!({})),
        (&tool, &any, "weather", json!({"city": "Oslo"})),
        (&tool, &named, "time", json!({})),
    ] {
        for messages in [json!([{"role": "user", "content": "x"}]), result.clone()] {
            let more = json!({"tool_choice": choice, "messages": messages});
            let asked = body(&["weather", "time"], &more);
            let message = post(mock, &asked).await.json();
            assert_eq!(message["stop_reason"], "tool_use", "{asked}");
            let call = &message["content"][0];
            assert_eq!((&call["type"], &call["name"]), (&"tool_use".into(), &name.into()));
            assert_eq!(call["input"], input, "{asked}");
            let streamed = asked.replacen('{', r#"{"stream":true,"#, 1);
            let events = post(mock, &streamed).await.events();
            assert_eq!(events[1]["content_block"]["name"], name, "{asked}");
            assert_eq!(events[events.len() - 2]["delta"]["stop_reason"], "tool_use");
        }
    }
}

#[tokio::test]
async fn a_choice_of_tools_that_cannot_be_met_is_refused() {
    let mock = start(TOOL).await;
    let other = json!({"type": "tool", "name": "other"});
    for (tools, choice, says) in [
        (&["weather"][..], &other, "Tool 'other' not found in provided tools"),
        (&[], &other, "Tool 'other' not found in provided tools"),
        (
            &[],
            &json!({"type": "any"}),
            "tool_choice.any may only be specified while providing tools",
        ),
        (&["weather"], &json!({"type": "tool"}), "tool_choice.tool.name: Field required"),
        (&["weather"], &json!({}), "tool_choice.type: Field required"),
        (
            &["weather"],
            &json!({"type": "all"}),
            "tool_choice: Input tag 'all' found using 'type' does not match any of the expected \
             tags: 'auto', 'any', 'tool', 'none'",
        ),
    ] {
        let answer = post(&mock, &body(tools, &json!({"tool_choice": choice}))).await;
        assert_eq!((answer.status, &answer.json()["error"]["message"]), (400, &says.into()));
    }
    let more = json!({"tool_choice": {"type": "any"}, "tools": [{"input_schema": {}}]});
    assert!(post(&mock, &body(&[], &more)).await.body.contains("tools.0.name: Field required"));
    for choice in ["auto", "none"] {
        let asked = body(&[], &json!({"tool_choice": {"type": choice}}));
        assert_eq!(post(&mock, &asked).await.json()["content"][0]["text"], "Done.");
    }
}
