//! How much slower than usual a provider is at a time, for all of its calls alike.

use std::cell::Cell;

use crate::draws::{Draw, OutOfRange, Stream};

const LOAD: Stream = Stream::named("load");

/// The load keeps one value this many times while it reverts.
const STEPS: u64 = 16;

/// Steps after which what was before has faded to less than a millionth.
const MEMORY: u64 = 14 * STEPS;

/// A load that wanders slowly around 1: the exponential of an Ornstein–Uhlenbeck process.
///
/// The path is a function of seed, provider and time alone: it can be asked for any time in any
/// order, and takes the same memory however long a run is. It is constant for a sixteenth of
/// the time in which it reverts.
#[derive(Debug, Clone)]
pub struct Load {
    seed: u64,
    provider: u64,
    sigma: f64,
    step_ns: u64,
    last: Cell<Option<(u64, f64)>>,
}

impl Load {
    /// The load of one provider. Its logarithm has the standard deviation `sigma`, and comes
    /// back to its mean in about `reversion_ns` nanoseconds. A `sigma` of 0 is always 1.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] where `sigma` is not from 0 to 3 or `reversion_ns` is 0.
    pub fn new(
        seed: u64,
        provider: u64,
        sigma: f64,
        reversion_ns: u64,
    ) -> Result<Load, OutOfRange> {
        let allowed = (0.0..=3.0).contains(&sigma);
        OutOfRange::unless(allowed, "sigma", sigma, "a number from 0 to 3")?;
        OutOfRange::unless(reversion_ns > 0, "reversion", 0.0, "longer than 0")?;
        let step_ns = (reversion_ns / STEPS).max(1);
        Ok(Load { seed, provider, sigma, step_ns, last: Cell::new(None) })
    }

    /// The load at `at_ns` nanoseconds after the start: 1 is as usual, 2 twice as slow.
    pub fn at(&self, at_ns: u64) -> f64 {
        if self.sigma == 0.0 {
            return 1.0;
        }
        let step = at_ns / self.step_ns;
        match self.last.get() {
            Some((known, load)) if known == step => load,
            _ => {
                let load = libm::exp(self.sigma * self.standard(step));
                self.last.set(Some((step, load)));
                load
            }
        }
    }

    /// The process at a step, with standard deviation 1: run up to there from where it has
    /// forgotten what was before.
    fn standard(&self, step: u64) -> f64 {
        let keeps = libm::exp(-1.0 / STEPS as f64);
        let moves = (1.0 - keeps * keeps).sqrt();
        (0..=MEMORY).rev().fold(0.0, |x, back| {
            // Steps before the start have numbers of their own, from the end of `u64`.
            let key = [self.provider, step.wrapping_sub(back), 0];
            x * keeps + moves * Draw::new(self.seed, LOAD, key).normal()
        })
    }
}
