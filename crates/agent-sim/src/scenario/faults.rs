//! The `[[fault]]` tables: what goes wrong at the provider, and when.

use std::num::NonZeroU32;
use std::time::Duration;

use agent_core::config::ConfigError;
use agent_core::config::read::{Field, Section};

use super::workload::share;

/// Something that goes wrong at times.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// When.
    pub when: When,
    /// What.
    pub effect: Effect,
    /// The share of the calls then that it hits, 0 to 1.
    pub share: f64,
}

/// When a fault is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Now and then: exponential gaps, exponential lengths.
    Episodes {
        /// The mean time without it.
        mean_gap: Duration,
        /// The mean time with it.
        mean_length: Duration,
    },
    /// At this time since the start, for so long.
    At {
        /// From when.
        from: Duration,
        /// For how long.
        length: Duration,
    },
    /// At the first calls of each worker, its retries among them.
    FirstCalls(NonZeroU32),
}

/// What a call meets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Effect {
    /// No connection.
    Outage,
    /// An error with this status.
    Status {
        /// 400 to 599.
        status: u16,
        /// The `retry-after` that it says.
        retry_after: Option<Duration>,
    },
    /// The answer takes so many times as long.
    Slow(f64),
    /// No answer ever.
    Hang,
    /// The connection breaks half-way through the answer.
    Reset,
    /// The provider's limits are this share of what they are.
    Limits(f64),
}

/// The faults, in their order: the first that hits a call is what it meets.
pub(super) fn faults(top: &Section<'_>) -> Result<Vec<Fault>, ConfigError> {
    top.or("fault", Vec::new(), |field| {
        field.items("[[fault]] tables")?.iter().map(fault).collect()
    })
}

fn fault(field: &Field<'_>) -> Result<Fault, ConfigError> {
    let table = field.section(&[
        "effect",
        "share",
        "at",
        "for",
        "mean_gap",
        "mean_length",
        "first_calls",
        "status",
        "retry_after",
        "factor",
    ])?;
    let when = when(field, &table)?;
    let effect = effect(&table)?;
    if matches!(effect, Effect::Limits(_)) && matches!(when, When::FirstCalls(_)) {
        return Err(field.wrong("cannot lower limits for a worker's first calls; use at and for"));
    }
    Ok(Fault { when, effect, share: table.or("share", 1.0, share)? })
}

fn when(field: &Field<'_>, table: &Section<'_>) -> Result<When, ConfigError> {
    let at = table.maybe("at", Field::pause)?;
    let gap = table.maybe("mean_gap", Field::duration)?;
    let first = table.maybe("first_calls", Field::count)?;
    match (at, gap, first) {
        (Some(from), None, None) => {
            let length = table.need("for", "how long, such as \"2m\"", Field::duration)?;
            Ok(When::At { from, length })
        }
        (None, Some(mean_gap), None) => {
            let form = "how long it lasts on average, such as \"4m\"";
            Ok(When::Episodes {
                mean_gap,
                mean_length: table.need("mean_length", form, Field::duration)?,
            })
        }
        (None, None, Some(calls)) => Ok(When::FirstCalls(calls)),
        _ => Err(field.wrong(
            "must say when in one way: at and for, mean_gap and mean_length, or first_calls",
        )),
    }
}

fn effect(table: &Section<'_>) -> Result<Effect, ConfigError> {
    let effects = [
        ("outage", Effect::Outage),
        ("status", Effect::Status { status: 529, retry_after: None }),
        ("slow", Effect::Slow(2.0)),
        ("hang", Effect::Hang),
        ("reset", Effect::Reset),
        ("limits", Effect::Limits(0.5)),
    ];
    let effect =
        table.need("effect", "what happens, such as \"outage\"", |it| it.one_of(&effects))?;
    let of = |key: &str, whose: &str, fits: bool| match table.field(key) {
        Some(field) if !fits => Err(field.wrong(format_args!("is only for effect = {whose}"))),
        _ => Ok(()),
    };
    let is_status = matches!(effect, Effect::Status { .. });
    of("status", "\"status\"", is_status)?;
    of("retry_after", "\"status\"", is_status)?;
    of("factor", "\"slow\" or \"limits\"", matches!(effect, Effect::Slow(_) | Effect::Limits(_)))?;
    match effect {
        Effect::Status { status, .. } => Ok(Effect::Status {
            status: table.or("status", status, |it| match it.whole()? {
                status @ 400..=599 => Ok(status as u16),
                _ => Err(it.wrong("is no error; write a status from 400 to 599")),
            })?,
            retry_after: table.maybe("retry_after", Field::pause)?,
        }),
        Effect::Slow(factor) => {
            table.or("factor", factor, |it| factor_of(it, 1.0, 1_000.0)).map(Effect::Slow)
        }
        Effect::Limits(factor) => {
            table.or("factor", factor, |it| factor_of(it, 0.001, 1.0)).map(Effect::Limits)
        }
        effect => Ok(effect),
    }
}

fn factor_of(field: &Field<'_>, least: f64, most: f64) -> Result<f64, ConfigError> {
    let factor = field.float()?;
    if (least..=most).contains(&factor) {
        return Ok(factor);
    }
    Err(field.wrong(format_args!("is out of range; write a number from {least} to {most}")))
}
