//! How far each limit is used, and what a fifth more of it would change.

use crate::report::{Effect, Report};

use super::page::{bar, table};
use super::words::{change, dollars, escaped, percent, place, spoken, whole};

pub(super) fn html(report: &Report) -> String {
    format!("<div class=\"pair\">\n{}{}</div>\n", uses(report), effects(report))
}

fn uses(report: &Report) -> String {
    let row = |it: &crate::report::Use| {
        let (name, limit) = match it.name.strip_prefix("budget ") {
            Some(scope) => (format!("budget {}", escaped(scope)), dollars(it.limit)),
            None => (spoken(&it.name), whole(it.limit as u64)),
        };
        let class = if it.share >= 0.9 { "full" } else { "" };
        vec![
            name,
            limit,
            format!("{}<span class=\"beside\">{}</span>", bar(it.share, class), percent(it.share)),
        ]
    };
    let rows: Vec<Vec<String>> = report.uses.iter().map(row).collect();
    let caption = "Limits, and how far each is used on average";
    table(caption, &["Limit", "Allowed", "Used"], &rows)
}

fn effects(report: &Report) -> String {
    if report.effects.is_empty() {
        return "<p class=\"about\">What more of each limit would change was not asked \
                (run.sensitivity = false).</p>\n"
            .to_owned();
    }
    let row = |effect: &Effect| {
        let points = effect.success * 100.0;
        let name = match report.bottleneck.lever {
            Some(lever) if lever == effect.lever => {
                format!(
                    "<strong>{}</strong> <span class=\"badge\">in the way</span>",
                    spoken(lever.name())
                )
            }
            _ => spoken(effect.lever.name()),
        };
        let complete = match points {
            _ if points.abs() < 0.05 => "±0".to_owned(),
            _ if points < 0.0 => format!("\u{2212}{:.1}", -points),
            _ => format!("+{points:.1}"),
        };
        vec![
            name,
            toned(effect.makespan, &change(effect.makespan)),
            toned(effect.latency, &change(effect.latency)),
            toned(effect.cost, &change(effect.cost)),
            toned(-effect.success, &complete),
        ]
    };
    let rows: Vec<Vec<String>> = report.effects.iter().map(row).collect();
    let heads = ["+20\u{202f}% of", "Time", "A task", "Cost", "Complete, points"];
    table("What a fifth more would change", &heads, &rows)
}

/// Less of it is better; what is small has no colour.
fn toned(value: f64, text: &str) -> String {
    let strength = place((value.abs() * 2.0).clamp(0.0, 0.4) * 100.0);
    match value {
        _ if value <= -0.01 => {
            format!("<span class=\"tone good\" style=\"--tone:{strength}%\">{text}</span>")
        }
        _ if value >= 0.01 => {
            format!("<span class=\"tone bad\" style=\"--tone:{strength}%\">{text}</span>")
        }
        _ => format!("<span class=\"tone\">{text}</span>"),
    }
}
