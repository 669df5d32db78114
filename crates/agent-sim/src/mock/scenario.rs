//! What a mock provider does: latency, answers, limits and faults, as read from TOML.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;
use std::ops::Range;
use std::time::Duration;

use agent_core::llm::redact;
use agent_core::money::NanoUsd;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value};

use super::{Fault, MockError};

/// How a mock provider behaves; the default answers at once, without limits or faults.
///
/// `examples/mock.toml` shows every key of the file that this is read from.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// Seeds the faults that have a `probability`.
    pub seed: u64,
    /// The keys that are accepted; empty = all that begin with `sk-ant-`.
    pub valid_keys: Keys,
    /// The models that there are, in the order of `GET /v1/models`; empty = any name is accepted.
    pub models: Vec<String>,
    /// The credit of all keys together, in dollars. Once as much is billed, calls are refused as
    /// those of an account without credit, and so is a model that has no known price.
    #[serde(deserialize_with = "dollars")]
    pub spend_limit_usd: Option<NanoUsd>,
    /// How long an answer takes.
    pub latency: Latency,
    /// What an answer says.
    pub output: Output,
    /// What is admitted.
    pub limits: Limits,
    /// What goes wrong; the first that matches is taken.
    pub fault: Vec<Fault>,
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    ///
    /// [`MockError::Scenario`] for what is not TOML, an unknown key or a value out of range. It
    /// names the place and what would be right.
    pub fn from_toml(text: &str) -> Result<Scenario, MockError> {
        let scenario: Scenario = toml::from_str(text).map_err(|error| {
            // Not its display: that shows the line, which may hold a key.
            let message = redact(error.message());
            MockError::Scenario(format!("{}{message}", place(text, error.span())))
        })?;
        scenario.validate()?;
        Ok(scenario)
    }

    /// Checks what the types cannot.
    pub(super) fn validate(&self) -> Result<(), MockError> {
        let output = &self.output;
        if output.tool.is_none() && !output.tool_input.is_empty() {
            return wrong("`output.tool_input` needs `output.tool`, the name of the tool to call");
        }
        if output.tool.as_ref().is_some_and(String::is_empty) {
            return wrong("`output.tool` is empty; write the name of one of the request's tools");
        }
        for (at, fault) in self.fault.iter().enumerate() {
            fault.validate().or_else(|problem| wrong(&format!("`fault[{at}]`: {problem}")))?;
        }
        Ok(())
    }
}

fn wrong(message: &str) -> Result<(), MockError> {
    Err(MockError::Scenario(message.to_owned()))
}

/// ``"3:7: `key`: "``: line and column, from 1, and whose value stands there.
fn place(text: &str, span: Option<Range<usize>>) -> String {
    let Some(before) = span.and_then(|span| text.get(..span.start)) else { return String::new() };
    let line = before.rsplit('\n').next().unwrap_or_default();
    let key = line.rsplit_once('=').map_or("", |(left, _)| left.trim_end());
    let key = key.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next();
    let key = key.filter(|key| !key.is_empty()).map(|key| format!("`{key}`: "));
    let (lines, columns) = (before.matches('\n').count() + 1, line.chars().count() + 1);
    format!("{lines}:{columns}: {}", key.unwrap_or_default())
}

/// Keys of clients; Debug shows how many there are and none of them.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Keys(BTreeSet<String>);

impl Keys {
    /// These keys and no other.
    pub fn new(keys: impl IntoIterator<Item = String>) -> Keys {
        Keys(keys.into_iter().collect())
    }

    /// Whether a client with this key is served.
    pub(super) fn accept(&self, key: &str) -> bool {
        if self.0.is_empty() { key.starts_with("sk-ant-") } else { self.0.contains(key) }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

/// How long an answer takes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Latency {
    /// Before the first byte, such as `"200ms"`.
    #[serde(deserialize_with = "span")]
    pub base: Duration,
    /// Added for each output token: in a stream between its pieces, else before the answer.
    #[serde(deserialize_with = "span")]
    pub per_output_token: Duration,
}

/// What an answer says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Output {
    /// Output tokens of an answer, cut at the request's `max_tokens`. Where a request lets the
    /// model think, half of them are its thought, or as many as it may think.
    pub tokens: u64,
    /// The text of an answer.
    pub text: String,
    /// Input tokens billed; absent = a quarter of the bytes of messages, system and tools.
    pub input_tokens: Option<u64>,
    /// A tool that is called instead of answering with the text, where the request has it, allows
    /// it, and does not bring its result. A request whose `tool_choice` is `any` or `tool` gets a
    /// call in any case, of this tool or another of its own.
    pub tool: Option<String>,
    /// What that tool is called with.
    pub tool_input: Map<String, Value>,
}

impl Default for Output {
    fn default() -> Output {
        Output {
            tokens: 100,
            text: "Done.".to_owned(),
            input_tokens: None,
            tool: None,
            tool_input: Map::new(),
        }
    }
}

/// What is admitted of each key and model in a minute; absent = not limited.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Requests a minute.
    #[serde(deserialize_with = "at_least_one")]
    pub requests_per_minute: Option<NonZeroU32>,
    /// Input tokens a minute.
    #[serde(deserialize_with = "at_least_one")]
    pub input_tokens_per_minute: Option<NonZeroU32>,
    /// Output tokens a minute. A request counts with its `max_tokens` until it is answered, as
    /// Anthropic's do, so one that asks for more than the limit is never admitted.
    #[serde(deserialize_with = "at_least_one")]
    pub output_tokens_per_minute: Option<NonZeroU32>,
    /// How they are enforced.
    pub enforcement: Enforcement,
}

/// How limits are enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforcement {
    /// As Anthropic does: a bucket that holds a minute's worth and refills continuously.
    #[default]
    Bucket,
    /// Strictly: no 60 seconds hold more than the limit.
    Sliding,
}

/// Reads a duration such as `"90s"`.
pub(super) fn span<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    humantime::parse_duration(&text).map_err(|error| {
        D::Error::custom(format_args!("{error}; write a duration such as \"200ms\" or \"1m 30s\""))
    })
}

/// Reads a duration that may be absent.
pub(super) fn maybe_span<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    span(from).map(Some)
}

fn at_least_one<'de, D: Deserializer<'de>>(from: D) -> Result<Option<NonZeroU32>, D::Error> {
    let number = match toml::Value::deserialize(from)? {
        toml::Value::Integer(number) => u32::try_from(number).ok().and_then(NonZeroU32::new),
        _ => None,
    };
    let remedy = "write a whole number from 1 to 4294967295, or leave it out for no limit";
    number.map(Some).ok_or_else(|| D::Error::custom(remedy))
}

fn dollars<'de, D: Deserializer<'de>>(from: D) -> Result<Option<NanoUsd>, D::Error> {
    match toml::Value::deserialize(from)? {
        toml::Value::String(text) => text.parse().map(Some).map_err(D::Error::custom),
        _ => Err(D::Error::custom("write the amount as a string, such as \"1.50\"")),
    }
}
