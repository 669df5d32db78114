//! One limit of so much a minute: a bucket that refills, or a strict sliding window.

use std::collections::VecDeque;
use std::time::Duration;

use agent_core::clock::Timestamp;

use super::Enforcement;

const MINUTE: Duration = Duration::from_secs(60);
const MINUTE_NANOS: u128 = MINUTE.as_nanos();

/// What is left of one limit of one key and model. Every method takes `now`, which never goes back.
#[derive(Debug)]
pub(super) struct Quota {
    limit: u64,
    taken: Taken,
}

#[derive(Debug)]
enum Taken {
    /// What is missing from a full bucket, in units of which a minute's nanoseconds make one, and
    /// when that was so: so that a refill is exact.
    Bucket { missing: u128, at: Timestamp },
    /// What was taken when, oldest first, and the sum.
    Sliding { events: VecDeque<(Timestamp, u64)>, sum: u64 },
}

impl Quota {
    pub(super) fn new(limit: u32, enforcement: Enforcement) -> Quota {
        let taken = match enforcement {
            Enforcement::Bucket => Taken::Bucket { missing: 0, at: Timestamp::EPOCH },
            Enforcement::Sliding => Taken::Sliding { events: VecDeque::new(), sum: 0 },
        };
        Quota { limit: u64::from(limit), taken }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Lets time pass.
    fn refresh(&mut self, now: Timestamp) {
        match &mut self.taken {
            Taken::Bucket { missing, at } => {
                let refill = now.since(*at).as_nanos() * u128::from(self.limit);
                *missing = missing.saturating_sub(refill);
                *at = now.max(*at);
            }
            Taken::Sliding { events, sum } => {
                while let Some((at, amount)) = events.front()
                    && now.since(*at) >= MINUTE
                {
                    *sum -= amount;
                    events.pop_front();
                }
            }
        }
    }

    /// How long until there is room for `amount`: nothing where there is room now. For more than
    /// the limit there never is: then it is the time until all is there, at least a second.
    pub(super) fn wait(&mut self, now: Timestamp, amount: u64) -> Duration {
        self.refresh(now);
        if amount > self.limit {
            return self.full_at(now).since(now).max(Duration::from_secs(1));
        }
        match &self.taken {
            Taken::Bucket { missing, .. } => {
                let may_miss = u128::from(self.limit - amount) * MINUTE_NANOS;
                refill_time(missing.saturating_sub(may_miss), self.limit)
            }
            Taken::Sliding { events, sum } => {
                let mut over = (sum + amount).saturating_sub(self.limit);
                let mut wait = Duration::ZERO;
                for (at, held) in events {
                    if over == 0 {
                        break;
                    }
                    over = over.saturating_sub(*held);
                    wait = (*at + MINUTE).since(now);
                }
                wait
            }
        }
    }

    /// Takes `amount`, for which there must be room.
    pub(super) fn take(&mut self, now: Timestamp, amount: u64) {
        self.refresh(now);
        match &mut self.taken {
            Taken::Bucket { missing, .. } => *missing += u128::from(amount) * MINUTE_NANOS,
            Taken::Sliding { events, sum } if amount > 0 => {
                events.push_back((now, amount));
                *sum += amount;
            }
            Taken::Sliding { .. } => {}
        }
    }

    /// Gives back `amount` of what was taken at `at`.
    pub(super) fn give_back(&mut self, at: Timestamp, amount: u64) {
        match &mut self.taken {
            Taken::Bucket { missing, .. } => {
                *missing = missing.saturating_sub(u128::from(amount) * MINUTE_NANOS);
            }
            Taken::Sliding { events, sum } => {
                // Several may have been taken at once: which of them it is given back to is one.
                let mut left = amount;
                let first = events.partition_point(|(taken_at, _)| *taken_at < at);
                for (_, held) in events.range_mut(first..).take_while(|(t, _)| *t == at) {
                    let back = left.min(*held);
                    *held -= back;
                    left -= back;
                }
                *sum -= amount - left;
            }
        }
    }

    /// What may be taken now.
    pub(super) fn remaining(&mut self, now: Timestamp) -> u64 {
        self.refresh(now);
        match &self.taken {
            Taken::Bucket { missing, .. } => {
                let missing = missing.div_ceil(MINUTE_NANOS);
                self.limit.saturating_sub(u64::try_from(missing).unwrap_or(u64::MAX))
            }
            Taken::Sliding { sum, .. } => self.limit.saturating_sub(*sum),
        }
    }

    /// When all of the limit is there again; `now` where it is.
    pub(super) fn full_at(&mut self, now: Timestamp) -> Timestamp {
        self.refresh(now);
        match &self.taken {
            Taken::Bucket { missing, .. } => now + refill_time(*missing, self.limit),
            Taken::Sliding { events, .. } => events.back().map_or(now, |(at, _)| *at + MINUTE),
        }
    }
}

fn refill_time(missing: u128, limit: u64) -> Duration {
    let nanos = missing.div_ceil(u128::from(limit));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
