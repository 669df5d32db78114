//! Who waits for a permit of one key and model: by priority, then by order; nobody for ever.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::{Ask, WaiterId};
use crate::clock::Timestamp;
use crate::task::Priority;

/// After so long a wait, a waiter counts as of the next priority.
const AGEING: Duration = Duration::from_secs(30);

/// One who waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) id: WaiterId,
    pub(super) ask: Ask,
    pub(super) since: Timestamp,
    /// When it gives up.
    pub(super) until: Timestamp,
}

/// The waiters of one key and model.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    /// By priority, first come first.
    lines: [VecDeque<Waiter>; 3],
    /// Those whose worker may not call yet, by when it may.
    resting: BTreeMap<(Timestamp, WaiterId), Waiter>,
}

fn line(priority: Priority) -> usize {
    match priority {
        Priority::Low => 0,
        Priority::Normal => 1,
        Priority::High => 2,
    }
}

impl Waiters {
    pub(super) fn len(&self) -> usize {
        self.lines.iter().map(VecDeque::len).sum::<usize>() + self.resting.len()
    }

    pub(super) fn push(&mut self, waiter: Waiter) {
        let line = &mut self.lines[line(waiter.ask.priority)];
        // One that rested comes back to its place.
        let place = line.partition_point(|other| other.id < waiter.id);
        line.insert(place, waiter);
    }

    pub(super) fn rest(&mut self, until: Timestamp, waiter: Waiter) {
        self.resting.insert((until, waiter.id), waiter);
    }

    /// Puts those back in line whose worker may call at `now`.
    pub(super) fn wake(&mut self, now: Timestamp) {
        while let Some(first) = self.resting.first_entry() {
            if first.key().0 > now {
                break;
            }
            let waiter = first.remove();
            self.push(waiter);
        }
    }

    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        self.resting.first_key_value().map(|(&(at, _), _)| at)
    }

    /// The line whose first waiter is next: the highest priority, each raised by one for every
    /// [`AGEING`] that its first has waited; of equals, who came first.
    fn next_line(&self, now: Timestamp) -> Option<usize> {
        let rank = |(line, waiters): (usize, &VecDeque<Waiter>)| {
            let first = waiters.front()?;
            let aged = now.since(first.since).as_nanos() / AGEING.as_nanos();
            Some((line as u128 + aged, Reverse(first.id), line))
        };
        self.lines.iter().enumerate().filter_map(rank).max().map(|(_, _, line)| line)
    }

    pub(super) fn first(&self, now: Timestamp) -> Option<&Waiter> {
        self.lines[self.next_line(now)?].front()
    }

    pub(super) fn pop(&mut self, now: Timestamp) -> Option<Waiter> {
        let line = self.next_line(now)?;
        self.lines[line].pop_front()
    }

    pub(super) fn remove(&mut self, id: WaiterId) -> Option<Waiter> {
        for line in &mut self.lines {
            if let Ok(place) = line.binary_search_by_key(&id, |waiter| waiter.id) {
                return line.remove(place);
            }
        }
        let &key = self.resting.keys().find(|(_, resting)| *resting == id)?;
        self.resting.remove(&key)
    }

    pub(super) fn drain(&mut self) -> Vec<Waiter> {
        let resting = std::mem::take(&mut self.resting).into_values();
        self.lines.iter_mut().flat_map(|line| line.drain(..)).chain(resting).collect()
    }
}
