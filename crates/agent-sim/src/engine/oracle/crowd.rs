//! Tasks that wait for workers, and workers that wait for tasks.

use std::collections::{BTreeSet, VecDeque};

use agent_core::clock::Timestamp;
use agent_core::queue::{Claim, Line, Queue};

#[derive(Debug)]
pub(super) struct Crowd {
    queue: Queue,
    agent_of: Vec<u32>,
    first_of: Vec<u32>,
    /// By agent, longest ready first.
    ready: Vec<VecDeque<u32>>,
    resting: BTreeSet<(Timestamp, u32)>,
    /// The agent that is asked first for a task that any may play.
    turn: usize,
    /// When the timer for resting workers fires.
    pub(super) wake_at: Option<Timestamp>,
}

fn line(agent: Option<u32>) -> Line {
    Line { agent, at_once: false }
}

impl Crowd {
    pub(super) fn new(sizes: impl Iterator<Item = u32>) -> Crowd {
        let (mut agent_of, mut first_of, mut ready) = (Vec::new(), Vec::new(), Vec::new());
        for (agent, size) in (0..).zip(sizes) {
            let first = agent_of.len() as u32;
            agent_of.extend((0..size).map(|_| agent));
            ready.push((first..first + size).collect());
            first_of.push(first);
        }
        let (queue, resting) = (Queue::default(), BTreeSet::new());
        Crowd { queue, agent_of, first_of, ready, resting, turn: 0, wake_at: None }
    }

    pub(super) fn agent(&self, worker: u32) -> usize {
        self.agent_of[worker as usize] as usize
    }

    /// Its number among the workers of its agent, from 1.
    pub(super) fn number(&self, worker: u32) -> u32 {
        worker - self.first_of[self.agent(worker)] + 1
    }

    /// A worker for a task, or a place in the queue.
    pub(super) fn place(&mut self, agent: Option<u32>, claim: Claim) -> Option<u32> {
        let found = match agent {
            Some(agent) => agent as usize,
            None => {
                let agents = self.ready.len();
                let round = (self.turn..agents).chain(0..agents);
                match round.into_iter().find(|&agent| !self.ready[agent].is_empty()) {
                    Some(agent) => {
                        self.turn = agent + 1;
                        agent
                    }
                    None => 0,
                }
            }
        };
        let worker = self.ready[found].pop_front();
        if worker.is_none() {
            self.queue.push(line(agent), claim);
        }
        worker
    }

    /// A worker has nothing to do, and by its own limit may not call before `free_at`. Its next task,
    /// where there is one.
    pub(super) fn frees(&mut self, worker: u32, free_at: Timestamp, now: Timestamp) -> Option<u64> {
        if free_at > now {
            self.resting.insert((free_at, worker));
            return None;
        }
        let agent = self.agent(worker);
        self.ready[agent].push_back(worker);
        self.feed(worker)
    }

    fn feed(&mut self, worker: u32) -> Option<u64> {
        let agent = self.agent_of[worker as usize];
        let task = self.queue.pop(agent, true)?;
        self.ready[agent as usize].retain(|ready| *ready != worker);
        Some(task)
    }

    /// When the timer for resting workers is to be set, where it is.
    pub(super) fn arm(&mut self) -> Option<Timestamp> {
        let at = self.resting.first().filter(|_| !self.queue.is_empty())?.0;
        if self.wake_at.is_some_and(|armed| armed <= at) {
            return None;
        }
        self.wake_at = Some(at);
        Some(at)
    }

    /// Who has rested, each with its next task.
    pub(super) fn wake(&mut self, now: Timestamp) -> Vec<(u32, u64)> {
        let mut woken = Vec::new();
        while let Some(&(at, worker)) = self.resting.first().filter(|(at, _)| *at <= now) {
            self.resting.remove(&(at, worker));
            let agent = self.agent(worker);
            self.ready[agent].push_back(worker);
            woken.push(worker);
        }
        woken.into_iter().filter_map(|worker| Some((worker, self.feed(worker)?))).collect()
    }
}
