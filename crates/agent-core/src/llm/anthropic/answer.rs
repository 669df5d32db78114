//! Answers as they come: read tolerantly, except for what is billed.

use serde::Deserialize;
use serde_json::Value;

use crate::llm::{Answer, Block, LlmError, LlmErrorKind, StopReason, redact};
use crate::usage::{Iteration, Usage};

/// Most characters of an answer that is not JSON that are quoted in an error.
const QUOTED: usize = 200;

/// Most tokens of one kind that are believed. What is beyond it would, added up, not fit into a
/// count, and no budget would ever recover from it.
const MOST: u64 = u32::MAX as u64;

/// Reads a whole answer of status 200.
///
/// Without usage it is not understood: the attempt is then charged at its bound, so that money is
/// never undercounted. With usage it is charged for that at least. An error object inside a 200 has the kind that its type says, and is
/// charged like an answer that broke off before any usage was seen.
pub(super) fn parse(body: &[u8]) -> Result<Answer, LlmError> {
    let raw: RawAnswer = serde_json::from_slice(body).map_err(|error| unreadable(&error, body))?;
    if let Some(error) = raw.error {
        return Err(super::fail::inside_200(&error, None));
    }
    let usage = raw.usage.as_ref().map(RawUsage::settle).transpose()?;
    let unusable = |what| {
        let mut error = not_understood(what);
        error.seen.clone_from(&usage);
        error
    };
    if raw.kind.as_ref().and_then(Value::as_str) != Some("message") {
        return Err(unusable("an answer that is not a message"));
    }
    let Some(Value::Array(content)) = raw.content else {
        return Err(unusable("an answer without content"));
    };
    let usage = usage.ok_or_else(|| not_understood("an answer without usage"))?;
    Ok(Answer {
        id: name(raw.id.as_ref()).unwrap_or_default(),
        model: name(raw.model.as_ref()).unwrap_or_default(),
        content: content.into_iter().map(block).collect(),
        stop_reason: name(raw.stop_reason.as_ref()).as_deref().map(StopReason::from_name),
        stop_sequence: raw.stop_sequence.as_ref().and_then(Value::as_str).map(str::to_owned),
        usage,
        ..Answer::default()
    })
}

/// A word of the provider's that is recorded: short, and without secrets. What is no text is as
/// good as absent.
pub(super) fn name(value: Option<&Value>) -> Option<String> {
    value?.as_str().map(redact)
}

/// An answer that cannot be used; `what` holds nothing that the model wrote.
pub(super) fn not_understood(what: &str) -> LlmError {
    LlmError::new(LlmErrorKind::NotUnderstood, format!("the provider sent {what}"))
}

/// An answer that is not the JSON expected.
///
/// Only what does not look like an answer is quoted (a proxy's page, say), since errors are
/// written to the audit log, which holds no answer's text.
pub(super) fn unreadable(error: &serde_json::Error, body: &[u8]) -> LlmError {
    if body.is_empty() {
        return not_understood("an empty answer");
    }
    let what = match error.classify() {
        serde_json::error::Category::Data => "JSON of another shape",
        serde_json::error::Category::Eof => "JSON that ends too early",
        _ => "an answer that is not JSON",
    };
    let at = format!("{what} (line {}, column {})", error.line(), error.column());
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * QUOTED)]);
    let start = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    if start.starts_with('<') {
        let quote: String = redact(start).chars().take(QUOTED).collect();
        return not_understood(&format!("{at}: {quote}"));
    }
    not_understood(&format!("{at}, {} bytes long", body.len()))
}

/// Only what is billed has a type here: a field of another shape spoils nothing else.
#[derive(Deserialize)]
pub(super) struct RawAnswer {
    #[serde(rename = "type")]
    kind: Option<Value>,
    pub(super) id: Option<Value>,
    pub(super) model: Option<Value>,
    content: Option<Value>,
    stop_reason: Option<Value>,
    stop_sequence: Option<Value>,
    pub(super) usage: Option<RawUsage>,
    error: Option<Value>,
}

/// Usage as it comes; also one of its iterations, which have the same fields and a model.
#[derive(Deserialize, Clone, Default)]
#[serde(default)]
pub(super) struct RawUsage {
    model: Option<Value>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation: Option<RawCacheWrites>,
    server_tool_use: Option<RawServerTools>,
    service_tier: Option<String>,
    inference_geo: Option<String>,
    speed: Option<String>,
    iterations: Option<Vec<RawUsage>>,
}

#[derive(Deserialize, Clone, Default)]
#[serde(default)]
struct RawCacheWrites {
    ephemeral_5m_input_tokens: Option<u64>,
    ephemeral_1h_input_tokens: Option<u64>,
}

#[derive(Deserialize, Clone, Default)]
#[serde(default)]
struct RawServerTools {
    web_search_requests: Option<u64>,
}

impl RawUsage {
    /// Takes over every field that `later` has; counts are cumulative, so nothing is added.
    pub(super) fn overlay(&mut self, later: RawUsage) {
        fn take<T>(field: &mut Option<T>, later: Option<T>) {
            if later.is_some() {
                *field = later;
            }
        }
        take(&mut self.input_tokens, later.input_tokens);
        take(&mut self.output_tokens, later.output_tokens);
        // A total that comes without its split makes the earlier split stale.
        if later.cache_creation_input_tokens.is_some() && later.cache_creation.is_none() {
            let same = later.cache_creation_input_tokens == self.cache_creation_input_tokens;
            self.cache_creation = self.cache_creation.take().filter(|_| same);
        }
        take(&mut self.cache_creation_input_tokens, later.cache_creation_input_tokens);
        take(&mut self.cache_read_input_tokens, later.cache_read_input_tokens);
        take(&mut self.cache_creation, later.cache_creation);
        take(&mut self.server_tool_use, later.server_tool_use);
        take(&mut self.service_tier, later.service_tier);
        take(&mut self.inference_geo, later.inference_geo);
        take(&mut self.speed, later.speed);
        take(&mut self.iterations, later.iterations);
    }

    /// What is billed. Cache writes of which no duration is told count as 5 minutes.
    pub(super) fn settle(&self) -> Result<Usage, LlmError> {
        let (Some(input_tokens), Some(output_tokens)) = (self.input_tokens, self.output_tokens)
        else {
            return Err(not_understood("usage without input_tokens or output_tokens"));
        };
        let split = self.cache_creation.clone().unwrap_or_default();
        let hour = split.ephemeral_1h_input_tokens.unwrap_or(0);
        let short = split.ephemeral_5m_input_tokens.unwrap_or(0);
        let total = self.cache_creation_input_tokens.unwrap_or(0);
        let read = self.cache_read_input_tokens.unwrap_or(0);
        let tools = self.server_tool_use.as_ref();
        let searches = tools.and_then(|tools| tools.web_search_requests).unwrap_or(0);
        let counts = [input_tokens, output_tokens, hour, short, total, read, searches];
        if counts.into_iter().any(|count| count > MOST) {
            return Err(not_understood("usage of more tokens than any answer can have"));
        }
        let mut iterations = Vec::new();
        for raw in self.iterations.iter().flatten() {
            let model = name(raw.model.as_ref());
            let mut usage = raw.settle()?;
            if usage.iterations.is_empty() {
                iterations.push(Iteration { model, usage });
            } else {
                iterations.append(&mut usage.iterations);
            }
        }
        Ok(Usage {
            input_tokens,
            output_tokens,
            cache_write_5m_tokens: short.max(total.saturating_sub(hour)),
            cache_write_1h_tokens: hour,
            cache_read_tokens: read,
            web_searches: searches,
            service_tier: self.service_tier.clone(),
            inference_geo: self.inference_geo.clone(),
            speed: self.speed.clone(),
            iterations,
        })
    }
}

/// A block as it came; what is not typed here, or not of the shape known, is kept unchanged.
pub(super) fn block(value: Value) -> Block {
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let typed = match value.get("type").and_then(Value::as_str) {
        Some("text") => text("text").map(|text| Block::Text { text: text.into() }),
        Some("thinking") => text("thinking")
            .map(|thinking| Block::Thinking { thinking, signature: text("signature") }),
        Some("tool_use") => match (text("id"), text("name"), value.get("input")) {
            (Some(id), Some(name), Some(input)) => {
                Some(Block::ToolUse { id, name, input: input.clone() })
            }
            _ => None,
        },
        _ => None,
    };
    typed.unwrap_or(Block::Other(value))
}
