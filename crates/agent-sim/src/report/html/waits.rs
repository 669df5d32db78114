//! What tasks wait for: all of them together, and over time.

use crate::engine::{Replica, Stage, Waits};

use super::axis::{Axis, Unit};
use super::bins::Bins;
use super::chart::{Chart, Kind, Series};
use super::{page, words};

/// A stage in words.
pub(super) fn meaning(stage: Stage) -> &'static str {
    match stage {
        Stage::Queue => "waits for a worker",
        Stage::Permit => "waits for the rate limits",
        Stage::Money => "waits for room in a budget",
        Stage::Backoff => "waits before another attempt",
        Stage::Provider => "the provider answers",
        Stage::Tools => "its own tools work",
    }
}

/// The stages on which time was spent.
pub(super) fn seen(waits: &Waits) -> impl Iterator<Item = Stage> {
    Stage::ALL.into_iter().filter(|stage| waits[*stage as usize] > 0)
}

pub(super) fn html(run: &Replica) -> String {
    let all: u128 = run.waits.iter().map(|ns| u128::from(*ns)).sum();
    if all == 0 {
        return "<p>No task has ended.</p>".to_owned();
    }
    let of = |stage: Stage| run.waits[stage as usize] as f64;
    let (all, tasks) = (all as f64, run.latency.len().max(1) as f64);
    let part = |stage: Stage| {
        let width = words::place(of(stage) / all * 100.0);
        format!("<span class=\"{}\" style=\"width:{width}%\"></span>", stage.name())
    };
    let bar: String = seen(&run.waits).map(part).collect();
    let row = |stage: Stage| {
        vec![
            format!("<span class=\"key {0}\">{0}</span>", stage.name()),
            words::percent(of(stage) / all),
            words::span(of(stage) / tasks),
            meaning(stage).to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = seen(&run.waits).map(row).collect();
    let heads = ["Stage", "Share", "Mean of a task", "A task"];
    let table = page::table("Time of all tasks by stage", &heads, &rows);
    format!(
        "<div class=\"stages\" aria-hidden=\"true\">{bar}</div>\n<div class=\"words\">{table}</div>\n\
         <div class=\"charts\">\n{}",
        over_time(run)
    )
}

/// Fewer points where few tasks end, so that a point is not a single task.
fn over_time(run: &Replica) -> String {
    let ended = run.completed + run.failed;
    let bins = Bins::of(run, (ended / 6).clamp(8, 80) as usize);
    let mean = |stage: Stage| {
        let mean = bins.all.iter().map(|(_, _, sums)| {
            let ended = (sums.completed + sums.failed).max(1);
            sums.waits[stage as usize] as f64 / ended as f64
        });
        mean.collect::<Vec<f64>>()
    };
    let series: Vec<Series> = seen(&run.waits)
        .map(|stage| Series {
            name: stage.name().to_owned(),
            class: stage.name(),
            values: mean(stage),
            kind: Kind::Stacked,
        })
        .collect();
    let total = |place: usize| series.iter().map(|it| it.values[place]).sum::<f64>();
    let most = (0..bins.all.len()).map(total).fold(0.0, f64::max);
    let chart = Chart {
        id: "waits",
        title: "Time of a task, by when it ended",
        about: "Mean of the tasks that ended then, by stage".to_owned(),
        first: "Ended at",
        x: Axis::between(Unit::Time, 0.0, bins.end),
        y: Axis::up_to(Unit::Time, most),
        points: bins.middles(),
        series,
        levels: Vec::new(),
        moments: Vec::new(),
    };
    chart.html()
}
