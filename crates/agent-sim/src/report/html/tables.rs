//! The tables at the end of the page: errors, runs, assumptions, and what it takes to repeat it.

use crate::engine::Replica;
use crate::report::{Assumption, Report};

use super::page::{bar, section, table};
use super::words::{dollars, escaped, lasting, percent, whole};

/// Failed tasks by code; nothing where none failed.
pub(super) fn errors(run: &Replica) -> String {
    if run.failed == 0 {
        return String::new();
    }
    let row = |(code, count): (&agent_core::task::ErrorCode, &u64)| {
        let share = *count as f64 / run.failed as f64;
        let bar = format!("{}<span class=\"beside\">{}</span>", bar(share, "full"), percent(share));
        vec![format!("<code>{code}</code>"), whole(*count), bar]
    };
    let rows: Vec<Vec<String>> = run.errors.iter().map(row).collect();
    let about = format!("{} of {} tasks failed.", whole(run.failed), whole(run.arrived));
    let table =
        table("Failed tasks by code", &["Code", "Tasks", "Share of those that failed"], &rows);
    section("Errors", &about, &format!("<div class=\"words\">{table}</div>\n"))
}

/// Most runs that are listed one by one.
const LISTED: usize = 50;

/// The runs one by one; nothing where there is one.
pub(super) fn replicas(report: &Report) -> String {
    if report.replicas.len() == 1 {
        return String::new();
    }
    let row = |run: &Replica| {
        let p95 = run.latency_at(95.0);
        vec![
            format!("seed {}", run.seed),
            lasting(run.makespan),
            dollars(run.charged().nanos() as f64 / 1e9),
            whole(run.completed),
            whole(run.failed),
            lasting(p95),
            whole(run.rate_limited),
        ]
    };
    let rows: Vec<Vec<String>> = report.replicas.iter().take(LISTED).map(row).collect();
    let heads = ["Run", "Time", "Cost", "Complete", "Fail", "p95 of a task", "429s"];
    let count = report.replicas.len();
    let about = format!("{count} runs of the same scenario, each with its own random numbers.");
    section("Runs", &about, &table("Runs", &heads, &rows))
}

pub(super) fn assumptions(report: &Report) -> String {
    let row = |it: &Assumption| {
        let badge = match it.calibrated {
            true => "<span class=\"badge good\">calibrated</span>",
            false => "<span class=\"badge warn\">UNCALIBRATED</span>",
        };
        vec![escaped(&it.what), badge.to_owned(), escaped(&it.source)]
    };
    let rows: Vec<Vec<String>> = report.assumptions.iter().map(row).collect();
    let about = match report.is_calibrated() {
        true => "All of it was fitted on calls of your own, or is the scenario's own word.",
        false => {
            "What is uncalibrated comes from others' measurements: good for comparing, not for \
             promising. Fit it on calls of your own before you rely on times."
        }
    };
    let table = table("Assumptions", &["What", "Status", "Where it comes from"], &rows);
    let body = format!("<div class=\"words\" id=\"assumptions\">{table}</div>\n");
    section("Assumptions", about, &body)
}

pub(super) fn facts(report: &Report) -> String {
    let run = report.first();
    let facts = [
        ("Scenario", escaped(&report.scenario)),
        ("Seed", run.seed.to_string()),
        ("Runs", report.replicas.len().to_string()),
        ("Restarts of workers", whole(run.restarts)),
        ("Events", whole(run.events)),
        ("Hash of the events", format!("<code>{:016x}</code>", run.event_hash)),
        ("Version", format!("impresario {}", env!("CARGO_PKG_VERSION"))),
    ];
    let item =
        |(name, value): &(&str, String)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n");
    let body: String = facts.iter().map(item).collect();
    let about = "The same scenario, seed and version give the same page, byte for byte.";
    section("To repeat it", about, &format!("<dl>\n{body}</dl>\n"))
}
