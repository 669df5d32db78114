//! One model: its prices, and what else is known of it.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::money::{MoneyError, NanoUsd, PicoUsd};

/// One search of the web where nothing else is said: a cent, the same for all Claude models.
const WEB_SEARCH: NanoUsd = NanoUsd::from_nanos(10_000_000);

/// A price as published: dollars a million tokens, written as a decimal string such as `"3.75"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Price(PicoUsd);

impl Price {
    /// The price of one token.
    pub const fn per_token(self) -> PicoUsd {
        self.0
    }
}

impl FromStr for Price {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Price, MoneyError> {
        PicoUsd::from_dollars_per_million(text).map(Price)
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dollars, rest) = (self.0.picos() / 1_000_000, self.0.picos() % 1_000_000);
        if rest == 0 {
            return f.pad(&dollars.to_string());
        }
        f.pad(format!("{dollars}.{rest:06}").trim_end_matches('0'))
    }
}

impl Serialize for Price {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Price {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Price, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// What multiplies a price, in hundredths: 110 is 1.1 times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Multiplier(pub(super) u32);

impl Multiplier {
    pub(super) const ONE: Multiplier = Multiplier(100);
}

impl<'de> Deserialize<'de> for Multiplier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Multiplier, D::Error> {
        let text = String::deserialize(deserializer)?;
        let hundredths = crate::money::scaled_decimal(&text, 2).map_err(D::Error::custom)?;
        u32::try_from(hundredths).map(Multiplier).map_err(D::Error::custom)
    }
}

/// The prices of one token of each kind, in pico-dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rates {
    pub(super) input: PicoUsd,
    pub(super) output: PicoUsd,
    pub(super) cache_read: PicoUsd,
    pub(super) cache_write_5m: PicoUsd,
    pub(super) cache_write_1h: PicoUsd,
}

impl Rates {
    /// Rates whose cache prices follow the rule, each rounded up to a whole pico-dollar.
    pub(super) fn by_rule(input: PicoUsd, output: PicoUsd) -> Rates {
        let times = |over: u64, under: u64| {
            let picos = input.times(over).div_ceil(u128::from(under));
            PicoUsd::from_picos(u64::try_from(picos).unwrap_or(u64::MAX))
        };
        Rates {
            input,
            output,
            cache_read: times(1, 10),
            cache_write_5m: times(5, 4),
            cache_write_1h: times(2, 1),
        }
    }

    /// The same with those cache prices that are known.
    pub(super) fn with_cache(
        mut self,
        read: Option<Price>,
        write_5m: Option<Price>,
        write_1h: Option<Price>,
    ) -> Rates {
        let set = |rate: &mut PicoUsd, price: Option<Price>| {
            if let Some(price) = price {
                *rate = price.per_token();
            }
        };
        set(&mut self.cache_read, read);
        set(&mut self.cache_write_5m, write_5m);
        set(&mut self.cache_write_1h, write_1h);
        self
    }

    /// The most that a token of input can cost.
    pub(super) fn dearest_input(&self, caching: bool) -> PicoUsd {
        if !caching {
            return self.input;
        }
        self.input.max(self.cache_read).max(self.cache_write_5m).max(self.cache_write_1h)
    }
}

/// Rates that price a whole request once its input is above `above` tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tier {
    pub(super) above: u64,
    pub(super) rates: Rates,
}

/// One model of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    pub(super) name: String,
    pub(super) provider: String,
    pub(super) rates: Rates,
    /// In rising order of `above`.
    pub(super) tiers: Vec<Tier>,
    /// Input and output at the batch price, where it is published; else it is half.
    pub(super) batch: Option<(PicoUsd, PicoUsd)>,
    pub(super) web_search: NanoUsd,
    pub(super) us: Multiplier,
    pub(super) fast: Option<Multiplier>,
    pub(super) context_window: Option<u64>,
    pub(super) max_output: Option<u32>,
    pub(super) sampling_params: bool,
    pub(super) source: String,
}

impl Model {
    /// A model of which nothing is known but what a token costs.
    pub(super) fn priced(name: &str, rates: Rates) -> Model {
        Model {
            name: name.to_owned(),
            provider: String::new(),
            rates,
            tiers: Vec::new(),
            batch: None,
            web_search: WEB_SEARCH,
            us: Multiplier::ONE,
            fast: None,
            context_window: None,
            max_output: None,
            sampling_params: true,
            source: String::new(),
        }
    }

    /// Its name in the catalogue: of a Claude model, without a date.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who serves it, such as `anthropic`; empty where only the fleet file knows the model.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// The most input and output together, in tokens, where it is known.
    pub fn context_window(&self) -> Option<u64> {
        self.context_window
    }

    /// The most output of one answer, in tokens, where it is known.
    pub fn max_output(&self) -> Option<u32> {
        self.max_output
    }

    /// Whether `temperature`, `top_p` and `top_k` may be sent; where not, they are refused.
    pub fn sampling_params(&self) -> bool {
        self.sampling_params
    }

    /// Where the prices were read and on which day.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The rates for a request whose input, cached or not, is `input_tokens`.
    pub(super) fn rates_at(&self, input_tokens: u64) -> Rates {
        let reached = self.tiers.iter().rev().find(|tier| input_tokens > tier.above);
        reached.map_or(self.rates, |tier| tier.rates)
    }

    /// All rates that a request of at most `input_tokens` of input could come to be priced at.
    pub(super) fn rates_up_to(&self, input_tokens: u64) -> impl Iterator<Item = Rates> {
        let reached = self.tiers.iter().filter(move |tier| input_tokens > tier.above);
        std::iter::once(self.rates).chain(reached.map(|tier| tier.rates))
    }
}
