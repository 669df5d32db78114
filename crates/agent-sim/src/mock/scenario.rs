//! What a mock provider does: latency, answers, limits and faults, as read from TOML.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::MockError;

/// How a mock provider behaves; the default answers at once, without limits or faults.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// Seeds the faults that have a `probability`.
    pub seed: u64,
    /// How long an answer takes.
    pub latency: Latency,
    /// What an answer says.
    pub output: Output,
    /// Requests a minute for each key and model; a full minute's worth may come at once.
    pub requests_per_minute: Option<u32>,
    /// What goes wrong; the first that matches is taken.
    pub fault: Vec<Fault>,
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    ///
    /// [`MockError::Scenario`] for what is not TOML, an unknown key or a value out of range.
    pub fn from_toml(text: &str) -> Result<Scenario, MockError> {
        let scenario: Scenario =
            toml::from_str(text).map_err(|e| MockError::Scenario(e.to_string()))?;
        if scenario.requests_per_minute == Some(0) {
            let message = "`requests_per_minute` is 0; at least 1, or absent for no limit";
            return Err(MockError::Scenario(message.to_owned()));
        }
        Ok(scenario)
    }
}

/// How long an answer takes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Latency {
    /// Before the first byte, such as `"200ms"`.
    #[serde(deserialize_with = "span")]
    pub base: Duration,
    /// Added for each output token.
    #[serde(deserialize_with = "span")]
    pub per_output_token: Duration,
}

/// What an answer says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Output {
    /// Output tokens of an answer, cut at the request's `max_tokens`.
    pub tokens: u64,
    /// The text of an answer.
    pub text: String,
    /// Input tokens billed; absent = a quarter of the bytes of messages, system and tools.
    pub input_tokens: Option<u64>,
}

impl Default for Output {
    fn default() -> Output {
        Output { tokens: 100, text: "Done.".to_owned(), input_tokens: None }
    }
}

/// One thing that goes wrong. It hits the calls that all of its conditions name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Ordinals of the calls that it may hit, from 1; empty = any.
    #[serde(default)]
    pub calls: Vec<u64>,
    /// Hits every n-th call only.
    pub every: Option<u64>,
    /// The share of calls that it hits, 0 to 1; absent = all.
    pub probability: Option<f64>,
    /// The status of `kind = "status"`, 500 if absent.
    pub status: Option<u16>,
    /// Seconds for a `retry-after` header.
    pub retry_after: Option<u64>,
    /// Whether the call is billed; absent = as [`FaultKind::is_billed`] says.
    pub billed: Option<bool>,
}

/// The kinds of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The answer is made and never sent.
    Hang,
    /// The answer is made and the connection reset.
    Reset,
    /// The answer is made and the connection closed without it.
    Close,
    /// Fewer bytes than `content-length` says, then the end.
    Truncate,
    /// Half of the JSON, as a whole answer.
    Malformed,
    /// A page of HTML with status 200.
    Html,
    /// Status 200 and no body.
    Empty,
    /// An answer without `usage`.
    NoUsage,
    /// An error with a status.
    Status,
}

impl FaultKind {
    /// Whether the provider has done the work, and so bills it, unless the scenario says else.
    pub fn is_billed(self) -> bool {
        !matches!(self, FaultKind::Status | FaultKind::Html)
    }
}

fn span<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    humantime::parse_duration(&text).map_err(D::Error::custom)
}
