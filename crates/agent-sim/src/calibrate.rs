//! Fits latency models on calls that were observed, and says how far they can be trusted.
//!
//! A line per model, by least absolute deviations of the log of the total: what is far out moves
//! it little. That gives medians, and a session's time is a sum, so the line is then fitted once
//! more for the mean (gamma deviance), from there and without the farthest half per cent. Calls of
//! one session are faster or slower together; that effect is estimated apart (a normal random
//! effect of the logarithm), so that a long session does not count for thousands, and so that the
//! interval of a new session is as wide as it has to be. Below [`ENOUGH`] calls, those that are
//! missing are taken to be as what is built in says, with far less and far more input and output
//! than those that were seen.

mod call;
mod effects;
mod fit;
mod predict;
mod profile;
mod shape;
mod simplex;
mod store;
#[cfg(test)]
mod tests;
mod validate;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use call::Call;
pub use predict::Prediction;
pub use profile::Profile;
pub use store::observed;
pub(crate) use store::{Failed, failures};
pub use validate::{Errors, Halves, cross_validated, errors, halves};

use crate::latency::{Catalogue, LatencyModel};
use effects::Effects;

/// Calls of a model without which its line is not its own alone.
pub const ENOUGH: u64 = 200;

/// What was fitted on the calls of one model.
#[derive(Debug, Clone)]
pub struct Calibrated {
    /// The model of its latency. `calibrated` where it had [`ENOUGH`] calls.
    pub latency: LatencyModel,
    /// How many calls it was fitted on.
    pub calls: u64,
    /// How many of them had a time to the first token.
    pub first_calls: u64,
    /// Of how many sessions they are.
    pub sessions: u64,
    /// The share that these calls have in it, 0 to 1; the rest is of the model below.
    pub weight: f64,
    /// The model that is built in, by which it was helped out.
    pub helped_by: Option<String>,
    /// Standard deviation of the logarithm of a call's own residual, session effect left out.
    pub spread: f64,
    effects: Effects,
}

/// What was fitted, for each model.
#[derive(Debug, Clone)]
pub struct Calibration {
    /// By name; only models that answered at least one call.
    pub models: BTreeMap<Arc<str>, Calibrated>,
    known: Catalogue,
}

impl Calibration {
    /// Fits a latency model for each model that answered one of `calls`. What they lack comes from
    /// the models in `known`.
    pub fn of<'a>(calls: impl IntoIterator<Item = &'a Call>, known: &Catalogue) -> Calibration {
        let mut by_model: BTreeMap<Arc<str>, Vec<&Call>> = BTreeMap::new();
        for call in calls.into_iter().filter(|call| call.error.is_none()) {
            by_model.entry(Arc::clone(&call.model)).or_default().push(call);
        }
        let fitted = by_model.into_iter().map(|(model, calls)| {
            let fitted = Calibrated::of(&model, &calls, known);
            (model, fitted)
        });
        Calibration { models: fitted.collect(), known: known.clone() }
    }

    /// The file that a scenario takes as `latency_file`: what was fitted, and no other model.
    pub fn catalogue(&self) -> Catalogue {
        Catalogue::new(self.models.values().map(|fitted| fitted.latency.clone()).collect())
    }
}
