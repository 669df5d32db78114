//! A live view of a run on stderr, where that is a terminal.

use std::io::IsTerminal;
use std::time::Duration;

use agent_core::clock::{Clock, Timestamp};
use agent_core::coordinator::Snapshot;
use agent_core::ledger::Balance;
use agent_core::permits::PairHeadroom;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

/// Budgets and limits that are shown: the fullest ones.
const LINES: usize = 3;

/// Shows how far a run has come, and what it is doing.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    began: Timestamp,
    /// Tasks that had ended when it began: a resumed run has some.
    before: Option<u64>,
}

impl Progress {
    /// A view of `total` tasks; hidden with `quiet`, and where stderr is not a terminal.
    pub(crate) fn new(total: u64, quiet: bool, clock: &Clock) -> Progress {
        let shown = !quiet && std::io::stderr().is_terminal();
        let target = if shown {
            ProgressDrawTarget::stderr_with_hz(10)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let template = " {elapsed_precise} {bar:32.cyan/blue} {pos}/{len} tasks{msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━━─"));
        }
        Progress { bar, began: clock.now(), before: None }
    }

    /// Whether anybody sees it.
    pub(crate) fn is_shown(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// Shows a snapshot.
    pub(crate) fn show(&mut self, snapshot: &Snapshot) {
        let tasks = snapshot.summary.tasks;
        let ended = tasks.completed + tasks.failed;
        let before = *self.before.get_or_insert(ended);
        let pace = Pace { done: ended - before, took: snapshot.at.since(self.began) };
        let left = self.bar.length().unwrap_or_default().saturating_sub(ended);
        self.bar.set_position(ended);
        self.bar.set_message(message(snapshot, pace, left));
    }

    /// Takes the view away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// How fast tasks end.
#[derive(Debug, Clone, Copy)]
struct Pace {
    done: u64,
    took: Duration,
}

impl Pace {
    /// `· 4.2 a second, about 15s left`; nothing before there is anything to say.
    fn text(self, left: u64) -> String {
        let seconds = self.took.as_secs_f64();
        if self.done == 0 || seconds < 1.0 {
            return String::new();
        }
        let each_second = self.done as f64 / seconds;
        let rest = Duration::from_secs((left as f64 / each_second).ceil() as u64);
        let rest = humantime::format_duration(rest);
        match left {
            0 => format!(" · {each_second:.1} a second"),
            _ => format!(" · {each_second:.1} a second, about {rest} left"),
        }
    }
}

fn message(snapshot: &Snapshot, pace: Pace, left: u64) -> String {
    let Snapshot { summary, queues, workers, .. } = snapshot;
    let mut lines = vec![pace.text(left)];
    let urgent = match (queues.high, queues.low) {
        (0, 0) => String::new(),
        (high, low) => format!(" ({high} high, {} normal, {low} low)", queues.normal),
    };
    let more = some("failed", summary.tasks.failed) + &some("retries", summary.calls.retried);
    lines.push(format!(
        "tasks     {} running · {} queued{urgent}{more}",
        snapshot.running, snapshot.queued
    ));
    let rest = [
        some("resting", workers.resting as u64),
        some("down", workers.down as u64),
        some("gone", workers.gone as u64),
        some("restarts", summary.restarts),
    ];
    lines.push(format!(
        "workers   {} busy · {} ready{}",
        workers.busy,
        workers.ready,
        rest.concat()
    ));
    lines.push(format!(
        "calls     {} in flight · {} done",
        snapshot.in_flight, summary.calls.succeeded
    ));
    let mut limits: Vec<_> = snapshot.limits.iter().filter_map(limit).collect();
    limits.sort_by(|a, b| b.0.total_cmp(&a.0));
    lines.extend(limits.into_iter().take(LINES).map(|(_, text)| format!("limit     {text}")));
    let presumed = match summary.presumed_cost_usd.is_zero() {
        true => String::new(),
        false => format!(" · ${} presumed", summary.presumed_cost_usd),
    };
    lines.push(format!("money     ${} spent{presumed}", summary.cost_usd));
    let mut budgets: Vec<_> = snapshot.budgets.iter().map(budget).collect();
    budgets.sort_by(|a, b| b.0.total_cmp(&a.0));
    lines.extend(budgets.into_iter().take(LINES).map(|(_, text)| format!("budget    {text}")));
    lines.join("\n ")
}

/// ` · 3 failed`; nothing for none.
fn some(what: &str, count: u64) -> String {
    if count == 0 { String::new() } else { format!(" · {count} {what}") }
}

/// How full the limits of a key and model are, where there are any but that on attempts at once.
fn limit(pair: &PairHeadroom) -> Option<(f64, String)> {
    let named = [
        ("requests", pair.requests),
        ("input tokens", pair.input_tokens),
        ("output tokens", pair.output_tokens),
    ];
    let limited = named.into_iter().filter(|(_, (_, limit))| *limit != u64::MAX);
    let full = |used: u64, limit: u64| used as f64 / limit.max(1) as f64;
    let most = limited.clone().map(|(_, (used, limit))| full(used, limit)).reduce(f64::max)?;
    let shares: Vec<_> = limited
        .map(|(what, (used, limit))| {
            format!("{:.0} % of {limit} {what}", full(used, limit) * 100.0)
        })
        .collect();
    let waiting = some("waiting", pair.waiting as u64);
    let model = output::visible(&pair.model);
    Some((most, format!("{model} · {} a minute{waiting}", shares.join(", "))))
}

/// How full a budget is, money in flight included.
fn budget(balance: &Balance) -> (f64, String) {
    let Balance { scope, limit, spent, presumed, reserved, window } = balance;
    let used = spent.saturating_add(*presumed).saturating_add(*reserved);
    let share = used.nanos() as f64 / limit.nanos().max(1) as f64;
    let scope = output::visible(&scope.to_string());
    let text = format!("{scope} · {:.0} % of ${limit} ({window})", share * 100.0);
    (share, text)
}

#[cfg(test)]
mod tests {
    use agent_core::ledger::{Scope, Window};

    use super::*;

    #[test]
    fn the_view_names_what_is_there_and_leaves_out_what_is_not() {
        let mut snapshot = Snapshot::default();
        (snapshot.running, snapshot.queued, snapshot.queues.normal) = (4, 6, 6);
        let pace = Pace { done: 10, took: Duration::from_secs(5) };
        let plain = message(&snapshot, pace, 20);
        assert!(plain.starts_with(" · 2.0 a second, about 10s left\n"), "{plain}");
        assert!(plain.contains("tasks     4 running · 6 queued\n"), "{plain}");
        assert!(!plain.contains("budget") && !plain.contains("failed"), "{plain}");

        snapshot.summary.tasks.failed = 2;
        snapshot.budgets = vec![Balance {
            scope: Scope::global(),
            window: Window::Day,
            limit: "5.00".parse().unwrap(),
            spent: "1.00".parse().unwrap(),
            presumed: "0.25".parse().unwrap(),
            reserved: "1.25".parse().unwrap(),
        }];
        let more = message(&snapshot, pace, 20);
        assert!(more.contains("· 2 failed"), "{more}");
        assert!(more.contains("budget    global · 50 % of $5"), "{more}");
    }
}
