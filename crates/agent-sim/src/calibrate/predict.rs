//! How long the calls of a session take together, and within what bounds.

use super::{Calibrated, Calibration, Call};
use crate::latency::Line;

/// The normal score that is exceeded with 5 %.
const Z: f64 = 1.644_853_627;

/// What the calls of a session are predicted to take together, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// In the middle.
    pub seconds: f64,
    /// What is undercut with 5 %.
    pub low: f64,
    /// What is exceeded with 5 %.
    pub high: f64,
}

impl Calibration {
    /// What the calls of one session take together. `None` where it has none, or where nothing is
    /// known of a model.
    pub fn predict(&self, session: &[&Call]) -> Option<Prediction> {
        let mut sums: Vec<(&str, f64, f64)> = Vec::new();
        for call in session {
            let line = self.line(&call.model)?;
            let seconds = line.seconds(call.input, call.output);
            match sums.iter_mut().find(|(model, ..)| *model == &*call.model) {
                Some((_, sum, squares)) => {
                    (*sum, *squares) = (*sum + seconds, *squares + seconds * seconds)
                }
                None => sums.push((&call.model, seconds, seconds * seconds)),
            }
        }
        let (mut total, mut variance, mut freedom) = (0.0, 0.0, f64::INFINITY);
        for (model, sum, squares) in sums {
            let effects = match self.models.get(model) {
                Some(fitted) => fitted.effects().clone(),
                None => Calibrated::unseen(self.known.find(model).ok()?.model).1,
            };
            total += sum;
            variance += (effects.variance + effects.centre_variance) * sum * sum
                + effects.call_variance * squares;
            freedom = freedom.min(effects.freedom);
        }
        if total <= 0.0 {
            return None;
        }
        let factor = libm::exp(score(freedom) * variance.sqrt() / total);
        Some(Prediction { seconds: total, low: total / factor, high: total * factor })
    }

    /// The line whose sums are right.
    fn line(&self, model: &str) -> Option<Line> {
        match self.models.get(model) {
            Some(fitted) => Some(fitted.latency.total),
            None => Some(Calibrated::unseen(self.known.find(model).ok()?.model).0),
        }
    }
}

/// The score that Student's t with this many degrees of freedom, 2 at least, exceeds with 5 %, to
/// one per cent (Abramowitz and Stegun 26.7.5).
fn score(freedom: f64) -> f64 {
    let (z, z2) = (Z, Z * Z);
    let terms = [
        z * (z2 + 1.0) / 4.0,
        z * ((5.0 * z2 + 16.0) * z2 + 3.0) / 96.0,
        z * (((3.0 * z2 + 19.0) * z2 + 17.0) * z2 - 15.0) / 384.0,
    ];
    z + terms.iter().rev().fold(0.0, |sum, term| (sum + term) / freedom)
}
