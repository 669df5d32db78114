//! An answer as a script of server-sent events: a head, the pieces of its text, a tail.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde_json::Map;

use super::{Answer, Block, Content, Message, write_json};

/// The most pieces that a streamed text comes in.
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
#[serde(tag = "type", rename_all = "snake_case")]
enum Delta<'a> {
    TextDelta { text: &'a str },
    InputJsonDelta { partial_json: &'a str },
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
}

/// A stream of events in the parts that it is sent in.
#[derive(Debug)]
pub(in crate::mock) struct Script {
    /// `message_start` to the first piece.
    pub(in crate::mock) head: Bytes,
    /// The pieces, each an event.
    pub(in crate::mock) pieces: Vec<Bytes>,
    /// What follows the last piece, to `message_stop`.
    pub(in crate::mock) tail: Bytes,
}

impl Script {
    /// All of it.
    pub(in crate::mock) fn whole(&self) -> Bytes {
        let mut whole = BytesMut::from(self.head.as_ref());
        self.pieces.iter().chain([&self.tail]).for_each(|part| whole.extend_from_slice(part));
        whole.freeze()
    }
}

/// The event that ends a stream which fails after it began.
pub(in crate::mock) const STREAM_ERROR: &str = "event: error\ndata: {\"type\":\"error\",\"error\":\
    {\"details\":null,\"type\":\"overloaded_error\",\"message\":\"Overloaded\"} }\n\n";

impl Answer<'_> {
    /// The message as a stream.
    pub(in crate::mock) fn script(&self) -> Script {
        let mut head = BytesMut::with_capacity(1024);
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
        write_event(&mut head, "message_start", &Event::MessageStart { message });
        let (mut pieces, mut tail) = (Vec::new(), BytesMut::with_capacity(512));
        if self.output_tokens == 0 {
            write_event(&mut head, "ping", &Event::Ping);
        } else {
            pieces = self.block(&mut head);
            write_event(&mut tail, "content_block_stop", &Event::ContentBlockStop { index: 0 });
        }
        let usage = self.usage(self.output_tokens).map(|usage| LastUsage {
            input_tokens: usage.input_tokens,
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: 0,
            output_tokens: usage.output_tokens,
        });
        let delta = End { stop_reason: self.stop_reason, stop_sequence: None };
        write_event(&mut tail, "message_delta", &Event::MessageDelta { delta, usage });
        write_event(&mut tail, "message_stop", &Event::MessageStop);
        Script { head: head.freeze(), pieces, tail: tail.freeze() }
    }

    /// Starts the one block of content, and returns its pieces.
    fn block(&self, head: &mut BytesMut) -> Vec<Bytes> {
        let (empty, tool_id, json) = (Map::new(), self.tool_id(), self.tool_input());
        let (content_block, all) = match self.content {
            Content::Text(text) => (Block::Text { text: "" }, text),
            Content::Tool { name, .. } => {
                (Block::ToolUse { id: &tool_id, name, input: &empty }, json.as_str())
            }
        };
        write_event(
            head,
            "content_block_start",
            &Event::ContentBlockStart { index: 0, content_block },
        );
        write_event(head, "ping", &Event::Ping);
        let most = usize::try_from(self.output_tokens).unwrap_or(MOST_PIECES).min(MOST_PIECES);
        let piece = |piece| {
            let delta = match self.content {
                Content::Text(_) => Delta::TextDelta { text: piece },
                Content::Tool { .. } => Delta::InputJsonDelta { partial_json: piece },
            };
            let mut out = BytesMut::with_capacity(128);
            write_event(
                &mut out,
                "content_block_delta",
                &Event::ContentBlockDelta { index: 0, delta },
            );
            out.freeze()
        };
        split(all, most).map(piece).collect()
    }

    fn tool_input(&self) -> String {
        match self.content {
            Content::Tool { input, .. } => serde_json::to_string(input).unwrap_or_default(),
            Content::Text(_) => String::new(),
        }
    }
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
            content: Content::Tool { name: "weather", input: input.as_object().unwrap() },
            stop_reason: "tool_use",
            input_tokens: 3,
            output_tokens: 9,
            usage: Shown::Whole,
        };
        let script = answer.script();
        let piece = |event: &Bytes| {
            let text = std::str::from_utf8(event).unwrap();
            let (_, data) = text.split_once("data: ").unwrap();
            let event: Value = serde_json::from_str(data).unwrap();
            event["delta"]["partial_json"].as_str().unwrap().to_owned()
        };
        let joined: String = script.pieces.iter().map(piece).collect();
        assert_eq!(serde_json::from_str::<Value>(&joined).unwrap(), input);
        assert!(script.pieces.len() > 3);
    }
}
