//! The order of timers: a hierarchical timing wheel, exact to the nanosecond.
//!
//! After Varghese and Lauck, *Hashed and Hierarchical Timing Wheels* (1987). A moment is a number of
//! eleven digits of six bits. What differs from the present in a high digit lies with all else that
//! does so there, and is parted by lower digits when that time comes. So an item is put behind others
//! a few times, and is nowhere looked for: with hundreds of thousands of timers this takes less than
//! half of the time of a heap, whose parts are far from each other in memory.

use std::collections::VecDeque;

const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
const LEVELS: usize = u64::BITS.div_ceil(BITS) as usize;

/// A slot that was emptied keeps room for so many items at most: few, and it need not be made again;
/// more, and all of them together would be much.
const KEPT: usize = 32;

/// Items in the order of their moments, and of one moment in the order in which they came.
#[derive(Debug)]
pub(super) struct Wheel<T> {
    /// No item is earlier.
    turned: u64,
    /// The items of that moment.
    due: VecDeque<T>,
    /// By the highest digit in which an item's moment differs from `turned`, the lowest first.
    levels: [Level<T>; LEVELS],
    len: usize,
}

/// Items by the digit of their moments at which this level is; each is later than the present's.
#[derive(Debug)]
struct Level<T> {
    /// A bit for each slot that has items.
    full: u64,
    slots: [Vec<(u64, T)>; SLOTS],
}

impl<T> Wheel<T> {
    /// An empty one, at the moment `start`.
    pub(super) fn starting_at(start: u64) -> Wheel<T> {
        let level = |_| Level { full: 0, slots: std::array::from_fn(|_| Vec::new()) };
        let levels = std::array::from_fn(level);
        Wheel { turned: start, due: VecDeque::new(), levels, len: 0 }
    }

    /// Items in it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Puts an item in for the moment `at`; a moment before the latest that was taken is that one.
    pub(super) fn push(&mut self, at: u64, item: T) {
        self.len += 1;
        self.put(at.max(self.turned), item);
    }

    fn put(&mut self, at: u64, item: T) {
        let Some(highest) = (at ^ self.turned).checked_ilog2() else {
            return self.due.push_back(item);
        };
        let level = highest / BITS;
        let slot = (at >> (level * BITS)) as usize % SLOTS;
        let Level { full, slots } = &mut self.levels[level as usize];
        *full |= 1 << slot;
        slots[slot].push((at, item));
    }

    /// Takes the earliest item out, with its moment. Where there is none, the wheel is turned back to
    /// `now`: the latest that were taken may have been of no use.
    pub(super) fn pop(&mut self, now: u64) -> Option<(u64, T)> {
        loop {
            if let Some(item) = self.due.pop_front() {
                self.len -= 1;
                return Some((self.turned, item));
            }
            let Some(level) = self.levels.iter().position(|level| level.full != 0) else {
                self.turned = now;
                return None;
            };
            let Level { full, slots } = &mut self.levels[level];
            let slot = full.trailing_zeros() as usize;
            *full ^= 1 << slot;
            let mut items = std::mem::take(&mut slots[slot]);
            self.turned = items.iter().map(|&(at, _)| at).min().unwrap_or(self.turned);
            for (at, item) in items.drain(..) {
                self.put(at, item);
            }
            if items.capacity() <= KEPT {
                self.levels[level].slots[slot] = items;
            }
        }
    }

    /// Drops the items that are of no use any more.
    pub(super) fn retain(&mut self, mut is_of_use: impl FnMut(&T) -> bool) {
        self.due.retain(&mut is_of_use);
        self.due.shrink_to(KEPT);
        self.len = self.due.len();
        for Level { full, slots } in &mut self.levels {
            for (slot, items) in slots.iter_mut().enumerate().filter(|(_, items)| !items.is_empty())
            {
                items.retain(|(_, item)| is_of_use(item));
                self.len += items.len();
                if items.is_empty() {
                    *full ^= 1 << slot;
                    items.shrink_to(KEPT);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn moments_far_apart_come_in_their_order_and_those_of_one_as_they_were_put_in() {
        let mut wheel = Wheel::starting_at(5);
        let moments = [u64::MAX, 5, 1 << 60, 6, 64, 63, u64::MAX, 1 << 36, 6, 4_095, 4_096];
        for (number, at) in moments.into_iter().enumerate() {
            wheel.push(at, number);
        }
        let order: Vec<_> = std::iter::from_fn(|| wheel.pop(5)).map(|(_, number)| number).collect();
        assert_eq!(order, [1, 3, 8, 5, 4, 9, 10, 7, 2, 0, 6]);
        assert_eq!(wheel.len(), 0);
    }

    #[test]
    fn an_empty_wheel_is_at_the_moment_that_it_is_told() {
        let mut wheel = Wheel::starting_at(0);
        wheel.push(1_000, 'a');
        assert_eq!(wheel.pop(0), Some((1_000, 'a')));
        wheel.push(10, 'b');
        assert_eq!(wheel.pop(0), Some((1_000, 'b')), "what was taken is not gone back behind");
        assert_eq!(wheel.pop(0), None);
        wheel.push(10, 'c');
        assert_eq!(wheel.pop(0), Some((10, 'c')));
    }

    #[test]
    fn what_was_let_go_of_leaves_little_room_behind() {
        let mut wheel = Wheel::starting_at(0);
        for number in 0..100_000 {
            wheel.push(number % 2 * 600_000_000_000 + number % 7, number);
        }
        wheel.retain(|_| false);
        let slots = wheel.levels.iter().flat_map(|level| &level.slots).map(Vec::capacity);
        assert!(slots.chain([wheel.due.capacity()]).all(|room| room <= KEPT));
        assert_eq!((wheel.len(), wheel.pop(9)), (0, None));
    }

    #[test]
    fn random_histories_agree_with_a_sorted_map() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut now, mut number) = (random.u64(..) >> random.u32(..64), 0_u64);
            let mut wheel = Wheel::starting_at(now);
            let mut plain = BTreeMap::new();
            for _ in 0..1_000 {
                match random.u32(..20) {
                    0..11 => {
                        let after = random.u64(..) >> random.u32(..64);
                        let at = now.saturating_add(if random.bool() { after } else { after % 8 });
                        number += 1;
                        wheel.push(at, number);
                        plain.insert((at, number), ());
                    }
                    11 => {
                        let kept = |number: u64| !number.is_multiple_of(3);
                        wheel.retain(|number| kept(*number));
                        plain.retain(|(_, number), ()| kept(*number));
                    }
                    _ => {
                        let first = plain.pop_first().map(|(first, ())| first);
                        assert_eq!(wheel.pop(now), first, "seed {seed}");
                        now = first.map_or(now, |(at, _)| at);
                    }
                }
                assert_eq!(wheel.len(), plain.len(), "seed {seed}");
            }
        }
    }
}
