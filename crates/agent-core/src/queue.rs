//! Which task is next among those that a worker may play: by priority, and by how long it waits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::task::Priority;

/// A task within its run: its place in the order of acceptance.
pub type TaskNumber = u64;

/// How long a task waits until it is as urgent as those of the next priority that come then, where
/// nothing else is said.
pub const AGE: Duration = Duration::from_secs(60);

/// A line of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// The agent that must play them; `None`: any.
    pub agent: Option<u32>,
    /// Whether they are given to a worker that may not call yet, to be refused rather than wait.
    pub at_once: bool,
}

/// What a task's place depends on. It keeps its claim where it comes back, and so its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// How urgent it is.
    pub priority: Priority,
    /// Since when it waits: its acceptance.
    pub since: Timestamp,
    /// Which task: of two with the same moment the earlier one is first.
    pub task: TaskNumber,
}

/// The place of a task: who comes first, and its priority to count it by. At the end of time, where
/// all moments are the same, the more urgent is first.
type Place = (Timestamp, u32, TaskNumber, Priority);

/// The tasks that wait for a worker.
///
/// A task stands as if it had come one `age` later for each priority below `high`. So the more
/// urgent come first among those of about the same time, a task of `low` is overtaken only by what
/// comes within two ages after it, and nothing starves. Since all waiting grows at the same pace the
/// order of two tasks never changes, and each operation costs O(log n).
#[derive(Debug)]
pub struct Queue {
    age: Duration,
    lines: BTreeMap<Line, BTreeSet<Place>>,
    lengths: Lengths,
}

/// How many tasks wait, by priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lengths {
    /// Of priority `low`.
    pub low: usize,
    /// Of priority `normal`.
    pub normal: usize,
    /// Of priority `high`.
    pub high: usize,
}

impl Lengths {
    fn of(&mut self, priority: Priority) -> &mut usize {
        match priority {
            Priority::Low => &mut self.low,
            Priority::Normal => &mut self.normal,
            Priority::High => &mut self.high,
        }
    }

    /// All of them.
    pub fn total(self) -> usize {
        self.low + self.normal + self.high
    }
}

impl Queue {
    /// An empty queue in which a task rises by one priority for each `age` of waiting.
    pub fn new(age: Duration) -> Queue {
        Queue { age, lines: BTreeMap::new(), lengths: Lengths::default() }
    }

    /// Tasks in it.
    pub fn len(&self) -> usize {
        self.lengths.total()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tasks in it, by priority.
    pub fn lengths(&self) -> Lengths {
        self.lengths
    }

    /// Tasks that only `agent` may play, or that any may.
    pub fn len_of(&self, agent: Option<u32>) -> usize {
        let lines = [false, true].map(|at_once| Line { agent, at_once });
        lines.iter().filter_map(|line| self.lines.get(line)).map(BTreeSet::len).sum()
    }

    /// Puts a task at its place.
    pub fn push(&mut self, line: Line, claim: Claim) {
        let place = self.place(claim);
        if self.lines.entry(line).or_default().insert(place) {
            *self.lengths.of(claim.priority) += 1;
        }
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
        let (place, line) = next?;
        self.remove(line, place).then_some(place.2)
    }

    /// Takes all tasks that only `agent` may play.
    pub fn take_line(&mut self, agent: Option<u32>) -> Vec<TaskNumber> {
        let lines = [false, true].map(|at_once| Line { agent, at_once });
        let taken = lines.iter().filter_map(|line| self.lines.remove(line)).flatten();
        let lengths = &mut self.lengths;
        let count = |(_, _, task, priority): Place| {
            *lengths.of(priority) -= 1;
            task
        };
        taken.map(count).collect()
    }

    /// Takes a task out of its line, wherever it stands. Whether it was there.
    pub fn take(&mut self, line: Line, claim: Claim) -> bool {
        self.remove(line, self.place(claim))
    }

    fn remove(&mut self, line: Line, place: Place) -> bool {
        let Some(tasks) = self.lines.get_mut(&line) else { return false };
        let was_there = tasks.remove(&place);
        if tasks.is_empty() {
            self.lines.remove(&line);
        }
        *self.lengths.of(place.3) -= usize::from(was_there);
        was_there
    }

    fn place(&self, Claim { priority, since, task }: Claim) -> Place {
        let below_high = match priority {
            Priority::High => 0,
            Priority::Normal => 1,
            Priority::Low => 2,
        };
        let moment = since + self.age.saturating_mul(below_high);
        let class = if moment == Timestamp::NEVER { below_high } else { 0 };
        (moment, class, task, priority)
    }
}

impl Default for Queue {
    /// With [`AGE`].
    fn default() -> Queue {
        Queue::new(AGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANYONE: Line = Line { agent: None, at_once: false };

    fn of(agent: u32) -> Line {
        Line { agent: Some(agent), at_once: false }
    }

    fn claim(priority: Priority, seconds: u64, task: TaskNumber) -> Claim {
        Claim { priority, since: Timestamp::from_millis(seconds * 1_000), task }
    }

    #[test]
    fn the_more_urgent_comes_first_and_then_the_earlier() {
        let mut queue = Queue::default();
        let (low, mine, anyones, anothers) = (0, 1, 2, 3);
        queue.push(ANYONE, claim(Priority::Low, 0, low));
        queue.push(of(7), claim(Priority::Normal, 1, mine));
        queue.push(ANYONE, claim(Priority::Normal, 1, anyones));
        queue.push(of(8), claim(Priority::High, 2, anothers));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(7, true)).collect();
        assert_eq!(order, [mine, anyones, low]);
        assert_eq!(queue.lengths(), Lengths { high: 1, ..Lengths::default() });
    }

    #[test]
    fn a_task_that_comes_back_keeps_its_place() {
        let mut queue = Queue::default();
        for task in 0..3 {
            queue.push(ANYONE, claim(Priority::Normal, task, task));
        }
        let first = queue.pop(0, true).unwrap();
        queue.push(ANYONE, claim(Priority::Normal, first, first));
        assert_eq!(queue.pop(0, true), Some(0));
    }

    #[test]
    fn a_low_task_is_overtaken_by_high_ones_for_two_ages_and_no_longer() {
        let mut queue = Queue::new(Duration::from_secs(60));
        queue.push(ANYONE, claim(Priority::Low, 0, 0));
        // A high task comes each second, and one is taken each second.
        for second in 1.. {
            queue.push(ANYONE, claim(Priority::High, second, second));
            if queue.pop(0, true) == Some(0) {
                assert_eq!(second, 120);
                break;
            }
        }
    }

    #[test]
    fn without_ageing_a_low_task_starves() {
        let mut queue = Queue::new(Duration::MAX);
        queue.push(ANYONE, claim(Priority::Low, 0, 0));
        for second in 1..100_000 {
            queue.push(ANYONE, claim(Priority::High, second, second));
            assert_ne!(queue.pop(0, true), Some(0));
        }
    }

    #[test]
    fn without_ageing_no_priority_is_as_good_as_another() {
        for age in [Duration::MAX, Duration::from_secs(1 << 34)] {
            let mut queue = Queue::new(age);
            for (task, priority) in (0..).zip([Priority::Low, Priority::Normal, Priority::High]) {
                queue.push(ANYONE, claim(priority, task, task));
            }
            let order: Vec<_> = std::iter::from_fn(|| queue.pop(0, true)).collect();
            assert_eq!(order, [2, 1, 0], "{age:?}");
        }
    }

    #[test]
    fn a_worker_that_may_not_call_is_given_only_what_would_rather_be_refused() {
        let mut queue = Queue::default();
        let (waits, refused) = (0, 1);
        queue.push(of(0), claim(Priority::High, 0, waits));
        queue.push(Line { at_once: true, ..of(0) }, claim(Priority::Low, 0, refused));
        assert_eq!(queue.pop(0, false), Some(refused));
        assert_eq!(queue.pop(0, false), None);
        assert_eq!(queue.take_line(Some(0)).len(), 1);
        assert!(queue.is_empty());
    }

    #[test]
    fn random_histories_agree_with_a_plain_list() {
        let age = Duration::from_secs(10);
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut queue, mut plain) = (Queue::new(age), Vec::<(Line, Claim)>::new());
            for task in 0..200 {
                let priority = [Priority::Low, Priority::Normal, Priority::High][random.usize(..3)];
                let agent = [None, Some(0), Some(1)][random.usize(..3)];
                let line = Line { agent, at_once: random.bool() };
                let claim = claim(priority, random.u64(..60), task);
                queue.push(line, claim);
                plain.push((line, claim));
                if random.bool() {
                    continue;
                }
                if random.u8(..4) == 0 {
                    let (line, claim) = plain.swap_remove(random.usize(..plain.len()));
                    assert!(queue.take(line, claim), "seed {seed}");
                    continue;
                }
                let (agent, may_call) = (random.u32(..2), random.bool());
                let fits = |(line, _): &&(Line, Claim)| {
                    line.agent.is_none_or(|of| of == agent) && (may_call || line.at_once)
                };
                let rank = |claim: &Claim| {
                    let low = [Priority::High, Priority::Normal, Priority::Low];
                    let class = low.iter().position(|p| *p == claim.priority).unwrap() as u32;
                    (claim.since + age * class, claim.task)
                };
                let next = plain.iter().filter(fits).map(|(_, claim)| *claim).min_by_key(rank);
                assert_eq!(queue.pop(agent, may_call), next.map(|claim| claim.task), "seed {seed}");
                plain.retain(|(_, claim)| Some(*claim) != next);
                assert_eq!(queue.len(), plain.len(), "seed {seed}");
            }
        }
    }
}
