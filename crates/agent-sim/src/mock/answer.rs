//! An answer as bytes: one JSON message. `script` has the same as a stream.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde_json::{Map, Value};

mod script;

pub(super) use script::{STREAM_ERROR, Script};

/// What is answered to one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer<'a> {
    /// The ordinal that its ids are made of.
    pub(super) id: u64,
    pub(super) model: &'a str,
    pub(super) content: Content<'a>,
    pub(super) stop_reason: &'a str,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    pub(super) usage: Shown,
}

/// What an answer says.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content<'a> {
    Text(&'a str),
    Tool { name: &'a str, input: &'a Map<String, Value> },
}

/// How an answer shows its usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Whole,
    Zero,
    Not,
}

#[derive(Serialize)]
struct Message<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    role: &'a str,
    model: &'a str,
    content: &'a [Block<'a>],
    stop_reason: Option<&'a str>,
    stop_sequence: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text { text: &'a str },
    ToolUse { id: &'a str, name: &'a str, input: &'a Map<String, Value> },
}

#[derive(Serialize, Default)]
struct Usage {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    cache_creation: CacheCreation,
    output_tokens: u64,
    service_tier: &'static str,
}

#[derive(Serialize, Default)]
struct CacheCreation {
    ephemeral_5m_input_tokens: u64,
    ephemeral_1h_input_tokens: u64,
}

impl Answer<'_> {
    fn usage(&self, output_tokens: u64) -> Option<Usage> {
        let service_tier = "standard";
        match self.usage {
            Shown::Whole => {
                let input_tokens = self.input_tokens;
                Some(Usage { input_tokens, output_tokens, service_tier, ..Usage::default() })
            }
            Shown::Zero => Some(Usage { service_tier, ..Usage::default() }),
            Shown::Not => None,
        }
    }

    fn message_id(&self) -> String {
        format!("msg_{:024}", self.id)
    }

    fn tool_id(&self) -> String {
        format!("toolu_{:024}", self.id)
    }

    /// The message as one JSON object.
    pub(super) fn json(&self) -> Bytes {
        let tool_id = self.tool_id();
        let block = match self.content {
            Content::Text(text) => Block::Text { text },
            Content::Tool { name, input } => Block::ToolUse { id: &tool_id, name, input },
        };
        let mut out = BytesMut::with_capacity(512);
        write_json(
            &mut out,
            &Message {
                id: &self.message_id(),
                kind: "message",
                role: "assistant",
                model: self.model,
                // No output, as for a `max_tokens` of 0, has no block.
                content: if self.output_tokens == 0 { &[] } else { std::slice::from_ref(&block) },
                stop_reason: Some(self.stop_reason),
                stop_sequence: None,
                usage: self.usage(self.output_tokens),
            },
        );
        out.freeze()
    }
}

/// Serializing what is defined here into memory cannot fail.
fn write_json(out: &mut BytesMut, value: &impl Serialize) {
    let written = serde_json::to_writer((&mut *out).writer(), value);
    debug_assert!(written.is_ok(), "{written:?}");
}
