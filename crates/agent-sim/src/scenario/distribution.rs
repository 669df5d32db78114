//! Distributions as a scenario writes them: a number, a duration, or a table with a `kind`.

use std::path::Path;

use agent_core::config::ConfigError;
use agent_core::config::read::{Field, Section};

use super::read::{beside, unusable};
use crate::draws::{Distribution, OutOfRange, PROBABILITIES, QuantileTable};
use crate::trace::{Request, Trace};

/// The longest time that is drawn, in seconds: the 30 days of any duration in a fleet file. A worker
/// that waits is looked at now and then, which takes too long where an odd draw is of many years.
const LONGEST: f64 = 30.0 * 86_400.0;

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Tokens or calls.
    Number,
    /// Seconds, written as durations such as `"1.8s"`.
    Seconds,
}

pub(super) fn out_of_range(field: &Field<'_>) -> impl Fn(OutOfRange) -> ConfigError {
    |error| field.wrong(format_args!("cannot be used: {error}"))
}

/// Reads a distribution: a number or a duration alone is always that.
pub(super) fn distribution(
    field: &Field<'_>,
    unit: Unit,
    folder: Option<&Path>,
) -> Result<Distribution, ConfigError> {
    if !field.is_table() {
        return Distribution::constant(size(field, unit)?).map_err(out_of_range(field));
    }
    let kinds: [(&str, &[&str]); 9] = [
        ("constant", &["kind", "value"]),
        ("uniform", &["kind", "min", "max"]),
        ("exponential", &["kind", "mean", "min", "max"]),
        ("lognormal", &["kind", "median", "sigma", "min", "max"]),
        ("gamma", &["kind", "mean", "cv", "min", "max"]),
        ("weibull", &["kind", "mean", "shape", "min", "max"]),
        ("quantiles", &["kind", "values"]),
        ("samples", &["kind", "values"]),
        ("trace", &["kind", "file", "of"]),
    ];
    let (kind, table) = field.of_kind(&kinds, "which kind, such as \"lognormal\"")?;
    let sized = |key: &str| table.need(key, &unit.form(), |it| size(it, unit));
    let number = |key: &str| table.need(key, "a number such as 0.8", Field::float);
    let drawn = match kind {
        "constant" => Distribution::constant(sized("value")?),
        "uniform" => {
            return Distribution::uniform(sized("min")?, sized("max")?)
                .map_err(out_of_range(field));
        }
        "exponential" => Distribution::exponential(sized("mean")?),
        "lognormal" => Distribution::log_normal(sized("median")?, number("sigma")?),
        "gamma" => Distribution::gamma(sized("mean")?, number("cv")?),
        "weibull" => Distribution::weibull(sized("mean")?, number("shape")?),
        "quantiles" | "samples" => return measured(&table, kind, unit),
        _ => return of_trace(&table, unit, folder),
    };
    let drawn = drawn.map_err(out_of_range(field))?;
    let bound = |key: &str, default| table.or(key, default, |it| size(it, unit));
    drawn.within(bound("min", 0.0)?, bound("max", unit.most())?).map_err(out_of_range(field))
}

impl Unit {
    fn form(self) -> String {
        match self {
            Unit::Number => "a number such as 250".to_owned(),
            Unit::Seconds => "a duration such as \"1.8s\"".to_owned(),
        }
    }

    /// The most that is drawn where nothing less is written.
    fn most(self) -> f64 {
        match self {
            Unit::Number => 1e18,
            Unit::Seconds => LONGEST,
        }
    }
}

/// A number of tokens, or a duration in seconds.
fn size(field: &Field<'_>, unit: Unit) -> Result<f64, ConfigError> {
    match unit {
        Unit::Number => field.float(),
        Unit::Seconds => seconds(field),
    }
}

/// A duration in seconds: as in a fleet file, or one with a point, such as `"1.8s"`.
pub(super) fn seconds(field: &Field<'_>) -> Result<f64, ConfigError> {
    let form = "a duration in quotes, such as \"1.8s\" or \"1h 30m\"";
    let text = field.str(form)?.trim();
    let units = [("ms", 1e-3), ("us", 1e-6), ("s", 1.0), ("m", 60.0), ("h", 3_600.0)];
    let parts = || {
        units.iter().find_map(|(unit, seconds)| {
            let number = text.strip_suffix(unit)?.trim_end();
            let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            let number: f64 = number.parse().ok().filter(|_| plain)?;
            Some(number * seconds)
        })
    };
    let whole = humantime::parse_duration(text).ok().map(|duration| duration.as_secs_f64());
    match whole.or_else(parts) {
        Some(seconds) if seconds <= LONGEST => Ok(seconds),
        Some(_) => Err(field.wrong("is too long; write \"30days\" at most")),
        None => Err(field.wrong(format_args!("is not a duration; write {form}"))),
    }
}

fn measured(table: &Section<'_>, kind: &str, unit: Unit) -> Result<Distribution, ConfigError> {
    table.need("values", "a list of values", |it| {
        let values = it.items("a list of values")?;
        let values: Vec<f64> = values.iter().map(|it| size(it, unit)).collect::<Result<_, _>>()?;
        let table = match kind {
            "quantiles" => QuantileTable::new(&PROBABILITIES, &values),
            _ => QuantileTable::of(values),
        };
        let table = table.map_err(|error| it.wrong(format_args!("cannot be used: {error}")))?;
        Ok(Distribution::empirical(table))
    })
}

fn of_trace(
    table: &Section<'_>,
    unit: Unit,
    folder: Option<&Path>,
) -> Result<Distribution, ConfigError> {
    type Column = fn(&Request) -> Option<f64>;
    let columns: &[(&str, Column)] = match unit {
        Unit::Number => &[
            ("input", |request| request.input.map(f64::from)),
            ("output", |request| Some(f64::from(request.output))),
        ],
        Unit::Seconds => &[("gap", |request| request.gap_ns.map(|ns| ns as f64 / 1e9))],
    };
    let column = table.need("of", "which column", |it| it.one_of(columns))?;
    table.need("file", "the trace's file in quotes", |it| {
        let path = beside(it, folder)?;
        let trace = Trace::open(&path, None).map_err(|error| unusable(it, &error))?;
        let samples = trace.requests.iter().filter_map(column).collect();
        let table = QuantileTable::of(samples).map_err(|error| unusable(it, &error))?;
        Distribution::empirical(table).within(0.0, unit.most()).map_err(out_of_range(it))
    })
}
