//! How long tasks take: the share that has ended after each time.

use crate::engine::Replica;
use crate::report::Report;

use super::axis::{Axis, Unit};
use super::chart::{Chart, Kind, Mark, Series};
use super::words;

/// Shares of the tasks at which the curve has a point, in thousandths.
fn shares() -> impl Iterator<Item = f64> {
    let body = (0..=96).map(|percent| f64::from(percent) / 100.0);
    body.chain([0.97, 0.98, 0.985, 0.99, 0.995, 0.999, 1.0])
}

/// Nanoseconds after which this share of the tasks has ended.
fn at(run: &Replica, share: f64) -> f64 {
    run.latency_at(share * 100.0).as_nanos() as f64
}

pub(super) fn html(report: &Report) -> String {
    let run = report.first();
    if run.latency.is_empty() {
        return "</div>\n".to_owned();
    }
    let mut points: Vec<f64> = Vec::new();
    let mut values: Vec<f64> = Vec::new();
    for share in shares() {
        let x = at(run, share);
        match points.last() {
            // Of equal times the largest share.
            Some(last) if *last >= x => *values.last_mut().expect("as long") = share,
            _ => {
                points.push(x);
                values.push(share);
            }
        }
    }
    let (least, most) = (points[0], points[points.len() - 1]);
    let x = match least > 0.0 && most / least > 30.0 {
        true => Axis::logarithmic(Unit::Time, least, most),
        false => Axis::between(Unit::Time, 0.0, most),
    };
    let others = report.replicas.iter().skip(1).take(20).map(|run| {
        let below = |x: &f64| run.latency.share_within(*x);
        let values = points.iter().map(below).collect();
        Series { name: String::new(), class: "other", values, kind: Kind::Faint }
    });
    let mut series: Vec<Series> = others.collect();
    let name = "share of the tasks".to_owned();
    series.push(Series { name, class: "provider", values, kind: Kind::Line });
    let marks = [(0.5, "p50"), (0.9, "p90"), (0.95, "p95"), (0.99, "p99")];
    let figure = |(share, name)| format!("{name}\u{a0}{}", words::span(at(run, share)));
    let figures = marks.map(figure).join(", ");
    let moments = marks.map(|(share, name)| Mark {
        at: at(run, share),
        label: name.to_owned(),
        class: "quiet",
    });
    let chart = Chart {
        id: "latency",
        title: "Time of a task, distribution",
        about: format!("Share of the tasks that ended within this time: {figures}"),
        first: "Within",
        x,
        y: Axis::up_to(Unit::Share, 1.0),
        points,
        series,
        levels: Vec::new(),
        moments: moments.into(),
    };
    chart.html() + "</div>\n"
}
