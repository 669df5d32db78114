//! A sweep as a page: all combinations side by side, and what each value does.

use std::time::Duration;

use crate::engine::Replica;
use crate::report::Report;
use crate::scenario::Change;
use crate::sweep::Point;

use super::axis::{Axis, Unit};
use super::chart::{Chart, Kind, Series};
use super::page;
use super::words::{dollars, escaped, lasting, percent, whole};

/// Most rows of the table; it is told how many there would be.
const ROWS: usize = 500;

/// Most values along the x axis of a chart.
const VALUES: usize = 60;

/// The lines of a chart: as many as there are colours to tell apart.
const CLASSES: [&str; 6] = ["provider", "permit", "tools", "money", "backoff", "queue"];

/// A sweep as an HTML page of at most 400 kB: a table, and plots of time, cost, completed tasks and
/// the time of a task.
pub fn html(points: &[Point]) -> String {
    let scenario = points.first().map_or("", |point| point.report.scenario.as_str());
    let title = format!("Sweep of {scenario}");
    let mut body = head(&title, points);
    if let Some(plots) = plots(points) {
        body.push_str(&plots);
    }
    body.push_str(&table(points));
    page::page(&title, &body)
}

fn cost(report: &Report) -> f64 {
    report.interval(Replica::charged)[1].nanos() as f64 / 1e9
}

fn makespan(report: &Report) -> Duration {
    report.interval(|run| run.makespan)[1]
}

fn p95(report: &Report) -> Duration {
    report.interval(|run| run.latency_at(95.0))[1]
}

/// Changes as they are written; not escaped.
fn written(changes: &[Change]) -> String {
    let one = |change: &Change| format!("{} = {}", change.path(), change.value());
    changes.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn head(title: &str, points: &[Point]) -> String {
    let met: Vec<&Point> = points.iter().filter(|point| point.report.verdict.met).collect();
    let class = if met.is_empty() { "bad" } else { "good" };
    let cheapest = met.iter().min_by(|a, b| cost(&a.report).total_cmp(&cost(&b.report)));
    let fastest = met.iter().min_by_key(|point| makespan(&point.report));
    let line = |what: &str, point: &Point| {
        let (report, changes) = (&point.report, escaped(&written(&point.changes)));
        let (time, cost) = (lasting(makespan(report)), dollars(cost(report)));
        format!("<li>The {what} that does: {changes} ({time}, {cost})</li>")
    };
    let best = cheapest.map(|point| line("cheapest", point)).into_iter();
    let best: String = best.chain(fastest.map(|point| line("fastest", point))).collect();
    let uncalibrated = match points.iter().all(|point| point.report.is_calibrated()) {
        true => "",
        false => "<span class=\"badge warn\">UNCALIBRATED</span>",
    };
    format!(
        "<header>\n<p class=\"kind\">Rehearsal in virtual time</p>\n<h1>{}</h1>\n\
         <p class=\"verdict {class}\"><strong>{} of {}</strong> <span>combinations meet the goal</span> \
         {uncalibrated}</p>\n<ul class=\"why\">{best}</ul>\n</header>\n",
        escaped(title),
        whole(met.len() as u64),
        whole(points.len() as u64)
    )
}

/// The values of one key, each once, in the order of the sweep.
fn values(points: &[Point], key: usize) -> Vec<&str> {
    let mut all: Vec<&str> = Vec::new();
    for point in points {
        let value = point.changes[key].value();
        if !all.contains(&value) {
            all.push(value);
        }
    }
    all
}

fn numbers(values: &[&str]) -> Option<Vec<f64>> {
    let parsed = values.iter().map(|it| it.parse().ok().filter(|it: &f64| it.is_finite()));
    parsed.collect()
}

/// The values of the key along the x axis: by size where there are enough to speak of a scale,
/// side by side otherwise.
fn axis(values: &[&str]) -> (Axis, Vec<f64>) {
    match numbers(values).filter(|numbers| numbers.len() > 3) {
        Some(numbers) => (Axis::over(&numbers), numbers),
        None => {
            let names = values.iter().map(|value| escaped(value)).collect();
            (Axis::named(names), (0..values.len()).map(|place| place as f64).collect())
        }
    }
}

/// Plots over the key with most values, a line for each combination of the others.
fn plots(points: &[Point]) -> Option<String> {
    let keys = points.first()?.changes.len();
    // Of keys with equally many values the first.
    let key = (0..keys).rev().max_by_key(|key| values(points, *key).len())?;
    let along = values(points, key);
    let (x, at) = axis(&along);
    let mut order: Vec<usize> = (0..along.len()).collect();
    order.sort_by(|a, b| at[*a].total_cmp(&at[*b]));
    // As many as can be told apart.
    let order: Vec<usize> = order.iter().copied().step_by(order.len().div_ceil(VALUES)).collect();
    let others = |point: &Point| {
        let mut changes = point.changes.clone();
        changes.remove(key);
        changes
    };
    let mut groups: Vec<Vec<Change>> = Vec::new();
    for point in points {
        if !groups.contains(&others(point)) {
            groups.push(others(point));
        }
    }
    let path = points[0].changes[key].path();
    let plot = |id: &str, title: &str, about: &str, unit: Unit, of: &dyn Fn(&Report) -> f64| {
        let line = |(place, group): (usize, &Vec<Change>)| {
            let own: Vec<&Point> = points.iter().filter(|point| others(point) == *group).collect();
            let value = |place: &usize| {
                let point = own.iter().find(|it| it.changes[key].value() == along[*place]);
                point.map_or(0.0, |point| of(&point.report))
            };
            let name = if group.is_empty() { title.to_owned() } else { written(group) };
            let values = order.iter().map(value).collect();
            Series { name, class: CLASSES[place], values, kind: Kind::Dotted }
        };
        let series: Vec<Series> = groups.iter().take(CLASSES.len()).enumerate().map(line).collect();
        let most = series.iter().flat_map(|it| &it.values).copied().fold(0.0, f64::max);
        let chart = Chart {
            id,
            title,
            about: format!("{about}, by {}", escaped(&path)),
            first: &path,
            x: x.clone(),
            y: Axis::up_to(unit, if unit == Unit::Share { 1.0 } else { most }),
            points: order.iter().map(|place| at[*place]).collect(),
            series,
            levels: Vec::new(),
            moments: Vec::new(),
        };
        chart.html()
    };
    let nanos = |report: &Report| makespan(report).as_nanos() as f64;
    let slow = |report: &Report| p95(report).as_nanos() as f64;
    let charts = [
        plot(
            "time",
            "Time",
            "Until the last task has ended, median of the runs",
            Unit::Time,
            &nanos,
        ),
        plot("cost", "Cost", "Dollars, median of the runs", Unit::Dollars, &cost),
        plot("complete", "Complete", "Share of the tasks", Unit::Share, &|it| it.first().success()),
        plot("task", "Time of a task, p95", "From arrival to end", Unit::Time, &slow),
    ];
    let cut = match groups.len() > CLASSES.len() {
        true => {
            format!("The first {} of {} lines; the table has all.", CLASSES.len(), groups.len())
        }
        false => String::new(),
    };
    let body = format!("<div class=\"charts\">\n{}</div>\n", charts.concat());
    Some(page::section("What it changes", &cut, &body))
}

fn table(points: &[Point]) -> String {
    let keys: Vec<String> = points
        .first()
        .map(|point| point.changes.iter().map(|it| escaped(&it.path())).collect())
        .unwrap_or_default();
    let fixed = ["Goal", "Time", "Cost", "Complete", "p95 of a task", "429s"];
    let heads: Vec<&str> = keys.iter().map(String::as_str).chain(fixed).collect();
    let row = |point: &Point| {
        let report = &point.report;
        let met = match report.verdict.met {
            true => "<span class=\"badge good\">met</span>",
            false => "<span class=\"badge bad\">not met</span>",
        };
        let mut cells: Vec<String> =
            point.changes.iter().map(|change| escaped(change.value())).collect();
        cells.extend([
            met.to_owned(),
            lasting(makespan(report)),
            dollars(cost(report)),
            percent(report.first().success()),
            lasting(p95(report)),
            whole(report.first().rate_limited),
        ]);
        cells
    };
    let rows: Vec<Vec<String>> = points.iter().take(ROWS).map(row).collect();
    let about = match points.len() > ROWS {
        true => format!("The first {ROWS} of {} combinations; sweep.json has all.", points.len()),
        false => "Times and costs are medians of the runs of each combination.".to_owned(),
    };
    page::section("All combinations", &about, &page::table("Combinations", &heads, &rows))
}
