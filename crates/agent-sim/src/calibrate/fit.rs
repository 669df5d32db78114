//! The line of a model: first what is typical, then what is right on average.

use super::simplex;
use crate::latency::Line;

/// Most calls that a line is fitted on; of more, as many are taken, evenly spread.
const MOST: usize = 4_000;

/// From so many calls on, the farthest half per cent is brought near.
const ENOUGH_TO_CUT: usize = 200;

/// A coefficient below this, in seconds, is none.
const NONE: f64 = 1e-7;

/// A call as the line sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    /// Input, in thousands of tokens.
    pub(super) context: f64,
    /// Output tokens.
    pub(super) output: f64,
    /// How long it took.
    pub(super) seconds: f64,
    /// How long it would take on average by what is known of the model without these calls.
    pub(super) known: f64,
}

/// Logarithms of the three coefficients: so none can be below 0.
type Logs = [f64; 3];

/// The line whose sums are right: of calls as `points`, and of `more` times as many that took as
/// long as was known. What is far out is brought nearer, in `points` too.
pub(super) fn line(points: &mut [Point], more: f64) -> Line {
    let step = points.len().div_ceil(MOST).max(1);
    let some = |points: &[Point]| points.iter().step_by(step).copied().collect::<Vec<_>>();
    let sample = some(points);
    let typical = simplex::minimum(start(&sample), |logs| deviations(logs, &sample, more));
    cut(points, &typical);
    let sample = some(points);
    let mean = simplex::minimum(typical, |logs| gamma(logs, &sample, more));
    let [base_s, per_1k_context_s, per_output_token_s] = mean.map(coefficient);
    Line { base_s, per_1k_context_s, per_output_token_s }
}

fn coefficient(log: f64) -> f64 {
    let value = libm::round(libm::exp(log) / NONE) * NONE;
    value.clamp(0.0, 3_600.0)
}

/// Half of the median is there whatever is sent; the rest grows with the output.
fn start(points: &[Point]) -> Logs {
    let median = |of: fn(&Point) -> f64| {
        let mut values: Vec<f64> = points.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let seconds = median(|point| point.seconds);
    let output = median(|point| point.output).max(1.0);
    let context = median(|point| point.context).max(0.1);
    [seconds / 2.0, seconds / 10.0 / context, seconds / 2.0 / output].map(libm::log)
}

/// What a line is at a point.
fn at([base, context, output]: [f64; 3], point: &Point) -> f64 {
    base + context * point.context + output * point.output
}

/// Sum of the absolute deviations of the logarithms.
fn deviations(logs: &Logs, points: &[Point], more: f64) -> f64 {
    let line = logs.map(libm::exp);
    let sum = points.iter().map(|point| {
        let log = |seconds: f64| libm::log(seconds / at(line, point)).abs();
        log(point.seconds) + if more > 0.0 { more * log(point.known) } else { 0.0 }
    });
    sum.sum()
}

/// Gamma deviance, without its constant: least where means are right, each call by its share.
fn gamma(logs: &Logs, points: &[Point], more: f64) -> f64 {
    let line = logs.map(libm::exp);
    let sum = points.iter().map(|point| {
        let mean = at(line, point);
        (point.seconds + more * point.known) / mean + (1.0 + more) * libm::log(mean)
    });
    sum.sum()
}

/// Where there are enough, none takes longer than all but half a per cent, by its line.
fn cut(points: &mut [Point], typical: &Logs) {
    if points.len() < ENOUGH_TO_CUT {
        return;
    }
    let line = typical.map(libm::exp);
    let mut residuals: Vec<f64> = points.iter().map(|it| it.seconds / at(line, it)).collect();
    residuals.sort_by(f64::total_cmp);
    let most = residuals[residuals.len() - 1 - residuals.len() / 200];
    for point in points {
        point.seconds = point.seconds.min(most * at(line, point));
    }
}
