//! Which task is next: by priority, then by order, among those that a worker may play.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::task::{Priority, TaskId};

/// The place of a task in the queue.
type Place = (Reverse<Priority>, u64);

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
    lines: BTreeMap<Line, BTreeMap<Place, TaskId>>,
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

    /// Puts a task behind those of its priority with a smaller `order`. A task that comes back
    /// keeps its order, and so its place.
    pub fn push(&mut self, line: Line, priority: Priority, order: u64, task: TaskId) {
        let line = self.lines.entry(line).or_default();
        if line.insert((Reverse(priority), order), task).is_none() {
            self.len += 1;
        }
    }

    /// Takes the next task for a worker of `agent`; of those that are given out at once, where
    /// the worker may not call yet.
    pub fn pop(&mut self, agent: u32, may_call: bool) -> Option<TaskId> {
        let mut next: Option<(Place, Line)> = None;
        for line_agent in [Some(agent), None] {
            for at_once in [false, true] {
                let line = Line { agent: line_agent, at_once };
                let Some(first) = self.lines.get(&line).and_then(BTreeMap::first_key_value) else {
                    continue;
                };
                let earlier = next.is_none_or(|(place, _)| *first.0 < place);
                if earlier && (at_once || may_call) {
                    next = Some((*first.0, line));
                }
            }
        }
        let (place, line) = next?;
        self.remove(line, place)
    }

    /// Takes all tasks that only `agent` may play.
    pub fn take_line(&mut self, agent: Option<u32>) -> Vec<TaskId> {
        let lines = [false, true].map(|at_once| Line { agent, at_once });
        let taken: Vec<TaskId> = lines
            .iter()
            .filter_map(|line| self.lines.remove(line))
            .flat_map(BTreeMap::into_values)
            .collect();
        self.len -= taken.len();
        taken
    }

    /// Takes a task out of its line, wherever it stands.
    pub fn take(&mut self, line: Line, priority: Priority, order: u64) -> Option<TaskId> {
        self.remove(line, (Reverse(priority), order))
    }

    fn remove(&mut self, line: Line, place: Place) -> Option<TaskId> {
        let task = self.lines.get_mut(&line)?.remove(&place)?;
        self.len -= 1;
        Some(task)
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
        queue.push(ANYONE, Priority::Low, 0, "low".into());
        queue.push(of(7), Priority::Normal, 1, "mine".into());
        queue.push(ANYONE, Priority::Normal, 2, "anyone's".into());
        queue.push(of(8), Priority::High, 3, "another's".into());
        let order: Vec<_> =
            std::iter::from_fn(|| queue.pop(7, true)).map(|t| t.to_string()).collect();
        assert_eq!(order, ["mine", "anyone's", "low"]);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn a_task_that_comes_back_keeps_its_place() {
        let mut queue = Queue::default();
        for order in 0..3 {
            queue.push(ANYONE, Priority::Normal, order, order.to_string().into());
        }
        let first = queue.pop(0, true).unwrap();
        queue.push(ANYONE, Priority::Normal, 0, first);
        assert_eq!(queue.pop(0, true).unwrap().as_str(), "0");
    }

    #[test]
    fn a_worker_that_may_not_call_is_given_only_what_would_rather_be_refused() {
        let mut queue = Queue::default();
        queue.push(of(0), Priority::High, 0, "waits".into());
        queue.push(Line { at_once: true, ..of(0) }, Priority::Low, 1, "refused".into());
        assert_eq!(queue.pop(0, false).unwrap().as_str(), "refused");
        assert_eq!(queue.pop(0, false), None);
        assert_eq!(queue.take_line(Some(0)).len(), 1);
        assert!(queue.is_empty());
    }
}
