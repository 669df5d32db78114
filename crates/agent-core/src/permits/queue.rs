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
    /// The number of its worker.
    pub(super) worker: usize,
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

    /// Puts those back in line who rest because of `worker`: it may call earlier than it seemed.
    pub(super) fn rouse(&mut self, worker: usize) {
        let roused = self.resting.extract_if(.., |_, waiter| waiter.worker == worker);
        for (_, waiter) in roused.collect::<Vec<_>>() {
            self.push(waiter);
        }
    }

    /// When somebody who rests may go on, or when another may come first for having waited long.
    pub(super) fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let wakes = self.resting.first_key_value().map(|(&(at, _), _)| at);
        // To rise changes nothing for the line that is next anyway.
        let next = self.next_line(now);
        let others = self.lines.iter().enumerate().filter(|(line, _)| Some(*line) != next);
        let rises = others.filter_map(|(_, waiters)| {
            let since = waiters.front()?.since;
            let aged = now.since(since).as_nanos() / AGEING.as_nanos();
            Some(since + AGEING * u32::try_from(aged + 1).ok()?)
        });
        rises.chain(wakes).min()
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

    /// Takes out all of whom `leaves` holds.
    pub(super) fn take_out(&mut self, leaves: impl Fn(&Ask) -> bool) -> Vec<Waiter> {
        let mut left = Vec::new();
        for line in &mut self.lines {
            let (out, stay) = line.drain(..).partition(|waiter| leaves(&waiter.ask));
            *line = stay;
            left.extend(Vec::from(out));
        }
        let resting = self.resting.extract_if(.., |_, waiter| leaves(&waiter.ask));
        left.extend(resting.map(|(_, waiter)| waiter));
        left
    }
}
