//! A sliding window: what was taken in the last so long, exactly.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Timestamp;

/// Longest time between a grant and the moment at which a provider counts the request.
///
/// A provider sees a request later than it was granted: after the connection and the way there.
/// Its window begins then, so ours ends that much later.
pub(super) const TRANSIT: Duration = Duration::from_secs(1);

/// Most that one entry counts, so that sums never overflow, whatever a provider reports.
const LARGEST: Amounts = Amounts { requests: 1 << 40, input: 1 << 40, output: 1 << 40 };

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

/// Names what was taken, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EntryKey(u64);

/// What counts until it is free again.
#[derive(Debug, Clone, Copy)]
struct Held {
    free: Timestamp,
    amounts: Amounts,
}

/// What was taken; nothing counts of what was given back, or stands among what has ended.
#[derive(Debug)]
struct Taken {
    key: EntryKey,
    free: Timestamp,
    amounts: Option<Amounts>,
}

/// The requests of the last `length`, each held from its grant until it has left the provider's
/// window too; beside them what others have used.
///
/// In three lines, each in the order in which what is in it is free again.
#[derive(Debug)]
pub(super) struct SlidingWindow {
    length: Duration,
    /// As it was taken, or corrected since.
    taken: VecDeque<Taken>,
    /// What is free earlier, since it ended soon after it was taken.
    ended: VecDeque<Held>,
    of_others: VecDeque<Held>,
    ours: Amounts,
    others: Amounts,
    next: u64,
}

impl SlidingWindow {
    pub(super) fn new(length: Duration) -> SlidingWindow {
        let (taken, ended, of_others) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        let (ours, others) = (Amounts::default(), Amounts::default());
        SlidingWindow { length, taken, ended, of_others, ours, others, next: 0 }
    }

    /// The same entries, counted anew.
    pub(super) fn recount(&mut self) {
        let plus = |sum: Amounts, amounts| sum.plus(amounts);
        let ended = self.ended.iter().map(|held| held.amounts);
        let taken = self.taken.iter().filter_map(|taken| taken.amounts);
        self.ours = taken.chain(ended).fold(Amounts::default(), plus);
        let of_others = self.of_others.iter().map(|held| held.amounts);
        self.others = of_others.fold(Amounts::default(), plus);
    }

    fn forget(&mut self, now: Timestamp) {
        let SlidingWindow { taken, ended, of_others, ours, others, .. } = self;
        while let Some(first) = taken.front().filter(|first| first.free <= now) {
            *ours = ours.minus(first.amounts.unwrap_or_default());
            taken.pop_front();
        }
        for (line, sum) in [(ended, ours), (of_others, others)] {
            while let Some(first) = line.front().filter(|first| first.free <= now) {
                *sum = sum.minus(first.amounts);
                line.pop_front();
            }
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
        // No earlier than what was taken before, which may have looked at the clock a little later.
        let last = self.taken.back().map_or(Timestamp::EPOCH, |last| last.free);
        let (key, amounts) = (EntryKey(self.next), amounts.at_most(LARGEST));
        let free = last.max(now + TRANSIT + self.length);
        self.next += 1;
        self.taken.push_back(Taken { key, free, amounts: Some(amounts) });
        self.ours = self.ours.plus(amounts);
        key
    }

    /// Others have `amounts` until `free`.
    pub(super) fn hold(&mut self, free: Timestamp, amounts: Amounts) {
        let amounts = amounts.at_most(LARGEST);
        enter(&mut self.of_others, Held { free, amounts }, |it| it.free <= free);
        self.others = self.others.plus(amounts);
    }

    /// What was taken under `key`, where it is in the window still.
    fn entry(&mut self, key: EntryKey) -> Option<&mut Taken> {
        // Where no later one was given back, the numbers run on from the first.
        let place = usize::try_from(key.0.checked_sub(self.taken.front()?.key.0)?).ok()?;
        let place = match self.taken.get(place) {
            Some(taken) if taken.key == key => place,
            _ => self.taken.binary_search_by_key(&key.0, |taken| taken.key.0).ok()?,
        };
        self.taken.get_mut(place)
    }

    /// Gives back what was taken.
    pub(super) fn give_back(&mut self, key: EntryKey) {
        let Some(amounts) = self.entry(key).and_then(|entry| entry.amounts.take()) else { return };
        self.ours = self.ours.minus(amounts);
        while self.taken.back().is_some_and(|last| last.amounts.is_none()) {
            self.taken.pop_back();
        }
    }

    /// Corrects an entry of a request that ended at `now`: to what it took, and to how late the
    /// provider can have counted it.
    pub(super) fn correct(&mut self, key: EntryKey, now: Timestamp, amounts: Amounts) {
        let (earlier, amounts) = (now + self.length, amounts.at_most(LARGEST));
        let Some(entry) = self.entry(key) else { return };
        let (free, Some(before)) = (entry.free, entry.amounts) else { return };
        if free <= earlier {
            entry.amounts = Some(amounts);
            self.ours = self.ours.plus(amounts).minus(before);
        } else {
            // In this order: it is never left out.
            enter(&mut self.ended, Held { free: earlier, amounts }, |it| it.free <= earlier);
            self.ours = self.ours.plus(amounts);
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
        let held = |taken: &Taken| Some(Held { free: taken.free, amounts: taken.amounts? });
        let ours = merged(self.taken.iter().filter_map(held), self.ended.iter().copied());
        merged(ours, self.of_others.iter().copied()).find_map(|held| {
            used = used.minus(held.amounts);
            used.plus(amounts).fits(limit).then_some(held.free)
        })
    }
}

/// What is in two lines, in the order of both.
fn merged(
    one: impl Iterator<Item = Held>,
    other: impl Iterator<Item = Held>,
) -> impl Iterator<Item = Held> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some(first), Some(second)) if second.free < first.free => other.next(),
        (None, _) => other.next(),
        _ => one.next(),
    })
}

/// Puts `it` into its place in a line, which is seldom another than the last.
fn enter<T>(line: &mut VecDeque<T>, it: T, is_before: impl Fn(&T) -> bool) {
    if line.back().is_none_or(&is_before) {
        line.push_back(it);
    } else {
        line.insert(line.partition_point(is_before), it);
    }
}

/// The calls of one worker, in the order of their times.
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
        enter(&mut self.calls, now, |&at| at <= now);
    }

    pub(super) fn give_back(&mut self, at: Timestamp) {
        if let Ok(index) = self.calls.binary_search(&at) {
            self.calls.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

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

    proptest! {
        #[test]
        fn a_window_holds_what_a_plain_list_of_entries_holds(
            steps in proptest::collection::vec((0..2_000u64, 0..5u8, 0..100u64, any::<Index>()), 1..80),
        ) {
            let limit = Amounts { requests: 200, input: 300, output: 1 };
            let (mut window, mut now, mut latest) = (SlidingWindow::new(MINUTE), 0, 0);
            // Until when, how much, and under which key, where it has not ended.
            let mut plain: Vec<(u64, u64, Option<EntryKey>)> = Vec::new();
            let mut stale = Vec::new();
            for (passed, what, amount, which) in steps {
                now += passed;
                let gone = plain.extract_if(.., |(free, ..)| *free <= now);
                stale.extend(gone.filter_map(|(_, _, key)| key));
                let input = Amounts { input: amount, ..Amounts::default() };
                let open: Vec<_> = (0..plain.len()).filter(|at| plain[*at].2.is_some()).collect();
                let chosen = (!open.is_empty()).then(|| open[which.index(open.len())]);
                match (what, chosen) {
                    (0, Some(chosen)) => {
                        let key = plain.remove(chosen).2.unwrap();
                        window.give_back(key);
                        stale.push(key);
                    }
                    (1, Some(chosen)) => {
                        let (free, _, key) = plain[chosen];
                        window.correct(key.unwrap(), at(now), input);
                        plain[chosen] = (free.min(now + 60_000), amount, None);
                        if now + 60_000 < free {
                            stale.push(key.unwrap());
                        }
                    }
                    (2, _) => {
                        window.hold(at(now + 600 * amount), input);
                        plain.push((now + 600 * amount, amount, None));
                    }
                    _ => {
                        // By a clock that may have been looked at earlier than that of the last.
                        let seen = if what == 3 { now.saturating_sub(3 * passed) } else { now };
                        let key = window.take(at(seen), input);
                        latest = latest.max(seen + 61_000);
                        let free = window.taken.back().unwrap().free.millis();
                        prop_assert!((seen + 61_000..=latest).contains(&free));
                        plain.push((free, amount, Some(key)));
                    }
                }
                // Of what is not there any more nothing can be changed; and a new count is the same.
                for key in std::mem::take(&mut stale) {
                    window.give_back(key);
                    window.correct(key, at(now), input);
                    stale.push(key);
                }
                window.recount();
                prop_assert!(window.taken.iter().is_sorted_by_key(|taken| taken.free));
                let sum = |from: u64| -> u64 {
                    plain.iter().filter(|(free, ..)| *free > from).map(|it| it.1).sum()
                };
                prop_assert_eq!(window.used(at(now)).input, sum(now));
                let moments = std::iter::once(now).chain(plain.iter().map(|it| it.0));
                let fits = moments.filter(|from| sum(*from) + amount <= limit.input).min();
                prop_assert_eq!(window.fits_at(at(now), input, limit), fits.map(at));
            }
        }
    }

    #[test]
    fn a_call_is_found_again_though_a_later_one_was_told_first() {
        let mut log = CallLog::default();
        for millis in [5, 3, 4] {
            log.take(at(millis));
        }
        log.give_back(at(5));
        assert_eq!(log.free_at(at(6), 3, MINUTE), at(6));
        assert_eq!(log.free_at(at(6), 2, MINUTE), at(60_003));
    }

    #[test]
    fn what_is_given_back_leaves_nothing_behind() {
        let one = Amounts { requests: 1, ..Amounts::default() };
        let mut window = SlidingWindow::new(MINUTE);
        for _ in 0..100 {
            let taken = [window.take(at(0), one), window.take(at(0), one)];
            taken.into_iter().for_each(|key| window.give_back(key));
        }
        assert!(window.taken.is_empty());
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
