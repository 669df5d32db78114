//! What each model costs, and the arithmetic of a bill and of its bound.
//!
//! The prices are data (`data/prices.toml`, compiled in), in whole pico-dollars a token; a bill is
//! added up exactly and rounded up to nano-dollars once. A model without a price is never free:
//! it is an error that names the nearest model that has one.

mod cost;
mod data;
mod model;
mod names;
mod overrides;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use thiserror::Error;

pub use self::cost::BoundInput;
pub use self::model::{Model, Price};
pub use self::overrides::{OverrideError, PriceOverride};
use crate::lookup::Lookup;
use crate::money::NanoUsd;
use crate::usage::Usage;

const PRICES: &str = include_str!("../data/prices.toml");

/// How alike two names must be for one to be taken for a misspelling of the other, 0 to 1.
const ALIKE: f64 = 0.7;

/// Why a call could not be priced.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PricingError {
    /// No price is known for the model.
    #[error(
        "no price is known for model \"{model}\"{}; correct the name, or state its prices under \
         [prices.\"{model}\"]",
        did_you_mean(.nearest.as_deref())
    )]
    UnknownModel {
        /// The name that was looked up.
        model: String,
        /// The most similar name that has a price, where one is similar.
        nearest: Option<String>,
    },
    /// The answer came at speed `fast`, or is to, and what that costs is not known.
    #[error("no price is known for speed \"fast\" of model \"{model}\"; use speed \"standard\"")]
    NoFastPrice {
        /// The model.
        model: String,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(" (did you mean \"{name}\"?)")).unwrap_or_default()
}

/// All models whose price is known.
#[derive(Debug, Clone)]
pub struct Catalogue {
    models: Vec<Model>,
    exact: Lookup<String, usize>,
    families: BTreeMap<String, usize>,
}

impl Catalogue {
    /// The prices that are compiled in; read once for the whole process.
    ///
    /// # Panics
    ///
    /// Never: the file is part of the program, and a test reads it.
    pub fn builtin() -> Arc<Catalogue> {
        static BUILTIN: OnceLock<Arc<Catalogue>> = OnceLock::new();
        let read = || Arc::new(Catalogue::read(PRICES).expect("data/prices.toml is well-formed"));
        Arc::clone(BUILTIN.get_or_init(read))
    }

    fn read(text: &str) -> Result<Catalogue, toml::de::Error> {
        let file: data::File = toml::from_str(text)?;
        let mut catalogue =
            Catalogue { models: Vec::new(), exact: Lookup::default(), families: BTreeMap::new() };
        for entry in &file.model {
            let at = catalogue.insert(entry.model());
            for alias in &entry.aliases {
                catalogue.exact.insert(alias.clone(), at);
                catalogue.families.entry(names::family(alias)).or_insert(at);
            }
        }
        Ok(catalogue)
    }

    /// The same catalogue with prices that the fleet file states itself, by model name.
    ///
    /// A name that is the catalogue's own changes that model under all its names; any other (an
    /// alias, a date) prices that one name, which wins where it is asked for exactly.
    ///
    /// # Errors
    ///
    /// [`OverrideError::Incomplete`] where a model is not known yet and a main price is missing.
    pub fn with(
        &self,
        overrides: &BTreeMap<String, PriceOverride>,
    ) -> Result<Catalogue, OverrideError> {
        let mut catalogue = self.clone();
        for (name, stated) in overrides {
            // Looked up in `self`: what one table states is not built on what another states.
            let model = stated.apply(name, self.resolve(name))?;
            catalogue.insert(model);
        }
        Ok(catalogue)
    }

    /// Puts a model in the place of the one with its very name, or beside all others.
    fn insert(&mut self, model: Model) -> usize {
        let same = self.exact.get(&model.name).copied();
        if let Some(at) = same.filter(|&at| self.models[at].name == model.name) {
            self.models[at] = model;
            return at;
        }
        let at = self.models.len();
        self.exact.insert(model.name.clone(), at);
        self.families.entry(names::family(&model.name)).or_insert(at);
        self.models.push(model);
        at
    }

    /// The model that `model` names: exactly, else without a vendor (`anthropic/`,
    /// `us.anthropic.….-v1:0`), else without a date (`-20250929`, `@20250929`) or `-latest` and
    /// with family and version in either order.
    pub fn resolve(&self, model: &str) -> Option<&Model> {
        let at = self
            .exact
            .get(model)
            .or_else(|| self.exact.get(names::without_vendor(model)))
            .or_else(|| self.families.get(&names::family(model)))?;
        self.models.get(*at)
    }

    /// All models, in no particular order.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        self.models.iter()
    }

    /// The exact cost of an answer of `model`, rounded up to a nano-dollar once.
    ///
    /// Input has its tier chosen by all input, cached input too. Where there are iterations, each
    /// is billed by its own counts at its own model and tier, and the counts of the whole are
    /// not billed. `service_tier` `batch` halves tokens (or takes the published batch price),
    /// `inference_geo` `us` and `speed` `fast` multiply tokens; what an iteration leaves open is
    /// as the whole answer says. Searches are billed at the answer's model: as many as the whole
    /// answer reports or its iterations together, whichever is more, since answers with
    /// iterations report them for the whole only.
    ///
    /// # Errors
    ///
    /// [`PricingError`] where the price of a model, or of an iteration's, is not known.
    pub fn cost(&self, model: &str, usage: &Usage) -> Result<NanoUsd, PricingError> {
        self.cost_by(self.priced(model)?, usage)
    }

    /// The same for a model that was found.
    pub(crate) fn cost_by(&self, model: &Model, usage: &Usage) -> Result<NanoUsd, PricingError> {
        cost::cost(self, model, usage)
    }

    /// The most that one attempt can cost: `input_tokens` × the dearest input price that could
    /// apply + `max_tokens` × the output price, at the dearest tier that the input could reach.
    ///
    /// Keeping inference in the US can be a workspace's default, unseen by whoever calls, so its
    /// multiplier counts wherever the model has one. See [`BoundInput`] for the rest.
    ///
    /// # Errors
    ///
    /// [`PricingError`] where the price is not known.
    pub fn bound(&self, model: &str, input: &BoundInput) -> Result<NanoUsd, PricingError> {
        Catalogue::bound_by(self.priced(model)?, input)
    }

    /// The same for a model that was found.
    pub(crate) fn bound_by(model: &Model, input: &BoundInput) -> Result<NanoUsd, PricingError> {
        cost::bound(model, input)
    }

    /// The model of which the price is known.
    pub(crate) fn priced(&self, model: &str) -> Result<&Model, PricingError> {
        self.resolve(model).ok_or_else(|| PricingError::UnknownModel {
            model: model.to_owned(),
            nearest: self.nearest(model),
        })
    }

    fn nearest(&self, model: &str) -> Option<String> {
        let alike = |name: &str| strsim::normalized_damerau_levenshtein(model, name);
        let names = self.exact.keys().map(|name| (alike(name), name));
        let (likeness, name) =
            names.max_by(|(a, first), (b, second)| a.total_cmp(b).then(first.cmp(second)))?;
        (likeness >= ALIKE).then(|| name.clone())
    }
}

#[cfg(test)]
mod tests;
