//! An answer as bytes: one JSON message. `script` has the same as a stream.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde_json::{Map, Value};

mod script;

pub(super) use script::{Piece, STREAM_ERROR, Script};

/// What a model thinks before it answers, where it does, and what shows that it was this model.
const THOUGHT: &str = "What is asked is clear, and so is what is to be said.";
const SIGNATURE: &str = "bW9jay1wcm92aWRlcg==";

/// What is answered to one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer<'a> {
    /// The ordinal that its ids are made of.
    pub(super) id: u64,
    pub(super) model: &'a str,
    /// How many of the output tokens are a thought, which stands before the content.
    pub(super) thinking_tokens: u64,
    pub(super) content: Content<'a>,
    pub(super) stop_reason: &'a str,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    pub(super) usage: Shown,
}

/// What an answer says.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content<'a> {
    Thought,
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
    Thinking { thinking: &'a str, signature: &'a str },
    Text { text: &'a str },
    ToolUse { id: String, name: &'a str, input: &'a Map<String, Value> },
}

#[derive(Serialize, Default)]
struct Usage {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    cache_creation: CacheCreation,
    output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens_details: Option<OutputDetails>,
    service_tier: &'static str,
}

/// What output tokens were for.
#[derive(Serialize, Clone, Copy)]
struct OutputDetails {
    thinking_tokens: u64,
}

#[derive(Serialize, Default)]
struct CacheCreation {
    ephemeral_5m_input_tokens: u64,
    ephemeral_1h_input_tokens: u64,
}

impl<'a> Answer<'a> {
    /// What it shows of its usage with so many output tokens.
    fn usage(&self, output_tokens: u64) -> Option<Usage> {
        let service_tier = "standard";
        match self.usage {
            Shown::Whole => {
                let input_tokens = self.input_tokens;
                let thinking_tokens = self.thinking_tokens.min(output_tokens);
                let output_tokens_details =
                    (self.thinking_tokens > 0).then_some(OutputDetails { thinking_tokens });
                let usage = Usage { input_tokens, output_tokens, service_tier, ..Usage::default() };
                Some(Usage { output_tokens_details, ..usage })
            }
            Shown::Zero => Some(Usage { service_tier, ..Usage::default() }),
            Shown::Not => None,
        }
    }

    fn message_id(&self) -> String {
        format!("msg_{:024}", self.id)
    }

    /// What each of its blocks says, with its tokens. No output, as for a `max_tokens` of 0, has
    /// no block.
    fn contents(&self) -> impl Iterator<Item = (Content<'a>, u64)> {
        let thought = (Content::Thought, self.thinking_tokens);
        let said = (self.content, self.output_tokens.saturating_sub(self.thinking_tokens));
        [thought, said].into_iter().filter(|(_, tokens)| *tokens > 0)
    }

    /// A block as a whole.
    fn block(&self, content: Content<'a>) -> Block<'a> {
        match content {
            Content::Thought => Block::Thinking { thinking: THOUGHT, signature: SIGNATURE },
            Content::Text(text) => Block::Text { text },
            Content::Tool { name, input } => {
                Block::ToolUse { id: format!("toolu_{:024}", self.id), name, input }
            }
        }
    }

    /// The message as one JSON object.
    pub(super) fn json(&self) -> Bytes {
        let blocks: Vec<_> = self.contents().map(|(content, _)| self.block(content)).collect();
        let mut out = BytesMut::with_capacity(512);
        write_json(
            &mut out,
            &Message {
                id: &self.message_id(),
                kind: "message",
                role: "assistant",
                model: self.model,
                content: &blocks,
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
