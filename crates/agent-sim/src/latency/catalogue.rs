//! The latency models that are known by name: built in, or from a file of the same form.

use agent_core::pricing;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{LatencyModel, Line, Spread};
use crate::draws::{PROBABILITIES, QuantileTable, TableError};

const BUILTIN: &str = include_str!("../../data/latency.toml");

/// Why a file of latency models cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CatalogueError {
    /// It is not TOML of this form.
    #[error("the latency models cannot be read")]
    Toml(#[from] toml::de::Error),
    /// A number is out of range.
    #[error("latency of \"{model}\": {key} is {found}; it must be {expected}")]
    Number {
        /// The model.
        model: String,
        /// Its key.
        key: String,
        /// What stands there.
        found: f64,
        /// What may stand there.
        expected: &'static str,
    },
    /// A spread is given twice, or not at all.
    #[error("latency of \"{model}\": give either {spread}_sigma or {spread}_residuals")]
    Spread {
        /// The model.
        model: String,
        /// `total` or `first`.
        spread: &'static str,
    },
    /// The residuals are no table.
    #[error("latency of \"{model}\": {spread}_residuals are wrong")]
    Residuals {
        /// The model.
        model: String,
        /// `total` or `first`.
        spread: &'static str,
        /// What is wrong with them.
        source: TableError,
    },
}

/// No latency is known for a model, nor for any like it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "no latency is known for model \"{model}\"; give it inline, or name one of {}",
    known.join(", ")
)]
pub struct UnknownModel {
    /// The name that was looked up.
    pub model: String,
    /// The names that are known, sorted.
    pub known: Vec<String>,
}

/// A latency model that was looked up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found<'a> {
    /// The latency model.
    pub model: &'a LatencyModel,
    /// Whether it is the model's own, rather than that of one like it.
    pub exact: bool,
}

/// Latency models by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalogue {
    models: Vec<LatencyModel>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    model: Vec<Entry>,
}

/// A model as the file has it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    stands_for: Vec<String>,
    calibrated: bool,
    calls: u64,
    source: String,
    total: Line,
    first: Line,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_sigma: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_residuals: Option<Vec<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_sigma: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_residuals: Option<Vec<f64>>,
    #[serde(default, skip_serializing_if = "is_zero")]
    session_sigma: f64,
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

impl Catalogue {
    /// These models, and no other.
    pub fn new(models: Vec<LatencyModel>) -> Catalogue {
        Catalogue { models }
    }

    /// The models that are compiled in; none of them is calibrated.
    ///
    /// # Panics
    ///
    /// Never: the file is part of the program, and a test reads it.
    pub fn builtin() -> Catalogue {
        Catalogue::parse(BUILTIN).expect("data/latency.toml is well-formed")
    }

    /// The models of a file like `data/latency.toml`.
    ///
    /// # Errors
    ///
    /// [`CatalogueError`] names the first model and key that are wrong.
    pub fn parse(text: &str) -> Result<Catalogue, CatalogueError> {
        let file: File = toml::from_str(text)?;
        let models = file.model.into_iter().map(Entry::model).collect::<Result<_, _>>()?;
        Ok(Catalogue { models })
    }

    /// These models before those of `other`: of two with one name, this one counts.
    #[must_use]
    pub fn before(mut self, other: Catalogue) -> Catalogue {
        let new = |model: &LatencyModel| self.models.iter().all(|own| own.name != model.name);
        let others: Vec<_> = other.models.into_iter().filter(new).collect();
        self.models.extend(others);
        self
    }

    /// Has every call of every model take `factor` times as long.
    pub fn scale(&mut self, factor: f64) {
        self.models.iter_mut().for_each(|model| model.scale(factor));
    }

    /// All models.
    pub fn models(&self) -> &[LatencyModel] {
        &self.models
    }

    /// The file that [`Catalogue::parse`] reads these models from, residuals to four digits.
    pub fn to_toml(&self) -> String {
        let file = File { model: self.models.iter().map(Entry::from).collect() };
        // Nothing in it that TOML could not hold.
        toml::to_string(&file).unwrap_or_default()
    }

    /// The latency of `model`: by this name, else by the name that the price list has for it
    /// (without vendor and date), else that of the first model that stands for a word with which
    /// a part of the name begins (`haiku`, `gpt`).
    ///
    /// # Errors
    ///
    /// [`UnknownModel`] lists those that are known.
    pub fn find(&self, model: &str) -> Result<Found<'_>, UnknownModel> {
        let named = |name: &str| self.models.iter().find(|known| known.name == name);
        let prices = pricing::Catalogue::builtin();
        let canonical = || prices.resolve(model).and_then(|priced| named(priced.name()));
        let lower = model.to_ascii_lowercase();
        let bare = || named(lower.rsplit('/').next().unwrap_or(&lower));
        if let Some(model) = named(model).or_else(canonical).or_else(bare) {
            return Ok(Found { model, exact: true });
        }
        let parts: Vec<&str> = lower.split(|c: char| !c.is_ascii_alphanumeric()).collect();
        let stands = |word: &String| parts.iter().any(|part| part.starts_with(word.as_str()));
        let like = self.models.iter().find(|known| known.stands_for.iter().any(stands));
        like.map(|model| Found { model, exact: false }).ok_or_else(|| self.unknown(model))
    }

    /// The latency that is asked for by `name`, as [`Catalogue::find`] has it: a name that neither
    /// the price list knows nor a model here stands for is taken for a slip.
    ///
    /// # Errors
    ///
    /// [`UnknownModel`] lists those that are known.
    pub fn named(&self, name: &str) -> Result<Found<'_>, UnknownModel> {
        let found = self.find(name)?;
        let meant = || found.model.stands_for.iter().any(|word| word == name);
        let priced = || pricing::Catalogue::builtin().resolve(name).is_some();
        if found.exact || meant() || priced() { Ok(found) } else { Err(self.unknown(name)) }
    }

    fn unknown(&self, model: &str) -> UnknownModel {
        let mut known: Vec<_> = self.models.iter().map(|known| known.name.clone()).collect();
        known.sort();
        UnknownModel { model: model.to_owned(), known }
    }
}

impl From<&LatencyModel> for Entry {
    fn from(model: &LatencyModel) -> Entry {
        let sigma = |spread: &Spread| match spread {
            Spread::LogNormal(sigma) => Some(*sigma),
            Spread::Measured(_) => None,
        };
        let rounded = |value: f64| libm::round(value * 1e4) / 1e4;
        let residuals = |spread: &Spread| match spread {
            Spread::LogNormal(_) => None,
            Spread::Measured(table) => Some(PROBABILITIES.map(|p| rounded(table.at(p))).to_vec()),
        };
        Entry {
            name: model.name.clone(),
            stands_for: model.stands_for.clone(),
            calibrated: model.calibrated,
            calls: model.calls,
            source: model.source.clone(),
            total: model.total,
            first: model.first,
            total_sigma: sigma(&model.total_spread),
            total_residuals: residuals(&model.total_spread),
            first_sigma: sigma(&model.first_spread),
            first_residuals: residuals(&model.first_spread),
            session_sigma: rounded(model.session_sigma),
        }
    }
}

impl Entry {
    fn model(self) -> Result<LatencyModel, CatalogueError> {
        self.check_line("total", &self.total)?;
        self.check_line("first", &self.first)?;
        let total_spread = self.spread("total", self.total_sigma, &self.total_residuals)?;
        let first_spread = self.spread("first", self.first_sigma, &self.first_residuals)?;
        let session_sigma = match self.session_sigma {
            sigma if (0.0..=3.0).contains(&sigma) => sigma,
            found => return Err(self.number("session_sigma".to_owned(), found, "from 0 to 3")),
        };
        let Entry { name, stands_for, calibrated, calls, source, total, first, .. } = self;
        Ok(LatencyModel {
            name,
            stands_for,
            calibrated,
            calls,
            source,
            total,
            total_spread,
            first,
            first_spread,
            session_sigma,
        })
    }

    fn check_line(&self, which: &str, line: &Line) -> Result<(), CatalogueError> {
        line.fault().map_or(Ok(()), |(key, found)| {
            let expected = "a number of seconds from 0 to 3600";
            Err(self.number(format!("{which}.{key}"), found, expected))
        })
    }

    fn number(&self, key: String, found: f64, expected: &'static str) -> CatalogueError {
        CatalogueError::Number { model: self.name.clone(), key, found, expected }
    }

    fn spread(
        &self,
        spread: &'static str,
        sigma: Option<f64>,
        residuals: &Option<Vec<f64>>,
    ) -> Result<Spread, CatalogueError> {
        let model = || self.name.clone();
        match (sigma, residuals) {
            (Some(sigma), None) if (0.0..=5.0).contains(&sigma) => Ok(Spread::LogNormal(sigma)),
            (Some(sigma), None) => {
                Err(self.number(format!("{spread}_sigma"), sigma, "a number from 0 to 5"))
            }
            (None, Some(values)) => QuantileTable::new(&PROBABILITIES, values)
                .map(Spread::Measured)
                .map_err(|source| CatalogueError::Residuals { model: model(), spread, source }),
            _ => Err(CatalogueError::Spread { model: model(), spread }),
        }
    }
}
