//! Requests as the Messages API takes them.

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use crate::llm::{Block, Message, Request, Role, Tool, ToolChoice};

/// A request for `/v1/messages`, or for `/v1/messages/count_tokens`, which takes less.
pub(super) struct Body<'a> {
    pub(super) request: &'a Request,
    pub(super) only_count: bool,
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Request { model, max_tokens, system, messages, .. } = self.request;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("model", model)?;
        if !self.only_count {
            map.serialize_entry("max_tokens", max_tokens)?;
        }
        if let Some(system) = system {
            map.serialize_entry("system", system)?;
        }
        map.serialize_entry("messages", &List(messages, Wire))?;
        if !self.request.tools.is_empty() {
            map.serialize_entry("tools", &List(&self.request.tools, Wire))?;
        }
        if let Some(choice) = &self.request.tool_choice {
            map.serialize_entry("tool_choice", &Wire(choice))?;
        }
        if !self.only_count {
            if let Some(temperature) = self.request.temperature {
                map.serialize_entry("temperature", &temperature)?;
            }
            if !self.request.stop_sequences.is_empty() {
                map.serialize_entry("stop_sequences", &self.request.stop_sequences)?;
            }
        }
        map.end()
    }
}

struct Wire<'a, T>(&'a T);

struct List<'a, T, F>(&'a [T], F);

impl<'a, T, W: Serialize, F: Fn(&'a T) -> W> Serialize for List<'a, T, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.0.len()))?;
        for item in self.0 {
            seq.serialize_element(&(self.1)(item))?;
        }
        seq.end()
    }
}

impl Serialize for Wire<'_, Message> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        let role = match self.0.role {
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        map.serialize_entry("role", role)?;
        map.serialize_entry("content", &List(&self.0.content, Wire))?;
        map.end()
    }
}

impl Serialize for Wire<'_, Block> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Block::Other(value) = self.0 {
            return value.serialize(serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        match self.0 {
            Block::Text { text } => {
                map.serialize_entry("type", "text")?;
                map.serialize_entry("text", &**text)?;
            }
            Block::Thinking { thinking, signature } => {
                map.serialize_entry("type", "thinking")?;
                map.serialize_entry("thinking", thinking)?;
                if let Some(signature) = signature {
                    map.serialize_entry("signature", signature)?;
                }
            }
            Block::ToolUse { id, name, input } => {
                map.serialize_entry("type", "tool_use")?;
                map.serialize_entry("id", id)?;
                map.serialize_entry("name", name)?;
                map.serialize_entry("input", input)?;
            }
            Block::ToolResult(result) => {
                map.serialize_entry("type", "tool_result")?;
                map.serialize_entry("tool_use_id", &result.tool_use_id)?;
                map.serialize_entry("content", &List(&result.content, Wire))?;
                if result.is_error {
                    map.serialize_entry("is_error", &true)?;
                }
            }
            Block::Other(_) => {}
        }
        map.end()
    }
}

impl Serialize for Wire<'_, Tool> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("name", &self.0.name)?;
        map.serialize_entry("description", &self.0.description)?;
        map.serialize_entry("input_schema", &self.0.input_schema)?;
        map.end()
    }
}

impl Serialize for Wire<'_, ToolChoice> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let kind = match self.0 {
            ToolChoice::Auto => "auto",
            ToolChoice::Any => "any",
            ToolChoice::Tool(_) => "tool",
            ToolChoice::None => "none",
        };
        map.serialize_entry("type", kind)?;
        if let ToolChoice::Tool(name) = self.0 {
            map.serialize_entry("name", name)?;
        }
        map.end()
    }
}
