//! Random draws that depend on their key alone: what one is does not hang on any other.
//!
//! A draw is keyed by the run's seed, by what it is for ([`Stream`]) and by up to three numbers
//! (a task, a turn). Two runs that differ in one setting therefore meet the same world (*common
//! random numbers*), and the order in which things happen to be drawn does not matter. All
//! functions are of the `libm` crate, so that a result is the same to the last bit everywhere.

mod arrivals;
mod distribution;
mod normal;
mod table;

pub use self::arrivals::{Arrivals, Process, Step};
pub use self::distribution::{Distribution, OutOfRange};
pub use self::table::{PROBABILITIES, QuantileTable, Rows, TableError};

/// The increment of SplitMix64: 2⁶⁴ divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// What draws are for. Draws of two streams have nothing to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream(u64);

impl Stream {
    /// The stream of this name (its FNV-1a hash).
    pub const fn named(name: &str) -> Stream {
        let (bytes, mut at, mut hash) = (name.as_bytes(), 0, 0xcbf2_9ce4_8422_2325_u64);
        while at < bytes.len() {
            hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
            at += 1;
        }
        Stream(hash)
    }
}

/// The numbers of one key, one after the other (SplitMix64 from a state that the key gives).
#[derive(Debug, Clone)]
pub struct Draw {
    state: u64,
}

impl Draw {
    /// The draw of this key. The same key always gives the same numbers.
    pub fn new(seed: u64, stream: Stream, key: [u64; 3]) -> Draw {
        let start = mix(mix(seed.wrapping_add(GOLDEN)) ^ stream.0);
        let state = key.iter().fold(start, |state, part| mix(state.wrapping_add(GOLDEN) ^ part));
        Draw { state }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Uniform in (0, 1): neither end is ever drawn, so its logarithm is finite.
    pub fn between(&mut self) -> f64 {
        ((self.bits() >> 12) as f64 + 0.5) * (1.0 / (1_u64 << 52) as f64)
    }

    /// Uniform in `0..n`; 0 where `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// Whether something of this probability happens.
    pub fn happens(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// Normal, mean 0 and standard deviation 1. Takes one number, and grows with it.
    pub fn normal(&mut self) -> f64 {
        normal::quantile(self.between())
    }

    /// Exponential with mean 1. Takes one number, and grows with it.
    pub fn exponential(&mut self) -> f64 {
        -libm::log(1.0 - self.between())
    }

    /// Gamma with this shape and scale 1, after Marsaglia and Tsang (2000); `shape` above 0.
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            // A gamma of one more, times a power of a uniform.
            let power = libm::pow(self.between(), 1.0 / shape);
            return self.gamma(shape + 1.0) * power;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        // Each turn is accepted with at least 95 %: the bound is there to be one.
        for _ in 0..64 {
            let (x, u) = (self.normal(), self.between());
            let v = 1.0 + c * x;
            let v = v * v * v;
            if v > 0.0 && libm::log(u) < 0.5 * x * x + d - d * v + d * libm::log(v) {
                return d * v;
            }
        }
        d
    }
}

/// The probability that a standard normal is at most `x`.
pub(crate) fn normal_probability(x: f64) -> f64 {
    0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

/// The value that a standard normal does not exceed with probability `p`, above 0 and below 1.
pub(crate) fn normal_quantile(p: f64) -> f64 {
    normal::quantile(p)
}

/// The nearest whole number that a `u64` can hold; 0 for what is no number.
pub fn whole(value: f64) -> u64 {
    // A cast saturates, and takes NaN for 0.
    libm::round(value) as u64
}

/// Seconds as nanoseconds, rounded; the longest `u64` where they are more.
pub fn nanos(seconds: f64) -> u64 {
    whole(seconds * 1e9)
}

/// Stafford's mix 13, the finalizer of SplitMix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
