//! Answers that come as server-sent events, put together piece by piece.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::answer::{RawAnswer, RawUsage, block, name, not_understood, unreadable};
use super::fail;
use crate::llm::{Answer, LlmError, LlmErrorKind, StopReason};

/// Most bytes of one event.
const MAX_EVENT: usize = 4 << 20;

/// The answer that the whole of a stream amounts to.
///
/// # Errors
///
/// As [`Assembler::feed`] and [`Assembler::finish`].
pub fn assemble(bytes: &[u8]) -> Result<Answer, LlmError> {
    let mut assembler = Assembler::default();
    assembler.feed(bytes)?;
    assembler.finish()
}

/// Puts an answer together from pieces that may be cut anywhere.
///
/// Usage is that of `message_start`, each field replaced by what a `message_delta` says later:
/// counts are cumulative, adding them would bill twice.
#[derive(Default)]
pub struct Assembler {
    line: Vec<u8>,
    data: Vec<u8>,
    after_cr: bool,
    answer: Option<Answer>,
    usage: RawUsage,
    blocks: BTreeMap<u64, Part>,
    is_stopped: bool,
}

#[derive(Default)]
struct Part {
    value: Value,
    json: String,
}

impl std::fmt::Debug for Assembler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assembler").field("is_stopped", &self.is_stopped).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type", default)]
    kind: String,
    index: Option<u64>,
    message: Option<RawAnswer>,
    content_block: Option<Value>,
    delta: Option<Value>,
    usage: Option<RawUsage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type", default)]
    kind: String,
}

/// Whether an event of this kind says something that is needed.
fn is_known(kind: &str) -> bool {
    kind.starts_with("message_") || kind.starts_with("content_block_") || kind == "error"
}

impl Assembler {
    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// Not understood, or the error that the provider sent; with the usage seen so far.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), LlmError> {
        for &byte in bytes {
            let ends = byte == b'\r' || byte == b'\n' && !self.after_cr;
            let is_second_half = byte == b'\n' && self.after_cr;
            self.after_cr = byte == b'\r';
            if ends {
                self.end_line().map_err(|error| self.with_seen(error))?;
            } else if !is_second_half {
                self.line.push(byte);
            }
            if self.line.len() + self.data.len() > MAX_EVENT {
                let error = not_understood(&format!("an event of more than {MAX_EVENT} bytes"));
                return Err(self.with_seen(error));
            }
        }
        Ok(())
    }

    /// The answer, once the stream has ended.
    ///
    /// # Errors
    ///
    /// Broken where it ended before `message_stop`, with the usage seen so far.
    pub fn finish(mut self) -> Result<Answer, LlmError> {
        // The blank line after the last event may be missing; a cut event does not parse.
        if !self.line.is_empty() {
            self.end_line().map_err(|error| self.with_seen(error))?;
        }
        if serde_json::from_slice::<Event>(&self.data).is_ok() {
            self.end_line().map_err(|error| self.with_seen(error))?;
        }
        if !self.is_stopped || self.answer.is_none() {
            let error = LlmError::new(LlmErrorKind::Broken, "the stream ended before the answer");
            return Err(self.with_seen(error));
        }
        let usage = self.usage.settle()?;
        let mut answer = self.answer.take().unwrap_or_default();
        answer.usage = usage;
        let is_cut = answer.stop_reason == Some(StopReason::MaxTokens);
        for part in std::mem::take(&mut self.blocks).into_values() {
            answer.content.push(block(part.whole(is_cut).map_err(|error| self.with_seen(error))?));
        }
        Ok(answer)
    }

    fn with_seen(&self, mut error: LlmError) -> LlmError {
        if error.seen.is_none() || self.answer.is_some() {
            error.seen = self.usage.settle().ok().or(error.seen);
        }
        error
    }

    fn end_line(&mut self) -> Result<(), LlmError> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            return if data.trim_ascii().is_empty() { Ok(()) } else { self.event(&data) };
        }
        if let Some(data) = line.strip_prefix(b"data:") {
            if !self.data.is_empty() {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(data);
        }
        Ok(())
    }

    fn event(&mut self, data: &[u8]) -> Result<(), LlmError> {
        let event: Event = match serde_json::from_slice(data) {
            Ok(event) => event,
            // A kind that is not known here may hold anything.
            Err(_) if serde_json::from_slice(data).is_ok_and(|Kind { kind }| !is_known(&kind)) => {
                return Ok(());
            }
            Err(error) => return Err(unreadable(&error, data)),
        };
        match event.kind.as_str() {
            "message_start" => {
                let Some(message) = event.message.filter(|_| self.answer.is_none()) else {
                    return Err(not_understood("a second start of the answer, or an empty one"));
                };
                self.usage = message.usage.unwrap_or_default();
                self.answer = Some(Answer {
                    id: name(message.id.as_ref()).unwrap_or_default(),
                    model: name(message.model.as_ref()).unwrap_or_default(),
                    ..Answer::default()
                });
            }
            "content_block_start" => {
                let (Some(index), Some(value)) = (event.index, event.content_block) else {
                    return Err(not_understood("a block without index or content"));
                };
                if self.blocks.insert(index, Part { value, json: String::new() }).is_some() {
                    return Err(not_understood("the same block twice"));
                }
            }
            "content_block_delta" => {
                let part = event.index.and_then(|index| self.blocks.get_mut(&index));
                let (Some(part), Some(delta)) = (part, event.delta) else {
                    return Err(not_understood("a piece of a block that was not started"));
                };
                part.extend(delta);
            }
            "message_delta" => {
                if let Some(usage) = event.usage {
                    self.usage.overlay(usage);
                }
                let delta = event.delta.unwrap_or_default();
                if let Some(answer) = &mut self.answer {
                    if let Some(reason) = name(delta.get("stop_reason")) {
                        answer.stop_reason = Some(StopReason::from_name(&reason));
                    }
                    if let Some(met) = delta.get("stop_sequence").and_then(Value::as_str) {
                        answer.stop_sequence = Some(met.to_owned());
                    }
                }
            }
            "message_stop" => self.is_stopped = true,
            "error" => return Err(fail::inside_200(&event.error.unwrap_or_default(), None)),
            _ => {}
        }
        Ok(())
    }
}

impl Part {
    fn extend(&mut self, delta: Value) {
        let text = |key: &str| delta.get(key).and_then(Value::as_str).unwrap_or_default();
        let Value::Object(fields) = &mut self.value else { return };
        let mut append = |key: &str, more: &str| match fields.get_mut(key) {
            Some(Value::String(text)) => text.push_str(more),
            _ => drop(fields.insert(key.to_owned(), Value::String(more.to_owned()))),
        };
        match text("type") {
            "text_delta" => append("text", text("text")),
            "thinking_delta" => append("thinking", text("thinking")),
            "signature_delta" => append("signature", text("signature")),
            "compaction_delta" => append("content", text("content")),
            "input_json_delta" => self.json.push_str(text("partial_json")),
            "citations_delta" => {
                let list = fields.entry("citations").or_insert(Value::Null);
                if !list.is_array() {
                    *list = Value::Array(Vec::new());
                }
                if let (Some(list), Some(one)) = (list.as_array_mut(), delta.get("citation")) {
                    list.push(one.clone());
                }
            }
            _ => {}
        }
    }

    /// The block; input that `max_tokens` cut off is kept as the text that came.
    fn whole(mut self, is_cut: bool) -> Result<Value, LlmError> {
        if let (Value::Object(fields), false) = (&mut self.value, self.json.is_empty()) {
            let input = match serde_json::from_str(&self.json) {
                Ok(input) => input,
                Err(_) if is_cut => Value::String(self.json),
                Err(_) => return Err(not_understood("a tool's input that is not JSON")),
            };
            fields.insert("input".to_owned(), input);
        }
        Ok(self.value)
    }
}
