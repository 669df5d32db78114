//! The `[simulated]` table: how fast the provider answers, and what it admits.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use agent_core::config::ConfigError;
use agent_core::config::read::{Field, Section};
use agent_core::permits::ProviderLimits;

use super::distribution::seconds;
use super::read::{self, beside, unusable};
use crate::latency::{Catalogue, LatencyModel, Line, Spread};
use crate::mock::{Enforcement, Limits};

/// A usage tier of Anthropic's, for the Sonnet and Opus models, each minute.
///
/// As published in the autumn of 2025; check them against the provider's own page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tier {
    /// Requests.
    pub requests: u32,
    /// Input tokens, cache reads left out.
    pub input_tokens: u32,
    /// Output tokens.
    pub output_tokens: u32,
}

/// Tiers 1 to 4.
pub const TIERS: [Tier; 4] = [
    Tier { requests: 50, input_tokens: 30_000, output_tokens: 8_000 },
    Tier { requests: 1_000, input_tokens: 450_000, output_tokens: 90_000 },
    Tier { requests: 2_000, input_tokens: 800_000, output_tokens: 160_000 },
    Tier { requests: 4_000, input_tokens: 2_000_000, output_tokens: 400_000 },
];

impl From<Tier> for Limits {
    fn from(tier: Tier) -> Limits {
        Limits {
            requests_per_minute: NonZeroU32::new(tier.requests),
            input_tokens_per_minute: NonZeroU32::new(tier.input_tokens),
            output_tokens_per_minute: NonZeroU32::new(tier.output_tokens),
            enforcement: Enforcement::Bucket,
        }
    }
}

/// How long answers take.
#[derive(Debug, Clone, PartialEq)]
pub enum LatencyChoice {
    /// As those of each model.
    ByModel,
    /// As those of this model, whatever is asked.
    Named(String),
    /// So, whatever is asked.
    Inline(Box<LatencyModel>),
}

/// How the provider behaves.
#[derive(Debug, Clone)]
pub struct ProviderSpec {
    /// How long answers take.
    pub latency: LatencyChoice,
    /// The latency models that are known.
    pub models: Catalogue,
    /// How far its load wanders: the standard deviation of its logarithm, and in which time it
    /// comes back.
    pub load: Option<(f64, Duration)>,
    /// What it admits of each model.
    pub limits: Limits,
    /// Whether its answers say how much of that is left, as not every provider's do.
    pub headers: bool,
}

const KEYS: [&str; 5] = ["latency", "latency_file", "load", "limits", "headers"];

/// Reads the table; where it says nothing of limits, the provider's are those of the fleet.
pub(super) fn provider(
    top: &Section<'_>,
    fleet: &ProviderLimits,
    folder: Option<&Path>,
) -> Result<ProviderSpec, ConfigError> {
    let default = ProviderSpec {
        latency: LatencyChoice::ByModel,
        models: Catalogue::builtin(),
        load: None,
        limits: as_fleet(fleet),
        headers: true,
    };
    let Some(field) = top.field("simulated") else { return Ok(default) };
    let table = field.section(&KEYS)?;
    let models = table.or("latency_file", default.models.clone(), |it| {
        let text = read::text(&beside(it, folder)?).map_err(|error| unusable(it, &error))?;
        let own = Catalogue::parse(&text).map_err(|error| unusable(it, &error))?;
        Ok(own.before(Catalogue::builtin()))
    })?;
    Ok(ProviderSpec {
        latency: table.or("latency", LatencyChoice::ByModel, |it| latency(it, &models))?,
        load: table.maybe("load", load)?,
        limits: table.or("limits", default.limits, limits)?,
        headers: table.or("headers", default.headers, Field::boolean)?,
        models,
    })
}

fn as_fleet(fleet: &ProviderLimits) -> Limits {
    let narrow =
        |tokens: std::num::NonZeroU64| NonZeroU32::try_from(tokens).unwrap_or(NonZeroU32::MAX);
    Limits {
        requests_per_minute: fleet.requests_per_minute,
        input_tokens_per_minute: fleet.input_tokens_per_minute.map(narrow),
        output_tokens_per_minute: fleet.output_tokens_per_minute.map(narrow),
        enforcement: Enforcement::Bucket,
    }
}

fn latency(field: &Field<'_>, models: &Catalogue) -> Result<LatencyChoice, ConfigError> {
    if let Ok(name) = field.str("a model") {
        let found = models.named(name);
        let model = found.map_err(|error| field.wrong(format_args!("is not known: {error}")))?;
        return Ok(LatencyChoice::Named(model.model.name.clone()));
    }
    let table = field.section(&["base", "per_1k_context", "per_output_token", "sigma"])?;
    let zero = |key: &str| table.or(key, 0.0, seconds);
    let total = Line {
        base_s: table.need("base", "a duration such as \"1.2s\"", seconds)?,
        per_1k_context_s: zero("per_1k_context")?,
        per_output_token_s: zero("per_output_token")?,
    };
    let sigma = table.or("sigma", 0.0, |it| match it.float()? {
        sigma if (0.0..=5.0).contains(&sigma) => Ok(sigma),
        _ => Err(it.wrong("is out of range; write a number from 0 to 5")),
    })?;
    Ok(LatencyChoice::Inline(Box::new(LatencyModel {
        name: "inline".to_owned(),
        stands_for: Vec::new(),
        calibrated: true,
        calls: 0,
        source: "the scenario itself".to_owned(),
        total,
        total_spread: Spread::LogNormal(sigma),
        first: Line { per_output_token_s: 0.0, ..total },
        first_spread: Spread::LogNormal(sigma),
        session_sigma: 0.0,
    })))
}

fn load(field: &Field<'_>) -> Result<(f64, Duration), ConfigError> {
    let table = field.section(&["sigma", "reversion"])?;
    let sigma = table.need("sigma", "a number such as 0.15", |it| match it.float()? {
        sigma if (0.0..=3.0).contains(&sigma) => Ok(sigma),
        _ => Err(it.wrong("is out of range; write a number from 0 to 3")),
    })?;
    Ok((sigma, table.or("reversion", Duration::from_secs(1_200), Field::duration)?))
}

fn limits(field: &Field<'_>) -> Result<Limits, ConfigError> {
    if field.str("none").is_ok() {
        return field.one_of(&[("none", ())]).map(|()| Limits::default());
    }
    let table = field.section(&[
        "tier",
        "requests_per_minute",
        "input_tokens_per_minute",
        "output_tokens_per_minute",
        "enforcement",
    ])?;
    let tier = table.maybe("tier", |it| match it.whole()? {
        tier @ 1..=4 => Ok(TIERS[tier as usize - 1]),
        _ => Err(it.wrong("is not known; write a tier from 1 to 4, or the limits themselves")),
    })?;
    let base = tier.map_or_else(Limits::default, Limits::from);
    let count = |key: &str, default: Option<NonZeroU32>| {
        Ok::<_, ConfigError>(table.maybe(key, Field::count)?.or(default))
    };
    let kinds = [("bucket", Enforcement::Bucket), ("sliding", Enforcement::Sliding)];
    Ok(Limits {
        requests_per_minute: count("requests_per_minute", base.requests_per_minute)?,
        input_tokens_per_minute: count("input_tokens_per_minute", base.input_tokens_per_minute)?,
        output_tokens_per_minute: count("output_tokens_per_minute", base.output_tokens_per_minute)?,
        enforcement: table.or("enforcement", base.enforcement, |it| it.one_of(&kinds))?,
    })
}
