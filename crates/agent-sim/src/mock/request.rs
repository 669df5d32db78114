//! Requests for an answer: read, checked as the API checks them, and asked what they want.

use std::borrow::Cow;

use agent_core::pricing::Catalogue;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::room::too_long;
use thinking::Thinking;
use tools::Tools;

mod thinking;
mod tools;

/// No model allows less output than this, so that fewer tokens need not be looked up.
const LEAST_MAX_OUTPUT: u64 = 4096;

/// No model has room for less input than this.
const LEAST_CONTEXT: u64 = 100_000;

/// A body as it came; fields that are not here are accepted unread.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    system: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
    #[serde(borrow)]
    thinking: Option<&'a RawValue>,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
    #[serde(borrow)]
    temperature: Option<&'a RawValue>,
    #[serde(borrow)]
    top_p: Option<&'a RawValue>,
    #[serde(borrow)]
    top_k: Option<&'a RawValue>,
}

/// What is looked at of a message, a block, a tool, a choice of tools or of thinking.
#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    role: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    budget_tokens: Option<&'a RawValue>,
}

/// A checked request.
pub(super) struct Request<'a> {
    pub(super) model: Cow<'a, str>,
    /// 0 where tokens are only counted.
    pub(super) max_tokens: u64,
    pub(super) streams: bool,
    messages: Vec<&'a RawValue>,
    tools: Tools<'a>,
    thinking: Thinking,
    // Bytes of all that is prompt.
    bytes: usize,
}

impl<'a> Request<'a> {
    /// Reads and checks a body; the error is the message of a 400. Where tokens are only
    /// `counted`, `max_tokens` is not needed. `version` is the request's `anthropic-version`.
    pub(super) fn read(body: &'a [u8], counted: bool, version: &str) -> Result<Self, String> {
        if body.trim_ascii_start().first().is_some_and(|first| *first == b'[') {
            return Err("Input should be a valid dictionary or object".to_owned());
        }
        let raw: Raw<'a> = serde_json::from_slice(body)
            .map_err(|error| format!("The request body is not valid JSON: {error}"))?;
        let model = raw.model.ok_or("model: Field required")?;
        let model = text(model).ok_or("model: Input should be a valid string")?;
        if model.is_empty() {
            return Err("model: String should have at least 1 character".to_owned());
        }
        let max_tokens = match raw.max_tokens {
            None if counted => None,
            None => return Err("max_tokens: Field required".to_owned()),
            Some(given) => Some(max_tokens(given)?),
        };
        let streams = match raw.stream.map(RawValue::get) {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err("stream: Input should be a valid boolean".to_owned()),
        };
        let messages = raw.messages.ok_or("messages: Field required")?;
        let messages = list(messages).ok_or("messages: Input should be a valid list")?;
        check_messages(&messages)?;
        let tools = Tools::read(raw.tools, raw.tool_choice)?;
        let thinking = Thinking::read(raw.thinking, max_tokens)?;
        let is_budgeted = matches!(thinking, Thinking::Enabled(_));
        if is_budgeted && tools.are_forced() {
            return Err("Thinking may not be enabled when tool_choice forces tool use.".to_owned());
        }
        sampling(&raw, version, is_budgeted)?;
        let prompt = messages.iter().copied().chain(raw.system).chain(raw.tools);
        let bytes = prompt.map(|part| part.get().len()).sum();
        let max_tokens = max_tokens.unwrap_or(0);
        Ok(Request { model, max_tokens, streams, messages, tools, thinking, bytes })
    }

    /// A quarter of the bytes of all that is prompt, rounded up.
    pub(super) fn input_tokens(&self) -> u64 {
        self.bytes.div_ceil(4) as u64
    }

    /// The message of a 400 where the model has no room for so much input or output.
    pub(super) fn too_long(&self) -> Option<String> {
        let (input, output) = (self.input_tokens(), self.max_tokens);
        if input <= LEAST_CONTEXT && output <= LEAST_MAX_OUTPUT {
            return None;
        }
        too_long(Catalogue::builtin().resolve(&self.model)?, &self.model, input, output)
    }

    /// The id, if the first message has a text that begins with `Task #<id>:`.
    pub(super) fn task(&self) -> Option<String> {
        let first = self.messages.first()?.get();
        let (_, after) = first.split_once("\"Task #")?;
        after.split_once(':').map(|(id, _)| id.to_owned())
    }

    /// The tool that the answer calls: one that it has to, else `wanted`, where the request has
    /// it, allows it and does not bring its result.
    pub(super) fn called(&self, wanted: Option<&str>) -> Option<&str> {
        self.tools.called(wanted, self.brings_result())
    }

    /// How many of an answer's `output` tokens are a thought that stands before what it says. Who
    /// has to call a tool does so without.
    pub(super) fn thought(&self, output: u64) -> u64 {
        if self.tools.are_forced() { 0 } else { self.thinking.tokens(output, self.brings_result()) }
    }

    /// Whether the last message has the result of a tool.
    fn brings_result(&self) -> bool {
        let blocks = self.messages.last().and_then(|last| parts(part(last)?.content?));
        let kinds = blocks.iter().flatten().filter_map(|block| block.kind);
        kinds.map(RawValue::get).any(|kind| kind == "\"tool_result\"")
    }
}

fn max_tokens(given: &RawValue) -> Result<u64, String> {
    let number: i64 =
        given.get().parse().map_err(|_| "max_tokens: Input should be a valid integer")?;
    u64::try_from(number)
        .map_err(|_| "max_tokens: Input should be greater than or equal to 0".to_owned())
}

/// Refuses how the model is to sample, where that is wrong or, since 2026-10-21, at all.
fn sampling(raw: &Raw<'_>, version: &str, thinks: bool) -> Result<(), String> {
    let given = [("temperature", raw.temperature), ("top_p", raw.top_p), ("top_k", raw.top_k)];
    if version >= "2026-10-21"
        && let Some((name, _)) = given.iter().find(|(_, value)| value.is_some())
    {
        return Err(format!("{name}: Extra inputs are not permitted"));
    }
    for (name, value) in &given[..2] {
        let Some(value) = value else { continue };
        let number: f64 =
            value.get().parse().map_err(|_| format!("{name}: Input should be a valid number"))?;
        if !(0.0..=1.0).contains(&number) {
            return Err(format!("{name}: range: 0..1"));
        }
        if thinks && *name == "temperature" && number < 1.0 {
            return Err("`temperature` may only be set to 1 when thinking is enabled.".to_owned());
        }
    }
    Ok(())
}

fn check_messages(messages: &[&RawValue]) -> Result<(), String> {
    if messages.is_empty() {
        return Err("messages: at least one message is required".to_owned());
    }
    for (at, raw) in messages.iter().enumerate() {
        let place = format_args!("messages.{at}");
        let message = part(raw).ok_or_else(|| format!("{place}: Input should be an object"))?;
        let role = message.role.ok_or_else(|| format!("{place}.role: Field required"))?;
        let is_assistant = match role.get() {
            "\"user\"" | "\"system\"" => false,
            "\"assistant\"" => true,
            _ => return Err(format!("{place}.role: Input should be 'user' or 'assistant'")),
        };
        let content = message.content.ok_or_else(|| format!("{place}.content: Field required"))?;
        let is_empty = match content.get().as_bytes().first() {
            Some(b'"') => content.get() == "\"\"",
            Some(b'[') => {
                let blocks = parts(content)
                    .ok_or_else(|| format!("{place}.content.0: Input should be an object"))?;
                if let Some(at) = blocks.iter().position(|block| block.kind.is_none()) {
                    return Err(format!("{place}.content.{at}.type: Field required"));
                }
                blocks.is_empty()
            }
            _ => return Err(format!("{place}.content: Input should be a valid list")),
        };
        if is_empty && !(is_assistant && at + 1 == messages.len()) {
            return Err(format!(
                "{place}: all messages must have non-empty content except for the optional final \
                 assistant message"
            ));
        }
    }
    Ok(())
}

/// What the `type` of the object at `place` is, one of those that are `expected`.
fn tag<'a>(
    place: &str,
    kind: Option<&'a RawValue>,
    expected: &str,
) -> Result<Cow<'a, str>, String> {
    let kind = kind.ok_or_else(|| format!("{place}.type: Field required"))?;
    let kind = text(kind).ok_or_else(|| format!("{place}.type: Input should be a valid string"))?;
    if expected.split(", ").any(|known| known.trim_matches('\'') == kind) {
        return Ok(kind);
    }
    Err(format!(
        "{place}: Input tag '{kind}' found using 'type' does not match any of the expected tags: \
         {expected}"
    ))
}

/// A JSON string's text, borrowed where nothing in it is escaped.
fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str(raw.get()).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

fn list(raw: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(raw.get()).ok()
}

fn part(raw: &RawValue) -> Option<Part<'_>> {
    // A list would be read as the fields in their order.
    raw.get().starts_with('{').then(|| serde_json::from_str(raw.get()).ok())?
}

fn parts(raw: &RawValue) -> Option<Vec<Part<'_>>> {
    list(raw)?.into_iter().map(part).collect()
}

#[cfg(test)]
mod tests;
