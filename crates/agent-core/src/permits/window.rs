//! A sliding window: what was taken in the last so long, exactly.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::clock::Timestamp;

/// Longest time between a grant and the moment at which a provider counts the request.
///
/// A provider sees a request later than it was granted: after the connection and the way there.
/// Its window begins then, so ours ends that much later.
pub(super) const TRANSIT: Duration = Duration::from_secs(1);

/// Most that one entry counts, so that sums never overflow, whatever a provider reports.
const LARGEST: u64 = 1 << 40;

/// What one request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Amounts {
    pub(super) requests: u64,
    pub(super) input: u64,
    pub(super) output: u64,
}

impl Amounts {
    fn map(self, other: Amounts, f: impl Fn(u64, u64) -> u64) -> Amounts {
        Amounts {
            requests: f(self.requests, other.requests),
            input: f(self.input, other.input),
            output: f(self.output, other.output),
        }
    }

    pub(super) fn plus(self, other: Amounts) -> Amounts {
        self.map(other, u64::saturating_add)
    }

    pub(super) fn minus(self, other: Amounts) -> Amounts {
        self.map(other, u64::saturating_sub)
    }

    /// Requests, input and output.
    pub(super) fn each(self) -> [u64; 3] {
        [self.requests, self.input, self.output]
    }

    #[cfg(test)]
    pub(super) fn at_least(self, other: Amounts) -> Amounts {
        self.map(other, u64::max)
    }

    pub(super) fn at_most(self, other: Amounts) -> Amounts {
        self.map(other, u64::min)
    }

    /// Whether no amount is larger than that of `other`.
    pub(super) fn fits(self, other: Amounts) -> bool {
        self.at_most(other) == self
    }
}

/// Names an entry of a window: when it is free again, and a number.
pub(super) type EntryKey = (Timestamp, u64);

/// Who has used what an entry counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Us,
    Others,
}

/// The requests of the last `length`, each held from its grant until it has left the provider's
/// window too; beside them what others have used.
#[derive(Debug)]
pub(super) struct SlidingWindow {
    length: Duration,
    entries: BTreeMap<EntryKey, (By, Amounts)>,
    ours: Amounts,
    others: Amounts,
    next: u64,
}

impl SlidingWindow {
    pub(super) fn new(length: Duration) -> SlidingWindow {
        let (ours, others) = (Amounts::default(), Amounts::default());
        SlidingWindow { length, entries: BTreeMap::new(), ours, others, next: 0 }
    }

    /// The same entries, counted anew.
    pub(super) fn recount(&mut self) {
        (self.ours, self.others) = (Amounts::default(), Amounts::default());
        let Self { entries, ours, others, .. } = self;
        for &(by, amounts) in entries.values() {
            let sum = if by == By::Us { &mut *ours } else { &mut *others };
            *sum = sum.plus(amounts);
        }
    }

    fn sum(&mut self, by: By) -> &mut Amounts {
        match by {
            By::Us => &mut self.ours,
            By::Others => &mut self.others,
        }
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some(first) = self.entries.first_entry() {
            if first.key().0 > now {
                break;
            }
            let (by, amounts) = first.remove();
            *self.sum(by) = self.sum(by).minus(amounts);
        }
    }

    /// What we have in the window at `now`.
    pub(super) fn ours(&mut self, now: Timestamp) -> Amounts {
        self.forget(now);
        self.ours
    }

    /// What others have in the window at `now`, as far as is known.
    pub(super) fn others(&mut self, now: Timestamp) -> Amounts {
        self.forget(now);
        self.others
    }

    /// What is in the window at `now`.
    pub(super) fn used(&mut self, now: Timestamp) -> Amounts {
        self.forget(now);
        self.ours.plus(self.others)
    }

    #[cfg(test)]
    pub(super) fn ruin(&mut self) {
        (self.ours, self.others) = (Amounts::default(), Amounts::default());
    }

    /// Takes `amounts` at `now`, as if the provider counts them as late as may be.
    pub(super) fn take(&mut self, now: Timestamp, amounts: Amounts) -> EntryKey {
        self.enter(now + TRANSIT + self.length, By::Us, amounts)
    }

    /// Others have `amounts` until `free`.
    pub(super) fn hold(&mut self, free: Timestamp, amounts: Amounts) {
        self.enter(free, By::Others, amounts);
    }

    fn enter(&mut self, free: Timestamp, by: By, amounts: Amounts) -> EntryKey {
        let amounts =
            amounts.at_most(Amounts { requests: LARGEST, input: LARGEST, output: LARGEST });
        let key = (free, self.next);
        self.next += 1;
        self.entries.insert(key, (by, amounts));
        *self.sum(by) = self.sum(by).plus(amounts);
        key
    }

    /// Gives back what was taken.
    pub(super) fn give_back(&mut self, key: EntryKey) {
        if let Some((by, amounts)) = self.entries.remove(&key) {
            *self.sum(by) = self.sum(by).minus(amounts);
        }
    }

    /// Corrects an entry of a request that ended at `now`: to what it took, and to how late the
    /// provider can have counted it.
    pub(super) fn correct(&mut self, key: EntryKey, now: Timestamp, amounts: Amounts) {
        if self.entries.contains_key(&key) {
            // In this order: it is never left out.
            self.enter(key.0.min(now + self.length), By::Us, amounts);
            self.give_back(key);
        }
    }

    /// The earliest moment at which `amounts` fit beside what is in the window; `None` where they
    /// never do.
    pub(super) fn fits_at(
        &mut self,
        now: Timestamp,
        amounts: Amounts,
        limit: Amounts,
    ) -> Option<Timestamp> {
        let mut used = self.used(now);
        if used.plus(amounts).fits(limit) {
            return Some(now);
        }
        self.entries.iter().find_map(|(&(free, _), &(_, entry))| {
            used = used.minus(entry);
            used.plus(amounts).fits(limit).then_some(free)
        })
    }
}

/// The calls of one worker.
#[derive(Debug, Default)]
pub(super) struct CallLog {
    calls: VecDeque<Timestamp>,
}

impl CallLog {
    /// When the next call may be made, if at most `calls` may be in any time of length `per`.
    pub(super) fn free_at(&mut self, now: Timestamp, calls: u32, per: Duration) -> Timestamp {
        while self.calls.front().is_some_and(|&at| at + per <= now) {
            self.calls.pop_front();
        }
        let excess = self.calls.len().checked_sub(calls as usize);
        excess.and_then(|first| self.calls.get(first)).map_or(now, |&at| at + per)
    }

    pub(super) fn take(&mut self, now: Timestamp) {
        self.calls.push_back(now);
    }

    pub(super) fn give_back(&mut self, at: Timestamp) {
        if let Ok(index) = self.calls.binary_search(&at) {
            self.calls.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn an_entry_is_held_until_the_provider_cannot_count_it_any_more() {
        let one = Amounts { requests: 1, ..Amounts::default() };
        for (end, free) in [(200, 60_200), (30_000, 61_000)] {
            let mut window = SlidingWindow::new(MINUTE);
            let entry = window.take(at(0), one);
            window.correct(entry, at(end), one);
            assert_eq!(window.fits_at(at(end), one, one), Some(at(free)));
        }
    }

    #[test]
    fn a_worker_has_its_calls_in_any_window_and_not_one_more() {
        let mut log = CallLog::default();
        for millis in [0, 10, 20] {
            assert_eq!(log.free_at(at(millis), 3, MINUTE), at(millis));
            log.take(at(millis));
        }
        assert_eq!(log.free_at(at(30), 3, MINUTE), at(60_000));
        assert_eq!(log.free_at(at(60_000), 3, MINUTE), at(60_000));
        log.take(at(60_000));
        assert_eq!(log.free_at(at(60_001), 3, MINUTE), at(60_010));
    }
}
