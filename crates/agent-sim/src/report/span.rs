//! Durations as a reader sees them: rounded alike for the terminal and for the page.

use std::time::Duration;

/// How the parts of a duration are set.
struct Setting {
    /// Between a number and its unit.
    unit: &'static str,
    /// Between two units.
    units: &'static str,
    minutes: &'static str,
}

const TERMINAL: Setting = Setting { unit: "", units: " ", minutes: "m" };
const PAGE: Setting = Setting { unit: "\u{202f}", units: "\u{a0}", minutes: "min" };

/// For a terminal, to two units: `2.35s`, `1h 3m`.
pub(super) fn short(duration: Duration) -> String {
    set(duration.as_nanos() as f64, &TERMINAL)
}

/// For the page, of nanoseconds: `2.35 s`, `1 h 3 min`, in spaces that do not break.
pub(super) fn page(ns: f64) -> String {
    set(ns, &PAGE)
}

fn set(ns: f64, Setting { unit, units, minutes }: &Setting) -> String {
    let ms = ns / 1e6;
    let (large, small, of, base) = match ms {
        _ if ms < 0.5 => return format!("0{unit}s"),
        _ if ms < 999.5 => return format!("{ms:.0}{unit}ms"),
        _ if ms < 9_995.0 => return format!("{:.2}{unit}s", ms / 1e3),
        _ if ms < 99_950.0 => return format!("{:.1}{unit}s", ms / 1e3),
        _ if ms < 3_599_500.0 => (*minutes, "s", 1e3, 60),
        _ if ms < 86_370_000.0 => ("h", *minutes, 60e3, 60),
        _ => ("d", "h", 3_600e3, 24),
    };
    let count = (ms / of + 0.5) as u64;
    let (more, rest) = (count / base, count % base);
    match rest {
        0 => format!("{more}{unit}{large}"),
        _ => format!("{more}{unit}{large}{units}{rest}{unit}{small}"),
    }
}
