//! What happened when: sums over stretches of time that grow with the run.

use agent_core::clock::Timestamp;
use agent_core::money::NanoUsd;
use agent_core::record::UsageRecord;

use super::Waits;

/// The most stretches; where there would be more, each becomes twice as long.
const MOST: usize = 512;

/// The first length of a stretch, in nanoseconds.
const FIRST_NS: u64 = 1_000_000_000;

/// Sums over one stretch.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sums {
    /// Tasks that arrived.
    pub arrived: u64,
    /// Tasks that ended with an answer.
    pub completed: u64,
    /// Tasks that ended with an error.
    pub failed: u64,
    /// Attempts that left.
    pub attempts: u64,
    /// Attempts that were refused with 429.
    pub rate_limited: u64,
    /// Input tokens, cache reads left out.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// What was charged, what is presumed included.
    pub cost: NanoUsd,
    /// Nanoseconds that attempts were in flight, all of them together.
    pub in_flight_ns: u64,
    /// How the tasks that ended here had spent their time.
    pub waits: Waits,
}

impl Sums {
    pub(crate) fn add(&mut self, other: &Sums) {
        self.arrived += other.arrived;
        self.completed += other.completed;
        self.failed += other.failed;
        self.attempts += other.attempts;
        self.rate_limited += other.rate_limited;
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.cost = self.cost.saturating_add(other.cost);
        self.in_flight_ns += other.in_flight_ns;
        for (sum, wait) in self.waits.iter_mut().zip(other.waits) {
            *sum += wait;
        }
    }
}

/// Sums over stretches of equal length from the start on.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    start: Timestamp,
    /// How long a stretch is, in nanoseconds.
    pub length_ns: u64,
    /// The sums, the first stretch first.
    pub sums: Vec<Sums>,
    in_flight: u64,
    since: Timestamp,
}

impl Series {
    pub(super) fn new(start: Timestamp) -> Series {
        Series { start, length_ns: FIRST_NS, sums: Vec::new(), in_flight: 0, since: start }
    }

    fn at(&mut self, at: Timestamp) -> &mut Sums {
        let ns = at.since(self.start).as_nanos() as u64;
        while ns / self.length_ns >= MOST as u64 {
            self.length_ns *= 2;
            let halves = self.sums.chunks(2).map(|pair| {
                let mut sum = pair[0];
                pair.iter().skip(1).for_each(|other| sum.add(other));
                sum
            });
            self.sums = halves.collect();
        }
        let place = (ns / self.length_ns) as usize;
        if self.sums.len() <= place {
            self.sums.resize(place + 1, Sums::default());
        }
        &mut self.sums[place]
    }

    /// Spreads what was in flight since the last change over its stretches.
    fn flow(&mut self, now: Timestamp) {
        let (mut from, in_flight) = (self.since, self.in_flight);
        if in_flight > 0 {
            // So that no stretch becomes longer meanwhile.
            self.at(now);
            while from < now {
                let ns = from.since(self.start).as_nanos() as u64;
                let next = (ns / self.length_ns + 1) * self.length_ns;
                let end = (self.start + std::time::Duration::from_nanos(next)).min(now);
                self.at(from).in_flight_ns += in_flight * end.since(from).as_nanos() as u64;
                from = end;
            }
        }
        self.since = now.max(self.since);
    }

    pub(super) fn arrived(&mut self, now: Timestamp) {
        self.at(now).arrived += 1;
    }

    pub(super) fn opened(&mut self, now: Timestamp) {
        self.flow(now);
        self.in_flight += 1;
        self.at(now).attempts += 1;
    }

    pub(super) fn closed(&mut self, record: &UsageRecord) {
        self.flow(record.at);
        self.in_flight = self.in_flight.saturating_sub(1);
        let sums = self.at(record.at);
        sums.rate_limited += u64::from(record.status == Some(429));
        let usage = &record.usage;
        sums.input_tokens += usage.input_tokens + usage.cache_creation_input_tokens;
        sums.output_tokens += usage.output_tokens;
        let charged = record.cost.saturating_add(record.presumed);
        sums.cost = sums.cost.saturating_add(charged);
    }

    pub(super) fn ended(&mut self, now: Timestamp, failed: bool) {
        let sums = self.at(now);
        *if failed { &mut sums.failed } else { &mut sums.completed } += 1;
    }

    pub(super) fn waited(&mut self, now: Timestamp, waits: &Waits) {
        for (sum, wait) in self.at(now).waits.iter_mut().zip(waits) {
            *sum += wait;
        }
    }
}
