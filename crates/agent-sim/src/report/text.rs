//! The report for a terminal: fifteen lines.

use std::fmt::Write as _;

use agent_core::money::NanoUsd;

use super::goal::dollars;
use super::span::short as span;
use super::{Report, levers};
use crate::engine::{Replica, Stage, Sums};

impl Report {
    /// The report in at most fifteen lines.
    pub fn text(&self) -> String {
        let run = self.first();
        let mut out = String::new();
        let mut line = |text: String| {
            // Writing to a string cannot fail.
            _ = writeln!(out, "{text}");
        };
        line(self.headline());
        for why in self.verdict.told(self.replicas.len()).take(2) {
            line(format!("            {why}"));
        }
        line(format!(
            "tasks       {} of {} complete, {} fail{}",
            run.completed,
            run.arrived,
            run.failed,
            first_error(run)
        ));
        let [shortest, median, longest] = self.interval(|run| run.makespan).map(span);
        let several = self.replicas.len() > 1;
        let range = |from: &str, to: &str| match several {
            true => format!("  ({from} to {to} in 9 of 10 runs)"),
            false => String::new(),
        };
        line(format!("time        {median}{}", range(&shortest, &longest)));
        // What is presumed is that of the run whose cost is told.
        let costs = self.interval(|run| (run.charged(), run.presumed));
        let presumed = match costs[1].1 {
            NanoUsd::ZERO => String::new(),
            presumed => format!(", ${} of it presumed", dollars(presumed)),
        };
        let [least, cost, most] = costs.map(|(charged, _)| dollars(charged));
        line(format!(
            "cost        ${cost}{presumed}{}",
            range(&format!("${least}"), &format!("${most}"))
        ));
        line(format!(
            "calls       {} attempts, {} retried, {} refused with 429",
            run.attempts, run.retried, run.rate_limited
        ));
        let percentile = |percent: f64| span(run.latency_at(percent));
        line(format!(
            "a task      p50 {}, p95 {}, p99 {}",
            percentile(50.0),
            percentile(95.0),
            percentile(99.0)
        ));
        line(format!("spent on    {}", stages(run)));
        line(format!("in the way  {}", self.in_the_way()));
        for effect in levers::suggestions(&self.effects).into_iter().take(3) {
            line(format!(
                "  +{:.0} % {:<25} time {} %, a task's mean {} %, cost {} %, complete {} points",
                effect.raised * 100.0,
                effect.lever.name(),
                signed(effect.makespan, 0),
                signed(effect.latency, 0),
                signed(effect.cost, 0),
                signed(effect.success, 1)
            ));
        }
        let mut notes = self.assumptions.iter().filter(|it| it.note);
        if let Some(first) = notes.next() {
            let more = match notes.count() {
                0 => String::new(),
                more => format!(" (and {more} more, in the report)"),
            };
            line(format!("note        {}: {}{more}", first.what, first.source));
        }
        line(format!("ended       {}", sparkline(&run.series.sums)));
        out.truncate(out.trim_end().len());
        out
    }

    /// The cells of a row for it: goal, time, cost, complete, p95 of a task, 429s.
    pub fn cells(&self) -> [String; 6] {
        let run = self.first();
        [
            if self.verdict.met { "met" } else { "not met" }.to_owned(),
            span(self.interval(|run| run.makespan)[1]),
            format!("${}", dollars(self.interval(Replica::charged)[1])),
            format!("{} of {}", run.completed, run.arrived),
            span(run.latency_at(95.0)),
            run.rate_limited.to_string(),
        ]
    }

    fn headline(&self) -> String {
        let verdict = if self.verdict.met { "GOAL MET" } else { "GOAL NOT MET" };
        let sure = match self.replicas.len() {
            1 => "in 1 run".to_owned(),
            runs => format!("in {:.0} % of {runs} runs", self.verdict.probability * 100.0),
        };
        let calibrated = if self.is_calibrated() { "" } else { ", UNCALIBRATED" };
        format!("{verdict}  {}, {sure}, seed {}{calibrated}", self.scenario, self.first().seed)
    }

    fn in_the_way(&self) -> String {
        let bottleneck = &self.bottleneck;
        if bottleneck.lever.is_none() {
            return match self.was_asked() {
                true => "nothing: no limit would help if it were higher".to_owned(),
                false => "not asked (run.sensitivity = false)".to_owned(),
            };
        }
        let use_of = self.uses.iter().find(|it| it.name == bottleneck.name());
        let used = use_of.map(|it| format!(", {:.0} % used", it.share * 100.0));
        format!(
            "{}: {:.0} % of the time is waited for it{}",
            bottleneck.name(),
            bottleneck.share * 100.0,
            used.unwrap_or_default()
        )
    }
}

/// A share in per cent with its sign; nothing is +0.
pub(super) fn signed(share: f64, places: usize) -> String {
    match format!("{:+.places$}", share * 100.0) {
        nothing if nothing.trim_start_matches('-').parse() == Ok(0.0) => nothing.replace('-', "+"),
        some => some,
    }
}

fn first_error(run: &Replica) -> String {
    let most = run.errors.iter().max_by_key(|(_, count)| **count);
    most.map_or_else(String::new, |(code, count)| format!(" ({count} with {code})"))
}

fn stages(run: &Replica) -> String {
    let all: u128 = run.waits.iter().map(|ns| u128::from(*ns)).sum();
    let share = |stage: Stage| {
        let ns = u128::from(run.waits[stage as usize]);
        let percent = (ns * 100 + all / 2) / all.max(1);
        (percent > 0).then(|| format!("{} {percent} %", stage.name()))
    };
    Stage::ALL.into_iter().filter_map(share).collect::<Vec<_>>().join(", ")
}

/// Tasks ended over time, in 60 bars.
fn sparkline(sums: &[Sums]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let width = sums.len().div_ceil(60).max(1);
    let ended: Vec<u64> = sums
        .chunks(width)
        .map(|chunk| chunk.iter().map(|sum| sum.completed + sum.failed).sum())
        .collect();
    let most = ended.iter().copied().max().unwrap_or_default().max(1);
    let bar = |count: &u64| if *count == 0 { ' ' } else { BARS[(count * 7 / most) as usize] };
    ended.iter().map(bar).collect()
}
