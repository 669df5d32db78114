//! The head of the page: the verdict, and the figures that one asks for first.

use agent_core::money::NanoUsd;

use crate::engine::{End, Replica};
use crate::report::{Bottleneck, Lever, PROBABILITY, Report};

use super::words::{self, escaped, limit_name, place, whole};

/// Title, verdict, what was hoped for and what is missing.
pub(super) fn head(report: &Report, title: &str) -> String {
    let verdict = &report.verdict;
    let (class, word) = if verdict.met { ("good", "Goal met") } else { ("bad", "Goal not met") };
    let sure = match report.replicas.len() {
        1 => "in one run".to_owned(),
        runs => format!("in {} of {runs} runs", words::percent(verdict.probability)),
    };
    let sure = if report.replicas.len() > 1 && !verdict.met {
        format!("met {sure}; 90\u{202f}% are asked for")
    } else {
        sure
    };
    let why = verdict.told(report.replicas.len());
    let why: String = why.map(|why| format!("<li>{}</li>", unbroken(&why))).collect();
    let why = match why.is_empty() {
        true => why,
        false => format!("<ul class=\"why\">{why}</ul>\n"),
    };
    let uncalibrated = match report.is_calibrated() {
        true => "",
        false => "<a class=\"badge warn\" href=\"#assumptions\">UNCALIBRATED</a>",
    };
    let title = escaped(title);
    format!(
        "<header>\n<p class=\"kind\">Rehearsal in virtual time</p>\n<h1>{title}</h1>\n\
         <p class=\"verdict {class}\"><strong>{word}</strong> <span>{sure}</span> {uncalibrated}</p>\n\
         {why}<p class=\"goal\">Goal: {}.</p>\n</header>\n",
        goal(report)
    )
}

fn goal(report: &Report) -> String {
    let goal = &report.goal;
    let mut parts = vec![match goal.min_success {
        Some(share) if share < 1.0 => {
            format!("at least {} of the tasks complete", words::percent(share))
        }
        _ => "every task completes".to_owned(),
    }];
    parts.extend(goal.deadline.map(|it| format!("within {}", words::lasting(it))));
    parts.extend(goal.max_cost.map(|it| format!("for at most {}", words::dollars(usd(it)))));
    parts.join(", ")
}

fn usd(amount: NanoUsd) -> f64 {
    amount.nanos() as f64 / 1e9
}

/// Escaped; a sign of percent stays at its number.
fn unbroken(words: &str) -> String {
    escaped(words).replace(" %", "\u{202f}%")
}

/// The cards below the head.
pub(super) fn cards(report: &Report) -> String {
    let all = [
        time(report),
        cost(report),
        tasks(report),
        one_task(report.first()),
        calls(report.first()),
        in_the_way(report),
    ];
    format!("<div class=\"cards\">\n{}</div>\n", all.concat())
}

/// A card: its name, its figure, and lines below. HTML but for the name.
fn card(name: &str, figure: &str, below: &str) -> String {
    format!("<div class=\"card\"><h2>{name}</h2><p class=\"figure\">{figure}</p>{below}</div>\n")
}

fn time(report: &Report) -> String {
    let of = |run: &Replica| run.makespan.as_nanos() as f64;
    let spans = report.interval(|run| run.makespan);
    let goal = report.goal.deadline.map(|goal| goal.as_nanos() as f64);
    let mut below = range(report, spans.map(|it| it.as_nanos() as f64), goal, words::span);
    below += &judged(report, goal, words::span, "beyond", |run, goal| of(run) <= goal);
    let ended = match report.first().end {
        End::AllDone => "",
        End::TimeOver => "<p class=\"note\">its time was over; tasks were open</p>",
        End::Stopped => "<p class=\"note\">it was stopped; tasks were open</p>",
    };
    card("Time", &words::lasting(spans[1]), &(below + ended))
}

fn cost(report: &Report) -> String {
    // What is presumed is that of the run whose cost is told.
    let costs = report.interval(|run| (run.charged(), run.presumed));
    let presumed = costs[1].1;
    let costs = costs.map(|(charged, _)| usd(charged));
    let goal = report.goal.max_cost.map(usd);
    let mut below = range(report, costs, goal, words::dollars);
    let meets = |run: &Replica, goal| usd(run.charged()) <= goal;
    below += &judged(report, goal, words::dollars, "beyond", meets);
    if !presumed.is_zero() {
        let presumed = words::dollars(usd(presumed));
        below += &format!("<p class=\"note\">{presumed} of it presumed: fate unknown</p>");
    }
    card("Cost", &words::dollars(costs[1]), &below)
}

/// An interval as words and as a line, with the goal on it.
fn range(report: &Report, values: [f64; 3], goal: Option<f64>, show: fn(f64) -> String) -> String {
    let [low, middle, high] = values;
    let mut out = match report.replicas.len() {
        1 => "<p>one run: no interval</p>".to_owned(),
        runs => format!(
            "<p>{} to {} <span>(p5 to p95 of {runs} runs)</span></p>",
            show(low),
            show(high)
        ),
    };
    let end = high.max(goal.unwrap_or(0.0)) * 1.12;
    if end > 0.0 && (goal.is_some() || high > low) {
        let at = |value: f64| place(value / end * 100.0);
        let width = place(((high - low) / end * 100.0).max(0.8));
        let mark = goal.map(|goal| format!("<i class=\"at\" style=\"left:{}%\"></i>", at(goal)));
        out += &format!(
            "<div class=\"range\" aria-hidden=\"true\"><i class=\"from\" style=\"left:{}%;width:{width}%\"></i>\
             <i class=\"mid\" style=\"left:{}%\"></i>{}</div>",
            at(low),
            at(middle),
            mark.unwrap_or_default()
        );
    }
    out
}

/// Whether as many runs meet this part of the goal as must meet the whole; the others are `beyond` it.
fn judged(
    report: &Report,
    goal: Option<f64>,
    show: fn(f64) -> String,
    beyond: &str,
    meets: impl Fn(&Replica, f64) -> bool,
) -> String {
    let Some(goal) = goal else { return String::new() };
    let runs = report.replicas.len();
    let within = report.replicas.iter().filter(|run| meets(run, goal)).count();
    let enough = within as f64 / runs as f64 >= PROBABILITY;
    let (class, word, of) =
        if enough { ("good", "within", within) } else { ("bad", beyond, runs - within) };
    let some = match of {
        all if all == runs => String::new(),
        some => format!(" in {some} of {runs} runs"),
    };
    format!("<p class=\"{class}\">{word} the goal of {}{some}</p>", show(goal))
}

fn tasks(report: &Report) -> String {
    let run = report.first();
    let open = run.arrived - run.completed - run.failed;
    let mut below = format!(
        "<p>{} of {} complete, {} fail</p>",
        whole(run.completed),
        whole(run.arrived),
        whole(run.failed)
    );
    if open > 0 {
        below += &format!("<p class=\"note\">{} still open</p>", whole(open));
    }
    let least = Some(report.goal.min_success.unwrap_or(1.0));
    let meets = |run: &Replica, least| run.success() >= least;
    below += &judged(report, least, words::percent, "short of", meets);
    card("Tasks complete", &complete(run), &below)
}

/// So that 100 % are all of them.
fn complete(run: &Replica) -> String {
    match run.success() {
        share if share < 1.0 => words::percent(share.min(0.999)),
        share => words::percent(share),
    }
}

fn one_task(run: &Replica) -> String {
    let at = |share: f64| words::lasting(run.latency_at(share * 100.0));
    let below = format!(
        "<p>p90\u{a0}{}, p95\u{a0}{}, p99\u{a0}{}</p><p class=\"note\">from arrival to end</p>",
        at(0.9),
        at(0.95),
        at(0.99)
    );
    card("A task, median", &at(0.5), &below)
}

fn calls(run: &Replica) -> String {
    let usage = &run.usage;
    let input = usage.input_tokens + usage.cache_creation_input_tokens;
    let cached = match usage.cache_read_input_tokens {
        0 => String::new(),
        tokens => format!(", {} from the cache", words::number(tokens as f64)),
    };
    let below = format!(
        "<p>{} retried, {} refused with 429</p><p class=\"note\">tokens: {} in{cached}, {} out</p>",
        whole(run.retried),
        whole(run.rate_limited),
        words::number(input as f64),
        words::number(usage.output_tokens as f64)
    );
    card("Calls", &whole(run.attempts), &below)
}

fn in_the_way(report: &Report) -> String {
    let Bottleneck { lever, share, .. } = report.bottleneck;
    let Some(lever) = lever else {
        let (found, below) = match report.was_asked() {
            true => ("nothing", "<p>no limit would help if it were higher</p>"),
            false => ("not asked", "<p>run.sensitivity = false</p>"),
        };
        return card("In the way", &format!("<span class=\"name\">{found}</span>"), below);
    };
    let effect = report.effects.iter().find(|effect| effect.lever == lever);
    let changes = effect.map(|effect| {
        let seen = |share: f64| share.abs() >= 0.005;
        let success = (effect.success, format!("complete {}", words::points(effect.success)));
        let time = (effect.makespan, format!("time {}", words::change(effect.makespan)));
        let task = (effect.latency, format!("a task's mean {}", words::change(effect.latency)));
        let all = [success, time, task].into_iter();
        let seen = all.filter(|(share, _)| seen(*share)).map(|(_, text)| text);
        let changes = seen.collect::<Vec<_>>().join(", ");
        let share = words::percent(effect.raised);
        let more = match lever {
            Lever::ProviderLatency => format!("answers {share} faster"),
            _ => format!("{share} more of it"),
        };
        format!("<p class=\"note\">{more}: {changes}</p>")
    });
    let below = format!(
        "<p>{} of the time is waited for it</p>{}",
        words::percent(share),
        changes.unwrap_or_default()
    );
    card("In the way", &format!("<span class=\"name\">{}</span>", limit_name(lever.name())), &below)
}
