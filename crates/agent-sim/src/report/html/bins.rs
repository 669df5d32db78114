//! What happened when, in as many stretches as a chart can show.

use crate::engine::{Replica, Sums};

/// Stretches of a run, of equal length but for the last.
#[derive(Debug)]
pub(super) struct Bins {
    /// When the run ended, in nanoseconds; above 0.
    pub(super) end: f64,
    /// Start, length in nanoseconds, and what happened within.
    pub(super) all: Vec<(f64, f64, Sums)>,
}

impl Bins {
    /// At most `most` of them.
    pub(super) fn of(run: &Replica, most: usize) -> Bins {
        let series = &run.series;
        let group = series.sums.len().div_ceil(most.max(1)).max(1);
        let length = series.length_ns as f64 * group as f64;
        let makespan = run.makespan.as_nanos() as f64;
        let end = if makespan > 0.0 { makespan } else { length };
        let mut all: Vec<(f64, f64, Sums)> = Vec::new();
        for (place, sums) in series.sums.chunks(group).enumerate() {
            let start = place as f64 * length;
            let lasts = (end - start).min(length);
            // What is left at the end is too short for a rate of its own.
            let short = lasts < length / 2.0;
            let mut sum = Sums::default();
            sums.iter().for_each(|it| sum.add(it));
            match all.last_mut() {
                Some((_, before, last)) if short => {
                    *before += lasts.max(0.0);
                    last.add(&sum);
                }
                _ => all.push((start, lasts.max(1.0), sum)),
            }
        }
        Bins { end, all }
    }

    /// The middle of each stretch.
    pub(super) fn middles(&self) -> Vec<f64> {
        self.all.iter().map(|(start, length, _)| start + length / 2.0).collect()
    }

    /// The start, and the end of each stretch.
    pub(super) fn ends(&self) -> Vec<f64> {
        let ends = self.all.iter().map(|(start, length, _)| start + length);
        std::iter::once(0.0).chain(ends).collect()
    }

    /// What there is `per_ns` in each stretch.
    pub(super) fn rates(&self, per_ns: f64, of: impl Fn(&Sums) -> f64) -> Vec<f64> {
        self.all.iter().map(|(_, length, sums)| of(sums) / length * per_ns).collect()
    }

    /// What has come together at the start, and at the end of each stretch.
    pub(super) fn totals(&self, of: impl Fn(&Sums) -> f64) -> Vec<f64> {
        let mut total = 0.0;
        let sum = |(_, _, sums): &(f64, f64, Sums)| {
            total += of(sums);
            total
        };
        std::iter::once(0.0).chain(self.all.iter().map(sum).collect::<Vec<_>>()).collect()
    }
}
