//! A scenario's provider behind HTTP: the same answers, times, limits and faults as in process.

use agent_core::llm::{self, LlmErrorKind, Message, Role};
use agent_core::permits::{Headroom, RateHeaders};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::limiter::{Standing, Standings};
use super::reply::{Head, JSON, Problem, Reply};
use crate::engine::ScriptedProvider;

/// What is read of a request: which model, and the texts of its first message.
#[derive(Deserialize)]
struct Body {
    model: String,
    max_tokens: u32,
    messages: Vec<Turn>,
}

#[derive(Deserialize)]
struct Turn {
    content: Value,
}

/// Answers a request as the scenario's provider does; an error closes the connection.
pub(super) async fn answer(provider: &ScriptedProvider, mut head: Head, body: &[u8]) -> Reply {
    let body: Body = match serde_json::from_slice(body) {
        Ok(body) => body,
        Err(error) => return head.refuse(&Problem::new(400, error.to_string())),
    };
    let texts = body.messages.first().map(|turn| texts(&turn.content)).unwrap_or_default();
    let content = texts.into_iter().map(|text| llm::Block::Text { text: text.into() }).collect();
    let request = llm::Request {
        model: body.model,
        max_tokens: body.max_tokens,
        messages: vec![Message { role: Role::User, content }],
        ..llm::Request::default()
    };
    match provider.respond(&request).await {
        Ok(answer) => {
            head.standings = standings(&answer.limits);
            head.reply(200, JSON, message(&head, &answer))
        }
        Err(error) => {
            head.standings = standings(&error.limits);
            let Some(status) = error.status else {
                // As if nobody were there, or the connection broke.
                return Err(std::io::Error::other(error.message));
            };
            let retry_after = error.retry_after.map(|wait| wait.as_secs());
            let should_retry = Some(error.kind.is_transient());
            let known = error.kind != LlmErrorKind::InvalidRequest;
            let problem = Problem { retry_after, ..Problem::new(status, error.message) };
            head.refuse(&Problem { should_retry: should_retry.filter(|_| known), ..problem })
        }
    }
}

fn texts(content: &Value) -> Vec<&str> {
    match content {
        Value::String(text) => vec![text],
        Value::Array(blocks) => blocks.iter().filter_map(|block| block["text"].as_str()).collect(),
        _ => Vec::new(),
    }
}

fn message(head: &Head, answer: &llm::Answer) -> Bytes {
    let usage = &answer.usage;
    let body = json!({
        "id": format!("msg_{}", head.request_id()), "type": "message", "role": "assistant",
        "model": answer.model, "content": [{ "type": "text", "text": answer.text() }],
        "stop_reason": answer.stop_reason.as_ref().map(llm::StopReason::as_str),
        "stop_sequence": null,
        "usage": {
            "input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens,
            "cache_creation_input_tokens": usage.cache_write_5m_tokens,
            "cache_read_input_tokens": usage.cache_read_tokens,
        },
    });
    body.to_string().into()
}

fn standings(limits: &RateHeaders) -> Standings {
    [limits.requests, limits.input_tokens, limits.output_tokens].map(|headroom| {
        let Headroom { limit, remaining, reset } = headroom?;
        Some(Standing { limit, remaining, reset })
    })
}
