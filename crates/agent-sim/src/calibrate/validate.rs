//! How wrong a calibration is: sessions that it has not seen, predicted and compared.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Calibration, Call};
use crate::draws::{Draw, Stream};
use crate::latency::Catalogue;

const HALVES: Stream = Stream::named("calibration halves");

/// Parts of a cross-validation: one session each, as long as there are no more than so many.
const MOST_PARTS: usize = 20;

/// How far predictions of sessions were off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Errors {
    /// Predictions that were compared.
    pub sessions: u64,
    /// The median of the absolute errors of a session's total time, as a part of it.
    pub median: f64,
    /// What 95 % of them do not exceed.
    pub p95: f64,
    /// The mean of the errors with their signs: above 0 where too much was predicted.
    pub bias: f64,
    /// The share of sessions within their interval of 90 %.
    pub covered: f64,
}

/// A session that was predicted.
#[derive(Debug, Clone, Copy)]
struct Compared {
    error: f64,
    inside: bool,
}

/// The calls of each session that were answered.
fn sessions(calls: &[Call]) -> Vec<Vec<&Call>> {
    let mut sessions: BTreeMap<u64, Vec<&Call>> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.error.is_none()) {
        sessions.entry(call.session).or_default().push(call);
    }
    sessions.into_values().collect()
}

fn compare(calibration: &Calibration, session: &[&Call]) -> Option<Compared> {
    let predicted = calibration.predict(session)?;
    let actual: f64 = session.iter().map(|call| call.total_s).sum();
    (actual > 0.0).then(|| Compared {
        error: predicted.seconds / actual - 1.0,
        inside: (predicted.low..=predicted.high).contains(&actual),
    })
}

/// How far `calibration` is off on sessions that it has not seen. `None` where there are none.
pub fn errors(calibration: &Calibration, unseen: &[Call]) -> Option<Errors> {
    let compared: Vec<_> =
        sessions(unseen).iter().filter_map(|session| compare(calibration, session)).collect();
    summary(&compared)
}

fn summary(compared: &[Compared]) -> Option<Errors> {
    let count = compared.len();
    if count == 0 {
        return None;
    }
    let mut sizes: Vec<f64> = compared.iter().map(|it| it.error.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    let inside = compared.iter().filter(|it| it.inside).count();
    Some(Errors {
        sessions: count as u64,
        median: quantile(&sizes, 0.5),
        p95: quantile(&sizes, 0.95),
        bias: compared.iter().map(|it| it.error).sum::<f64>() / count as f64,
        covered: inside as f64 / count as f64,
    })
}

/// The quantile of sorted values, with a line between each two; there is one at least.
fn quantile(sorted: &[f64], p: f64) -> f64 {
    let place = p * (sorted.len() - 1) as f64;
    let below = place as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

/// The errors of each model where each of its sessions is predicted from all others (from nine
/// tenths of them, where there are many). Models with a single session are left out.
pub fn cross_validated(calls: &[Call], known: &Catalogue) -> BTreeMap<Arc<str>, Errors> {
    let mut by_model: BTreeMap<Arc<str>, Vec<Call>> = BTreeMap::new();
    for call in calls {
        by_model.entry(Arc::clone(&call.model)).or_default().push(call.clone());
    }
    let of = |(model, calls): (Arc<str>, Vec<Call>)| Some((model, left_out(&calls, known)?));
    by_model.into_iter().filter_map(of).collect()
}

fn left_out(calls: &[Call], known: &Catalogue) -> Option<Errors> {
    let sessions = sessions(calls);
    if sessions.len() < 2 {
        return None;
    }
    let parts = if sessions.len() <= MOST_PARTS { sessions.len() } else { 10 };
    let mut compared = Vec::new();
    for part in 0..parts {
        let (out, rest): (Vec<_>, Vec<_>) =
            sessions.iter().enumerate().partition(|(place, _)| place % parts == part);
        let rest = rest.iter().flat_map(|(_, session)| session.iter().copied());
        let calibration = Calibration::of(rest, known);
        compared.extend(out.iter().filter_map(|(_, session)| compare(&calibration, session)));
    }
    summary(&compared)
}

/// Half of the sessions predicted from the other half, for many ways to halve them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Halves {
    /// What the halvings were drawn from.
    pub seed: u64,
    /// How many halves were predicted, two of each halving.
    pub halves: u64,
    /// All predictions of all halves together.
    pub all: Errors,
    /// The median error of a half: what 5, 50 and 95 % of the halves do not exceed.
    pub medians: [f64; 3],
    /// The share of a half within its intervals, likewise.
    pub covered: [f64; 3],
    /// The share of the halves whose median error is at most a tenth.
    pub within_tenth: f64,
}

/// Halves the sessions `times` times at random, by `seed`, and predicts each half from the other.
/// Of a session that is predicted its calls are taken as given, each with its tokens in and out; how
/// long they take is not. `None` with fewer than four sessions.
pub fn halves(calls: &[Call], known: &Catalogue, seed: u64, times: u64) -> Option<Halves> {
    let sessions = sessions(calls);
    if sessions.len() < 4 {
        return None;
    }
    let (mut all, mut of_each) = (Vec::new(), Vec::new());
    for halving in 0..times {
        let mut order: Vec<usize> = (0..sessions.len()).collect();
        let mut draw = Draw::new(seed, HALVES, [halving, 0, 0]);
        for last in (1..order.len()).rev() {
            order.swap(last, draw.below(last as u64 + 1) as usize);
        }
        let (one, other) = order.split_at(sessions.len() / 2);
        for (from, to) in [(one, other), (other, one)] {
            let from = from.iter().flat_map(|place| sessions[*place].iter().copied());
            let calibration = Calibration::of(from, known);
            let compared: Vec<_> =
                to.iter().filter_map(|place| compare(&calibration, &sessions[*place])).collect();
            of_each.extend(summary(&compared));
            all.extend(compared);
        }
    }
    let spread = |of: fn(&Errors) -> f64| {
        let mut values: Vec<f64> = of_each.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        [0.05, 0.5, 0.95].map(|p| quantile(&values, p))
    };
    let all = summary(&all)?;
    let within = of_each.iter().filter(|errors| errors.median <= 0.1).count();
    Some(Halves {
        seed,
        halves: of_each.len() as u64,
        all,
        medians: spread(|errors| errors.median),
        covered: spread(|errors| errors.covered),
        within_tenth: within as f64 / of_each.len() as f64,
    })
}
