//! What a run came to: one JSON object, or tables for a person.

use std::collections::BTreeMap;

use agent_core::coordinator::Summary;
use agent_core::llm::redact;
use agent_core::money::NanoUsd;
use agent_core::system::Ended;
use agent_core::task::{Outcome, Status};
use serde::Serialize;

use crate::output::Table;

/// The summary as it is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) run_id: String,
    pub(crate) status: Ended,
    #[serde(flatten)]
    pub(crate) summary: Summary,
    pub(crate) wall_ms: u64,
    #[serde(skip)]
    pub(crate) ends: Ends,
}

/// Failed tasks that are named in a table.
const NAMED: usize = 10;

/// What the tasks came to: by project, and which failed first.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    by_project: BTreeMap<Option<String>, Project>,
    /// The first failed tasks: id, code and message.
    failures: Vec<[String; 3]>,
    failed: usize,
}

#[derive(Debug, Default)]
struct Project {
    completed: u64,
    failed: u64,
    tokens: u64,
    cost: NanoUsd,
    presumed: NanoUsd,
}

impl Ends {
    pub(crate) fn count(&mut self, outcome: &Outcome) {
        let project = self.by_project.entry(outcome.project_id.clone()).or_default();
        match outcome.status {
            Status::Completed => project.completed += 1,
            Status::Failed => project.failed += 1,
        }
        project.tokens = project.tokens.saturating_add(outcome.usage.total());
        project.cost = project.cost.saturating_add(outcome.cost_usd);
        project.presumed = project.presumed.saturating_add(outcome.presumed_cost_usd);
        let Some(error) = &outcome.error else { return };
        self.failed += 1;
        if self.failures.len() < NAMED {
            // Ids and messages hold what others wrote: one line each, and nothing that acts.
            let (id, message) = (redact(outcome.task_id.as_str()), redact(&error.message));
            self.failures.push([id, error.code.to_string(), message]);
        }
    }

    /// Which tasks failed and why; nothing where none did.
    fn failed(&self) -> String {
        if self.failures.is_empty() {
            return String::new();
        }
        let mut table = Table::new(&["failed task", "code", "why"]);
        for failure in &self.failures {
            table.row(failure);
        }
        let more = match self.failed - self.failures.len() {
            0 => String::new(),
            more => format!("\n … and {more} more: their outcomes say why"),
        };
        format!("\n\n{table}{more}")
    }

    fn projects(&self) -> Table {
        let mut table =
            Table::new(&["project", "completed", "failed", "tokens", "cost $", "presumed $"]);
        for (name, project) in &self.by_project {
            table.row(&[
                name.clone().unwrap_or_else(|| "(none)".to_owned()),
                project.completed.to_string(),
                project.failed.to_string(),
                project.tokens.to_string(),
                project.cost.to_string(),
                project.presumed.to_string(),
            ]);
        }
        table.right_after(1);
        table
    }
}

impl Report {
    /// The summary as JSON on one line.
    pub(crate) fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// The summary for a person.
    pub(crate) fn text(&self) -> String {
        let Summary { tasks, calls, usage, latency_ms, errors, audit_warnings, .. } = &self.summary;
        let seconds = |ms: u64| format!("{:.1} s", ms as f64 / 1_000.0);
        let status = match self.status {
            Ended::Finished => "finished",
            Ended::Interrupted => "interrupted (go on with --resume)",
            Ended::Stopped => "stopped (go on with --resume)",
        };
        let mut rows = Table::new(&["run", &self.run_id]);
        let mut row = |name: &str, value: String| rows.row(&[name, &value]);
        row("status", format!("{status} after {}", seconds(self.wall_ms)));
        row(
            "tasks",
            format!("{} completed, {} failed, of {}", tasks.completed, tasks.failed, tasks.total),
        );
        for (code, count) in errors {
            row("", format!("{count} × {code}"));
        }
        row(
            "calls",
            format!(
                "{} attempts: {} succeeded, {} failed, {} retried",
                calls.attempts, calls.succeeded, calls.failed, calls.retried
            ),
        );
        row("tokens", format!("{} in, {} out", usage.all_input(), usage.output_tokens));
        row("cost", format!("${}", self.summary.cost_usd));
        if !self.summary.presumed_cost_usd.is_zero() {
            row("presumed", format!("${} (may have been billed)", self.summary.presumed_cost_usd));
        }
        row("workers", format!("{} ({} restarts)", self.summary.agents, self.summary.restarts));
        row(
            "task time",
            format!(
                "p50 {}, p95 {}, p99 {}",
                seconds(latency_ms.p50),
                seconds(latency_ms.p95),
                seconds(latency_ms.p99)
            ),
        );
        for (event, count) in audit_warnings {
            row("warnings", format!("{count} × {event}"));
        }
        format!("{rows}\n\n{}{}", self.ends.projects(), self.ends.failed())
    }
}
