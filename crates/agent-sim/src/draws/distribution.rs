//! Distributions of what is drawn in a workload: lengths, counts and gaps, none below 0.

use thiserror::Error;

use super::{Draw, QuantileTable, nanos, whole};

/// A parameter is not what a distribution can be drawn from.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{parameter} is {found}; it must be {expected}")]
pub struct OutOfRange {
    /// Which parameter.
    pub parameter: &'static str,
    /// What it is.
    pub found: f64,
    /// What it may be.
    pub expected: &'static str,
}

impl OutOfRange {
    /// Gives back `found` where `allowed`.
    pub(crate) fn unless(
        allowed: bool,
        parameter: &'static str,
        found: f64,
        expected: &'static str,
    ) -> Result<f64, OutOfRange> {
        if allowed { Ok(found) } else { Err(OutOfRange { parameter, found, expected }) }
    }
}

/// A size: what a distribution is scaled by.
fn size(parameter: &'static str, found: f64) -> Result<f64, OutOfRange> {
    OutOfRange::unless((0.0..=1e18).contains(&found), parameter, found, "a number from 0 to 1e18")
}

/// A distribution of a number that is at least 0. It has no unit: whoever asks knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    kind: Kind,
    /// What is drawn below or above is taken for these, so that a bound has a probability of
    /// its own instead of changing all others.
    min: f64,
    max: f64,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Constant(f64),
    Uniform { low: f64, width: f64 },
    Exponential { mean: f64 },
    LogNormal { median: f64, sigma: f64 },
    Gamma { shape: f64, scale: f64 },
    Weibull { shape: f64, scale: f64 },
    Empirical(QuantileTable),
}

impl Distribution {
    fn of(kind: Kind) -> Distribution {
        Distribution { kind, min: 0.0, max: f64::MAX }
    }

    /// Always `value`.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] where it is not from 0 to 1e18.
    pub fn constant(value: f64) -> Result<Distribution, OutOfRange> {
        Ok(Distribution::of(Kind::Constant(size("value", value)?)))
    }

    /// As likely anywhere from `low` to `high`.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] where one is not from 0 to 1e18, or `high` is below `low`.
    pub fn uniform(low: f64, high: f64) -> Result<Distribution, OutOfRange> {
        let (low, high) = (size("min", low)?, size("max", high)?);
        OutOfRange::unless(low <= high, "max", high, "at least min")?;
        Ok(Distribution::of(Kind::Uniform { low, width: high - low }))
    }

    /// Exponential with this mean.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] where it is not from 0 to 1e18.
    pub fn exponential(mean: f64) -> Result<Distribution, OutOfRange> {
        Ok(Distribution::of(Kind::Exponential { mean: size("mean", mean)? }))
    }

    /// Log-normal: `sigma` is the standard deviation of the logarithm.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] where `median` is not from 0 to 1e18 or `sigma` not from 0 to 10.
    pub fn log_normal(median: f64, sigma: f64) -> Result<Distribution, OutOfRange> {
        let median = size("median", median)?;
        let allowed = (0.0..=10.0).contains(&sigma);
        let sigma = OutOfRange::unless(allowed, "sigma", sigma, "a number from 0 to 10")?;
        Ok(Distribution::of(Kind::LogNormal { median, sigma }))
    }

    /// Gamma by its mean and its coefficient of variation (standard deviation over mean): 0 is a
    /// constant, 1 the exponential distribution.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] where `mean` is not from 0 to 1e18 or `cv` not from 0 to 100.
    pub fn gamma(mean: f64, cv: f64) -> Result<Distribution, OutOfRange> {
        let mean = size("mean", mean)?;
        let cv = OutOfRange::unless((0.0..=100.0).contains(&cv), "cv", cv, "from 0 to 100")?;
        // Below a thousandth, the spread is lost in the rounding of what is drawn.
        Ok(Distribution::of(if cv < 1e-3 {
            Kind::Constant(mean)
        } else if cv == 1.0 {
            Kind::Exponential { mean }
        } else {
            Kind::Gamma { shape: 1.0 / (cv * cv), scale: mean * cv * cv }
        }))
    }

    /// Weibull by its mean: a `shape` of 1 is the exponential distribution, below it is burstier.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] where `mean` is not from 0 to 1e18 or `shape` not from 0.05 to 100.
    pub fn weibull(mean: f64, shape: f64) -> Result<Distribution, OutOfRange> {
        let mean = size("mean", mean)?;
        let allowed = (0.05..=100.0).contains(&shape);
        let shape = OutOfRange::unless(allowed, "shape", shape, "a number from 0.05 to 100")?;
        let scale = mean / libm::tgamma(1.0 + 1.0 / shape);
        Ok(Distribution::of(Kind::Weibull { shape, scale }))
    }

    /// What was measured.
    pub fn empirical(table: QuantileTable) -> Distribution {
        Distribution::of(Kind::Empirical(table))
    }

    /// The same, with what is drawn below `min` taken for `min`, and above `max` for `max`.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] where one is not from 0 to 1e18, or `max` is below `min`.
    pub fn within(self, min: f64, max: f64) -> Result<Distribution, OutOfRange> {
        let (min, max) = (size("min", min)?, size("max", max)?);
        OutOfRange::unless(min <= max, "max", max, "at least min")?;
        Ok(Distribution { min, max, ..self })
    }

    /// About where its middle is: the median, or the mean where that is what it was made with.
    pub fn middle(&self) -> f64 {
        let middle = match &self.kind {
            Kind::Constant(value) => *value,
            Kind::Uniform { low, width } => low + width / 2.0,
            Kind::Exponential { mean } => *mean,
            Kind::LogNormal { median, .. } => *median,
            Kind::Gamma { shape, scale } => shape * scale,
            Kind::Weibull { shape, scale } => scale * libm::tgamma(1.0 + 1.0 / shape),
            Kind::Empirical(table) => table.at(0.5),
        };
        middle.clamp(self.min, self.max)
    }

    /// Draws a value. All but the gamma take one number and grow with it.
    pub fn sample(&self, draw: &mut Draw) -> f64 {
        let value = match &self.kind {
            Kind::Constant(value) => *value,
            Kind::Uniform { low, width } => low + width * draw.uniform(),
            Kind::Exponential { mean } => mean * draw.exponential(),
            Kind::LogNormal { median, sigma } => median * libm::exp(sigma * draw.normal()),
            Kind::Gamma { shape, scale } => scale * draw.gamma(*shape),
            Kind::Weibull { shape, scale } => scale * libm::pow(draw.exponential(), 1.0 / shape),
            Kind::Empirical(table) => table.sample(draw),
        };
        value.clamp(self.min, self.max)
    }

    /// Draws a value and rounds it: tokens, turns.
    pub fn sample_whole(&self, draw: &mut Draw) -> u64 {
        whole(self.sample(draw))
    }

    /// Draws a value in seconds, as nanoseconds.
    pub fn sample_nanos(&self, draw: &mut Draw) -> u64 {
        nanos(self.sample(draw))
    }
}
