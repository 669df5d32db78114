//! How far each limit is used, and what more of it would change.

use agent_core::ledger::Window;

use crate::engine::Spent;
use crate::report::{Effect, Lever, Report, Use};

use super::page::{bar, table};
use super::words::{change, dollars, escaped, limit_name, percent, place, points, whole};

pub(super) fn html(report: &Report) -> String {
    format!("<div class=\"pair\">\n{}{}</div>\n", uses(report), effects(report))
}

fn uses(report: &Report) -> String {
    let row = |it: &Use| {
        let (name, limit) = match &it.budget {
            Some(budget) => (budgeted(budget), dollars(it.limit)),
            None => (limit_name(&it.name), whole(it.limit as u64)),
        };
        let bar = bar(it.share, if it.share >= 0.9 { "full" } else { "" });
        let share = percent(it.share);
        vec![name, limit, format!("{bar}<span class=\"beside\">{share}</span>")]
    };
    let rows: Vec<Vec<String>> = report.uses.iter().map(row).collect();
    table("Limits, and how far each is used", &["Limit", "Allowed", "Used"], &rows)
}

/// Whose budget it is; where it has windows, that the fullest is told, and what all have spent.
fn budgeted(budget: &Spent) -> String {
    let scope = escaped(&budget.scope.to_string());
    let all = dollars(budget.total.nanos() as f64 / 1e9);
    match budget.window {
        Window::Total => format!("budget {scope}"),
        window => format!(
            "budget {scope}<br><span class=\"note\">its fullest window ({}) of {all} in all</span>",
            escaped(&window.to_string())
        ),
    }
}

fn effects(report: &Report) -> String {
    if report.effects.is_empty() {
        return "<p class=\"about\">What more of each limit would change was not asked \
                (run.sensitivity = false).</p>\n"
            .to_owned();
    }
    let row = |effect: &Effect| {
        let name = limit_name(effect.lever.name());
        let name = match report.bottleneck.lever == Some(effect.lever) {
            true => format!("<strong>{name}</strong>"),
            false => name,
        };
        let toned_change = |share: f64| toned(share, &change(share));
        vec![
            match effect.lever {
                Lever::ProviderLatency => format!("answers {} faster", percent(effect.raised)),
                _ => format!("{} more {name}", percent(effect.raised)),
            },
            toned_change(effect.makespan),
            toned_change(effect.latency),
            toned_change(effect.cost),
            toned(-effect.success, &points(effect.success)),
        ]
    };
    let rows: Vec<Vec<String>> = report.effects.iter().map(row).collect();
    let heads = ["With", "Time", "A task, mean", "Cost", "Complete"];
    table("What more would change", &heads, &rows)
}

/// Less of it is better; what is small has no colour.
fn toned(value: f64, text: &str) -> String {
    let class = match value {
        _ if value <= -0.01 => "good",
        _ if value >= 0.01 => "bad",
        _ => return format!("<span class=\"tone\">{text}</span>"),
    };
    let strength = place((value.abs() * 2.0).min(0.4) * 100.0);
    format!("<span class=\"tone {class}\" style=\"--tone:{strength}%\">{text}</span>")
}
