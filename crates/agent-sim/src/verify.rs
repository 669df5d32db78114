//! A past run, simulated again and held against what it really came to.
//!
//! From the store come the tasks with the moments at which they were accepted, their calls with
//! their true token counts and the pauses between them, and which attempts failed, with what and after
//! how long: these fail again. Queue, limits, budgets and retries are those of the fleet file; how long calls take is drawn from what
//! was calibrated. What is found wrong here is wrong in a rehearsal too.

mod attempts;
mod figures;
mod rebuild;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::sync::Arc;

use agent_core::clock::Timestamp;
use agent_core::config::{ConfigError, Fleet};
use agent_core::pricing::OverrideError;
use agent_core::record::UsageRecord;
use agent_core::store::{PastRun, Reader, StoreError};
use thiserror::Error;

pub use figures::{Compared, FIGURES, Figures};

use crate::calibrate::{self, Calibrated, Calibration};
use crate::engine::SimulationError;
use crate::latency::Catalogue;
use crate::report::{seeds, simulate_all};
use rebuild::rebuild;

/// Why a run cannot be verified.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such run.
    #[error("the store has no run \"{id}\"; it has {}", known(.runs))]
    NoRun {
        /// What was asked for.
        id: String,
        /// The runs that there are, the last at the end.
        runs: Vec<String>,
    },
    /// Nothing of it can be simulated.
    #[error(
        "no task of run {id} has both an outcome and a call on record; name a run that has ended \
         and whose records are kept"
    )]
    Nothing {
        /// The run.
        id: String,
    },
    /// Its fleet cannot be read.
    #[error("the fleet of the run cannot be used; name its file with --fleet")]
    Fleet(#[from] ConfigError),
    /// A price of the fleet is wrong.
    #[error(transparent)]
    Prices(#[from] OverrideError),
    /// It could not be simulated.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
}

fn known(runs: &[String]) -> String {
    match runs {
        [] => "none".to_owned(),
        [.., last] if runs.len() > 5 => format!("{}, the last of which is {last}", runs.len()),
        runs => runs.join(", "),
    }
}

/// Where the latency of a verification comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The calls of all other runs of the store.
    OtherRuns,
    /// Those of this very run: the others have fewer calls of one of its models, and not enough.
    ThisRun,
}

/// A run beside its simulation.
#[derive(Debug, Clone)]
pub struct Verification {
    /// The run.
    pub run_id: String,
    /// Tasks that were simulated.
    pub tasks: u64,
    /// How many seeds it was simulated with.
    pub seeds: u32,
    /// What its latency was fitted on.
    pub basis: Basis,
    /// How many calls that were.
    pub calls: u64,
    /// Whether every model of it is calibrated.
    pub calibrated: bool,
    /// The figures, predicted and real.
    pub figures: Vec<Compared>,
    /// What was left out or taken for granted, as sentences.
    pub notes: Vec<String>,
}

/// Simulates run `id` (`last` is the last one) with `seeds` seeds, with the fleet of its own or
/// with `fleet`.
///
/// # Errors
///
/// [`VerifyError`] where there is nothing to verify, or no way to do so.
pub fn verify(
    reader: &Reader,
    id: &str,
    fleet: Option<Fleet>,
    seed_count: NonZeroU32,
) -> Result<Verification, VerifyError> {
    let run = find(reader, id)?;
    let records = records(reader, &run)?;
    let (latency, basis, calls) = latency(reader, &run)?;
    let mut failures = calibrate::failures(reader)?;
    failures.retain(|failed| failed.subject.run_id == run.run_id);
    let built = rebuild(&run, (&records, &failures), fleet, latency, seed_count)?;
    let scenario = &built.scenario;
    let models = built.models.iter().map(|model| scenario.provider.models.find(model));
    let calibrated = models.into_iter().all(|it| it.is_ok_and(|it| it.model.calibrated));
    let jobs: Vec<_> = seeds(scenario).map(|seed| (scenario, seed)).collect();
    let replicas = simulate_all(&jobs)?;
    let predicted: Vec<Figures> = replicas.iter().map(Figures::predicted).collect();
    Ok(Verification {
        run_id: run.run_id.to_string(),
        tasks: scenario.workload[0].given.len() as u64,
        seeds: seed_count.get(),
        basis,
        calls,
        calibrated,
        figures: Compared::all(&predicted, &built.real),
        notes: built.notes,
    })
}

fn find(reader: &Reader, id: &str) -> Result<PastRun, VerifyError> {
    let runs = reader.runs()?;
    let wanted = if id == "last" { runs.last().map_or(id, |last| last) } else { id };
    match reader.run(wanted)? {
        Some(run) => Ok(run),
        None => {
            let runs = runs.iter().map(ToString::to_string).collect();
            Err(VerifyError::NoRun { id: id.to_owned(), runs })
        }
    }
}

/// The records of a run, by the time at which they were opened.
fn records(reader: &Reader, run: &PastRun) -> Result<Vec<UsageRecord>, StoreError> {
    let mut records = Vec::new();
    reader.records(Timestamp::EPOCH, Timestamp::NEVER, &mut |record| {
        if record.subject.run_id == run.run_id {
            records.push(record);
        }
        true
    })?;
    records.sort_by_key(|record| (record.opened_at, record.call_id, record.attempt));
    Ok(records)
}

/// What the calls of the other runs give; where they have too few of one of its models, its own.
/// Few calls are not helped out by what is built in: that was measured with another provider.
fn latency(reader: &Reader, run: &PastRun) -> Result<(Catalogue, Basis, u64), StoreError> {
    let fit = |own: bool| {
        let calls =
            calibrate::observed(reader, |subject, _| (subject.run_id == run.run_id) == own)?;
        Ok::<_, StoreError>(Calibration::of(&calls, &Catalogue::new(Vec::new())))
    };
    let (own, others) = (fit(true)?, fit(false)?);
    let enough = |(model, own): (&Arc<str>, &Calibrated)| {
        let calls = others.models.get(model).map_or(0, |fitted| fitted.calls);
        calls >= own.calls.min(calibrate::ENOUGH)
    };
    let (found, basis) = match own.models.iter().all(enough) {
        true => (others, Basis::OtherRuns),
        false => (own, Basis::ThisRun),
    };
    let calls = found.models.values().map(|fitted| fitted.calls).sum();
    Ok((found.catalogue().before(Catalogue::builtin()), basis, calls))
}
