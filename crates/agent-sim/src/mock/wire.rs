//! Requests and answers of the Messages API as bytes.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::bill::BilledAnswer;

/// The parts of a request that the mock provider looks at; the rest is accepted unread.
#[derive(Debug, Deserialize)]
pub(super) struct Request<'a> {
    pub(super) model: Option<String>,
    pub(super) max_tokens: Option<u64>,
    #[serde(borrow)]
    messages: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    system: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) stream: bool,
}

impl<'a> Request<'a> {
    /// Reads and checks a body; the error is the message of a 400.
    pub(super) fn read(body: &'a [u8], needs_max_tokens: bool) -> Result<Request<'a>, String> {
        let request: Request<'a> = serde_json::from_slice(body)
            .map_err(|e| format!("The request body is invalid: {e}"))?;
        let missing = if request.model.is_none() {
            "model"
        } else if needs_max_tokens && request.max_tokens.is_none() {
            "max_tokens"
        } else if request.messages.is_none() {
            "messages"
        } else {
            return Ok(request);
        };
        Err(format!("{missing}: Field required"))
    }

    /// A quarter of the bytes of all that is prompt, rounded up.
    pub(super) fn input_tokens(&self) -> u64 {
        let messages = self.messages.iter().flatten().map(|m| m.get().len()).sum::<usize>();
        let rest = [self.system, self.tools];
        let rest: usize = rest.iter().flatten().map(|part| part.get().len()).sum();
        (messages + rest).div_ceil(4) as u64
    }

    /// The id, if the first message has a text that begins with `Task #<id>:`.
    pub(super) fn task(&self) -> Option<String> {
        let first = self.messages.as_ref()?.first()?.get();
        let (_, after) = first.split_once("\"Task #")?;
        after.split_once(':').map(|(id, _)| id.to_owned())
    }
}

/// The body of an error.
pub(super) fn error(status: u16, message: &str, request_id: &str) -> Bytes {
    let kind = match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "conflict_error",
        // The edge refuses this one: its body has neither a type nor a request id.
        413 => {
            let error = json!({"type": "request_too_large", "message": message});
            return json!({ "error": error }).to_string().into();
        }
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    let error = json!({"type": kind, "message": message});
    json!({"type": "error", "error": error, "request_id": request_id}).to_string().into()
}

/// The body of an answer.
pub(super) fn answer(bill: &BilledAnswer, text: &str, stop: &str, with_usage: bool) -> Bytes {
    let usage = json!({"input_tokens": bill.input_tokens, "output_tokens": bill.output_tokens,
        "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0});
    let mut message = json!({"id": bill.request_id.replace("req_", "msg_"), "type": "message",
        "role": "assistant", "model": bill.model, "stop_sequence": null, "stop_reason": stop,
        "content": [{"type": "text", "text": text}]});
    if with_usage {
        message["usage"] = usage;
    }
    message.to_string().into()
}

/// The same answer as a stream of events.
pub(super) fn events(bill: &BilledAnswer, text: &str, stop: &str, with_usage: bool) -> Bytes {
    let mut start = json!({"id": bill.request_id.replace("req_", "msg_"), "type": "message",
        "role": "assistant", "model": bill.model, "stop_sequence": null, "stop_reason": null,
        "content": []});
    let mut end = json!({"type": "message_delta",
        "delta": {"stop_reason": stop, "stop_sequence": null}});
    if with_usage {
        start["usage"] = json!({"input_tokens": bill.input_tokens, "output_tokens": 1});
        end["usage"] = json!({"output_tokens": bill.output_tokens});
    }
    let block = json!({"type": "text", "text": ""});
    let delta = json!({"type": "text_delta", "text": text});
    let events = [
        ("message_start", json!({"type": "message_start", "message": start})),
        (
            "content_block_start",
            json!({"type": "content_block_start", "index": 0, "content_block": block}),
        ),
        ("ping", json!({"type": "ping"})),
        ("content_block_delta", json!({"type": "content_block_delta", "index": 0, "delta": delta})),
        ("content_block_stop", json!({"type": "content_block_stop", "index": 0})),
        ("message_delta", end),
        ("message_stop", json!({"type": "message_stop"})),
    ];
    let text: String =
        events.iter().map(|(name, data)| format!("event: {name}\ndata: {data}\n\n")).collect();
    text.into()
}
