//! Money: whole nano-dollars, and prices in whole pico-dollars a token.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

const NANOS_PER_DOLLAR: u64 = 1_000_000_000;
const PICOS_PER_NANO: u128 = 1_000;

/// An amount of US dollars in whole nano-dollars (10⁻⁹ $), 0 to 18.4 billion dollars.
///
/// Shown, parsed and written to JSON as an exact decimal string: `"0.000105"`, never a float.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NanoUsd(u64);

impl NanoUsd {
    /// Nothing.
    pub const ZERO: NanoUsd = NanoUsd(0);
    /// The largest amount that can be held.
    pub const MAX: NanoUsd = NanoUsd(u64::MAX);

    /// An amount in nano-dollars.
    pub const fn from_nanos(nanos: u64) -> NanoUsd {
        NanoUsd(nanos)
    }

    /// An amount in whole dollars, saturating at [`NanoUsd::MAX`].
    pub const fn from_dollars(dollars: u64) -> NanoUsd {
        NanoUsd(dollars.saturating_mul(NANOS_PER_DOLLAR))
    }

    /// The amount in nano-dollars.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Whether this is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, or `None` where it cannot be held.
    pub const fn checked_add(self, other: NanoUsd) -> Option<NanoUsd> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(NanoUsd(sum)),
            None => None,
        }
    }

    /// The sum, at most [`NanoUsd::MAX`].
    pub const fn saturating_add(self, other: NanoUsd) -> NanoUsd {
        NanoUsd(self.0.saturating_add(other.0))
    }

    /// The difference, at least nothing.
    pub const fn saturating_sub(self, other: NanoUsd) -> NanoUsd {
        NanoUsd(self.0.saturating_sub(other.0))
    }
}

/// # Panics
///
/// Where the sum cannot be held, in every build profile: money does not wrap.
impl Add for NanoUsd {
    type Output = NanoUsd;

    fn add(self, other: NanoUsd) -> NanoUsd {
        self.checked_add(other).expect("more than 18.4 billion dollars")
    }
}

impl AddAssign for NanoUsd {
    fn add_assign(&mut self, other: NanoUsd) {
        *self = *self + other;
    }
}

impl Sum for NanoUsd {
    fn sum<I: Iterator<Item = NanoUsd>>(amounts: I) -> NanoUsd {
        amounts.fold(NanoUsd::ZERO, Add::add)
    }
}

impl fmt::Display for NanoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dollars, nanos) = (self.0 / NANOS_PER_DOLLAR, self.0 % NANOS_PER_DOLLAR);
        if nanos == 0 {
            return f.pad(&dollars.to_string());
        }
        f.pad(format!("{dollars}.{nanos:09}").trim_end_matches('0'))
    }
}

/// Why a text is not an amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MoneyError {
    /// Not digits with at most one point between them.
    #[error("not an amount of dollars; write it as a decimal, such as \"1.50\"")]
    NotDecimal,
    /// More decimal places than can be held exactly.
    #[error("an amount of more than {0} decimal places; write {0} at most")]
    TooPrecise(u32),
    /// Larger than can be held.
    #[error("too large an amount; write a smaller one")]
    TooLarge,
}

/// Reads a plain decimal as an integer scaled by 10^`places`.
pub(crate) fn scaled_decimal(text: &str, places: u32) -> Result<u64, MoneyError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(MoneyError::NotDecimal);
    }
    let fraction = fraction.trim_end_matches('0');
    let missing = usize::try_from(places)
        .ok()
        .and_then(|places| places.checked_sub(fraction.len()))
        .ok_or(MoneyError::TooPrecise(places))?;
    let scaled = format!("{whole}{fraction}{}", "0".repeat(missing));
    scaled.parse().map_err(|_| MoneyError::TooLarge)
}

impl FromStr for NanoUsd {
    type Err = MoneyError;

    /// Reads `"1"`, `"0.25"` or `"0.000000105"`; no sign, no exponent, no separators.
    fn from_str(text: &str) -> Result<NanoUsd, MoneyError> {
        scaled_decimal(text, 9).map(NanoUsd)
    }
}

impl Serialize for NanoUsd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_u64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for NanoUsd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<NanoUsd, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
        } else {
            u64::deserialize(deserializer).map(NanoUsd)
        }
    }
}

/// A price of one token in whole pico-dollars (10⁻¹² $), which is micro-dollars a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct PicoUsd(u64);

impl PicoUsd {
    /// A price in pico-dollars a token.
    pub const fn from_picos(picos: u64) -> PicoUsd {
        PicoUsd(picos)
    }

    /// A price as published: dollars a million tokens, at most six decimal places.
    ///
    /// # Errors
    ///
    /// [`MoneyError`] where `text` is no decimal, or is finer than a pico-dollar a token.
    pub fn from_dollars_per_million(text: &str) -> Result<PicoUsd, MoneyError> {
        scaled_decimal(text, 6).map(PicoUsd)
    }

    /// The price in pico-dollars a token.
    pub const fn picos(self) -> u64 {
        self.0
    }

    /// What `tokens` tokens cost, in pico-dollars; exact.
    pub const fn times(self, tokens: u64) -> u128 {
        self.0 as u128 * tokens as u128
    }
}

/// Pico-dollars as nano-dollars, rounded up, at most [`NanoUsd::MAX`]. Called once an attempt.
pub fn round_up(picos: u128) -> NanoUsd {
    NanoUsd(u64::try_from(picos.div_ceil(PICOS_PER_NANO)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_shown_exactly_and_without_trailing_zeros() {
        for text in ["0", "5", "0.000105", "0.412", "12.5", "18446744073.709551615"] {
            assert_eq!(text.parse::<NanoUsd>().unwrap().to_string(), text);
        }
        assert_eq!("1.00".parse::<NanoUsd>().unwrap().to_string(), "1");
    }

    #[test]
    fn what_is_not_a_plain_decimal_is_refused() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,000", " 1", "0x1", "١"] {
            assert_eq!(text.parse::<NanoUsd>(), Err(MoneyError::NotDecimal), "{text:?}");
        }
        assert_eq!("0.0000000001".parse::<NanoUsd>(), Err(MoneyError::TooPrecise(9)));
        assert_eq!("18446744073.709551616".parse::<NanoUsd>(), Err(MoneyError::TooLarge));
    }

    #[test]
    fn fractions_of_a_nano_dollar_are_rounded_up() {
        assert_eq!(round_up(0), NanoUsd::ZERO);
        assert_eq!(round_up(1), NanoUsd(1));
        assert_eq!(round_up(1_000), NanoUsd(1));
        assert_eq!(round_up(1_001), NanoUsd(2));
        assert_eq!(round_up(u128::MAX), NanoUsd::MAX);
    }
}
