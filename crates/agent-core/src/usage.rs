//! Tokens used: the four counts that are recorded, and all that a provider bills by.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// The four token counts of a record, an outcome or a total.
///
/// Names follow the OpenTelemetry GenAI conventions and Anthropic's `usage`; `input_tokens` leaves
/// out what was written to or read from the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TokenCounts {
    /// Input neither written to nor read from the cache.
    pub input_tokens: u64,
    /// Output, thinking included.
    pub output_tokens: u64,
    /// Input written to the cache, for 5 minutes or an hour.
    pub cache_creation_input_tokens: u64,
    /// Input read from the cache.
    pub cache_read_input_tokens: u64,
}

impl TokenCounts {
    /// All four together, saturating.
    pub fn total(&self) -> u64 {
        self.all_input().saturating_add(self.output_tokens)
    }

    /// All input, cached or not, saturating.
    pub fn all_input(&self) -> u64 {
        self.input_tokens
            .saturating_add(self.cache_creation_input_tokens)
            .saturating_add(self.cache_read_input_tokens)
    }
}

impl TokenCounts {
    /// Takes `other` away, each count at least zero.
    pub fn subtract(&mut self, other: &TokenCounts) {
        let sub = |a: &mut u64, b: u64| *a = a.saturating_sub(b);
        sub(&mut self.input_tokens, other.input_tokens);
        sub(&mut self.output_tokens, other.output_tokens);
        sub(&mut self.cache_creation_input_tokens, other.cache_creation_input_tokens);
        sub(&mut self.cache_read_input_tokens, other.cache_read_input_tokens);
    }
}

impl AddAssign for TokenCounts {
    fn add_assign(&mut self, other: TokenCounts) {
        let add = |a: &mut u64, b: u64| *a = a.saturating_add(b);
        add(&mut self.input_tokens, other.input_tokens);
        add(&mut self.output_tokens, other.output_tokens);
        add(&mut self.cache_creation_input_tokens, other.cache_creation_input_tokens);
        add(&mut self.cache_read_input_tokens, other.cache_read_input_tokens);
    }
}

/// All that one answer is billed by, as the provider reported it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    /// Input at the full price, in tokens.
    pub input_tokens: u64,
    /// Output, thinking included, in tokens.
    pub output_tokens: u64,
    /// Input written to the cache for 5 minutes, in tokens.
    pub cache_write_5m_tokens: u64,
    /// Input written to the cache for an hour, in tokens.
    pub cache_write_1h_tokens: u64,
    /// Input read from the cache, in tokens.
    pub cache_read_tokens: u64,
    /// Searches of the web, each for a fee.
    pub web_searches: u64,
    /// `standard`, `priority` or `batch`, where the provider said so.
    pub service_tier: Option<String>,
    /// Where inference ran, where the provider said so: `us` costs more on some models.
    pub inference_geo: Option<String>,
    /// `standard` or `fast`, where the provider said so.
    pub speed: Option<String>,
    /// The steps inside one answer. Where there are any, the bill is their sum and the counts
    /// above are not billed (see Money in ARCHITECTURE.md).
    pub iterations: Vec<Iteration>,
}

/// One step of an answer that was made in several, possibly by another model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Iteration {
    /// The model of this step; `None` is the answer's own.
    pub model: Option<String>,
    /// What this step used; its own `iterations` are empty.
    pub usage: Usage,
}

impl Usage {
    /// The four counts to record: those of the iterations where there are any.
    pub fn counts(&self) -> TokenCounts {
        if self.iterations.is_empty() {
            return TokenCounts {
                input_tokens: self.input_tokens,
                output_tokens: self.output_tokens,
                cache_creation_input_tokens: self
                    .cache_write_5m_tokens
                    .saturating_add(self.cache_write_1h_tokens),
                cache_read_input_tokens: self.cache_read_tokens,
            };
        }
        let mut sum = TokenCounts::default();
        for iteration in &self.iterations {
            sum += iteration.usage.counts();
        }
        sum
    }
}
