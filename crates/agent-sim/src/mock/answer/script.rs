//! An answer as a script of server-sent events: a head, the pieces of its blocks, a tail.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde_json::Map;

use super::{Answer, Block, Content, Message, OutputDetails, SIGNATURE, THOUGHT, write_json};

/// The most pieces that a streamed block comes in.
const MOST_PIECES: usize = 64;

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event<'a> {
    MessageStart {
        message: Message<'a>,
    },
    ContentBlockStart {
        index: u64,
        content_block: Block<'a>,
    },
    Ping,
    ContentBlockDelta {
        index: u64,
        delta: Delta<'a>,
    },
    ContentBlockStop {
        index: u64,
    },
    MessageDelta {
        delta: End<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        usage: Option<LastUsage>,
    },
    MessageStop,
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum Delta<'a> {
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: &'a str },
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: &'a str },
}

#[derive(Serialize)]
struct End<'a> {
    stop_reason: &'a str,
    stop_sequence: Option<&'a str>,
}

#[derive(Serialize)]
struct LastUsage {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens_details: Option<OutputDetails>,
}

/// A stream of events in the parts that it is sent in.
#[derive(Debug)]
pub(in crate::mock) struct Script {
    /// `message_start` to the first piece.
    pub(in crate::mock) head: Bytes,
    /// The pieces, in their order.
    pub(in crate::mock) pieces: Vec<Piece>,
    /// What follows the last piece, to `message_stop`.
    pub(in crate::mock) tail: Bytes,
}

/// A piece of a block: one event, and before the first of a block what lies between it and the
/// block before it.
#[derive(Debug)]
pub(in crate::mock) struct Piece {
    pub(in crate::mock) bytes: Bytes,
    /// How many output tokens of the answer have been sent with it.
    pub(in crate::mock) sent: u64,
}

impl Script {
    /// All of it.
    pub(in crate::mock) fn whole(&self) -> Bytes {
        let mut whole = BytesMut::from(self.head.as_ref());
        let pieces = self.pieces.iter().map(|piece| &piece.bytes);
        pieces.chain([&self.tail]).for_each(|part| whole.extend_from_slice(part));
        whole.freeze()
    }
}

/// The event that ends a stream which fails after it began.
pub(in crate::mock) const STREAM_ERROR: &str = "event: error\ndata: {\"type\":\"error\",\"error\":\
    {\"details\":null,\"type\":\"overloaded_error\",\"message\":\"Overloaded\"} }\n\n";

impl Answer<'_> {
    /// The message as a stream.
    pub(in crate::mock) fn script(&self) -> Script {
        let mut out = BytesMut::with_capacity(1024);
        let message = Message {
            id: &self.message_id(),
            kind: "message",
            role: "assistant",
            model: self.model,
            content: &[],
            stop_reason: None,
            stop_sequence: None,
            usage: self.usage(self.output_tokens.min(1)),
        };
        write_event(&mut out, "message_start", &Event::MessageStart { message });
        let (mut head, mut pieces, mut sent) = (None, Vec::new(), 0);
        for (index, (content, tokens)) in (0..).zip(self.contents()) {
            self.open(&mut out, index, content);
            head.get_or_insert_with(|| begun(&mut out));
            self.deltas(&mut out, &mut pieces, index, (content, tokens), sent);
            close(&mut out, index, content);
            sent += tokens;
        }
        let head = head.unwrap_or_else(|| begun(&mut out));
        let usage = self.usage(self.output_tokens).map(|usage| LastUsage {
            input_tokens: usage.input_tokens,
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: 0,
            output_tokens: usage.output_tokens,
            output_tokens_details: usage.output_tokens_details,
        });
        let delta = End { stop_reason: self.stop_reason, stop_sequence: None };
        write_event(&mut out, "message_delta", &Event::MessageDelta { delta, usage });
        write_event(&mut out, "message_stop", &Event::MessageStop);
        Script { head, pieces, tail: out.freeze() }
    }

    /// Starts a block, empty.
    fn open(&self, out: &mut BytesMut, index: u64, content: Content<'_>) {
        let empty = Map::new();
        let content_block = match self.block(content) {
            Block::Thinking { .. } => Block::Thinking { thinking: "", signature: "" },
            Block::Text { .. } => Block::Text { text: "" },
            Block::ToolUse { id, name, .. } => Block::ToolUse { id, name, input: &empty },
        };
        write_event(out, "content_block_start", &Event::ContentBlockStart { index, content_block });
    }

    /// Adds the pieces of a block of so many tokens, before which so many have been sent.
    fn deltas(
        &self,
        out: &mut BytesMut,
        pieces: &mut Vec<Piece>,
        index: u64,
        (content, tokens): (Content<'_>, u64),
        sent: u64,
    ) {
        let all = match content {
            Content::Thought => Cow::Borrowed(THOUGHT),
            Content::Text(text) => Cow::Borrowed(text),
            Content::Tool { input, .. } => {
                Cow::Owned(serde_json::to_string(input).unwrap_or_default())
            }
        };
        let most = usize::try_from(tokens).unwrap_or(MOST_PIECES).min(MOST_PIECES);
        let all: Vec<&str> = split(&all, most).collect();
        for (at, piece) in (1..).zip(&all) {
            let delta = match content {
                Content::Thought => Delta::Thinking { thinking: piece },
                Content::Text(_) => Delta::Text { text: piece },
                Content::Tool { .. } => Delta::InputJson { partial_json: piece },
            };
            write_event(out, "content_block_delta", &Event::ContentBlockDelta { index, delta });
            let share = u128::from(tokens) * at / all.len() as u128;
            let sent = sent + u64::try_from(share).unwrap_or(tokens);
            pieces.push(Piece { bytes: out.split().freeze(), sent });
        }
    }
}

/// The head of a stream: what was written, and a ping.
fn begun(out: &mut BytesMut) -> Bytes {
    write_event(out, "ping", &Event::Ping);
    out.split().freeze()
}

/// Ends a block; a thought with its signature.
fn close(out: &mut BytesMut, index: u64, content: Content<'_>) {
    if matches!(content, Content::Thought) {
        let delta = Delta::Signature { signature: SIGNATURE };
        write_event(out, "content_block_delta", &Event::ContentBlockDelta { index, delta });
    }
    write_event(out, "content_block_stop", &Event::ContentBlockStop { index });
}

/// `text` in at most `most` pieces that are about as long; one where it is empty.
fn split(text: &str, most: usize) -> impl Iterator<Item = &str> {
    let length = text.len().div_ceil(most.max(1)).max(1);
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut end = length.min(text.len());
        while !text.is_char_boundary(end) {
            end += 1;
        }
        let (piece, after) = text.split_at(end);
        rest = Some(after).filter(|after| !after.is_empty());
        Some(piece)
    })
}

fn write_event(out: &mut BytesMut, name: &str, event: &Event<'_>) {
    out.put_slice(b"event: ");
    out.put_slice(name.as_bytes());
    out.put_slice(b"\ndata: ");
    write_json(out, event);
    out.put_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::Shown;
    use super::*;

    #[test]
    fn pieces_join_to_the_text_and_never_split_a_character() {
        for text in ["", "a", "Done.", "zażółć gęślą jaźń 🦀🦀", &"long ".repeat(99)] {
            for most in [1, 2, 5, 64] {
                let pieces: Vec<&str> = split(text, most).collect();
                assert_eq!(pieces.concat(), text);
                assert!(!pieces.is_empty() && pieces.len() <= most, "{pieces:?}");
            }
        }
    }

    #[test]
    fn a_stream_of_a_tool_call_joins_to_its_input() {
        let input = serde_json::json!({"city": "Łódź", "days": 3});
        let answer = Answer {
            id: 1,
            model: "m",
            thinking_tokens: 0,
            content: Content::Tool { name: "weather", input: input.as_object().unwrap() },
            stop_reason: "tool_use",
            input_tokens: 3,
            output_tokens: 9,
            usage: Shown::Whole,
        };
        let script = answer.script();
        let piece = |piece: &Piece| {
            let text = std::str::from_utf8(&piece.bytes).unwrap();
            let (_, data) = text.split_once("data: ").unwrap();
            let event: Value = serde_json::from_str(data).unwrap();
            event["delta"]["partial_json"].as_str().unwrap().to_owned()
        };
        let joined: String = script.pieces.iter().map(piece).collect();
        assert_eq!(serde_json::from_str::<Value>(&joined).unwrap(), input);
        assert!(script.pieces.len() > 3);
    }
}
