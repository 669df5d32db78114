//! From the text of a scenario to a [`Scenario`].

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_core::config::read::{self, Field, Section};
use agent_core::config::{ConfigError, Fleet};
use agent_core::pricing::Catalogue;
use agent_core::task::Task;

use super::change::{self, Change};
use super::{Goal, RunSpec, Scenario, ScenarioError, faults, provider, workload};

/// The keys of a scenario that a fleet file has not.
const KEYS: [&str; 7] = ["version", "fleet", "run", "goal", "workload", "simulated", "fault"];

/// Whether a top-level key is one of the scenario's own, rather than of its fleet.
pub(super) fn is_own(key: &str) -> bool {
    KEYS.contains(&key)
}

/// The text of a file.
pub(super) fn text(path: &Path) -> Result<String, ScenarioError> {
    let wrong = |source| ScenarioError::Read { file: path.to_owned(), source };
    fs::read_to_string(path).map_err(wrong)
}

/// The path that a key names, from the folder of the file in which it stands.
pub(super) fn beside(field: &Field<'_>, folder: Option<&Path>) -> Result<PathBuf, ConfigError> {
    let name = field.text()?;
    match folder {
        Some(folder) => Ok(folder.join(name)),
        None => Err(field.wrong("names a file, which a scenario without a folder cannot")),
    }
}

/// What is wrong with the file that a key names, down to what the system says of it.
pub(super) fn unusable(field: &Field<'_>, error: &dyn Error) -> ConfigError {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    let told: Vec<String> = causes.map(ToString::to_string).collect();
    field.wrong(format_args!("cannot be used: {}", told.join(": ")))
}

/// Whose text it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    /// Its name in reports.
    pub(super) name: &'a str,
    /// Its name in errors.
    pub(super) file: &'a str,
    /// Where it is; files that it names are beside it.
    pub(super) path: Option<&'a Path>,
}

pub(super) fn scenario(
    text: &str,
    source: Source<'_>,
    changes: &[Change],
    tasks: Vec<Task>,
) -> Result<Scenario, ScenarioError> {
    if changes.is_empty() {
        return changed(text, source, changes, tasks);
    }
    let found = changed(text, source, changes, tasks.clone());
    found
        .map_err(|error| change::blamed(error, changes, || changed(text, source, &[], tasks).err()))
}

/// Reads a text with `changes` made to it; the lines of errors are those of the text that results.
fn changed(
    text: &str,
    Source { name, file, path }: Source<'_>,
    changes: &[Change],
    tasks: Vec<Task>,
) -> Result<Scenario, ScenarioError> {
    let folder = path.map(|path| path.parent().unwrap_or_else(|| Path::new("")));
    let (own, of_fleet) = change::split(text, changes)?;
    let text = change::apply(text, file, &own)?;
    let known: Vec<&str> = KEYS.into_iter().chain(Fleet::KEYS).collect();
    let scenario = read::file(&text, file, &known, |top| {
        version(top)?;
        let mut fleet = fleet(top, folder, &of_fleet)?;
        fleet.task.extend(tasks);
        Ok::<_, ScenarioError>(whole(top, name, fleet, folder)?)
    })?;
    let builtin = Catalogue::builtin();
    let prices = match scenario.fleet.prices.is_empty() {
        true => builtin,
        false => Arc::new(builtin.with(&scenario.fleet.prices)?),
    };
    scenario.fleet.check_models(&prices)?;
    let mut ids = BTreeSet::new();
    let mut given = scenario.workload.iter().flat_map(|workload| &workload.given);
    if let Some(twice) = given.find(|task| !ids.insert(&task.id)) {
        return Err(ScenarioError::TaskTwice(twice.id.clone()));
    }
    for id in ids {
        if let Some(workload) = scenario.workload.iter().find(|it| it.brings(id.as_str())) {
            let (id, workload) = (id.clone(), workload.name.clone());
            return Err(ScenarioError::TaskOfWorkload { id, workload });
        }
    }
    Ok(Scenario { prices, ..scenario })
}

fn version(top: &Section<'_>) -> Result<(), ConfigError> {
    top.or("version", (), |it| match it.whole()? {
        1 => Ok(()),
        _ => Err(it.wrong("is not known; write 1")),
    })
}

/// The fleet: of the file that is named, or of this one.
fn fleet(
    top: &Section<'_>,
    folder: Option<&Path>,
    changes: &[Change],
) -> Result<Fleet, ScenarioError> {
    // What a shell happens to hold must not change what a scenario says.
    let nothing = |_: &str| None;
    let Some(field) = top.field("fleet") else {
        return Ok(Fleet::read(top, &nothing)?);
    };
    if let Some(double) = Fleet::KEYS.iter().find_map(|key| top.field(key)) {
        return Err(double.wrong("stands beside fleet, the file that has it; keep one").into());
    }
    let path = beside(&field, folder)?;
    let shown = path.display().to_string();
    let text = change::apply(&text(&path)?, &shown, changes)?;
    Ok(Fleet::parse(&text, &shown, &nothing)?)
}

fn whole(
    top: &Section<'_>,
    name: &str,
    mut fleet: Fleet,
    folder: Option<&Path>,
) -> Result<Scenario, ConfigError> {
    let given = std::mem::take(&mut fleet.task);
    Ok(Scenario {
        name: name.to_owned(),
        prices: Catalogue::builtin(),
        run: top.or("run", RunSpec::default(), run)?,
        goal: top.or("goal", Goal::default(), goal)?,
        workload: workload::workloads(top, &fleet, given, folder)?,
        provider: provider::provider(top, &fleet.limits, folder)?,
        fault: faults::faults(top)?,
        fleet,
    })
}

fn run(field: &Field<'_>) -> Result<RunSpec, ConfigError> {
    let table = field.section(&["seed", "replicas", "until", "start", "sensitivity"])?;
    let default = RunSpec::default();
    Ok(RunSpec {
        seed: table.or("seed", default.seed, |it| {
            u64::try_from(it.whole()?)
                .map_err(|_| it.wrong("is below 0; write a whole number from 0"))
        })?,
        replicas: table.or("replicas", default.replicas, |it| match it.count()? {
            replicas if std::num::NonZeroU32::get(replicas) <= 10_000 => Ok(replicas),
            _ => Err(it.wrong("is too large; write at most 10000")),
        })?,
        until: table.or("until", None, |it| match it.str("\"all-done\" or a duration") {
            Ok("all-done") => Ok(None),
            _ => it.duration().map(Some),
        })?,
        start: table.or("start", default.start, |it| it.parsed("a time in quotes"))?,
        sensitivity: table.or("sensitivity", default.sensitivity, Field::boolean)?,
    })
}

fn goal(field: &Field<'_>) -> Result<Goal, ConfigError> {
    let table = field.section(&["deadline", "max_cost_usd", "min_success"])?;
    Ok(Goal {
        deadline: table.maybe("deadline", Field::duration)?,
        max_cost: table.maybe("max_cost_usd", Field::money)?,
        min_success: table.maybe("min_success", workload::share)?,
    })
}
