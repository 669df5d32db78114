//! Sessions whose calls are all faster, or all slower: how far, and what is left of a call.

use std::collections::BTreeMap;

/// What the spread of session effects is taken for where nothing else is known: on recorded calls
/// of Claude Code it was 0.08 to 0.12 of a model.
const USUAL: f64 = 0.1;

/// For how many sessions that counts.
const USUAL_COUNTS: f64 = 2.0;

/// What a single call varies by where none was seen, as a square of the mean.
const CALL: f64 = 0.15;

/// How far a model may be off that was never calibrated: what is built in was measured elsewhere.
const FOREIGN: f64 = 0.2;

/// The most that sessions may vary by, as a variance of logarithms: beyond it, those of thousands of
/// times the speed of others would drive their centre, and with it the variance, out of all bounds.
const MOST: f64 = 1.0;

/// Rounds in which the estimate settles.
const ROUNDS: usize = 50;

/// The calls of a session, by the line.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Session {
    /// Seconds that they took.
    pub(super) actual: f64,
    /// Seconds of their lines.
    pub(super) predicted: f64,
    /// The sum of the squares of the same.
    pub(super) squares: f64,
}

/// How far sessions differ, in logarithms.
#[derive(Debug, Clone, Default)]
pub(super) struct Effects {
    /// By how much the line is to be raised.
    pub(super) centre: f64,
    /// How uncertain that is, as a variance.
    pub(super) centre_variance: f64,
    /// Variance of the effect of a session.
    pub(super) variance: f64,
    /// Variance of a single call, as a part of the square of its mean.
    pub(super) call_variance: f64,
    /// The effect of each session, drawn towards none as far as its calls leave open.
    pub(super) of: BTreeMap<u64, f64>,
}

impl Effects {
    /// Those of a model of which no call was seen.
    pub(super) fn unseen() -> Effects {
        Effects {
            centre_variance: FOREIGN * FOREIGN,
            variance: USUAL * USUAL,
            call_variance: CALL,
            ..Effects::default()
        }
    }

    /// Those of these sessions, whose calls vary by `call_variance` and count for `weight`.
    pub(super) fn of(
        sessions: &BTreeMap<u64, Session>,
        call_variance: f64,
        weight: f64,
    ) -> Effects {
        let seen: Vec<(u64, f64, f64)> = sessions
            .iter()
            .map(|(id, it)| {
                let noise = call_variance * it.squares / (it.predicted * it.predicted);
                let noise = libm::log1p(noise).max(1e-9);
                // The mean of a logarithm lies below the logarithm of the mean, by half of that.
                (*id, libm::log(it.actual / it.predicted) + noise / 2.0, noise)
            })
            .collect();
        let (mut variance, mut centre, mut precision) = (USUAL * USUAL, 0.0, 1.0);
        for _ in 0..ROUNDS {
            let weights = seen.iter().zip(sessions.values()).map(|((_, _, noise), session)| {
                (session.actual / session.predicted, 1.0 / (variance + noise))
            });
            let (sum, all) = weights.fold((0.0, 0.0), |(sum, all), (ratio, weight)| {
                (sum + weight * ratio, all + weight)
            });
            // Calls vary around their mean, whatever their distribution; sessions in logarithms.
            (centre, precision) = (libm::log(sum / all) - variance / 2.0, all);
            let moment = |(_, effect, noise): &(u64, f64, f64)| {
                let kept = variance / (variance + noise);
                let mean = kept * (effect - centre);
                kept * noise + mean * mean
            };
            let moments: f64 = seen.iter().map(moment).sum();
            let found =
                (USUAL_COUNTS * USUAL * USUAL + moments) / (USUAL_COUNTS + seen.len() as f64);
            variance = found.min(MOST);
        }
        let posterior = |(id, effect, noise): &(u64, f64, f64)| {
            (*id, variance / (variance + noise) * (effect - centre))
        };
        let foreign = (1.0 - weight) * FOREIGN;
        Effects {
            centre: weight * centre,
            centre_variance: weight * weight / precision + foreign * foreign,
            variance,
            call_variance,
            of: seen.iter().map(posterior).collect(),
        }
    }
}
