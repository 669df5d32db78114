//! The catalogue as it is written in `data/prices.toml`.

use serde::Deserialize;

use crate::money::NanoUsd;
use crate::pricing::model::{Model, Multiplier, Price, Rates, Tier};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) model: Vec<Entry>,
}

/// One `[[model]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    name: String,
    #[serde(default)]
    pub(super) aliases: Vec<String>,
    provider: String,
    input: Price,
    output: Price,
    cache_read: Option<Price>,
    cache_write_5m: Option<Price>,
    cache_write_1h: Option<Price>,
    batch_input: Option<Price>,
    batch_output: Option<Price>,
    web_search: Option<NanoUsd>,
    us: Option<Multiplier>,
    fast: Option<Multiplier>,
    context_window: u64,
    max_output: u32,
    sampling_params: Option<bool>,
    source: String,
    read: String,
    #[serde(default)]
    tier: Vec<TierEntry>,
}

/// One `[[model.tier]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TierEntry {
    above_input_tokens: u64,
    input: Price,
    output: Price,
    cache_read: Option<Price>,
    cache_write_5m: Option<Price>,
    cache_write_1h: Option<Price>,
}

impl Entry {
    /// The model that the entry describes.
    pub(super) fn model(&self) -> Model {
        let rates = Rates::by_rule(self.input.per_token(), self.output.per_token());
        let rates = rates.with_cache(self.cache_read, self.cache_write_5m, self.cache_write_1h);
        let mut model = Model::priced(&self.name, rates);
        model.provider.clone_from(&self.provider);
        model.tiers = self.tier.iter().map(TierEntry::tier).collect();
        model.tiers.sort_by_key(|tier| tier.above);
        let batch = self.batch_input.zip(self.batch_output);
        model.batch = batch.map(|(input, output)| (input.per_token(), output.per_token()));
        model.web_search = self.web_search.unwrap_or(model.web_search);
        model.us = self.us.unwrap_or(Multiplier::ONE);
        model.fast = self.fast;
        model.context_window = Some(self.context_window);
        model.max_output = Some(self.max_output);
        model.sampling_params = self.sampling_params.unwrap_or(true);
        model.source = format!("{}, read on {}", self.source, self.read);
        model
    }
}

impl TierEntry {
    fn tier(&self) -> Tier {
        let rates = Rates::by_rule(self.input.per_token(), self.output.per_token());
        let rates = rates.with_cache(self.cache_read, self.cache_write_5m, self.cache_write_1h);
        Tier { above: self.above_input_tokens, rates }
    }
}
