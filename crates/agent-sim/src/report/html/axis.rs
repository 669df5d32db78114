//! Axes: from values to places between 0 and 1, and the ticks on them.

use super::words;

/// How the values of an axis are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// A number as it is.
    Number,
    /// A share, as percent.
    Share,
    /// Dollars.
    Dollars,
    /// Nanoseconds.
    Time,
}

impl Unit {
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Unit::Number => words::number(value),
            Unit::Share => words::percent(value),
            Unit::Dollars => words::dollars(value),
            Unit::Time => words::span(value),
        }
    }
}

/// An axis.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    unit: Unit,
    from: f64,
    to: f64,
    logarithmic: bool,
    ticks: Vec<f64>,
    /// What is written instead of 0, 1, 2 and so on; none: the values themselves. HTML.
    names: Vec<String>,
}

impl Axis {
    /// From 0 to `most` or a little above, where its last tick stands.
    pub(super) fn up_to(unit: Unit, most: f64) -> Axis {
        let most = if most > 0.0 { most } else { 1.0 };
        let step = step(unit, most / 4.0);
        let count = libm::ceil(most / step - 1e-9).max(1.0) as usize;
        let ticks = (0..=count).map(|tick| tick as f64 * step).collect();
        Axis {
            unit,
            from: 0.0,
            to: count as f64 * step,
            logarithmic: false,
            ticks,
            names: Vec::new(),
        }
    }

    /// Over numbers, one at least; where all are whole, so are the ticks: nobody has 2.5 workers.
    pub(super) fn over(numbers: &[f64]) -> Axis {
        let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
        let most = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let about = (most - least) / 6.0;
        match numbers.iter().all(|it| it.fract() == 0.0) {
            true => Axis::stepped(Unit::Number, least, most, whole_step(about)),
            false => Axis::stepped(Unit::Number, least, most, step(Unit::Number, about)),
        }
    }

    /// From `from` to exactly `to`, with ticks at round values between.
    pub(super) fn between(unit: Unit, from: f64, to: f64) -> Axis {
        let to = if to > from { to } else { from + 1.0 };
        Axis::stepped(unit, from, to, step(unit, (to - from) / 6.0))
    }

    fn stepped(unit: Unit, from: f64, to: f64, step: f64) -> Axis {
        let to = if to > from { to } else { from + 1.0 };
        let first = libm::ceil(from / step - 1e-9);
        let ticks = (0..=12).map(|tick| (first + f64::from(tick)) * step);
        let ticks = ticks.take_while(|tick| *tick <= to + (to - from) * 1e-9).collect();
        Axis { unit, from, to, logarithmic: false, ticks, names: Vec::new() }
    }

    /// From `from` to `to`, both above 0, each tenfold as far as the next.
    pub(super) fn logarithmic(unit: Unit, from: f64, to: f64) -> Axis {
        let from = from.max(1e-9);
        let to = to.max(from * 1.5);
        // Round times in nanoseconds; for anything else 1, 2 and 5 of each ten.
        let known: Vec<f64> = match unit {
            Unit::Time => SECONDS.iter().map(|seconds| seconds * 1e9).collect(),
            _ => (-9..=12)
                .flat_map(|ten| [1.0, 2.0, 5.0].map(|n| n * libm::exp10(f64::from(ten))))
                .collect(),
        };
        let inside: Vec<f64> = known.into_iter().filter(|it| (from..=to).contains(it)).collect();
        let every = inside.len().div_ceil(8).max(1);
        let ticks = inside.into_iter().step_by(every).collect();
        Axis { unit, from, to, logarithmic: true, ticks, names: Vec::new() }
    }

    /// Things side by side, at 0, 1, 2 and so on; their names are HTML. Of many, some are named.
    pub(super) fn named(names: Vec<String>) -> Axis {
        let every = names.len().div_ceil(NAMES).max(1);
        let ticks = (0..names.len()).step_by(every).map(|place| place as f64).collect();
        // Each has the same room, on both sides of it.
        let (from, to) = (-0.5, names.len() as f64 - 0.5);
        Axis { unit: Unit::Number, from, to, logarithmic: false, ticks, names }
    }

    /// The share of the axis that each name may take; `None` where there are no names.
    pub(super) fn room(&self) -> Option<f64> {
        let ticks = Some(self.ticks.len()).filter(|_| !self.names.is_empty())?;
        Some(1.0 / ticks.max(1) as f64)
    }

    /// Where a value stands, 0 to 1; what is outside stands on the border.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = match self.logarithmic {
            true => libm::log(value.max(self.from) / self.from) / libm::log(self.to / self.from),
            false => (value - self.from) / (self.to - self.from),
        };
        share.clamp(0.0, 1.0)
    }

    pub(super) fn show(&self, value: f64) -> String {
        let name = self.names.get(value as usize);
        name.cloned().unwrap_or_else(|| self.unit.show(value))
    }

    /// Each tick: its place and what is written there.
    pub(super) fn ticks(&self) -> impl Iterator<Item = (f64, String)> {
        self.ticks.iter().map(|tick| (self.at(*tick), self.tick(*tick)))
    }

    fn tick(&self, value: f64) -> String {
        match self.unit {
            _ if !self.names.is_empty() => self.show(value),
            Unit::Dollars if self.to >= 5.0 && self.ticks.iter().all(|it| it.fract() == 0.0) => {
                format!("${}", words::whole(value as u64))
            }
            Unit::Dollars if self.to < 1_000.0 => {
                // All alike.
                let in_cents = |it: &f64| (it * 100.0 - libm::round(it * 100.0)).abs() < 1e-6;
                let places = if self.ticks.iter().all(in_cents) { 2 } else { 4 };
                format!("${value:.places$}")
            }
            Unit::Time if value < 99.95e9 => {
                // Short: a tick stands at a round value.
                let (value, unit) = match value {
                    _ if value == 0.0 => return "0".to_owned(),
                    _ if value < 1e9 => (value / 1e6, "ms"),
                    _ => (value / 1e9, "s"),
                };
                format!("{}\u{202f}{unit}", words::number(value))
            }
            Unit::Share => format!("{}\u{202f}%", words::number(value * 100.0)),
            unit => unit.show(value),
        }
    }
}

/// Most names along an axis.
const NAMES: usize = 8;

const SECONDS: [f64; 27] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0,
    300.0, 600.0, 1_200.0, 3_600.0, 7_200.0, 18_000.0, 43_200.0, 86_400.0, 172_800.0, 432_000.0,
    864_000.0,
];

/// The round step next above `least`.
fn step(unit: Unit, least: f64) -> f64 {
    if unit == Unit::Time {
        const STEPS: [f64; 24] = [
            1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_200.0,
            1_800.0, 3_600.0, 7_200.0, 10_800.0, 14_400.0, 21_600.0, 43_200.0, 86_400.0, 172_800.0,
            432_000.0, 864_000.0,
        ];
        let fits = STEPS.iter().map(|seconds| seconds * 1e9).find(|step| *step >= least);
        if least > 0.5e9
            && let Some(step) = fits
        {
            return step;
        }
    }
    let ten = libm::exp10(libm::floor(libm::log10(least.max(1e-9))));
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * ten);
    steps.into_iter().find(|step| *step >= least * (1.0 - 1e-9)).unwrap_or(10.0 * ten)
}

/// The round whole step next above `least`.
fn whole_step(least: f64) -> f64 {
    let ten = libm::exp10(libm::floor(libm::log10(least.max(1.0))));
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * ten);
    steps.into_iter().find(|step| *step >= least * (1.0 - 1e-9)).unwrap_or(10.0 * ten)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_whole_numbers_no_tick_is_a_part_of_one() {
        let ticks =
            |numbers: &[f64]| Axis::over(numbers).ticks().map(|(_, name)| name).collect::<Vec<_>>();
        assert_eq!(ticks(&[2.0, 4.0, 8.0, 16.0]), ["5", "10", "15"]);
        assert_eq!(ticks(&[1.0, 2.0, 3.0, 4.0]), ["1", "2", "3", "4"]);
        assert_eq!(ticks(&[10.0, 30.0, 50.0, 70.0]), ["10", "20", "30", "40", "50", "60", "70"]);
        assert_eq!(ticks(&[0.1, 0.2, 0.3, 0.5]), ["0.1", "0.2", "0.3", "0.4", "0.5"]);
    }

    #[test]
    fn ticks_of_dollars_have_as_many_places_as_their_neighbours() {
        let ticks = |most: f64| {
            let axis = Axis::up_to(Unit::Dollars, most);
            axis.ticks().map(|(_, name)| name).collect::<Vec<_>>()
        };
        let cents = ["$0.00", "$0.05", "$0.10", "$0.15", "$0.20"];
        assert_eq!(ticks(0.18), cents);
        let parts = ["$0.0000", "$0.0250", "$0.0500", "$0.0750", "$0.1000"];
        assert_eq!(ticks(0.09), parts);
        assert_eq!(ticks(40.0), ["$0", "$10", "$20", "$30", "$40"]);
    }
}
