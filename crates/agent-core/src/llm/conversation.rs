//! Conversations: messages of content blocks, tools and what they returned.

use std::sync::Arc;

use serde_json::Value;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The task, and what tools returned.
    User,
    /// The model.
    Assistant,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: Vec<Block>,
}

impl Message {
    /// A text from the user.
    pub fn user(text: impl Into<Arc<str>>) -> Message {
        Message { role: Role::User, content: vec![Block::Text { text: text.into() }] }
    }

    /// The model's turn, as it came.
    pub fn assistant(content: Vec<Block>) -> Message {
        Message { role: Role::Assistant, content }
    }

    pub(crate) fn text_bytes(&self) -> usize {
        self.content.iter().map(Block::text_bytes).sum()
    }
}

/// A piece of content. In the model's order: thinking comes before the text that it led to.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Block {
    /// Text.
    Text {
        /// The text; shared, since a conversation is sent again with every turn.
        text: Arc<str>,
    },
    /// The model's thinking, to be sent back unchanged.
    Thinking {
        /// The thinking.
        thinking: String,
        /// The provider's proof that it is unchanged.
        signature: Option<String>,
    },
    /// A tool that the model calls.
    ToolUse {
        /// Names the call.
        id: String,
        /// Which tool.
        name: String,
        /// With what.
        input: Value,
    },
    /// What a tool returned.
    ToolResult(ToolResult),
    /// A kind that is not known here (or that only the provider understands), as it came.
    Other(Value),
}

impl Block {
    /// The text of a text block.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Block::Text { text } => Some(text),
            _ => None,
        }
    }

    fn text_bytes(&self) -> usize {
        match self {
            Block::Text { text } => text.len(),
            Block::Thinking { thinking, signature } => {
                thinking.len() + signature.as_ref().map_or(0, String::len)
            }
            Block::ToolUse { id, name, input } => id.len() + name.len() + json_bytes(input),
            Block::ToolResult(result) => {
                result.tool_use_id.len()
                    + result.content.iter().map(Block::text_bytes).sum::<usize>()
            }
            Block::Other(value) => json_bytes(value),
        }
    }
}

/// What a tool returned.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolResult {
    /// The call that it answers.
    pub tool_use_id: String,
    /// What it returned.
    pub content: Vec<Block>,
    /// Whether the tool failed.
    pub is_error: bool,
}

/// Something that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// A JSON schema of its input.
    pub input_schema: Value,
}

impl Tool {
    pub(crate) fn text_bytes(&self) -> usize {
        self.name.len() + self.description.len() + json_bytes(&self.input_schema)
    }
}

/// Whether the model calls a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    /// As it likes.
    Auto,
    /// At least one.
    Any,
    /// This one.
    Tool(String),
    /// None.
    None,
}

/// Bytes of a value as JSON.
fn json_bytes(value: &Value) -> usize {
    value.to_string().len()
}
