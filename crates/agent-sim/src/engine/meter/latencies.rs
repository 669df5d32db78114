//! How long tasks took: exactly while they are few, in bounded memory however many there are.

use std::time::Duration;

use hdrhistogram::Histogram;

/// So many are kept as they are.
const FEW: usize = 4_096;

/// How long tasks took.
#[derive(Debug, Clone)]
pub struct Latencies {
    /// In nanoseconds; empty once there are more than [`FEW`].
    few: Vec<u64>,
    /// In microseconds, to three digits.
    all: Histogram<u64>,
    longest_ns: u64,
}

impl Default for Latencies {
    fn default() -> Latencies {
        // Grows with the longest.
        let all = Histogram::new(3).expect("3 digits are between 0 and 5");
        Latencies { few: Vec::new(), all, longest_ns: 0 }
    }
}

impl Latencies {
    /// One more took so long.
    pub(super) fn record(&mut self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        // It grows by itself, so every value has its place.
        _ = self.all.record(ns / 1_000);
        self.longest_ns = self.longest_ns.max(ns);
        if self.len() <= FEW as u64 {
            self.few.push(ns);
        } else {
            self.few = Vec::new();
        }
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What `percent` of them did not exceed, by nearest rank: exactly of up to 4,096, of more to
    /// three digits.
    pub fn at(&self, percent: f64) -> Duration {
        if self.few.is_empty() {
            // A histogram tells the upper end of the stretch in which a value lies.
            let us = self.all.value_at_percentile(percent);
            return Duration::from_nanos(us.saturating_mul(1_000).min(self.longest_ns));
        }
        let mut sorted = self.few.clone();
        let rank = libm::ceil(percent / 100.0 * sorted.len() as f64 - 1e-9).max(1.0) as usize;
        let place = rank.min(sorted.len()) - 1;
        Duration::from_nanos(*sorted.select_nth_unstable(place).1)
    }

    /// The share of them that took no longer, 0 to 1.
    pub fn share_within(&self, ns: f64) -> f64 {
        if self.few.is_empty() {
            return self.all.quantile_below((ns / 1e3) as u64);
        }
        let within = self.few.iter().filter(|it| **it as f64 <= ns).count();
        within as f64 / self.few.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(count: u64) -> Latencies {
        let mut latencies = Latencies::default();
        // In an order of their own: 7 has no divisor in common with the counts below.
        for place in 0..count {
            latencies.record(Duration::from_secs(place * 7 % count + 1));
        }
        latencies
    }

    #[test]
    fn of_few_the_percentiles_are_exact() {
        let ten = of(10);
        let seconds = [0.0, 10.0, 50.0, 90.0, 95.0, 99.0, 100.0].map(|it| ten.at(it).as_secs_f64());
        assert_eq!(seconds, [1.0, 1.0, 5.0, 9.0, 10.0, 10.0, 10.0]);
        assert_eq!([0.5e9, 5e9, 1e12].map(|ns| ten.share_within(ns)), [0.0, 0.5, 1.0]);
        assert_eq!(of(4_096).at(50.0), Duration::from_secs(2_048));
    }

    #[test]
    fn of_many_they_are_right_to_three_digits_and_never_above_the_longest() {
        let many = of(10_000);
        let half = many.at(50.0).as_secs_f64();
        assert!((5_000.0..5_005.0).contains(&half), "{half}");
        assert_eq!((many.len(), many.at(100.0)), (10_000, Duration::from_secs(10_000)));
        assert!((many.share_within(5e12) - 0.5).abs() < 1e-3);
        assert!(of(0).is_empty() && of(0).at(50.0).is_zero());
    }
}
