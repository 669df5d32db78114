//! A plan for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Fitting, Plan};
use crate::report::dollars;

impl Plan {
    /// The plan as one JSON object: a function of scenario and seed.
    pub fn json(&self) -> Value {
        let best = self.best.map(|best| {
            let mut object = fitting(&self.options[best]);
            object["budget_usd"] = json!(self.budget);
            object
        });
        json!({
            "version": 1,
            "met": best.is_some(),
            "best": best,
            "options": self.options.iter().map(fitting).collect::<Vec<_>>(),
            "trade_off": self.trade_off.iter().map(fitting).collect::<Vec<_>>(),
        })
    }

    /// The plan in a few lines.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        match self.best.map(|best| &self.options[best]) {
            Some(best) => {
                let budget = self.budget.map_or_else(
                    || "no budget was found within which that holds".to_owned(),
                    |budget| format!("a budget of ${}", dollars(budget)),
                );
                let (workers, limits) = (best.workers, best.choice.name());
                let cap = match best.max_concurrent {
                    cap if cap > self.max_concurrent => format!(", max_concurrent = {cap},"),
                    _ => String::new(),
                };
                let plural = if workers == 1 { "" } else { "s" };
                _ = writeln!(
                    out,
                    "{workers} worker{plural}{cap} with limits {limits}, and {budget}"
                );
            }
            None => _ = writeln!(out, "NO PLAN: the goal is not met with any limits"),
        }
        _ = writeln!(out, "\nthe smallest fleet for each choice of limits");
        rows(&mut out, &self.options);
        if !self.trade_off.is_empty() {
            _ = writeln!(out, "\nwith fewer and with more workers");
            rows(&mut out, &self.trade_off);
        }
        out.truncate(out.trim_end().len());
        out
    }
}

fn rows(out: &mut String, fittings: &[Fitting]) {
    _ = writeln!(
        out,
        "{:<12}{:>8}  {:<8}{:>10}{:>12}  {:<25}",
        "limits", "workers", "goal", "time", "cost", "in the way"
    );
    for fitting in fittings {
        let [goal, time, cost, ..] = fitting.report.cells();
        let report = &fitting.report;
        let in_the_way = if report.was_asked() { report.bottleneck.name() } else { "not asked" };
        // That of ten runs one may fail is no news of what is met.
        let why_not = fitting.verdict.why_not.first().filter(|_| !fitting.verdict.met);
        let why = why_not.map_or("", String::as_str);
        let line = format!(
            "{:<12}{:>8}  {goal:<8}{time:>10}{cost:>12}  {in_the_way:<25}{why}",
            fitting.choice.name(),
            fitting.workers
        );
        _ = writeln!(out, "{}", line.trim_end());
    }
}

fn fitting(fitting: &Fitting) -> Value {
    let report = fitting.report.json();
    json!({
        "limits": fitting.choice.name(),
        "workers": fitting.workers,
        "max_concurrent": fitting.max_concurrent,
        "goal_met": fitting.verdict.met,
        "goal_probability": report["goal_probability"],
        "why_not": fitting.verdict.why_not,
        "makespan_ms": report["intervals"]["makespan_ms"],
        "cost_usd": report["intervals"]["cost_usd"],
        "presumed_cost_usd": report["intervals"]["presumed_cost_usd"],
        "completed": report["intervals"]["completed"],
        "bottleneck": report["bottleneck"],
        "uses": report["limits"],
    })
}
