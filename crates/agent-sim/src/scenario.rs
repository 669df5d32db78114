//! The scenario file: a fleet, what it has to do, how its provider behaves, and what is hoped for.
//!
//! It is a fleet file with more tables, or names one with `fleet = "fleet.toml"`. `examples/scenarios`
//! has one for each kind of question.

mod change;
mod distribution;
mod faults;
mod provider;
mod read;
#[cfg(test)]
mod tests;
mod workload;

use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent_core::clock::Timestamp;
use agent_core::config::{ConfigError, Fleet};
use agent_core::money::NanoUsd;
use agent_core::pricing::{Catalogue, OverrideError};
use agent_core::task::{Task, TaskId};
use thiserror::Error;

pub use change::{Change, ChangeError};
pub use faults::{Effect, Fault, When};
pub use provider::{LatencyChoice, ProviderSpec, TIERS, Tier};
pub(crate) use workload::MOST_TURNS;
pub use workload::{Arrival, Failure, Recorded, Turn, Workload};

/// Why a scenario cannot be simulated.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// A file cannot be read.
    #[error("{}: cannot be read", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something in a file is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A price in it is wrong.
    #[error(transparent)]
    Prices(#[from] OverrideError),
    /// A task has the id of another.
    #[error("task \"{0}\" is there twice; give each task an id of its own")]
    TaskTwice(TaskId),
    /// A task that is written out has the id of one that a workload brings.
    #[error("task \"{id}\" has the id of a task of the workload \"{workload}\"; give it another")]
    TaskOfWorkload {
        /// The task.
        id: TaskId,
        /// The workload.
        workload: String,
    },
    /// A `--set` or a `--sweep` is wrong.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

/// How it is simulated.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSpec {
    /// What all draws hang on. Default: 1.
    pub seed: u64,
    /// How many times, with seeds from `seed` on; intervals are over them. Default: 1.
    pub replicas: NonZeroU32,
    /// When it ends though tasks are open; none: when all have ended.
    pub until: Option<Duration>,
    /// The moment at which it begins, for budgets by day. Default: 2026-01-05T00:00:00Z, a Monday.
    pub start: Timestamp,
    /// Whether it is run again with each limit a fifth higher, to find what is in the way. Default:
    /// yes.
    pub sensitivity: bool,
}

impl Default for RunSpec {
    fn default() -> RunSpec {
        RunSpec {
            seed: 1,
            replicas: NonZeroU32::MIN,
            until: None,
            start: Timestamp::from_millis(1_767_571_200_000),
            sensitivity: true,
        }
    }
}

/// What is hoped for. A time or a cost that is not named does not matter.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Goal {
    /// All tasks have ended within this time.
    pub deadline: Option<Duration>,
    /// It costs no more, what is presumed included.
    pub max_cost: Option<NanoUsd>,
    /// At least this share of the tasks completes, 0 to 1; all of them where it is not named.
    pub min_success: Option<f64>,
}

/// All that a simulation is a function of.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The file's name, without its folder.
    pub name: String,
    /// The fleet that is rehearsed.
    pub fleet: Fleet,
    /// Its prices.
    pub prices: Arc<Catalogue>,
    /// How it is simulated.
    pub run: RunSpec,
    /// What is hoped for.
    pub goal: Goal,
    /// What there is to do; the fleet's own tasks come first.
    pub workload: Vec<Workload>,
    /// How the provider behaves.
    pub provider: ProviderSpec,
    /// What goes wrong.
    pub fault: Vec<Fault>,
}

impl Scenario {
    /// Reads a scenario file, and the files that it names, with `changes` made to it.
    ///
    /// # Errors
    ///
    /// [`ScenarioError`] names the file, the line, the key and what would be right.
    pub fn load(path: &Path, changes: &[Change]) -> Result<Scenario, ScenarioError> {
        Scenario::load_with(path, changes, Vec::new())
    }

    /// The same, with `tasks` beside those that the file has, as a batch.
    ///
    /// # Errors
    ///
    /// As [`Scenario::load`].
    pub fn load_with(
        path: &Path,
        changes: &[Change],
        tasks: Vec<Task>,
    ) -> Result<Scenario, ScenarioError> {
        let text = read::text(path)?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let shown = path.display().to_string();
        let source = read::Source { name: &name, file: &shown, path: Some(path) };
        read::scenario(&text, source, changes, tasks)
    }

    /// Reads the text of a scenario that names no other file.
    ///
    /// # Errors
    ///
    /// As [`Scenario::load`].
    pub fn parse(text: &str) -> Result<Scenario, ScenarioError> {
        let source = read::Source { name: "scenario", file: "scenario", path: None };
        read::scenario(text, source, &[], Vec::new())
    }

    /// The workers of all agents.
    pub(crate) fn workers(&self) -> u64 {
        self.fleet.agent.iter().map(|agent| u64::from(agent.count.get())).sum()
    }
}
