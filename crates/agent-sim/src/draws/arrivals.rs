//! When work arrives: gaps of a process at rate 1, laid along a rate that changes in time.

use std::sync::Arc;
use std::time::Duration;

use super::{Distribution, Draw, OutOfRange, Stream};

const ARRIVALS: Stream = Stream::named("arrivals");

/// The highest rate, a second: more than one every nanosecond is none.
const MAX_RATE: f64 = 1e9;

/// A stretch of time with one rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// How long it lasts, in nanoseconds; at least 1.
    pub for_ns: u64,
    /// Mean arrivals a second, 0 to 1e9.
    pub per_second: f64,
}

impl Step {
    /// How long all `steps` take.
    fn seconds_of(steps: &[Step]) -> f64 {
        steps.iter().map(|step| step.for_ns as f64 / 1e9).sum()
    }
}

/// A process of arrivals.
///
/// Gaps are drawn as of a process of one arrival a second and stretched by the rate, so a
/// scenario with twice the rate meets the same pattern in half the time.
#[derive(Debug, Clone, PartialEq)]
pub struct Process {
    /// The gaps at rate 1; none where all arrive at once.
    gaps: Option<Distribution>,
    steps: Arc<[Step]>,
    /// Whether the steps begin anew after the last.
    repeats: bool,
}

fn steady(rate: f64, gaps: Distribution) -> Result<Process, OutOfRange> {
    let step = Step { for_ns: u64::MAX, per_second: rate };
    Process::along(&[step], gaps, false)
}

impl Process {
    /// All at time 0.
    pub fn batch() -> Process {
        Process { gaps: None, steps: Arc::new([]), repeats: false }
    }

    /// Independent of each other, `rate` a second.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] where `rate` is not above 0 and at most 1e9.
    pub fn poisson(rate: f64) -> Result<Process, OutOfRange> {
        Process::gamma(rate, 1.0)
    }

    /// Gamma-distributed gaps, `rate` a second. A `cv` of 0 is evenly spaced, 1 Poisson, and
    /// above it comes in bursts (an hour of a code service: 13).
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] where `rate` is not above 0 and at most 1e9, or `cv` not from 0 to 100.
    pub fn gamma(rate: f64, cv: f64) -> Result<Process, OutOfRange> {
        steady(rate, Distribution::gamma(1.0, cv)?)
    }

    /// Weibull-distributed gaps, `rate` a second. A `shape` of 1 is Poisson, below it bursty.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] where `rate` is not above 0 and at most 1e9, or `shape` not from 0.05 to
    /// 100.
    pub fn weibull(rate: f64, shape: f64) -> Result<Process, OutOfRange> {
        steady(rate, Distribution::weibull(1.0, shape)?)
    }

    /// A rate that changes in steps, with gamma-distributed gaps of this `cv` (1: Poisson).
    /// After the last step it begins anew where it `repeats`, else nothing arrives any more.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] where a rate is not from 0 to 1e9, a step lasts 0, all rates are 0 or `cv`
    /// is not from 0 to 100.
    pub fn profile(steps: &[Step], cv: f64, repeats: bool) -> Result<Process, OutOfRange> {
        Process::along(steps, Distribution::gamma(1.0, cv)?, repeats)
    }

    fn along(steps: &[Step], gaps: Distribution, repeats: bool) -> Result<Process, OutOfRange> {
        for step in steps {
            let (rate, lasts) = (step.per_second, step.for_ns);
            let allowed = (0.0..=MAX_RATE).contains(&rate);
            OutOfRange::unless(allowed, "rate", rate, "a number from 0 to 1e9 a second")?;
            OutOfRange::unless(lasts > 0, "duration", 0.0, "longer than 0")?;
        }
        let most = steps.iter().map(|step| step.per_second).fold(0.0, f64::max);
        OutOfRange::unless(most > 0.0, "rate", most, "above 0, in one step at least")?;
        Ok(Process { gaps: Some(gaps), steps: steps.into(), repeats })
    }

    /// In how many seconds `count` arrivals are expected; `None` where all come at once, or some
    /// never do.
    pub(crate) fn lasts(&self, count: u64) -> Option<f64> {
        match &*self.steps {
            [step] if step.for_ns == u64::MAX => Some(count as f64 / step.per_second),
            steps if self.repeats => {
                let seconds = Step::seconds_of(steps);
                Some(count as f64 / steps.iter().map(expected).sum::<f64>() * seconds)
            }
            _ => None,
        }
    }

    /// How many arrive in all, on average; `None` where there is no end to them, or all come at once.
    pub(crate) fn in_all(&self) -> Option<f64> {
        let endless = self.is_batch() || self.repeats;
        let steady = self.steps.first().is_some_and(|step| step.for_ns == u64::MAX);
        (!endless && !steady).then(|| self.steps.iter().map(expected).sum())
    }

    /// Whether all arrive at once, however many there are.
    pub(crate) fn is_batch(&self) -> bool {
        self.gaps.is_none()
    }

    /// How many arrivals are expected within `lasts`; 0 of a batch, which has no rate.
    pub(crate) fn expected(&self, lasts: Duration) -> f64 {
        let mut left = lasts.as_secs_f64();
        let cycle = Step::seconds_of(&self.steps);
        let mut sum = 0.0;
        if self.repeats && cycle > 0.0 {
            let cycles = libm::floor(left / cycle);
            sum = cycles * self.steps.iter().map(expected).sum::<f64>();
            left -= cycles * cycle;
        }
        for step in &*self.steps {
            let within = left.min(step.for_ns as f64 / 1e9);
            sum += step.per_second * within;
            left -= within;
        }
        sum
    }

    /// The arrivals of this process for this seed; `which` tells one workload from another.
    pub fn arrivals(&self, seed: u64, which: u64) -> Arrivals {
        let cycle_ns = self.steps.iter().fold(0, |sum: u64, step| sum.saturating_add(step.for_ns));
        let per_cycle = self.steps.iter().map(expected).sum();
        let process = self.clone();
        let at = Place { step: 0, began_ns: 0, within_ns: 0.0 };
        Arrivals { process, seed, which, drawn: 0, at, cycle_ns, per_cycle }
    }
}

/// How many arrivals a whole step has on average.
fn expected(step: &Step) -> f64 {
    step.per_second * (step.for_ns as f64 / 1e9)
}

/// The times of a process in nanoseconds, never falling.
///
/// Endless for a batch, a steady rate and a profile that repeats, up to the end of `u64`.
#[derive(Debug, Clone)]
pub struct Arrivals {
    process: Process,
    seed: u64,
    which: u64,
    drawn: u64,
    at: Place,
    cycle_ns: u64,
    per_cycle: f64,
}

/// Where along the steps the last arrival was.
#[derive(Debug, Clone, Copy)]
struct Place {
    step: usize,
    began_ns: u64,
    within_ns: f64,
}

impl Arrivals {
    /// Goes on to where `arrivals` more were expected; `None` where that is never.
    fn advance(&mut self, mut arrivals: f64) -> Option<u64> {
        loop {
            let step = *self.process.steps.get(self.at.step)?;
            let rest = step.for_ns as f64 - self.at.within_ns;
            let expected = step.per_second * (rest / 1e9);
            if step.per_second > 0.0 && arrivals <= expected {
                self.at.within_ns += arrivals / step.per_second * 1e9;
                // A cast saturates.
                return self.at.began_ns.checked_add(self.at.within_ns as u64);
            }
            arrivals -= expected;
            let began_ns = self.at.began_ns.checked_add(step.for_ns)?;
            self.at = Place { step: self.at.step + 1, began_ns, within_ns: 0.0 };
            if self.process.repeats && self.at.step == self.process.steps.len() {
                self.at.step = 0;
                arrivals = self.skip_cycles(arrivals)?;
            }
        }
    }

    /// Skips all cycles that are expected to pass whole, at once.
    fn skip_cycles(&mut self, arrivals: f64) -> Option<f64> {
        // A cast saturates.
        let cycles = (arrivals / self.per_cycle) as u64;
        let skipped = cycles.checked_mul(self.cycle_ns)?;
        self.at.began_ns = self.at.began_ns.checked_add(skipped)?;
        Some((arrivals - cycles as f64 * self.per_cycle).max(0.0))
    }
}

impl Iterator for Arrivals {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let Some(gaps) = &self.process.gaps else { return Some(0) };
        let mut draw = Draw::new(self.seed, ARRIVALS, [self.which, self.drawn, 0]);
        let gap = gaps.sample(&mut draw);
        self.drawn += 1;
        self.advance(gap)
    }
}
