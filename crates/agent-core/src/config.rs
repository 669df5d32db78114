//! The fleet file: what a whole system is, read strictly, with errors that name the remedy.

mod agents;
mod budgets;
mod fleet;
mod groups;
mod place;
pub mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::{fs, io};

use thiserror::Error;

use crate::agent::AgentSpec;
use crate::ledger::BudgetSpec;
use crate::money::NanoUsd;
use crate::permits::ProviderLimits;
use crate::pricing::{Catalogue, PriceOverride};
use crate::prompt::InjectionPolicy;
use crate::retry::{AttemptTimeout, RetryPolicy};
use crate::supervision::{GroupSpec, Supervision};
use crate::task::Task;

use place::Spot;

pub(crate) use agents::MAX_WORKERS;
pub use place::Place;

/// Why a fleet cannot be run. No message holds a value that could be a key.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read; name a TOML file in UTF-8", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not TOML.
    #[error("{at}: not valid TOML: {message}")]
    Syntax {
        /// Where.
        at: Place,
        /// What the parser expected.
        message: String,
    },
    /// A key that nobody reads.
    #[error("{at}: unknown key `{key}`; {remedy}")]
    UnknownKey {
        /// Where.
        at: Place,
        /// Its path.
        key: String,
        /// The nearest known key, or all.
        remedy: String,
    },
    /// A provider's key in the file.
    #[error(
        "{at}: `{key}` must not stand in the file; name its variable with \
         api_key_env = \"ANTHROPIC_API_KEY\", or its file with api_key_file"
    )]
    KeyInFile {
        /// Where.
        at: Place,
        /// Its path.
        key: String,
    },
    /// A value that cannot be used.
    #[error("{at}: `{key}` {problem}")]
    Invalid {
        /// Where.
        at: Place,
        /// Its path.
        key: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A variable of the environment that cannot be used.
    #[error("environment variable {name} {problem}")]
    Environment {
        /// The variable.
        name: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
}

/// Who answers the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ProviderKind {
    /// The provider inside the process; no key, no network.
    #[default]
    Simulated,
    /// Anthropic's Messages API.
    Anthropic,
    /// Chat Completions; refused by [`Fleet::parse`] until it is spoken.
    OpenAi,
}

/// The `[provider]` of the fleet file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProviderConfig {
    /// Who answers.
    pub kind: ProviderKind,
    /// Where, if not at the provider's own address.
    pub base_url: Option<String>,
    /// The variable that holds the key. Absent: `ANTHROPIC_API_KEY`.
    pub api_key_env: Option<String>,
    /// The file that holds the key, instead of a variable.
    pub api_key_file: Option<PathBuf>,
    /// Whose key: with `dev`, `ANTHROPIC_API_KEY_DEV` is read first.
    pub environment: Option<String>,
}

impl ProviderConfig {
    /// The variables that may hold the key, in the order in which they are read.
    pub fn key_variables(&self) -> Vec<String> {
        let name = self.api_key_env.as_deref().unwrap_or("ANTHROPIC_API_KEY");
        let suffix = |environment: &String| environment.to_ascii_uppercase().replace('-', "_");
        let first = self.environment.as_ref().map(|it| format!("{name}_{}", suffix(it)));
        first.into_iter().chain([name.to_owned()]).collect()
    }
}

/// What a task must keep to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guards {
    /// Most that a task may cost. Default: 1 dollar.
    pub max_cost_per_task: NanoUsd,
    /// What is done about signs of injection. Default: a warning.
    pub injection: InjectionPolicy,
    /// Characters of a task's field that are sent. Default: 4000.
    pub max_field_chars: NonZeroU32,
}

impl Default for Guards {
    fn default() -> Self {
        Guards {
            max_cost_per_task: NanoUsd::from_dollars(1),
            injection: InjectionPolicy::Warn,
            max_field_chars: const { NonZeroU32::new(4000).expect("4000 is not zero") },
        }
    }
}

/// A whole system, as a fleet file describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Fleet {
    /// Who answers.
    pub provider: ProviderConfig,
    /// How long an attempt may take.
    pub timeouts: AttemptTimeout,
    /// When it is tried again.
    pub retry: RetryPolicy,
    /// The provider's limits.
    pub limits: ProviderLimits,
    /// What a task must keep to.
    pub guards: Guards,
    /// Limits on spending.
    pub budget: Vec<BudgetSpec>,
    /// The agents, one at least, with different names.
    pub agent: Vec<AgentSpec>,
    /// How workers are restarted.
    pub supervision: Supervision,
    /// Groups of agents that are restarted together.
    pub group: Vec<GroupSpec>,
    /// Tasks, with different ids.
    pub task: Vec<Task>,
    /// Prices by model, before those of the catalogue.
    pub prices: BTreeMap<String, PriceOverride>,
    /// Where models are named: by agents, by budgets, then by tasks.
    models: Vec<ModelName>,
}

/// A model, and where it is named.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ModelName {
    spot: Spot,
    model: String,
    /// Of an agent's: how long its answers may be, and where that stands.
    asked: Option<(Spot, NonZeroU32)>,
}

impl ModelName {
    fn check(&self, catalogue: &Catalogue) -> Result<(), ConfigError> {
        let model = catalogue
            .priced(&self.model)
            .map_err(|error| self.spot.wrong(format_args!("cannot be used: {error}")))?;
        match (&self.asked, model.max_output()) {
            (Some((spot, tokens)), Some(most)) if tokens.get() > most => {
                Err(spot.wrong(format_args!(
                    "is {tokens}, above the {most} tokens that an answer of {name} may have; lower \
                     it, or state another max_output in [prices.\"{name}\"]",
                    name = model.name()
                )))
            }
            _ => Ok(()),
        }
    }
}

impl Fleet {
    /// Reads a file and, where it is silent, the process's environment.
    ///
    /// # Errors
    ///
    /// As [`Fleet::parse`], and [`ConfigError::Read`].
    pub fn load(path: &Path) -> Result<Fleet, ConfigError> {
        Fleet::load_with_text(path).map(|(fleet, _)| fleet)
    }

    /// The same, with the file's text: a pipe cannot be read a second time.
    ///
    /// # Errors
    ///
    /// As [`Fleet::load`].
    pub fn load_with_text(path: &Path) -> Result<(Fleet, String), ConfigError> {
        let read = |source| ConfigError::Read { file: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(read)?;
        // What is not UTF-8 must reach the check of the value, not pass for absent.
        let env = |name: &str| std::env::var_os(name).map(|it| it.to_string_lossy().into_owned());
        let fleet = Fleet::parse(&text, &path.display().to_string(), &env)?;
        Ok((fleet, text))
    }

    /// Whether `catalogue` has a price for each model that an agent, a budget or a task names, and
    /// whether an agent's `max_tokens` is within the model's longest answer, where that is known.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] for the first of which that is not so.
    pub fn check_models(&self, catalogue: &Catalogue) -> Result<(), ConfigError> {
        self.models.iter().try_for_each(|model| model.check(catalogue))
    }

    /// Reads the text of a fleet file; where it is silent, `env`, then the defaults.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong: its place, its key and what would be right.
    pub fn parse(
        text: &str,
        file_name: &str,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Fleet, ConfigError> {
        read::file(text, file_name, &Fleet::KEYS, |top| Fleet::read(top, env))
    }

    /// The keys at the top of a fleet file.
    pub const KEYS: [&str; 11] = fleet::TOP;

    /// Reads the tables of a fleet from a file that may hold others too.
    ///
    /// # Errors
    ///
    /// As [`Fleet::parse`].
    pub fn read(
        top: &read::Section<'_>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Fleet, ConfigError> {
        fleet::read(top, env)
    }
}
