//! The slowest tasks, each as a line from its arrival to its end.

use std::fmt::Write as _;

use crate::engine::{Replica, Slow, Stage};

use super::axis::{Axis, Unit};
use super::words::{self, escaped, place};
use super::{page, waits};

pub(super) fn html(run: &Replica) -> String {
    let tasks: Vec<&Slow> = run.slowest.iter().filter(|slow| !slow.spans.is_empty()).collect();
    if tasks.is_empty() {
        return String::new();
    }
    let start = |slow: &Slow| slow.spans[0].from_ns as f64;
    let from = tasks.iter().map(|it| start(it)).fold(f64::INFINITY, f64::min);
    let to = tasks.iter().map(|it| start(it) + it.took_ns as f64).fold(0.0, f64::max);
    let longest = tasks.iter().map(|it| it.took_ns as f64).fold(0.0, f64::max);
    // Far from each other they would be dots on the clock of the run.
    let apart = longest < (to - from) * 0.4;
    let axis = match apart {
        true => Axis::between(Unit::Time, 0.0, longest),
        false => Axis::between(Unit::Time, from, to),
    };
    let mut out = legend(&tasks);
    out.push_str(
        "<table class=\"gantt\"><caption>The slowest tasks</caption><thead><tr>\
         <th scope=\"col\">Task</th><th scope=\"col\">Took</th><th scope=\"col\" class=\"scale\">",
    );
    for (tick, (at, label)) in axis.ticks().enumerate() {
        let odd = if tick % 2 == 1 { " odd" } else { "" };
        let side = match at {
            _ if at < 0.04 => " first",
            _ if at > 0.94 => " last",
            _ => "",
        };
        let at = place(at * 100.0);
        _ = write!(out, "<i class=\"x{odd}{side}\" style=\"left:{at}%\">{label}</i>");
    }
    out.push_str("</th><th scope=\"col\">Ended</th></tr></thead><tbody>\n");
    for slow in &tasks {
        row(&mut out, slow, &axis, if apart { start(slow) } else { 0.0 });
    }
    out.push_str("</tbody></table>\n");
    let count = tasks.len();
    let clock = if apart { "each from its arrival on" } else { "on the clock of the run" };
    let about = format!("The {count} that took longest, {clock}, by stage.");
    page::section("The slowest tasks", &about, &out)
}

fn legend(tasks: &[&Slow]) -> String {
    let mut used = [false; Stage::ALL.len()];
    tasks.iter().flat_map(|it| &it.spans).for_each(|span| used[span.stage as usize] = true);
    let entry = |stage: &Stage| {
        let (name, meaning) = (stage.name(), waits::meaning(*stage));
        format!("<li class=\"{name}\">{name}: {meaning}</li>")
    };
    let entries: String = Stage::ALL.iter().filter(|it| used[**it as usize]).map(entry).collect();
    format!("<ul class=\"legend\">{entries}</ul>\n")
}

/// A row; `zero` is where the axis begins to count.
fn row(out: &mut String, slow: &Slow, axis: &Axis, zero: f64) {
    let took = words::span(slow.took_ns as f64);
    let task = escaped(&slow.task);
    let mut spent = [0.0; Stage::ALL.len()];
    let mut paths: [String; Stage::ALL.len()] = Default::default();
    let x = |ns: f64| axis.at(ns - zero) * 1_000.0;
    let end = slow.spans[0].from_ns as f64 + slow.took_ns as f64;
    for span in &slow.spans {
        let (from, until) = (span.from_ns as f64, span.until_ns as f64);
        spent[span.stage as usize] += until - from;
        // What is shorter than a hair is not drawn.
        let width = x(until) - x(from);
        if width >= 0.05 {
            let path = &mut paths[span.stage as usize];
            _ = write!(path, "M{} 5h{}", place(x(from)), place(width));
        }
    }
    let share = |stage: Stage| format!("{} {}", stage.name(), words::span(spent[stage as usize]));
    let seen = Stage::ALL.into_iter().filter(|stage| spent[*stage as usize] > 0.0);
    let about = seen.map(share).collect::<Vec<_>>().join(", ");
    _ = write!(
        out,
        "<tr><th scope=\"row\">{task}</th><td>{took}</td><td class=\"life\"><svg viewBox=\"0 0 1000 10\" \
         preserveAspectRatio=\"none\" role=\"img\"><title>{about}</title>"
    );
    let last = slow.spans[slow.spans.len() - 1].until_ns as f64;
    if x(end) - x(last) >= 0.5 {
        // More stretches than are kept.
        _ = write!(out, "<path class=\"rest\" d=\"M{} 5H{}\"/>", place(x(last)), place(x(end)));
    }
    for (stage, path) in Stage::ALL.iter().zip(&paths).filter(|(_, path)| !path.is_empty()) {
        _ = write!(out, "<path class=\"{}\" d=\"{path}\"/>", stage.name());
    }
    let ended = match slow.error {
        Some(code) => format!("<span class=\"badge bad\">{code}</span>"),
        None => "<span class=\"fine\">completed</span>".to_owned(),
    };
    _ = writeln!(out, "</svg></td><td class=\"ended\">{ended}</td></tr>");
}
