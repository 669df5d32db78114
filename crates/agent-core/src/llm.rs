//! The port to a provider: one request, one answer or one error that says what became of it.

#[expect(clippy::result_large_err, reason = "one per request, beside a network round trip")]
pub mod anthropic;
mod conversation;
mod error;
mod key;

use std::fmt;
use std::sync::{Arc, LazyLock};

use futures_util::future::LocalBoxFuture;

use crate::permits::RateHeaders;
use crate::usage::Usage;

pub use conversation::{Block, Message, Role, Tool, ToolChoice, ToolResult};
pub use error::{Fate, LlmError, LlmErrorKind};
pub(crate) use key::mask;
pub use key::{ApiKey, KeyError, KeyFault, KeyRing, KeySource, redact};

/// A provider of completions.
///
/// One call of [`complete`](LlmClient::complete) is one HTTP request: it retries nothing, waits for
/// no permit and counts no money, since the worker around it does. The worker also ends it at its
/// deadline by dropping the future.
///
/// A provider that streams will have a second method whose default is this one; requests and
/// answers are the same for both.
pub trait LlmClient: fmt::Debug + Send + Sync {
    /// Sends `request` once and returns the whole answer.
    ///
    /// # Errors
    ///
    /// [`LlmError`] says what happened and whether it may have been billed.
    fn complete<'a>(&'a self, request: &'a Request)
    -> LocalBoxFuture<'a, Result<Answer, LlmError>>;

    /// The provider's name in records: `anthropic`.
    fn provider(&self) -> &str;

    /// Who is billed and limited: the masked key, such as `sk-ant-***abcd`. May change when a key
    /// is rotated.
    fn account(&self) -> Arc<str> {
        static DEFAULT: LazyLock<Arc<str>> = LazyLock::new(|| "default".into());
        Arc::clone(&DEFAULT)
    }

    /// Reads the key's source again; `Some(masked key)` where it holds another key now.
    fn rotate(&self) -> Option<String> {
        None
    }

    /// Where its key comes from, as the audit shows it: the variable or the file. `None` where it
    /// needs no key.
    fn key_source(&self) -> Option<String> {
        None
    }

    /// `text` with every key masked that was in use; `None` where it holds none. Nothing that is kept
    /// may hold one, whatever an answer says: a text that this panics over is lost, and its task fails.
    fn mask(&self, _text: &str) -> Option<String> {
        None
    }

    /// Counts the input tokens of `request` at the provider, free of charge; `None` where the
    /// provider cannot.
    fn count_tokens<'a>(
        &'a self,
        _request: &'a Request,
    ) -> LocalBoxFuture<'a, Option<Result<u64, LlmError>>> {
        Box::pin(std::future::ready(None))
    }
}

/// One completion wanted: a whole conversation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Request {
    /// The model, as the provider names it.
    pub model: String,
    /// Most output, in tokens.
    pub max_tokens: u32,
    /// The system prompt.
    pub system: Option<String>,
    /// The conversation so far; the last message is to be answered.
    pub messages: Vec<Message>,
    /// Sampling temperature, 0 to 2; Anthropic refuses more than 1. Absent: the provider's.
    pub temperature: Option<f64>,
    /// Texts that end the answer.
    pub stop_sequences: Vec<String>,
    /// What the model may call.
    pub tools: Vec<Tool>,
    /// Whether it must.
    pub tool_choice: Option<ToolChoice>,
}

impl Request {
    /// UTF-8 bytes of all text that is sent; no byte-level tokenizer makes more tokens of it.
    pub fn text_bytes(&self) -> u64 {
        let system = self.system.as_ref().map_or(0, String::len);
        let messages: usize = self.messages.iter().map(Message::text_bytes).sum();
        let tools: usize = self.tools.iter().map(Tool::text_bytes).sum();
        (system + messages + tools) as u64
    }
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// The provider's name for the answer: `msg_…`.
    pub id: String,
    /// The model that answered, as the provider names it.
    pub model: String,
    /// All content, in order; kinds that are not known here are kept as they came.
    pub content: Vec<Block>,
    /// Why it ended; `None` where the provider did not say.
    pub stop_reason: Option<StopReason>,
    /// The stop sequence that was met.
    pub stop_sequence: Option<String>,
    /// What is billed.
    pub usage: Usage,
    /// The provider's name for the exchange, to quote to its support.
    pub request_id: Option<String>,
    /// What the provider said of its limits.
    pub limits: RateHeaders,
}

impl Answer {
    /// The text blocks, joined; thinking and tool calls left out.
    pub fn text(&self) -> String {
        self.content.iter().filter_map(Block::as_text).collect()
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// It was complete.
    EndTurn,
    /// It was cut at `max_tokens`.
    MaxTokens,
    /// A stop sequence was met.
    StopSequence,
    /// The model calls a tool.
    ToolUse,
    /// The provider paused a long turn; sending the conversation back goes on.
    PauseTurn,
    /// The model declined.
    Refusal,
    /// The context window is full.
    ContextWindowExceeded,
    /// A reason that is not known here, as it came.
    Other(String),
}

impl StopReason {
    const NAMED: [(&'static str, StopReason); 7] = [
        ("end_turn", StopReason::EndTurn),
        ("max_tokens", StopReason::MaxTokens),
        ("stop_sequence", StopReason::StopSequence),
        ("tool_use", StopReason::ToolUse),
        ("pause_turn", StopReason::PauseTurn),
        ("refusal", StopReason::Refusal),
        ("model_context_window_exceeded", StopReason::ContextWindowExceeded),
    ];

    /// The reason of this name; every name is one.
    pub fn from_name(name: &str) -> StopReason {
        let known = StopReason::NAMED.into_iter().find(|(known, _)| *known == name);
        known.map_or_else(|| StopReason::Other(name.to_owned()), |(_, reason)| reason)
    }

    /// Its name: `end_turn`.
    pub fn as_str(&self) -> &str {
        if let StopReason::Other(name) = self {
            return name;
        }
        StopReason::NAMED.iter().find(|(_, reason)| reason == self).map_or("", |(name, _)| name)
    }
}
