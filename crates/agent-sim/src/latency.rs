//! How long a call takes: a line in context and output, a spread, and the provider's load.
//!
//! ```text
//! total = load × session × (base + per_1k_context × context/1000 + per_output_token × output)
//!         × residual
//! first = load × session × (base + per_1k_context × context/1000) × residual, at most the total
//! ```
//!
//! The total is what was fitted: between the first visible token and the last lies thinking too,
//! so a time to the first token plus a time for each further one misses the total.

mod catalogue;
mod load;

use serde::{Deserialize, Serialize};

pub use self::catalogue::{Catalogue, CatalogueError, Found, UnknownModel};
pub use self::load::Load;
use crate::draws::{Draw, QuantileTable, nanos, normal_probability, normal_quantile};

/// How the residuals of the total and of the time to the first token go together (correlation of
/// their normal scores). Rank correlation on 1,948 calls of Claude Opus 4.7: 0.48.
const TOGETHER: f64 = 0.5;

/// A time as a line in what is sent and what comes back.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Seconds, whatever is sent.
    pub base_s: f64,
    /// Seconds for each thousand tokens of input, cached ones too.
    pub per_1k_context_s: f64,
    /// Seconds for each token of output.
    pub per_output_token_s: f64,
}

impl Line {
    /// The time of a call in seconds.
    pub fn seconds(&self, context: u64, output: u64) -> f64 {
        self.base_s
            + self.per_1k_context_s * (context as f64 / 1_000.0)
            + self.per_output_token_s * output as f64
    }

    /// The first parameter that is no number from 0 to an hour.
    fn fault(&self) -> Option<(&'static str, f64)> {
        [
            ("base_s", self.base_s),
            ("per_1k_context_s", self.per_1k_context_s),
            ("per_output_token_s", self.per_output_token_s),
        ]
        .into_iter()
        .find(|(_, value)| !(0.0..=3_600.0).contains(value))
    }
}

/// By what factor calls differ from their line.
#[derive(Debug, Clone, PartialEq)]
pub enum Spread {
    /// Log-normal with this standard deviation of the logarithm.
    LogNormal(f64),
    /// As it was measured.
    Measured(QuantileTable),
}

impl Spread {
    /// The factor of a call whose normal score is `z`; it grows with it.
    fn factor(&self, z: f64) -> f64 {
        match self {
            Spread::LogNormal(sigma) => libm::exp(sigma * z),
            Spread::Measured(table) => table.at(normal_probability(z)),
        }
    }

    /// The factor that is not exceeded with probability `p`, above 0 and below 1.
    pub(crate) fn at(&self, p: f64) -> f64 {
        match self {
            Spread::LogNormal(sigma) => libm::exp(sigma * normal_quantile(p)),
            Spread::Measured(table) => table.at(p),
        }
    }

    /// The mean factor: by how much a sum of many calls lies above that of their lines.
    pub fn mean(&self) -> f64 {
        match self {
            Spread::LogNormal(sigma) => libm::exp(sigma * sigma / 2.0),
            Spread::Measured(table) => {
                let steps = 1_000;
                let at = |step: u32| table.at((f64::from(step) + 0.5) / f64::from(steps));
                (0..steps).map(at).sum::<f64>() / f64::from(steps)
            }
        }
    }
}

/// The times of one call, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Until the first visible token; at most `total_ns`.
    pub first_ns: u64,
    /// Until the answer is whole.
    pub total_ns: u64,
}

/// How long calls of one model take.
#[derive(Debug, Clone, PartialEq)]
pub struct LatencyModel {
    /// The model's name, as `agent_core::pricing` has it where it knows the model.
    pub name: String,
    /// Words by which other models are taken for this one, where nothing better is known.
    pub stands_for: Vec<String>,
    /// Whether this was fitted on calls of the user's own.
    pub calibrated: bool,
    /// On how many calls it was fitted; 0 where figures were published without them.
    pub calls: u64,
    /// Where it comes from, and what of it is assumed.
    pub source: String,
    /// Until the answer is whole.
    pub total: Line,
    /// The spread of the total.
    pub total_spread: Spread,
    /// Until the first visible token.
    pub first: Line,
    /// The spread of the time to the first token.
    pub first_spread: Spread,
    /// By how much the calls of a session are faster or slower together: the standard deviation of
    /// the logarithm. 0 where the spreads hold that too.
    pub session_sigma: f64,
}

impl LatencyModel {
    /// By what factor the calls of one session are slower together. Takes one number of `draw`.
    pub fn session(&self, draw: &mut Draw) -> f64 {
        libm::exp(self.session_sigma * draw.normal())
    }

    /// Has every call take `factor` times as long.
    pub fn scale(&mut self, factor: f64) {
        for line in [&mut self.total, &mut self.first] {
            line.base_s *= factor;
            line.per_1k_context_s *= factor;
            line.per_output_token_s *= factor;
        }
    }

    /// The times of a call with `context` input tokens, cached ones among them, and `output`
    /// output tokens, while the provider is `load` times as slow as usual. Takes two numbers of
    /// `draw`, whatever is asked for.
    pub fn timing(&self, context: u64, output: u64, load: f64, draw: &mut Draw) -> Timing {
        let z = draw.normal();
        let own = (1.0 - TOGETHER * TOGETHER).sqrt() * draw.normal();
        let total = load * self.total.seconds(context, output) * self.total_spread.factor(z);
        let residual = self.first_spread.factor(TOGETHER * z + own);
        let first = load * self.first.seconds(context, 0) * residual;
        let total_ns = nanos(total);
        Timing { first_ns: nanos(first).min(total_ns), total_ns }
    }
}

#[cfg(test)]
mod tests;
