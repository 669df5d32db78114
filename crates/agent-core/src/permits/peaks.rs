//! The most that was in use at any moment since another: what a provider may have counted of ours.

use std::collections::VecDeque;

use super::pair::MINUTE;
use super::window::{Amounts, TRANSIT};
use crate::clock::Timestamp;

/// How far back it is known.
const KNOWN: std::time::Duration = MINUTE.saturating_add(TRANSIT);

/// Of each amount, the highs of the last [`KNOWN`]: later ones are lower.
#[derive(Debug, Default)]
pub(super) struct Peaks([VecDeque<(Timestamp, u64)>; 3]);

impl Peaks {
    /// `used` is in use from `now` on. Only rises need to be told, and each moment that is asked
    /// for later; one that is earlier than the last counts as that.
    pub(super) fn note(&mut self, now: Timestamp, used: Amounts) {
        for (highs, used) in self.0.iter_mut().zip(used.each()) {
            // The clock may have been looked at a little earlier than for the last.
            let now = highs.back().map_or(now, |&(last, _)| now.max(last));
            while highs.back().is_some_and(|&(_, high)| high <= used) {
                highs.pop_back();
            }
            while highs.front().is_some_and(|&(at, _)| at + KNOWN < now) {
                highs.pop_front();
            }
            highs.push_back((now, used));
        }
    }

    /// The most that was in use at any moment from `since` on; `None` where that is longer ago than
    /// is known at `now`.
    pub(super) fn most(&self, now: Timestamp, since: Timestamp) -> Option<Amounts> {
        if since + KNOWN < now {
            return None;
        }
        let [requests, input, output] = self.0.each_ref().map(|highs| {
            let first = highs.partition_point(|&(at, _)| at < since);
            highs.get(first).map_or(0, |&(_, high)| high)
        });
        Some(Amounts { requests, input, output })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_high_is_known_though_a_later_moment_was_told_first() {
        let mut peaks = Peaks::default();
        let at = Timestamp::from_millis;
        let used = |input| Amounts { input, ..Amounts::default() };
        peaks.note(at(10), used(5));
        for (noted, most) in [(3, 5), (7, 7)] {
            peaks.note(at(9), used(noted));
            assert_eq!(peaks.most(at(11), at(10)), Some(used(most)));
        }
    }

    proptest! {
        #[test]
        fn the_most_since_a_moment_is_the_largest_that_was_noted_since(
            steps in proptest::collection::vec((0..9_000u64, [0..20u64, 0..20u64, 0..20u64]), 1..60),
            which: prop::sample::Index,
        ) {
            let (mut peaks, mut now, mut noted) = (Peaks::default(), 0, Vec::new());
            for (passed, [requests, input, output]) in steps {
                now += passed;
                noted.push((now, Amounts { requests, input, output }));
                peaks.note(Timestamp::from_millis(now), Amounts { requests, input, output });
            }
            let since = noted[which.index(noted.len())].0;
            let most = noted.iter().filter(|(at, _)| *at >= since).fold(
                Amounts::default(),
                |most, (_, noted)| most.at_least(*noted),
            );
            let told = peaks.most(Timestamp::from_millis(now), Timestamp::from_millis(since));
            prop_assert_eq!(told, (now - since <= 61_000).then_some(most));
        }
    }
}
