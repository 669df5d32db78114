//! Distributions that were measured: a table of quantiles, and rows that belong together.

use std::sync::Arc;

use thiserror::Error;

use super::Draw;

/// The probabilities of the 21 quantiles by which a measured spread is kept: close together at
/// both ends, where a straight line between two of them would be far off.
pub const PROBABILITIES: [f64; 21] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9,
    0.95, 0.975, 0.99, 0.995,
];

/// Why a table cannot be drawn from.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum TableError {
    /// There is nothing to draw from.
    #[error("the table is empty; give at least one value")]
    Empty,
    /// The two columns do not belong to each other.
    #[error("there are {values} values for {probabilities} probabilities; give one for each")]
    Lengths {
        /// How many probabilities there are.
        probabilities: usize,
        /// How many values there are.
        values: usize,
    },
    /// A probability is outside 0 to 1 or does not follow the one before it.
    #[error("probability {found} at place {place} is wrong; they rise, from 0 to 1")]
    Probability {
        /// Its place, counted from 1.
        place: usize,
        /// What stands there.
        found: f64,
    },
    /// A value is no finite number of at least 0, or less than the one before it.
    #[error("value {found} at place {place} is wrong; values are finite, at least 0, never fall")]
    Value {
        /// Its place, counted from 1.
        place: usize,
        /// What stands there.
        found: f64,
    },
}

/// A distribution by its quantiles, with a line between each two of them.
///
/// Where all values are above 0, the line is drawn between their logarithms. Nothing is drawn
/// below the first value or above the last. Copies share the table.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantileTable {
    probabilities: Arc<[f64]>,
    /// Logarithms where `log`.
    values: Arc<[f64]>,
    log: bool,
}

impl QuantileTable {
    /// The table with these values at these probabilities.
    ///
    /// # Errors
    ///
    /// [`TableError`] names the first place that is wrong.
    pub fn new(probabilities: &[f64], values: &[f64]) -> Result<QuantileTable, TableError> {
        if probabilities.len() != values.len() {
            let (probabilities, values) = (probabilities.len(), values.len());
            return Err(TableError::Lengths { probabilities, values });
        }
        if values.is_empty() {
            return Err(TableError::Empty);
        }
        let (mut least, mut before) = (0.0, 0.0);
        for (at, (&p, &value)) in probabilities.iter().zip(values).enumerate() {
            let place = at + 1;
            if !(0.0..=1.0).contains(&p) || p < least || (at > 0 && p == least) {
                return Err(TableError::Probability { place, found: p });
            }
            if !value.is_finite() || value < before {
                return Err(TableError::Value { place, found: value });
            }
            (least, before) = (p, value);
        }
        let log = values[0] > 0.0;
        let kept = |value: &f64| if log { libm::log(*value) } else { *value };
        let values = values.iter().map(kept).collect();
        Ok(QuantileTable { probabilities: probabilities.into(), values, log })
    }

    /// The table of what was measured, at [`PROBABILITIES`].
    ///
    /// # Errors
    ///
    /// [`TableError::Empty`], or [`TableError::Value`] where a sample is negative or not finite
    /// (its place is that among the sorted samples).
    pub fn of(mut samples: Vec<f64>) -> Result<QuantileTable, TableError> {
        samples.sort_by(f64::total_cmp);
        let places: Vec<f64> = match samples.len() {
            0 => return Err(TableError::Empty),
            1 => vec![0.5],
            n => (0..n).map(|at| at as f64 / (n - 1) as f64).collect(),
        };
        let all = QuantileTable::new(&places, &samples)?;
        let values: Vec<f64> = PROBABILITIES.iter().map(|&p| all.at(p)).collect();
        QuantileTable::new(&PROBABILITIES, &values)
    }

    /// The value that is not exceeded with probability `p`.
    pub fn at(&self, p: f64) -> f64 {
        let after = self.probabilities.partition_point(|&known| known <= p);
        let value = match (after.checked_sub(1), self.values.get(after)) {
            (None, _) => self.values[0],
            (Some(before), None) => self.values[before],
            (Some(before), Some(&high)) => {
                let (low, left) = (self.values[before], self.probabilities[before]);
                low + (high - low) * ((p - left) / (self.probabilities[after] - left))
            }
        };
        if self.log { libm::exp(value) } else { value }
    }

    /// Draws a value. Takes one number, and grows with it.
    pub fn sample(&self, draw: &mut Draw) -> f64 {
        self.at(draw.uniform())
    }
}

/// Rows of which each is drawn as often as any other, its columns together: input and output
/// lengths of real calls depend on each other. Copies share the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows<T>(Arc<[T]>);

impl<T> Rows<T> {
    /// All of `rows`.
    ///
    /// # Errors
    ///
    /// [`TableError::Empty`] where there is none.
    pub fn new(rows: Vec<T>) -> Result<Rows<T>, TableError> {
        if rows.is_empty() { Err(TableError::Empty) } else { Ok(Rows(rows.into())) }
    }

    /// Draws a row. Takes one number.
    pub fn sample(&self, draw: &mut Draw) -> &T {
        // Below the length, so it fits an index.
        &self.0[draw.below(self.0.len() as u64) as usize]
    }
}
