//! `impresario simulate`: a workload in virtual time, before a cent is spent.

use std::fs;
use std::path::{Path, PathBuf};

use agent_core::clock::Clock;
use agent_sim::report::{Report, sweep_html};
use agent_sim::scenario::{Change, Scenario, ScenarioError};
use agent_sim::sweep::{self, Point};
use serde_json::{Value, json};
use thiserror::Error;

use crate::args::{Common, Format, Simulate};
use crate::exit::{Exit, Failure};
use crate::output;
use crate::run::tasks;

/// Most combinations of a sweep.
const MOST_POINTS: usize = 10_000;

/// Why nothing was simulated.
#[derive(Debug, Error)]
enum Refusal {
    #[error("{points} combinations are too many; a sweep may have {MOST_POINTS}")]
    TooMany { points: usize },
    #[error("{}: cannot be written", path.display())]
    Write { path: PathBuf, source: std::io::Error },
}

/// Simulates a scenario, or each point of a sweep, and prints what it came to.
pub(crate) fn run(args: &Simulate, common: &Common) -> Result<Exit, Failure> {
    let clock = Clock::real();
    let began = clock.now();
    let changes = changes(&args.set, args.seed)?;
    // Before anything is simulated: what cannot be written must not cost an hour.
    if let Some(folder) = &args.report {
        make(folder)?;
    }
    let mut tasks = Vec::new();
    if let Some(path) = &args.tasks {
        tasks::read(path, &mut tasks, None)?;
    }
    let load = |changes: &[Change]| Scenario::load_with(&args.scenario, changes, tasks.clone());
    let exit = match args.sweep.is_empty() {
        true => one(args, common, load(&changes)?)?,
        false => many(args, common, &changes, load)?,
    };
    if !common.quiet {
        let took = clock.now().since(began);
        output::note(&format!("simulated in {:.1} s", took.as_secs_f64()));
    }
    Ok(exit)
}

/// What is changed in the scenario's file: `seed` is short for `run.seed`.
pub(crate) fn changes(set: &[Change], seed: Option<u64>) -> Result<Vec<Change>, Failure> {
    let seed = seed.map(|seed| Change::new("run.seed", &seed.to_string())).transpose()?;
    Ok(set.iter().cloned().chain(seed).collect())
}

fn one(args: &Simulate, common: &Common, scenario: Scenario) -> Result<Exit, Failure> {
    let report = Report::of(&scenario)?;
    if let Some(folder) = &args.report {
        let json = serde_json::to_string_pretty(&report.json())? + "\n";
        write(&folder.join("report.json"), &json)?;
        write(&folder.join("report.html"), &report.html())?;
    }
    print(common, || report.text(), || report.json())?;
    Ok(exit(report.verdict.met))
}

fn many(
    args: &Simulate,
    common: &Common,
    changes: &[Change],
    load: impl Fn(&[Change]) -> Result<Scenario, ScenarioError>,
) -> Result<Exit, Failure> {
    let points = sweep::combinations(&args.sweep)?;
    if points.len() > MOST_POINTS {
        return Err(Refusal::TooMany { points: points.len() }.into());
    }
    let with = |point: Vec<Change>| {
        let all = [changes, &point].concat();
        Ok((point, load(&all)?))
    };
    let scenarios = points.into_iter().map(with).collect::<Result<Vec<_>, ScenarioError>>()?;
    let points = sweep::sweep(scenarios)?;
    if let Some(folder) = &args.report {
        let json = serde_json::to_string_pretty(&rows(&points))? + "\n";
        write(&folder.join("sweep.json"), &json)?;
        write(&folder.join("report.html"), &sweep_html(&points))?;
    }
    print(common, || table(&points), || rows(&points))?;
    Ok(exit(points.iter().any(|point| point.report.verdict.met)))
}

fn exit(met: bool) -> Exit {
    if met { Exit::Done } else { Exit::SomeFailed }
}

pub(crate) fn print(
    common: &Common,
    text: impl FnOnce() -> String,
    json: impl FnOnce() -> Value,
) -> Result<(), Failure> {
    let text = match output::format(common.format) {
        Format::Table => text().lines().map(output::visible).collect::<Vec<_>>().join("\n"),
        Format::Json | Format::Jsonl | Format::Csv => serde_json::to_string_pretty(&json())?,
    };
    Ok(output::result(&text)?)
}

fn rows(points: &[Point]) -> Value {
    let row = |point: &Point| {
        let set = point.changes.iter().map(|it| (it.path(), Value::from(it.value())));
        json!({ "set": set.collect::<serde_json::Map<_, _>>(), "report": point.report.json() })
    };
    json!({ "points": points.iter().map(row).collect::<Vec<_>>() })
}

fn table(points: &[Point]) -> String {
    let keys: Vec<String> = points
        .first()
        .map(|point| point.changes.iter().map(Change::path).collect())
        .unwrap_or_default();
    let fixed = ["goal", "time", "cost", "complete", "p95 of a task", "429s"];
    let header: Vec<&str> = keys.iter().map(String::as_str).chain(fixed).collect();
    let mut table = output::Table::new(&header);
    for point in points {
        let cells = point.changes.iter().map(|change| change.value().to_owned());
        table.row(&cells.chain(point.report.cells()).collect::<Vec<_>>());
    }
    table.to_string()
}

fn make(folder: &Path) -> Result<(), Refusal> {
    fs::create_dir_all(folder).map_err(|source| Refusal::Write { path: folder.to_owned(), source })
}

fn write(path: &Path, text: &str) -> Result<(), Refusal> {
    fs::write(path, text).map_err(|source| Refusal::Write { path: path.to_owned(), source })
}
