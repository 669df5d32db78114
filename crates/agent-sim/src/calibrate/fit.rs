//! The line of a model: first what is typical, then what is right on average.

use super::simplex;
use crate::latency::Line;

/// Most calls that a line is fitted on; of more, as many are taken, evenly spread.
const MOST: usize = 4_000;

/// From so many calls on, the farthest half per cent is brought near.
const ENOUGH_TO_CUT: usize = 200;

/// The shortest time that counts, in seconds: stores keep milliseconds.
pub(super) const SHORTEST: f64 = 5e-4;

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
    /// For how many calls it counts.
    pub(super) weight: f64,
}

impl Point {
    /// How long it takes by `line`.
    pub(super) fn by(&self, line: &Line) -> f64 {
        let line = [line.base_s, line.per_1k_context_s, line.per_output_token_s];
        at(line, self).max(SHORTEST)
    }
}

/// Calls that are missing, taken to be as `line` says: for each of `points`, some that count for
/// `weight` together. They have a tenth and ten times of its input and output: so what few calls do
/// not reach stays as it is known, and what sessions differ by is not put down to their tokens.
pub(super) fn assumed(points: &[Point], line: &Line, weight: f64) -> Vec<Point> {
    let far = [(0.1, 0.1), (0.1, 10.0), (10.0, 0.1), (10.0, 10.0)];
    let weight = weight / far.len() as f64;
    let around = |point: &Point| {
        far.map(|(input, output)| {
            let (context, output) = (point.context * input, point.output * output);
            let far = Point { context, output, weight, ..*point };
            Point { seconds: far.by(line), ..far }
        })
    };
    points.iter().flat_map(around).collect()
}

/// Logarithms of the three coefficients: so none can be below 0.
type Logs = [f64; 3];

/// The line whose sums are right, of calls as `points` and as `assumed`. What is far out is brought
/// nearer, in `points` too. What calls do not differ in cannot be told from what is always there:
/// there `known` holds, but where `assumed` shows it.
pub(super) fn line(points: &mut [Point], assumed: &[Point], known: Option<Line>) -> Line {
    let step = points.len().div_ceil(MOST).max(1);
    let some = |points: &[Point]| points.iter().step_by(step).copied().collect::<Vec<_>>();
    let sample = some(points);
    let held = if assumed.is_empty() { held(&sample, known) } else { [None; 3] };
    let free =
        |logs: &Logs| std::array::from_fn(|at| held[at].unwrap_or_else(|| libm::exp(logs[at])));
    let all = [&sample, assumed].concat();
    let typical = simplex::minimum(start(&sample), |logs| deviations(free(logs), &all));
    cut(points, free(&typical));
    let all = [&some(points), assumed].concat();
    let mean = simplex::minimum(typical, |logs| gamma(free(logs), &all));
    let [base_s, per_1k_context_s, per_output_token_s] = free(&mean).map(coefficient);
    Line { base_s, per_1k_context_s, per_output_token_s }
}

fn coefficient(value: f64) -> f64 {
    (libm::round(value / NONE) * NONE).clamp(0.0, 3_600.0)
}

/// The value at a share of the calls, by size.
fn quantile(points: &[Point], share: f64, of: impl Fn(&Point) -> f64) -> f64 {
    let mut values: Vec<f64> = points.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share) as usize]
}

/// The coefficients that these calls cannot show: as known, but no more than half of the time.
fn held(points: &[Point], known: Option<Line>) -> [Option<f64>; 3] {
    let seconds = quantile(points, 0.5, |point| point.seconds);
    let hold = |of: fn(&Point) -> f64, least: f64, known: Option<f64>| {
        let [low, middle, high] = [0.05, 0.5, 0.95].map(|share| quantile(points, share, of));
        let shows = high - low >= least && high >= 1.5 * low;
        let most = seconds / 2.0 / middle.max(least);
        (!shows).then(|| known.unwrap_or_default().min(most))
    };
    [
        None,
        hold(|point| point.context, 0.5, known.map(|line| line.per_1k_context_s)),
        hold(|point| point.output, 20.0, known.map(|line| line.per_output_token_s)),
    ]
}

/// Half of the median is there whatever is sent; the rest grows with the output.
fn start(points: &[Point]) -> Logs {
    let seconds = quantile(points, 0.5, |point| point.seconds);
    let output = quantile(points, 0.5, |point| point.output).max(1.0);
    let context = quantile(points, 0.5, |point| point.context).max(0.1);
    [seconds / 2.0, seconds / 10.0 / context, seconds / 2.0 / output].map(libm::log)
}

/// What a line is at a point.
fn at([base, context, output]: [f64; 3], point: &Point) -> f64 {
    base + context * point.context + output * point.output
}

/// Sum of the absolute deviations of the logarithms.
fn deviations(line: [f64; 3], points: &[Point]) -> f64 {
    let of = |point: &Point| point.weight * libm::log(point.seconds / at(line, point)).abs();
    points.iter().map(of).sum()
}

/// Gamma deviance, without its constant: least where means are right, each call by its share.
fn gamma(line: [f64; 3], points: &[Point]) -> f64 {
    let of = |point: &Point| {
        let mean = at(line, point);
        point.weight * (point.seconds / mean + libm::log(mean))
    };
    points.iter().map(of).sum()
}

/// Where there are enough, none takes longer than all but half a per cent, by its line.
fn cut(points: &mut [Point], line: [f64; 3]) {
    if points.len() < ENOUGH_TO_CUT {
        return;
    }
    let mut residuals: Vec<f64> = points.iter().map(|it| it.seconds / at(line, it)).collect();
    residuals.sort_by(f64::total_cmp);
    let most = residuals[residuals.len() - 1 - residuals.len() / 200];
    for point in points {
        point.seconds = point.seconds.min(most * at(line, point));
    }
}
