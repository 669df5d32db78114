//! The arithmetic of a bill, and of the bound on one.

use crate::money::{NanoUsd, PicoUsd, round_up};
use crate::pricing::model::{Model, Multiplier};
use crate::pricing::{Catalogue, PricingError};
use crate::usage::Usage;

/// Bills are added up in fractions of a pico-dollar, so that halves (batch) and hundredths
/// (twice: place and speed) stay exact.
const FRACTIONS: u128 = 2 * 100 * 100;

/// Steps that tools which run at the provider take within one answer before it pauses
/// (`pause_turn`); each may be a search.
const SERVER_STEPS: u128 = 10;

/// What bounds the cost of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BoundInput {
    /// A bound on the input, in tokens.
    pub input_tokens: u64,
    /// The most output asked for, in tokens, thinking included.
    pub max_tokens: u32,
    /// Whether the request asks for caching: a write for an hour costs twice the input.
    pub caching: bool,
    /// Whether tools that run at the provider are offered. What they read is input too and cannot
    /// be known, so the input counts as a whole context window, where that is known, plus ten
    /// searches. No strict bound: each step is billed again, and an advisor at its own price.
    pub server_tools: bool,
    /// Whether speed `fast` is asked for.
    pub fast: bool,
}

/// How the whole answer was served, for what an iteration leaves open.
#[derive(Debug, Clone, Copy)]
struct Terms {
    batch: bool,
    us: bool,
    fast: bool,
}

impl Terms {
    fn of(usage: &Usage, whole: &Usage) -> Terms {
        let is = |own: &Option<String>, whole: &Option<String>, word: &str| {
            own.as_deref().or(whole.as_deref()) == Some(word)
        };
        Terms {
            batch: is(&usage.service_tier, &whole.service_tier, "batch"),
            us: is(&usage.inference_geo, &whole.inference_geo, "us"),
            fast: is(&usage.speed, &whole.speed, "fast"),
        }
    }
}

/// See [`Catalogue::cost`].
pub(super) fn cost(
    catalogue: &Catalogue,
    model: &Model,
    usage: &Usage,
) -> Result<NanoUsd, PricingError> {
    let mut fractions: u128 = 0;
    let mut searches: u64 = 0;
    if usage.iterations.is_empty() {
        fractions = tokens(model, usage, Terms::of(usage, usage))?;
    }
    for step in &usage.iterations {
        let own = match step.model.as_deref() {
            Some(name) => catalogue.priced(name)?,
            None => model,
        };
        let terms = Terms::of(&step.usage, usage);
        fractions = fractions.saturating_add(tokens(own, &step.usage, terms)?);
        searches = searches.saturating_add(step.usage.web_searches);
    }
    let searches = u128::from(searches.max(usage.web_searches));
    Ok(round_up(picos(fractions, model, searches)))
}

/// See [`Catalogue::bound`].
pub(super) fn bound(model: &Model, input: &BoundInput) -> Result<NanoUsd, PricingError> {
    let window = model.context_window.filter(|_| input.server_tools).unwrap_or(0);
    let input_tokens = input.input_tokens.max(window);
    let (mut price_in, mut price_out) = (PicoUsd::default(), PicoUsd::default());
    for rates in model.rates_up_to(input_tokens) {
        price_in = price_in.max(rates.dearest_input(input.caching));
        price_out = price_out.max(rates.output);
    }
    let tokens = price_in
        .times(input_tokens)
        .saturating_add(price_out.times(u64::from(input.max_tokens)))
        .saturating_mul(2);
    let us = Multiplier(model.us.0.max(Multiplier::ONE.0));
    let fractions = multiplied(tokens, us, speed(model, input.fast)?);
    let searches = if input.server_tools { SERVER_STEPS } else { 0 };
    Ok(round_up(picos(fractions, model, searches)))
}

/// What the tokens of one step cost, in fractions.
fn tokens(model: &Model, usage: &Usage, terms: Terms) -> Result<u128, PricingError> {
    let cached = usage.cache_write_5m_tokens.saturating_add(usage.cache_write_1h_tokens);
    let cached = cached.saturating_add(usage.cache_read_tokens);
    let rates = model.rates_at(usage.input_tokens.saturating_add(cached));
    let main = |price: PicoUsd, batch: Option<PicoUsd>, count: u64| match (terms.batch, batch) {
        (true, Some(batch)) => batch.times(count).saturating_mul(2),
        (true, None) => price.times(count),
        (false, _) => price.times(count).saturating_mul(2),
    };
    // A published batch price is that of the first tier.
    let batch = model.batch.filter(|_| rates == model.rates);
    let halves = [
        main(rates.input, batch.map(|(input, _)| input), usage.input_tokens),
        main(rates.output, batch.map(|(_, output)| output), usage.output_tokens),
        main(rates.cache_read, None, usage.cache_read_tokens),
        main(rates.cache_write_5m, None, usage.cache_write_5m_tokens),
        main(rates.cache_write_1h, None, usage.cache_write_1h_tokens),
    ];
    let sum = halves.into_iter().fold(0, u128::saturating_add);
    let us = if terms.us { model.us } else { Multiplier::ONE };
    Ok(multiplied(sum, us, speed(model, terms.fast)?))
}

fn speed(model: &Model, fast: bool) -> Result<Multiplier, PricingError> {
    if !fast {
        return Ok(Multiplier::ONE);
    }
    model.fast.ok_or_else(|| PricingError::NoFastPrice { model: model.name.clone() })
}

fn multiplied(halves: u128, us: Multiplier, speed: Multiplier) -> u128 {
    halves.saturating_mul(u128::from(us.0)).saturating_mul(u128::from(speed.0))
}

/// Pico-dollars, rounded up: rounding up again to nano-dollars gives what rounding once gives.
fn picos(fractions: u128, model: &Model, searches: u128) -> u128 {
    let fee = u128::from(model.web_search.nanos()).saturating_mul(1_000).saturating_mul(searches);
    fractions.div_ceil(FRACTIONS).saturating_add(fee)
}
