//! Charts over the time of a run: throughput, backlog, calls in flight, use of limits, spend.

use agent_core::ledger::Scope;

use crate::engine::{Replica, Sums};
use crate::report::{Report, Use};

use super::axis::{Axis, Unit};
use super::bins::Bins;
use super::chart::{Chart, Kind, Mark, Series};
use super::words;

/// Most points of a chart.
const POINTS: usize = 110;

/// Most other runs that are drawn behind the first.
const OTHERS: usize = 20;

const MINUTE: f64 = 60e9;

pub(super) fn about(report: &Report) -> String {
    let seed = report.first().seed;
    match report.replicas.len() {
        1 => format!("The run with seed {seed}."),
        _ => format!("The run with seed {seed}; grey lines are the runs with other seeds."),
    }
}

pub(super) fn html(report: &Report) -> String {
    let bins = Bins::of(report.first(), POINTS);
    let charts = [
        Some(throughput(&bins)),
        Some(open(&bins)),
        Some(in_flight(report, &bins)),
        limits(report),
        Some(spend(report, &bins)),
    ];
    format!("<div class=\"charts\">\n{}</div>\n", charts.into_iter().flatten().collect::<String>())
}

fn series(name: &str, class: &'static str, kind: Kind, values: Vec<f64>) -> Series {
    Series { name: name.to_owned(), class, values, kind }
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// A chart over the time of the run, without marks.
fn over<'a>(id: &'a str, title: &'a str, about: String, bins: &Bins, y: Axis) -> Chart<'a> {
    Chart {
        id,
        title,
        about,
        first: "Time",
        x: Axis::between(Unit::Time, 0.0, bins.end),
        y,
        points: bins.middles(),
        series: Vec::new(),
        levels: Vec::new(),
        moments: Vec::new(),
    }
}

fn throughput(bins: &Bins) -> String {
    let (name, length) =
        if bins.end > 360.0 * MINUTE { ("hour", 60.0 * MINUTE) } else { ("minute", MINUTE) };
    let completed = bins.rates(length, |sums| sums.completed as f64);
    let failed = bins.rates(length, |sums| sums.failed as f64);
    let ended: Vec<f64> = completed.iter().zip(&failed).map(|(a, b)| a + b).collect();
    let y = Axis::up_to(Unit::Number, most(&ended));
    let about = format!("Tasks that ended, per {name}");
    let mut chart = over("throughput", "Throughput", about, bins, y);
    chart.series = vec![series("completed", "provider", Kind::Stacked, completed)];
    if most(&failed) > 0.0 {
        chart.series.push(series("failed", "backoff", Kind::Stacked, failed));
    }
    chart.html()
}

fn open(bins: &Bins) -> String {
    let open = bins.totals(|sums| sums.arrived as f64 - (sums.completed + sums.failed) as f64);
    let y = Axis::up_to(Unit::Number, most(&open));
    let about = "Tasks that have arrived and not ended".to_owned();
    let mut chart = over("open", "Open tasks", about, bins, y);
    chart.points = bins.ends();
    chart.series = vec![series("open", "queue", Kind::Stacked, open)];
    chart.html()
}

/// The limit of this name, where there is one.
fn limit(report: &Report, name: &str) -> Option<f64> {
    report.uses.iter().find(|it| it.name == name).map(|it| it.limit)
}

fn in_flight(report: &Report, bins: &Bins) -> String {
    let values = bins.rates(1.0, |sums| sums.in_flight_ns as f64);
    let top = most(&values);
    let limit = limit(report, "max_concurrent").map(|it| it * models(report.first()));
    let near = limit.filter(|limit| *limit <= top * 2.5);
    let y = Axis::up_to(Unit::Number, near.unwrap_or(0.0).max(top));
    let about = match limit {
        Some(limit) => {
            format!("Calls at once, on average; at most {}", words::whole(limit as u64))
        }
        None => "Calls at once, on average".to_owned(),
    };
    let mut chart = over("in-flight", "Calls in flight", about, bins, y);
    chart.series = vec![series("in flight", "provider", Kind::Stacked, values)];
    chart.levels.extend(near.map(|at| level(at, format!("limit {}", words::number(at)), "bad")));
    chart.html()
}

fn level(at: f64, label: String, class: &'static str) -> Mark {
    Mark { at, label, class }
}

/// How many models share the work: the provider's limits are of each.
fn models(run: &Replica) -> f64 {
    run.models.len().max(1) as f64
}

fn limits(report: &Report) -> Option<String> {
    // A minute at least: so long may be used up what a minute admits.
    let minutes = report.first().makespan.as_secs() / 60;
    let bins = &Bins::of(report.first(), minutes.clamp(8, POINTS as u64) as usize);
    type Of = fn(&Sums) -> f64;
    let known: [(&str, &str, &'static str, Of); 3] = [
        ("requests_per_minute", "requests", "provider", |sums| sums.attempts as f64),
        ("input_tokens_per_minute", "input tokens", "permit", |sums| sums.input_tokens as f64),
        ("output_tokens_per_minute", "output tokens", "money", |sums| sums.output_tokens as f64),
    ];
    let of_models = models(report.first());
    let lines: Vec<Series> = known
        .into_iter()
        .filter_map(|(key, name, class, of)| {
            let limit = limit(report, key)? * of_models;
            let values = bins.rates(MINUTE, |sums| of(sums) / limit);
            Some(series(name, class, Kind::Line, values))
        })
        .collect();
    if lines.is_empty() {
        return None;
    }
    let top = lines.iter().map(|line| most(&line.values)).fold(1.0, f64::max);
    let y = Axis::up_to(Unit::Share, top);
    let about = "Share of what is admitted each minute".to_owned();
    let mut chart = over("limits", "Use of the limits", about, bins, y);
    chart.series = lines;
    chart.levels = vec![level(1.0, "limit".to_owned(), "bad")];
    Some(chart.html())
}

fn spend(report: &Report, bins: &Bins) -> String {
    let cost = |sums: &Sums| sums.cost.nanos() as f64 / 1e9;
    let spent = bins.totals(cost);
    let others = report.replicas.iter().skip(1).take(OTHERS);
    let others: Vec<Series> = others.map(|run| behind(run, bins, cost)).collect();
    let top = others.iter().map(|other| most(&other.values)).fold(most(&spent), f64::max);
    let near = |at: f64| (at > 0.0 && at <= top * 2.5).then_some(at);
    let goal = report.goal.max_cost.map(|goal| goal.nanos() as f64 / 1e9).and_then(near);
    // Only what bounds all that is spent: everybody's budget, of which one window has it all.
    let of_all = |it: &&Use| {
        let budget = it.budget.as_ref();
        budget.is_some_and(|it| it.scope == Scope::global() && it.fullest == it.total)
    };
    let budgets = report.uses.iter().filter(of_all);
    let budgets = budgets.filter_map(|it| Some((near(it.limit)?, &it.name)));
    // What is spent begins at nothing: at the start no line is behind the words.
    let mut levels: Vec<Mark> =
        budgets.take(2).map(|(at, name)| level(at, words::escaped(name), "warn start")).collect();
    if let Some(at) = goal {
        levels.push(level(at, format!("goal {}", words::dollars(at)), "bad start"));
    }
    let y = levels.iter().map(|level| level.at).fold(top, f64::max);
    let y = Axis::up_to(Unit::Dollars, y);
    let about = "Dollars so far, what is presumed included".to_owned();
    let mut chart = over("spend", "Spend", about, bins, y);
    chart.points = bins.ends();
    chart.series = others;
    chart.series.push(series("spent", "provider", Kind::Line, spent));
    chart.levels = levels;
    chart.html()
}

/// Another run's total at the moments of `bins`.
fn behind(run: &Replica, bins: &Bins, of: impl Fn(&Sums) -> f64) -> Series {
    let own = Bins::of(run, POINTS);
    let (ends, totals) = (own.ends(), own.totals(of));
    let value = |moment: f64| {
        let after = ends.partition_point(|end| *end < moment);
        match after {
            0 => 0.0,
            _ if after == ends.len() => totals.last().copied().unwrap_or_default(),
            _ => {
                let share = (moment - ends[after - 1]) / (ends[after] - ends[after - 1]);
                totals[after - 1] + share * (totals[after] - totals[after - 1])
            }
        }
    };
    series("", "other", Kind::Faint, bins.ends().into_iter().map(value).collect())
}
