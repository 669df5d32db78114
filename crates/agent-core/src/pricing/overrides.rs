//! Prices that the fleet file states itself: `[prices."model"]`.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::money::NanoUsd;
use crate::pricing::model::{Model, Price, Rates};

/// One `[prices."model"]` table: what it states replaces what the catalogue says.
///
/// Prices are decimal strings of dollars a million tokens (`input = "3"`); zero is a fact: such
/// tokens are free. Where `input` or `output` is stated, the catalogue's long-context tiers and
/// batch prices no longer hold (batch is then half), and with `input` its cache prices neither:
/// those not stated follow by rule (read 0.1 ×, 5 minutes 1.25 ×, an hour 2 ×).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PriceOverride {
    /// Input. Must be there for a model that the catalogue lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Price>,
    /// Output. Must be there for a model that the catalogue lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Price>,
    /// Input read from the cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<Price>,
    /// Input written to the cache for 5 minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_5m: Option<Price>,
    /// Input written to the cache for an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_1h: Option<Price>,
    /// One search of the web, in dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web_search: Option<NanoUsd>,
    /// The most input and output together, in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_window: Option<u64>,
    /// The most output of one answer, in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output: Option<u32>,
    /// Whether `temperature`, `top_p` and `top_k` may be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling_params: Option<bool>,
}

/// Why stated prices cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OverrideError {
    /// The catalogue lacks the model, and the table lacks one of its two main prices.
    #[error(
        "prices.\"{model}\".{key} is missing: the catalogue does not know this model, so both \
         input and output must be stated, as dollars a million tokens such as \"3\""
    )]
    Incomplete {
        /// The model.
        model: String,
        /// What is missing: `input` or `output`.
        key: &'static str,
    },
}

impl PriceOverride {
    /// The model `name`: what is `known` of it, replaced where this says otherwise.
    pub(super) fn apply(&self, name: &str, known: Option<&Model>) -> Result<Model, OverrideError> {
        let mut model = match known {
            Some(known) => self.replace_rates(known.clone()),
            None => {
                let missing = |key| OverrideError::Incomplete { model: name.to_owned(), key };
                let input = self.input.ok_or_else(|| missing("input"))?;
                let output = self.output.ok_or_else(|| missing("output"))?;
                Model::priced(name, Rates::by_rule(input.per_token(), output.per_token()))
            }
        };
        name.clone_into(&mut model.name);
        let (read, five, hour) = (self.cache_read, self.cache_write_5m, self.cache_write_1h);
        model.rates = model.rates.with_cache(read, five, hour);
        for tier in &mut model.tiers {
            tier.rates = tier.rates.with_cache(read, five, hour);
        }
        model.web_search = self.web_search.unwrap_or(model.web_search);
        model.context_window = self.context_window.or(model.context_window);
        model.max_output = self.max_output.or(model.max_output);
        model.sampling_params = self.sampling_params.unwrap_or(model.sampling_params);
        "stated in the fleet file".clone_into(&mut model.source);
        Ok(model)
    }

    fn replace_rates(&self, mut model: Model) -> Model {
        if self.input.is_none() && self.output.is_none() {
            return model;
        }
        model.tiers.clear();
        model.batch = None;
        if let Some(output) = self.output {
            model.rates.output = output.per_token();
        }
        if let Some(input) = self.input {
            model.rates = Rates::by_rule(input.per_token(), model.rates.output);
        }
        model
    }
}
