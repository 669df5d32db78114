//! Figures and names as a reader sees them, escaped for HTML.

use std::time::Duration;

use crate::report::span::page;

/// Text that may stand between tags and in attributes.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Controls, and what turns the direction of what follows.
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => out.push(' '),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            _ => out.push(letter),
        }
    }
    out
}

/// A limit by its key, as words: `requests_per_minute` is "requests per minute".
pub(super) fn limit_name(key: &str) -> String {
    match key {
        "rate_limit" => "workers' own calls per minute".to_owned(),
        _ => escaped(&key.replace('_', " ")),
    }
}

/// A whole number with a thin space between thousands.
pub(super) fn whole(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push('\u{2009}');
        }
        out.push(digit);
    }
    out
}

/// A number to about three digits: `0.25`, `12.4`, `1 300`, `450k`, `1.2M`.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    let digits = |value: f64, digits: usize| {
        let text = format!("{value:.digits$}");
        match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => text,
        }
    };
    match size {
        _ if size >= 1e9 => digits(value / 1e9, 1) + "G",
        _ if size >= 1e6 => digits(value / 1e6, 1) + "M",
        _ if size >= 1e4 => digits(value / 1e3, 1) + "k",
        _ if size >= 100.0 => whole(value.abs() as u64 + u64::from(value.abs().fract() >= 0.5)),
        _ if size >= 10.0 => digits(value, 1),
        _ if size >= 0.001 => digits(value, 3),
        _ => "0".to_owned(),
    }
}

/// Dollars: to the cent, to four digits below a dime.
pub(super) fn dollars(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if size >= 1_000.0 => format!("${}", whole(size as u64 + u64::from(size.fract() >= 0.5))),
        _ if size >= 0.1 || size == 0.0 => format!("${value:.2}"),
        _ => format!("${value:.4}"),
    }
}

/// A share as percent: `0 %`, `0.4 %`, `99.5 %`.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        _ if percent.abs() < 0.05 => "0\u{202f}%".to_owned(),
        _ if (percent - libm::round(percent)).abs() < 0.05 => format!("{percent:.0}\u{202f}%"),
        _ => format!("{percent:.1}\u{202f}%"),
    }
}

/// A change with its sign: `−17 %`, `±0 %`.
pub(super) fn change(share: f64) -> String {
    let percent = share * 100.0;
    let size = percent.abs();
    let sign = if percent < 0.0 { "\u{2212}" } else { "+" };
    match size {
        _ if size < 0.05 => "±0\u{202f}%".to_owned(),
        _ if size < 9.95 => format!("{sign}{size:.1}\u{202f}%"),
        _ => format!("{sign}{size:.0}\u{202f}%"),
    }
}

/// A change of a share in points of a hundred: `+2.5 pts`.
pub(super) fn points(share: f64) -> String {
    let points = share * 100.0;
    match points {
        _ if points.abs() < 0.05 => "±0\u{202f}pts".to_owned(),
        _ if points < 0.0 => format!("\u{2212}{:.1}\u{202f}pts", -points),
        _ => format!("+{points:.1}\u{202f}pts"),
    }
}

/// Nanoseconds, to two units: `2.3 s`, `1 h 3 m`.
pub(super) fn span(ns: f64) -> String {
    page(ns)
}

/// A duration like [`span`].
pub(super) fn lasting(duration: Duration) -> String {
    span(duration.as_nanos() as f64)
}

/// A coordinate, to a tenth.
pub(super) fn place(value: f64) -> String {
    let tenths = libm::round(value * 10.0) as i64;
    match tenths % 10 {
        0 => (tenths / 10).to_string(),
        _ => format!("{:.1}", tenths as f64 / 10.0),
    }
}
