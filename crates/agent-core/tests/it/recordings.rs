//! Recorded exchanges with the real provider: all that it ever said is understood.
//!
//! Some stand beside this file; `IMPRESARIO_RECORDINGS` may name a file of more, a JSON object
//! with `id`, `endpoint`, `response.status`, `response.headers` and `response.body` a line.

use agent_core::llm::anthropic::stream;
use agent_core::llm::{Answer, Block, LlmClient, LlmError};
use agent_core::usage::Usage;
use serde_json::{Value, json};

use crate::wire::{Server, Step, config, http, request};

fn recordings() -> Vec<Value> {
    let mut text = include_str!("../fixtures/anthropic-messages.jsonl").to_owned();
    if let Some(path) = std::env::var_os("IMPRESARIO_RECORDINGS") {
        text += &std::fs::read_to_string(path).unwrap();
    }
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn is_stream(body: &str) -> bool {
    body.starts_with("event:") || body.starts_with("data:")
}

/// What the bytes of a stream amount to, fed whole and in pieces.
#[expect(clippy::result_large_err, reason = "as the client returns it")]
fn assembled(body: &str) -> Result<Answer, LlmError> {
    let mut pieces = stream::Assembler::default();
    body.as_bytes().chunks(7).for_each(|piece| pieces.feed(piece).unwrap());
    let whole = stream::assemble(body.as_bytes());
    assert_eq!(whole.as_ref().ok(), pieces.finish().ok().as_ref());
    whole
}

/// The messages of a body, put together here once more and in another way: each field of the last
/// usage over those of the first, and the kinds of the blocks.
fn expected(body: &str) -> (Value, Vec<String>) {
    if !is_stream(body) {
        let body: Value = serde_json::from_str(body).unwrap();
        let kinds = body["content"].as_array().unwrap().iter().map(kind).collect();
        return (body["usage"].clone(), kinds);
    }
    let (mut usage, mut kinds) = (json!({}), Vec::new());
    for data in body.lines().filter_map(|line| line.strip_prefix("data:")) {
        let event: Value = serde_json::from_str(data).unwrap();
        let told = event.get("usage").or_else(|| event.pointer("/message/usage"));
        for (key, value) in told.and_then(Value::as_object).into_iter().flatten() {
            if !value.is_null() {
                usage[key] = value.clone();
            }
        }
        kinds.extend(event.get("content_block").map(kind));
    }
    (usage, kinds)
}

fn kind(block: &Value) -> String {
    block["type"].as_str().unwrap().to_owned()
}

fn kind_of(block: &Block) -> String {
    let name = match block {
        Block::Text { .. } => "text",
        Block::Thinking { .. } => "thinking",
        Block::ToolUse { .. } => "tool_use",
        Block::Other(value) => return kind(value),
        _ => "?",
    };
    name.to_owned()
}

fn is_billed_as(usage: &Usage, raw: &Value) -> bool {
    let count = |path: &str| raw.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let word = |key: &str| raw[key].as_str().map(str::to_owned);
    let steps = raw["iterations"].as_array().cloned().unwrap_or_default();
    let are_same = steps.iter().zip(&usage.iterations).all(|(raw, step)| {
        step.model.as_deref() == raw["model"].as_str() && is_billed_as(&step.usage, raw)
    });
    let writes = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens;
    are_same
        && steps.len() == usage.iterations.len()
        && usage.input_tokens == count("/input_tokens")
        && usage.output_tokens == count("/output_tokens")
        && usage.cache_read_tokens == count("/cache_read_input_tokens")
        && usage.cache_write_1h_tokens == count("/cache_creation/ephemeral_1h_input_tokens")
        && writes == count("/cache_creation_input_tokens")
        && usage.web_searches == count("/server_tool_use/web_search_requests")
        && usage.service_tier == word("service_tier")
        && usage.inference_geo == word("inference_geo")
        && usage.speed == word("speed")
}

#[tokio::test]
async fn every_recorded_exchange_is_understood_and_billed_as_it_says() {
    let recordings = recordings();
    let replies: Vec<_> = recordings.iter().map(reply).collect();
    let server = Server::start(move |number, _| vec![Step::Send(replies[number].clone())]).await;
    let mut config = config(&server.url);
    config.max_answer_bytes = 16 << 20;
    let client = agent_core::llm::anthropic::Anthropic::new(config).unwrap();
    let request = request();
    let mut wrong = Vec::new();
    let (mut answers, mut streams, mut errors, mut counts, mut others) = (0, 0, 0, 0, 0);
    for recording in &recordings {
        let (status, body) = response(recording);
        if recording["endpoint"] == "messages/count_tokens" {
            let counted = client.count_tokens(&request).await.unwrap();
            let told: Value = serde_json::from_str(body).unwrap();
            assert_eq!(counted.as_ref().ok().copied(), told["input_tokens"].as_u64());
            assert_eq!(counted.is_ok(), status == 200);
            counts += 1;
            continue;
        }
        let mut result = client.complete(&request).await;
        let is_message = recording["endpoint"] == "messages";
        if is_message && status == 200 && is_stream(body) {
            result = assembled(body);
            streams += 1;
        }
        let is_right = match &result {
            Ok(answer) => {
                answers += 1;
                let (usage, kinds) = expected(body);
                is_billed_as(&answer.usage, &usage)
                    && answer.usage.counts().total() > 0
                    && answer.content.iter().map(kind_of).collect::<Vec<_>>() == kinds
                    && answer.stop_reason.is_some()
                    && !answer.id.is_empty()
                    && !answer.model.is_empty()
            }
            // What is no message is not taken for one.
            Err(error) if !is_message => {
                others += 1;
                error.status == Some(status) && error.seen.is_none()
            }
            Err(error) => {
                errors += 1;
                status != 200 && error.status == Some(status) && error.message.contains("_error: ")
            }
        };
        if !is_right {
            wrong.push(format!("{}: {:?}", recording["id"], result.map(|answer| answer.usage)));
        }
    }
    assert!(wrong.is_empty(), "{} not understood: {wrong:#?}", wrong.len());
    assert_eq!(server.requests(), recordings.len());
    let told = format!("{answers} answers ({streams} streams), {errors} errors, {counts} counts");
    assert_eq!(answers + errors + counts + others, recordings.len(), "{told}, {others} others");
    assert!(answers > streams && streams > 0 && errors > 0, "{told}");
}

fn response(recording: &Value) -> (u16, &str) {
    let response = &recording["response"];
    (response["status"].as_u64().unwrap() as u16, response["body"].as_str().unwrap())
}

/// The recorded answer on the wire, with the headers that are read here.
fn reply(recording: &Value) -> Vec<u8> {
    let (status, body) = response(recording);
    let headers = recording["response"]["headers"].as_object().into_iter().flatten();
    let headers = headers.filter_map(|(name, value)| {
        let is_read = name == "request-id" || name.contains("ratelimit") || name.contains("retry");
        value.as_str().filter(|_| is_read).map(|value| format!("{name}: {value}\r\n"))
    });
    http(&format!("{status} x"), &headers.collect::<String>(), body)
}
