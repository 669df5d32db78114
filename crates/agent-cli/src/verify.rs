//! `impresario verify`: a past run simulated again, predicted beside real.

use std::num::NonZeroU32;

use agent_core::config::Fleet;
use agent_core::money::NanoUsd;
use agent_core::store::Reader;
use agent_sim::verify::{self, Basis, Compared, Verification};
use serde_json::{Map, Value, json};

use crate::args::{self, Common, Format};
use crate::exit::{Exit, Failure};
use crate::output;

/// Simulates and compares. How far off it is does not matter for the exit code.
pub(crate) fn run(args: &args::Verify, common: &Common) -> Result<Exit, Failure> {
    let reader = Reader::open(&common.store)?;
    let fleet = args.fleet.as_deref().map(Fleet::load).transpose()?;
    // One at least, as the argument is read.
    let seeds = NonZeroU32::new(args.seeds).unwrap_or(NonZeroU32::MIN);
    let found = verify::verify(&reader, &args.run, fleet, seeds)?;
    let text = match output::format(common.format) {
        Format::Table => table(&found),
        Format::Json | Format::Jsonl | Format::Csv => {
            serde_json::to_string_pretty(&object(&found))?
        }
    };
    output::result(&text)?;
    Ok(Exit::Done)
}

fn object(found: &Verification) -> Value {
    let figures = found.figures.iter().map(|figure| {
        let shown = |value: f64| shown(figure.name, value);
        let [p5, p50, p95] = figure.predicted.map(shown);
        let error = figure.error().map(|error| rounded(error * 100.0));
        let value = json!({
            "predicted": p50, "p5": p5, "p95": p95, "real": shown(figure.real),
            "error_percent": error,
        });
        (figure.name.to_owned(), value)
    });
    json!({
        "run_id": found.run_id,
        "tasks": found.tasks,
        "seeds": found.seeds,
        "calibrated": found.calibrated,
        "latency": {
            "fitted_on": match found.basis {
                Basis::OtherRuns => "other_runs",
                Basis::ThisRun => "this_run",
            },
            "calls": found.calls,
        },
        "figures": figures.collect::<Map<_, _>>(),
        "notes": found.notes,
    })
}

/// A figure in JSON: money is a decimal string, all else is whole.
fn shown(name: &str, value: f64) -> Value {
    // The casts saturate.
    match name {
        "cost_usd" => json!(NanoUsd::from_nanos((value * 1e9).round() as u64)),
        _ => json!(value.round() as u64),
    }
}

fn table(found: &Verification) -> String {
    let mut table =
        output::Table::new(&["", "predicted", "5 % of seeds", "95 % of seeds", "real", "error"]);
    for figure in &found.figures {
        table.row(&row(figure));
    }
    table.right_after(1);
    let basis = match found.basis {
        Basis::OtherRuns => "other runs",
        Basis::ThisRun => "this very run: the others have fewer of one of its models",
    };
    let mark = if found.calibrated { "" } else { "; UNCALIBRATED" };
    let mut text = format!(
        "run {}: {} tasks, simulated with {} seeds; latency fitted on {} calls of {basis}{mark}\n\
         {table}",
        output::visible(&found.run_id),
        found.tasks,
        found.seeds,
        found.calls,
    );
    for note in &found.notes {
        text.push_str(&format!("\n{}", output::visible(note)));
    }
    text
}

fn row(figure: &Compared) -> [String; 6] {
    let (name, scale, digits) = match figure.name {
        "cost_usd" => ("cost $", 1.0, 4),
        "attempts" => ("attempts", 1.0, 0),
        "makespan_ms" => ("makespan s", 1e-3, 2),
        "task_mean_ms" => ("task, mean s", 1e-3, 2),
        "task_p50_ms" => ("task, p50 s", 1e-3, 2),
        "task_p95_ms" => ("task, p95 s", 1e-3, 2),
        other => (other, 1.0, 2),
    };
    let shown = |value: f64| format!("{:.digits$}", value * scale);
    let [low, middle, high] = figure.predicted.map(shown);
    let error = figure.error();
    let error = error.map_or_else(|| "-".to_owned(), |error| format!("{:+.1} %", error * 100.0));
    [name.to_owned(), middle, low, high, shown(figure.real), error]
}

fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
