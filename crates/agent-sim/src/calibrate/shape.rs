//! From the calls of one model to its latency model.

use std::collections::{BTreeMap, BTreeSet};

use super::effects::{Effects, Session};
use super::fit::{self, Point, SHORTEST};
use super::{Calibrated, Call, ENOUGH};
use crate::draws::{PROBABILITIES, QuantileTable};
use crate::latency::{Catalogue, LatencyModel, Line, Spread};

impl Calibrated {
    /// Fits the calls of one model, one at least; none of them failed.
    pub(super) fn of(model: &str, calls: &[&Call], known: &Catalogue) -> Calibrated {
        let help = known.find(model).ok().map(|found| found.model);
        let help_total = help.map(|help| (help.total, &help.total_spread));
        let total = Fitted::of(calls, |call| Some(call.total_s), |call| call.output, help_total);
        let total = total.expect("each call has a total");
        let help_first = help.map(|help| (help.first, &help.first_spread));
        let first = Fitted::of(calls, |call| call.first_s, |_| 0, help_first);
        let first_calls = first.as_ref().map_or(0, |first| first.calls);
        let (first_line, first_spread) = match (first, help) {
            (Some(first), _) => (first.line, first.spread),
            (None, Some(help)) => (help.first, help.first_spread.clone()),
            // Nothing is known: all of the time before the output.
            (None, None) => (Line { per_output_token_s: 0.0, ..total.line }, total.spread.clone()),
        };
        let shares = total.weight < 1.0;
        let helped_by = help.filter(|_| shares).map(|help| help.name.clone());
        let own = help.filter(|help| help.name == model);
        Calibrated {
            latency: LatencyModel {
                name: model.to_owned(),
                stands_for: own.map(|help| help.stands_for.clone()).unwrap_or_default(),
                calibrated: total.calls >= ENOUGH,
                calls: total.calls,
                source: source(&total, helped_by.as_deref(), first_calls),
                total: total.line,
                total_spread: total.spread,
                first: first_line,
                first_spread,
                session_sigma: total.effects.variance.sqrt(),
            },
            calls: total.calls,
            first_calls,
            sessions: total.effects.of.len() as u64,
            weight: total.weight,
            helped_by,
            spread: total.deviation,
            effects: total.effects,
        }
    }

    /// What is known of a model that answered no call.
    pub(super) fn unseen(model: &LatencyModel) -> (Line, Effects) {
        (scaled(model.total, model.total_spread.mean()), Effects::unseen())
    }

    pub(super) fn effects(&self) -> &Effects {
        &self.effects
    }
}

fn source(total: &Fitted, helped_by: Option<&str>, first_calls: u64) -> String {
    let calls = total.calls;
    let many = |count: u64, what| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let sessions = many(total.effects.of.len() as u64, "session");
    let mut text = format!("fitted on {} in {sessions}", many(calls, "call"));
    if calls < ENOUGH {
        let with = helped_by.map_or_else(
            || ", and nothing else is known of it".to_owned(),
            |model| format!(", the rest up to {ENOUGH} taken as what is built in for {model}"),
        );
        text.push_str(&format!("; too few{with}"));
    }
    match first_calls {
        0 => text.push_str("; no time to the first token was recorded: that is as built in"),
        calls if calls < total.calls => {
            text.push_str(&format!("; {calls} of them with a time to the first token"));
        }
        _ => {}
    }
    text
}

/// For how many sessions the speed counts of what is built in: sessions differ by a tenth of
/// themselves, and it is off by a fifth, where not by more.
const KNOWN_COUNTS: f64 = 8.0;

/// A line and its spread.
struct Fitted {
    line: Line,
    spread: Spread,
    effects: Effects,
    calls: u64,
    weight: f64,
    deviation: f64,
}

impl Fitted {
    /// Fits a time of those calls that have it; `None` where none has.
    fn of(
        calls: &[&Call],
        time: impl Fn(&Call) -> Option<f64>,
        output: impl Fn(&Call) -> u64,
        help: Option<(Line, &Spread)>,
    ) -> Option<Fitted> {
        let known = help.map(|(line, spread)| scaled(line, spread.mean()));
        let (ids, mut points): (Vec<u64>, Vec<Point>) = calls
            .iter()
            .filter_map(|call| {
                let seconds = time(call)?.max(SHORTEST);
                let (context, output) = (call.input as f64 / 1_000.0, output(call) as f64);
                Some((call.session, Point { context, output, seconds, weight: 1.0 }))
            })
            .unzip();
        let near = help.map(|help| nearer(help, calls, &time, &output));
        let calls = points.len() as u64;
        if calls == 0 {
            return None;
        }
        let missing = near.filter(|_| calls < ENOUGH);
        let weight = missing.map_or(1.0, |_| calls as f64 / ENOUGH as f64);
        let assumed = missing.map(|near| fit::assumed(&points, &near, 1.0 / weight - 1.0));
        let line = fit::line(&mut points, &assumed.unwrap_or_default(), known);
        let points: Vec<(u64, Point)> = ids.into_iter().zip(points).collect();
        let (sessions, call_variance) = sessions(&points, &line);
        let effects = Effects::of(&sessions, call_variance, weight);
        let line = rounded(scaled(line, libm::exp(effects.centre)));
        let residual = |(session, point): &(u64, Point)| {
            let slower = libm::exp(effects.of.get(session).copied().unwrap_or_default());
            point.seconds / (point.by(&line) * slower)
        };
        let residuals: Vec<f64> = points.iter().map(residual).collect();
        let deviation = deviation(&residuals);
        let spread = spread(residuals, help.map(|(_, spread)| spread), weight);
        Some(Fitted { line, spread, effects, calls, weight, deviation })
    }
}

/// What is known of a model on average, as fast or slow as these calls say: the more sessions, the
/// nearer to their own. A few that hung do not move it.
fn nearer(
    (line, spread): (Line, &Spread),
    calls: &[&Call],
    time: impl Fn(&Call) -> Option<f64>,
    output: impl Fn(&Call) -> u64,
) -> Line {
    let ratio = |call: &&Call| {
        Some(time(call)?.max(SHORTEST) / line.seconds(call.input, output(call)).max(SHORTEST))
    };
    let mut ratios: Vec<f64> = calls.iter().filter_map(ratio).collect();
    ratios.sort_by(f64::total_cmp);
    let typical = ratios.get(ratios.len() / 2).copied().unwrap_or(1.0);
    let sessions: BTreeSet<u64> = calls.iter().map(|call| call.session).collect();
    // One alone does not say how far they differ.
    let more = sessions.len().saturating_sub(1) as f64;
    let share = more / (more + KNOWN_COUNTS);
    scaled(line, spread.mean() * libm::exp(share * libm::log(typical)))
}

fn scaled(line: Line, by: f64) -> Line {
    Line {
        base_s: line.base_s * by,
        per_1k_context_s: line.per_1k_context_s * by,
        per_output_token_s: line.per_output_token_s * by,
    }
}

/// To a tenth of a microsecond.
fn rounded(line: Line) -> Line {
    let rounded = |seconds: f64| libm::round(seconds * 1e7) / 1e7;
    Line {
        base_s: rounded(line.base_s),
        per_1k_context_s: rounded(line.per_1k_context_s),
        per_output_token_s: rounded(line.per_output_token_s),
    }
}

/// The sums of each session, and the variance of a call as a part of the square of its mean.
fn sessions(points: &[(u64, Point)], line: &Line) -> (BTreeMap<u64, Session>, f64) {
    let mut sessions: BTreeMap<u64, Session> = BTreeMap::new();
    let (mut sum, mut squares) = (0.0, 0.0);
    for (id, point) in points {
        let predicted = point.by(line);
        let session = sessions.entry(*id).or_default();
        session.actual += point.seconds;
        session.predicted += predicted;
        session.squares += predicted * predicted;
        let residual = point.seconds / predicted;
        sum += residual;
        squares += residual * residual;
    }
    let count = points.len() as f64;
    let mean = sum / count;
    (sessions, (squares / count / (mean * mean) - 1.0).max(0.0))
}

/// Standard deviation of the logarithms.
fn deviation(values: &[f64]) -> f64 {
    let logs = values.iter().map(|value| libm::log(*value));
    let (sum, squares) =
        logs.fold((0.0, 0.0), |(sum, squares), log| (sum + log, squares + log * log));
    let count = values.len() as f64;
    (squares / count - (sum / count) * (sum / count)).max(0.0).sqrt()
}

/// The table of the residuals, whose mean is 1: mixed, in logarithms, with what is built in.
fn spread(residuals: Vec<f64>, help: Option<&Spread>, weight: f64) -> Spread {
    let own = QuantileTable::of(residuals).expect("residuals are finite and above 0");
    let mixed = PROBABILITIES.map(|p| match help {
        Some(help) if weight < 1.0 => {
            let foreign = libm::log(help.at(p) / help.mean());
            libm::exp(weight * libm::log(own.at(p)) + (1.0 - weight) * foreign)
        }
        _ => own.at(p),
    });
    let table = |values: &[f64]| {
        let table = QuantileTable::new(&PROBABILITIES, values).expect("quantiles never fall");
        Spread::Measured(table)
    };
    let mean = table(&mixed).mean();
    table(&mixed.map(|value| value / mean))
}
