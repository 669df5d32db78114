//! A progress bar on stderr, where that is a terminal.

use std::io::IsTerminal;

use agent_core::coordinator::Snapshot;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shows how far a run has come.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// A bar for `total` tasks; hidden with `quiet`, and where stderr is not a terminal.
    pub(crate) fn new(total: u64, quiet: bool) -> Progress {
        let shown = !quiet && std::io::stderr().is_terminal();
        let target = if shown {
            ProgressDrawTarget::stderr_with_hz(10)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let style = ProgressStyle::with_template(
            "{elapsed_precise} {bar:32.cyan/blue} {pos}/{len} tasks · {msg}",
        );
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Progress(bar)
    }

    /// Shows a snapshot.
    pub(crate) fn show(&self, snapshot: &Snapshot) {
        let summary = &snapshot.summary;
        self.0.set_position(summary.tasks.completed + summary.tasks.failed);
        let failed = match summary.tasks.failed {
            0 => String::new(),
            failed => format!(" · {failed} failed"),
        };
        let retried = match summary.calls.retried {
            0 => String::new(),
            retried => format!(" · {retried} retries"),
        };
        self.0.set_message(format!(
            "{} working · {} queued · ${}{retried}{failed}",
            snapshot.running, snapshot.queued, summary.cost_usd
        ));
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}
