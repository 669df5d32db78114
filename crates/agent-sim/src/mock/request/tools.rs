//! The tools of a request, and which of them its answer calls.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{Part, part, parts, tag, text};

const CHOICES: &str = "'auto', 'any', 'tool', 'none'";

/// A request's tools, by name, and what it says of their choice.
pub(super) struct Tools<'a> {
    names: Vec<Cow<'a, str>>,
    choice: Choice<'a>,
}

enum Choice<'a> {
    /// One that the model likes, or none.
    Auto,
    /// None.
    Without,
    /// Any one.
    Any,
    /// This one.
    Named(Cow<'a, str>),
}

impl<'a> Tools<'a> {
    /// Reads and checks both; the error is the message of a 400.
    pub(super) fn read(
        tools: Option<&'a RawValue>,
        choice: Option<&'a RawValue>,
    ) -> Result<Tools<'a>, String> {
        let tools = tools.map_or(Some(Vec::new()), parts);
        let tools = tools.ok_or("tools: Input should be a valid list")?;
        let names: Vec<_> = tools.iter().filter_map(|tool| tool.name.and_then(text)).collect();
        let choice = choice.map_or(Ok(Choice::Auto), read_choice)?;
        match &choice {
            Choice::Any if tools.is_empty() => {
                Err("tool_choice.any may only be specified while providing tools".to_owned())
            }
            Choice::Any if names.is_empty() => Err("tools.0.name: Field required".to_owned()),
            Choice::Named(name) if !names.contains(name) => {
                Err(format!("Tool '{name}' not found in provided tools"))
            }
            _ => Ok(Tools { names, choice }),
        }
    }

    /// Whether the answer has to call one.
    pub(super) fn are_forced(&self) -> bool {
        matches!(self.choice, Choice::Any | Choice::Named(_))
    }

    /// The one that is called: that which has to be, else `wanted`, where it is there and allowed,
    /// and it `is_answered` not already. Of any, it is `wanted`, or else the first.
    pub(super) fn called(&self, wanted: Option<&str>, is_answered: bool) -> Option<&str> {
        let wanted = wanted.and_then(|wanted| self.names.iter().find(|name| *name == wanted));
        let called = match &self.choice {
            Choice::Auto => wanted.filter(|_| !is_answered),
            Choice::Without => None,
            Choice::Any => wanted.or_else(|| self.names.first()),
            Choice::Named(name) => Some(name),
        };
        called.map(Cow::as_ref)
    }
}

fn read_choice(raw: &RawValue) -> Result<Choice<'_>, String> {
    let choice: Part<'_> = part(raw).ok_or("tool_choice: Input should be an object")?;
    match tag("tool_choice", choice.kind, CHOICES)?.as_ref() {
        "auto" => Ok(Choice::Auto),
        "none" => Ok(Choice::Without),
        "any" => Ok(Choice::Any),
        _ => {
            let name = choice.name.ok_or("tool_choice.tool.name: Field required")?;
            let name = text(name).ok_or("tool_choice.tool.name: Input should be a valid string")?;
            Ok(Choice::Named(name))
        }
    }
}
