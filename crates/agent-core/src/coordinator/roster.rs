//! Who can be given a task: the workers by what they are doing.

use std::collections::{BTreeSet, VecDeque};

use crate::clock::Timestamp;
use crate::worker::WorkerIndex;

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing; it may call.
    Ready,
    /// Nothing; by its own limit it may not call before this moment.
    Resting(Timestamp),
    /// A task.
    Busy,
    /// It panicked and pauses before it goes on.
    Down,
    /// It ended for good.
    Gone,
}

/// The workers of all agents. Each agent's are given tasks in turn.
#[derive(Debug)]
pub(super) struct Roster {
    /// By worker: its agent, and what it does.
    workers: Vec<(u32, State)>,
    /// By agent: who may call, longest idle first.
    ready: Vec<VecDeque<WorkerIndex>>,
    resting: BTreeSet<(Timestamp, WorkerIndex)>,
    /// By agent: workers not gone.
    alive: Vec<usize>,
    busy: usize,
    /// The agent that is asked first for a task that any may play.
    turn: usize,
}

impl Roster {
    /// The workers of so many agents, by their `agent`; all ready.
    pub(super) fn new(agents: usize, workers: impl Iterator<Item = u32>) -> Roster {
        let mut roster = Roster {
            workers: Vec::new(),
            ready: vec![VecDeque::new(); agents],
            resting: BTreeSet::new(),
            alive: vec![0; agents],
            busy: 0,
            turn: 0,
        };
        for (worker, agent) in (0..).zip(workers) {
            roster.workers.push((agent, State::Ready));
            roster.ready[agent as usize].push_back(worker);
            roster.alive[agent as usize] += 1;
        }
        roster
    }

    pub(super) fn agent(&self, worker: WorkerIndex) -> u32 {
        self.workers[worker as usize].0
    }

    pub(super) fn state(&self, worker: WorkerIndex) -> State {
        self.workers[worker as usize].1
    }

    pub(super) fn busy(&self) -> usize {
        self.busy
    }

    /// Workers of `agent`, or of all, that are not gone.
    pub(super) fn alive(&self, agent: Option<u32>) -> usize {
        match agent {
            Some(agent) => self.alive[agent as usize],
            None => self.alive.iter().sum(),
        }
    }

    /// Takes an idle worker of `agent`, or of any, for a task, and makes it busy. Where none may
    /// call and the task is `at_once`, one that rests.
    pub(super) fn take(&mut self, agent: Option<u32>, at_once: bool) -> Option<WorkerIndex> {
        let agents = self.ready.len();
        let mut order = match agent {
            Some(agent) => agent as usize..agent as usize + 1,
            None => self.turn..self.turn + agents,
        };
        let found = order.find_map(|agent| Some((agent, self.ready[agent % agents].pop_front()?)));
        let worker = match found {
            Some((found, worker)) => {
                if agent.is_none() {
                    self.turn = (found + 1) % agents;
                }
                worker
            }
            None if at_once => {
                let rests = |&&(_, worker): &&(Timestamp, WorkerIndex)| {
                    agent.is_none_or(|agent| agent == self.workers[worker as usize].0)
                };
                let &(at, worker) = self.resting.iter().find(rests)?;
                self.resting.remove(&(at, worker));
                worker
            }
            None => return None,
        };
        self.workers[worker as usize].1 = State::Busy;
        self.busy += 1;
        Some(worker)
    }

    /// Makes an idle worker busy that was found by [`wake`](Roster::wake) or is known to be idle.
    pub(super) fn engage(&mut self, worker: WorkerIndex) {
        self.set(worker, State::Busy);
    }

    /// Puts a worker into another state.
    pub(super) fn set(&mut self, worker: WorkerIndex, state: State) {
        let (agent, old) = self.workers[worker as usize];
        let agent = agent as usize;
        match old {
            State::Ready => self.ready[agent].retain(|&ready| ready != worker),
            State::Resting(at) => _ = self.resting.remove(&(at, worker)),
            State::Busy => self.busy -= 1,
            State::Gone => return,
            State::Down => {}
        }
        match state {
            State::Ready => self.ready[agent].push_back(worker),
            State::Resting(at) => _ = self.resting.insert((at, worker)),
            State::Busy => self.busy += 1,
            State::Gone => self.alive[agent] -= 1,
            State::Down => {}
        }
        self.workers[worker as usize].1 = state;
    }

    /// The earliest moment at which a resting worker may call.
    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        self.resting.first().map(|&(at, _)| at)
    }

    /// Makes ready whoever may call at `now`, and names them.
    pub(super) fn wake(&mut self, now: Timestamp) -> Vec<WorkerIndex> {
        let mut woken = Vec::new();
        while let Some(&(at, worker)) = self.resting.first() {
            if at > now {
                break;
            }
            self.set(worker, State::Ready);
            woken.push(worker);
        }
        woken
    }

    /// Every idle worker that may call.
    pub(super) fn ready(&self) -> Vec<WorkerIndex> {
        self.ready.iter().flatten().copied().collect()
    }

    /// Every busy worker.
    pub(super) fn all_busy(&self) -> Vec<WorkerIndex> {
        (0..).zip(&self.workers).filter(|(_, w)| w.1 == State::Busy).map(|(i, _)| i).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_for_anyone_go_round_the_agents() {
        let mut roster = Roster::new(2, [0, 0, 1].into_iter());
        let taken: Vec<_> = std::iter::from_fn(|| roster.take(None, false)).collect();
        assert_eq!(taken, [0, 2, 1]);
        assert_eq!(roster.busy(), 3);
    }

    #[test]
    fn a_resting_worker_is_taken_only_for_what_would_rather_be_refused() {
        let mut roster = Roster::new(1, [0].into_iter());
        let at = Timestamp::from_millis(5);
        roster.set(0, State::Resting(at));
        assert_eq!(roster.take(Some(0), false), None);
        assert_eq!(roster.take(Some(0), true), Some(0));
        roster.set(0, State::Resting(at));
        assert_eq!(roster.next_wake(), Some(at));
        assert_eq!(roster.wake(at), [0]);
        assert_eq!(roster.take(Some(0), false), Some(0));
    }
}
