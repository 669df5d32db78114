//! Which task is next: by priority, then by order, among those that a worker may play.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::task::Priority;

/// A task within its run: its place in the order of acceptance.
pub type TaskNumber = u64;

/// The place of a task in the queue.
type Place = (Reverse<Priority>, TaskNumber);

/// A line of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// The agent that must play them; `None`: any.
    pub agent: Option<u32>,
    /// Whether they are given to a worker that may not call yet, to be refused rather than wait.
    pub at_once: bool,
}

/// The tasks that wait for a worker.
#[derive(Debug, Default)]
pub struct Queue {
    lines: BTreeMap<Line, BTreeSet<Place>>,
    len: usize,
}

impl Queue {
    /// Tasks in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts a task behind those of its priority with a smaller number. A task that comes back
    /// keeps its number, and so its place.
    pub fn push(&mut self, line: Line, priority: Priority, task: TaskNumber) {
        let line = self.lines.entry(line).or_default();
        self.len += usize::from(line.insert((Reverse(priority), task)));
    }

    /// Takes the next task for a worker of `agent`; of those that are given out at once, where
    /// the worker may not call yet.
    pub fn pop(&mut self, agent: u32, may_call: bool) -> Option<TaskNumber> {
        let mut next: Option<(Place, Line)> = None;
        for line_agent in [Some(agent), None] {
            for at_once in [false, true] {
                let line = Line { agent: line_agent, at_once };
                let Some(first) = self.lines.get(&line).and_then(BTreeSet::first) else {
                    continue;
                };
                let earlier = next.is_none_or(|(place, _)| *first < place);
                if earlier && (at_once || may_call) {
                    next = Some((*first, line));
                }
            }
        }
        let ((priority, task), line) = next?;
        self.take(line, priority.0, task).then_some(task)
    }

    /// Takes all tasks that only `agent` may play.
    pub fn take_line(&mut self, agent: Option<u32>) -> Vec<TaskNumber> {
        let lines = [false, true].map(|at_once| Line { agent, at_once });
        let taken: Vec<TaskNumber> = lines
            .iter()
            .filter_map(|line| self.lines.remove(line))
            .flatten()
            .map(|(_, task)| task)
            .collect();
        self.len -= taken.len();
        taken
    }

    /// Takes a task out of its line, wherever it stands. Whether it was there.
    pub fn take(&mut self, line: Line, priority: Priority, task: TaskNumber) -> bool {
        let place = (Reverse(priority), task);
        let was_there = self.lines.get_mut(&line).is_some_and(|line| line.remove(&place));
        self.len -= usize::from(was_there);
        was_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANYONE: Line = Line { agent: None, at_once: false };

    fn of(agent: u32) -> Line {
        Line { agent: Some(agent), at_once: false }
    }

    #[test]
    fn the_more_urgent_comes_first_and_then_the_earlier() {
        let mut queue = Queue::default();
        let (low, mine, anyones, anothers) = (0, 1, 2, 3);
        queue.push(ANYONE, Priority::Low, low);
        queue.push(of(7), Priority::Normal, mine);
        queue.push(ANYONE, Priority::Normal, anyones);
        queue.push(of(8), Priority::High, anothers);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(7, true)).collect();
        assert_eq!(order, [mine, anyones, low]);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn a_task_that_comes_back_keeps_its_place() {
        let mut queue = Queue::default();
        for task in 0..3 {
            queue.push(ANYONE, Priority::Normal, task);
        }
        let first = queue.pop(0, true).unwrap();
        queue.push(ANYONE, Priority::Normal, first);
        assert_eq!(queue.pop(0, true), Some(0));
    }

    #[test]
    fn a_worker_that_may_not_call_is_given_only_what_would_rather_be_refused() {
        let mut queue = Queue::default();
        let (waits, refused) = (0, 1);
        queue.push(of(0), Priority::High, waits);
        queue.push(Line { at_once: true, ..of(0) }, Priority::Low, refused);
        assert_eq!(queue.pop(0, false), Some(refused));
        assert_eq!(queue.pop(0, false), None);
        assert_eq!(queue.take_line(Some(0)).len(), 1);
        assert!(queue.is_empty());
    }
}
