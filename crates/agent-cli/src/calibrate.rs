//! `impresario calibrate`: latency models fitted on calls that were recorded.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use agent_core::clock::{Clock, Timestamp};
use agent_core::store::Reader;
use agent_sim::calibrate::{self, Calibrated, Calibration, Call, ENOUGH, Errors, Halves, Profile};
use agent_sim::draws::QuantileTable;
use agent_sim::latency::{Catalogue, Line};
use agent_sim::trace::Trace;
use serde_json::{Value, json};

use crate::args::{self, Common, Format};
use crate::exit::{Exit, Failure};
use crate::{output, when};

/// Fits, says how good it is, and writes the file.
pub(crate) fn run(args: &args::Calibrate, common: &Common) -> Result<Exit, Failure> {
    let (calls, origin) = observed(args, common)?;
    if calls.iter().all(|call| call.error.is_some()) {
        let what = "has no answered call to calibrate on: with a model, its input and how long it";
        return Err(format!("{origin} {what} took; run a fleet first, or name a --trace").into());
    }
    let against = args.against.as_deref().map(traced).transpose()?;
    let known = Catalogue::builtin();
    let calibration = Calibration::of(&calls, &known);
    if let Some(path) = &args.out {
        let file = file(&calibration, &origin);
        fs::write(path, file)
            .map_err(|error| format!("{}: cannot be written: {error}", path.display()))?;
    }
    let unseen = match &against {
        Some(unseen) => calibrate::errors(&calibration, unseen).map(Unseen::Others),
        None => {
            let times = u64::from(args.halvings);
            calibrate::halves(&calls, &known, args.seed, times).map(Unseen::Halves)
        }
    };
    let found = Found {
        profiles: Profile::of(&calls),
        crossed: calibrate::cross_validated(&calls, &known),
        calibration,
        origin,
        unseen,
    };
    let text = match output::format(common.format) {
        Format::Table => found.table(),
        Format::Json | Format::Jsonl | Format::Csv => serde_json::to_string_pretty(&found.json())?,
    };
    output::result(&text)?;
    Ok(Exit::Done)
}

/// The calls, and where they are from.
fn observed(args: &args::Calibrate, common: &Common) -> Result<(Vec<Call>, String), Failure> {
    if let Some(path) = &args.trace {
        return Ok((traced(path)?, path.display().to_string()));
    }
    let since = when::parse("--since", args.since.as_deref(), Clock::real().now())?;
    let since = since.unwrap_or(Timestamp::EPOCH);
    let reader = Reader::open(&common.store)?;
    let calls = calibrate::observed(&reader, |_, at| at >= since)?;
    Ok((calls, format!("store {}", common.store.display())))
}

fn traced(path: &Path) -> Result<Vec<Call>, Failure> {
    Ok(Call::of_trace(&Trace::open(path, None)?))
}

/// The file of latency models, with what it is in its head.
fn file(calibration: &Calibration, origin: &str) -> String {
    let origin = output::visible(origin);
    format!(
        "# Latency models fitted by `impresario calibrate` on {origin}.\n\
         # A scenario takes them so: [simulated] latency_file = \"this file\"\n\n{}",
        calibration.catalogue().to_toml()
    )
}

/// Sessions that were predicted without having been seen.
enum Unseen {
    Halves(Halves),
    Others(Errors),
}

/// All that is told.
struct Found {
    calibration: Calibration,
    profiles: BTreeMap<Arc<str>, Profile>,
    crossed: BTreeMap<Arc<str>, Errors>,
    origin: String,
    unseen: Option<Unseen>,
}

impl Found {
    fn json(&self) -> Value {
        let models = self.profiles.iter().map(|(model, profile)| {
            let mut object = asked(model, profile);
            let fitted = self.calibration.models.get(model).map(fitted);
            object["fitted"] = fitted.unwrap_or(Value::Null);
            object["cross_validated"] = self.crossed.get(model).map_or(Value::Null, errors);
            object
        });
        json!({
            "origin": self.origin,
            "models": models.collect::<Vec<_>>(),
            "halves": match &self.unseen {
                Some(Unseen::Halves(halves)) => json!({
                    "halves": halves.halves,
                    "seed": halves.seed,
                    "all": errors(&halves.all),
                    "median_error": interval(halves.medians),
                    "covered": interval(halves.covered),
                    "share_within_tenth": rounded(halves.within_tenth),
                }),
                _ => Value::Null,
            },
            "against": match &self.unseen {
                Some(Unseen::Others(others)) => errors(others),
                _ => Value::Null,
            },
        })
    }

    fn table(&self) -> String {
        let mut table = output::Table::new(&[
            "model",
            "calls",
            "sessions",
            "base",
            "per 1k in",
            "per 1k out",
            "spread",
            "session",
            "median error",
            "p95",
            "in 90 %",
            "",
        ]);
        for (model, fitted) in &self.calibration.models {
            table.row(&row(fitted, self.crossed.get(model)));
        }
        table.right_after(1);
        let mut text = table.to_string();
        text.push_str(
            "\n\nseconds; errors are of a session's total time, its calls and their tokens given, \
             each session predicted from the others\n",
        );
        for (model, fitted) in &self.calibration.models {
            text.push_str(&output::visible(&format!("{model}: {}", fitted.latency.source)));
            text.push('\n');
        }
        for (model, profile) in &self.profiles {
            text.push_str(&output::visible(&like(model, profile)));
            text.push('\n');
        }
        text.push_str(&self.unseen_text());
        text
    }

    fn unseen_text(&self) -> String {
        match &self.unseen {
            Some(Unseen::Halves(halves)) => {
                let [low, middle, high] = halves.medians.map(percent);
                let [least, usual, most] = halves.covered.map(percent);
                format!(
                    "half of the sessions predicted from the other half, {} halves drawn with seed {}: median error \
                     {} (of a half {low} to {high}, {middle} in the middle; at most 10 % in {}), \
                     p95 {}; the 90 % interval covers {} (of a half {least} to {most}, {usual} in \
                     the middle)",
                    halves.halves,
                    halves.seed,
                    percent(halves.all.median),
                    percent(halves.within_tenth),
                    percent(halves.all.p95),
                    percent(halves.all.covered),
                )
            }
            Some(Unseen::Others(errors)) => format!(
                "{} other sessions predicted: median error {}, p95 {}, bias {}; the 90 % interval \
                 covers {}",
                errors.sessions,
                percent(errors.median),
                percent(errors.p95),
                percent(errors.bias),
                percent(errors.covered),
            ),
            None => "too few sessions to predict some from others".to_owned(),
        }
    }
}

fn row(fitted: &Calibrated, crossed: Option<&Errors>) -> [String; 12] {
    let Line { base_s, per_1k_context_s, per_output_token_s } = fitted.latency.total;
    let error =
        |of: fn(&Errors) -> f64| crossed.map_or_else(|| "-".to_owned(), |it| percent(of(it)));
    [
        fitted.latency.name.clone(),
        fitted.calls.to_string(),
        fitted.sessions.to_string(),
        format!("{base_s:.3}"),
        format!("{per_1k_context_s:.5}"),
        format!("{:.3}", per_output_token_s * 1_000.0),
        format!("{:.2}", fitted.spread),
        format!("{:.2}", fitted.latency.session_sigma),
        error(|it| it.median),
        error(|it| it.p95),
        error(|it| it.covered),
        if fitted.latency.calibrated { String::new() } else { "UNCALIBRATED".to_owned() },
    ]
}

/// What was asked of a model, in a line.
fn like(model: &str, profile: &Profile) -> String {
    let quantiles = |table: &Option<QuantileTable>, digits: usize| {
        table.as_ref().map_or_else(
            || "unknown".to_owned(),
            |table| {
                let at = |p: f64| format!("{:.digits$}", table.at(p));
                format!("{} / {} / {}", at(0.05), at(0.5), at(0.95))
            },
        )
    };
    let failed: u64 = profile.errors.values().sum();
    let kinds = profile.errors.iter().map(|(kind, count)| format!("{kind} {count}"));
    let kinds = kinds.collect::<Vec<_>>().join(", ");
    let kinds = if kinds.is_empty() { kinds } else { format!(" ({kinds})") };
    format!(
        "{model}: p5 / p50 / p95 of input {}, output {}, seconds between calls {}; {failed} of {} \
         attempts failed{kinds}",
        quantiles(&profile.context, 0),
        quantiles(&profile.output, 0),
        quantiles(&profile.gap, 1),
        profile.calls,
    )
}

fn asked(model: &str, profile: &Profile) -> Value {
    let at = |table: &QuantileTable| agent_sim::draws::PROBABILITIES.map(|p| table.at(p));
    let quantiles = |table: &Option<QuantileTable>| {
        table.as_ref().map_or(Value::Null, |table| json!(at(table).map(rounded)))
    };
    // The cast saturates.
    let millis = |table: &QuantileTable| json!(at(table).map(|gap| (gap * 1e3).round() as u64));
    let share = |count: &u64| json!({ "count": count, "share": rounded(*count as f64 / profile.calls as f64) });
    let errors: BTreeMap<&str, Value> =
        profile.errors.iter().map(|(kind, count)| (&**kind, share(count))).collect();
    json!({
        "model": model,
        "attempts": profile.calls,
        "errors": errors,
        "probabilities": agent_sim::draws::PROBABILITIES,
        "input_tokens": quantiles(&profile.context),
        "output_tokens": quantiles(&profile.output),
        "tool_gap_ms": profile.gap.as_ref().map_or(Value::Null, millis),
        "cached_share": profile.cached_share.map(rounded),
    })
}

fn fitted(fitted: &Calibrated) -> Value {
    let latency = &fitted.latency;
    json!({
        "calibrated": latency.calibrated,
        "calls": fitted.calls,
        "calls_needed": ENOUGH,
        "sessions": fitted.sessions,
        "weight": rounded(fitted.weight),
        "helped_by": fitted.helped_by,
        "source": latency.source,
        "total": line(&latency.total),
        "spread": rounded(fitted.spread),
        "session_sigma": rounded(latency.session_sigma),
        "first": line(&latency.first),
        "first_calls": fitted.first_calls,
    })
}

/// A line in whole microseconds: a token takes some thousand.
fn line(line: &Line) -> Value {
    // The cast saturates.
    let micros = |seconds: f64| (seconds * 1e6).round() as u64;
    json!({
        "base_us": micros(line.base_s),
        "per_1k_context_us": micros(line.per_1k_context_s),
        "per_output_token_us": micros(line.per_output_token_s),
    })
}

fn errors(errors: &Errors) -> Value {
    json!({
        "sessions": errors.sessions,
        "median_error": rounded(errors.median),
        "p95_error": rounded(errors.p95),
        "bias": rounded(errors.bias),
        "covered": rounded(errors.covered),
    })
}

fn interval([p5, p50, p95]: [f64; 3]) -> Value {
    json!({ "p5": rounded(p5), "p50": rounded(p50), "p95": rounded(p95) })
}

fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
