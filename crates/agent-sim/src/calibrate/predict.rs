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
                    (*sum, *squares) = (*sum + seconds, *squares + seconds * seconds);
                }
                None => sums.push((&call.model, seconds, seconds * seconds)),
            }
        }
        let (mut total, mut variance) = (0.0, 0.0);
        for (model, sum, squares) in sums {
            let effects = match self.models.get(model) {
                Some(fitted) => fitted.effects().clone(),
                None => Calibrated::unseen(self.known.find(model).ok()?.model).1,
            };
            total += sum;
            variance += (effects.variance + effects.centre_variance) * sum * sum
                + effects.call_variance * squares;
        }
        if total <= 0.0 {
            return None;
        }
        let factor = libm::exp(Z * variance.sqrt() / total);
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
