//! How many input tokens a request will be, told from its size in bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Tokens of a request whatever its text: the provider's own framing.
const FRAME: u64 = 64;

/// Tokens that the provider adds where tools are sent: its hidden prompt for them.
const TOOLS: u64 = 720;

/// The first guess is one token for so many bytes.
const BYTES_PER_TOKEN: u64 = 3;

/// Ratios are whole millionths of a token a byte.
const MILLION: u128 = 1_000_000;

/// A decay moves 1/n of the way to the n-th sample, but never less than this part of it.
const SLOWEST_DECAY: u128 = 32;

/// The most pairs of model and tool set that are remembered.
const MAX_LEARNED: usize = 4_096;

/// How the input of an attempt is bounded before money is reserved for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bounding {
    /// By [`strict`]: a byte-level tokenizer cannot yield more.
    #[default]
    Strict,
    /// By an [`Estimator`], which has learned from earlier answers: closer, seldom too low.
    Calibrated,
    /// By the provider's own count: exact, for one more request.
    Counted,
}

/// A bound on the input tokens of a request that sends `bytes` bytes of UTF-8.
///
/// No byte-level tokenizer yields more tokens than bytes; 64 are for framing, 720 for the
/// provider's hidden prompt where tools are sent. What tools that run at the provider read is not
/// bounded by what is sent.
pub const fn strict(bytes: u64, tools: bool) -> u64 {
    bytes.saturating_add(overhead(tools))
}

const fn overhead(tools: bool) -> u64 {
    if tools { FRAME + TOOLS } else { FRAME }
}

/// Learns how many tokens a byte makes, for each model and set of tools.
///
/// An estimate is ratio × (bytes + 3 × overhead), the ratio a third at first: bytes/3 + 64, + 720
/// with tools. A sample above the ratio raises it at once, so that it seldom underestimates; one
/// below lowers it by a share that shrinks from 1/2 to 1/32 as samples come in.
#[derive(Debug, Clone, Default)]
pub struct Estimator {
    learned: BTreeMap<String, BTreeMap<Option<u64>, Learned>>,
    pairs: usize,
}

#[derive(Debug, Clone, Copy)]
struct Learned {
    /// Millionths of a token a weighted byte.
    ratio: u128,
    samples: u128,
}

const UNLEARNED: Learned = Learned { ratio: MILLION.div_ceil(BYTES_PER_TOKEN as u128), samples: 0 };

impl Learned {
    fn learn(&mut self, sample: u128) {
        self.samples = self.samples.saturating_add(1);
        if sample >= self.ratio {
            self.ratio = sample;
        } else {
            let share = self.samples.saturating_add(1).min(SLOWEST_DECAY);
            self.ratio -= (self.ratio - sample) / share;
        }
    }
}

impl Estimator {
    /// An estimator that has learned nothing.
    pub fn new() -> Estimator {
        Estimator::default()
    }

    /// The input tokens to expect of `bytes` bytes sent to `model`.
    ///
    /// `tools` is a hash of the set of tools sent, `None` where none is.
    pub fn estimate(&self, model: &str, tools: Option<u64>, bytes: u64) -> u64 {
        let learned = self.learned.get(model).and_then(|sets| sets.get(&tools));
        // From the formula itself, not from a third in millionths, so that it is exact.
        let Some(learned) = learned else {
            return bytes.div_ceil(BYTES_PER_TOKEN).saturating_add(overhead(tools.is_some()));
        };
        let tokens = learned.ratio.saturating_mul(u128::from(weight(bytes, tools)));
        u64::try_from(tokens.div_ceil(MILLION)).unwrap_or(u64::MAX)
    }

    /// Learns that `bytes` bytes sent to `model` were `actual` tokens, cached ones included.
    ///
    /// Remembers 4,096 pairs of model and tool set; where one more comes, one old one is forgotten.
    pub fn learn(&mut self, model: &str, tools: Option<u64>, bytes: u64, actual: u64) {
        let weight = u128::from(weight(bytes, tools));
        let sample = (u128::from(actual) * MILLION).div_ceil(weight);
        if let Some(known) = self.learned.get_mut(model).and_then(|sets| sets.get_mut(&tools)) {
            known.learn(sample);
            return;
        }
        if self.pairs >= MAX_LEARNED {
            self.forget_one();
        }
        let mut fresh = UNLEARNED;
        fresh.learn(sample);
        self.learned.entry(model.to_owned()).or_default().insert(tools, fresh);
        self.pairs += 1;
    }

    /// Forgets the last tool set of the model with the most of them.
    fn forget_one(&mut self) {
        let largest = self.learned.values_mut().max_by_key(|sets| sets.len());
        if largest.and_then(BTreeMap::pop_last).is_some() {
            self.pairs -= 1;
        }
        self.learned.retain(|_, sets| !sets.is_empty());
    }
}

/// Bytes, and what the overhead is worth in bytes; at least 192.
const fn weight(bytes: u64, tools: Option<u64>) -> u64 {
    bytes.saturating_add(BYTES_PER_TOKEN * overhead(tools.is_some()))
}

#[cfg(test)]
mod tests;
