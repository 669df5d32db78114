//! Who can be given a task: the workers by what they are doing. No operation looks at all of them.

mod lines;

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::clock::Timestamp;
use crate::queue::TaskNumber;
use crate::worker::WorkerIndex;
use lines::Lines;

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing since then; it may call.
    Ready(Timestamp),
    /// Nothing since then; by its own limit it may not call before `until`.
    Resting { until: Timestamp, since: Timestamp },
    /// A task.
    Busy(TaskNumber),
    /// It panicked and pauses before it goes on.
    Down,
    /// It ended for good.
    Gone,
}

/// How many workers are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) ready: usize,
    pub(super) resting: usize,
    pub(super) busy: usize,
    pub(super) down: usize,
    pub(super) gone: usize,
}

impl Counts {
    fn of(&mut self, state: State) -> &mut usize {
        match state {
            State::Ready(_) => &mut self.ready,
            State::Resting { .. } => &mut self.resting,
            State::Busy(_) => &mut self.busy,
            State::Down => &mut self.down,
            State::Gone => &mut self.gone,
        }
    }
}

#[derive(Debug)]
struct Worker {
    state: State,
    agent: u32,
    /// Whether there is no actor for it yet, or none any more; who has one is asked first.
    is_cold: bool,
}

/// The workers of an agent.
#[derive(Debug)]
struct Agent {
    first: WorkerIndex,
    alive: usize,
    resting: BTreeSet<(Timestamp, WorkerIndex)>,
}

/// The workers of all agents. Each agent's are given tasks in turn.
#[derive(Debug)]
pub(super) struct Roster {
    workers: Vec<Worker>,
    agents: Vec<Agent>,
    /// Who may call, longest idle first; two lines for each agent, see [`line`].
    lines: Lines,
    /// The agents with anybody in theirs.
    idle: BTreeSet<u32>,
    resting: BTreeSet<(Timestamp, WorkerIndex)>,
    alive: usize,
    counts: Counts,
    /// The agent that is asked first for a task that any may play.
    turn: u32,
}

impl Roster {
    /// The workers of agents that have so many each; all ready and cold.
    pub(super) fn new(sizes: &[u32], now: Timestamp) -> Roster {
        let all: usize = sizes.iter().map(|&size| size as usize).sum();
        let mut roster = Roster {
            workers: Vec::with_capacity(all),
            agents: Vec::with_capacity(sizes.len()),
            lines: Lines::new(2 * sizes.len(), all),
            idle: BTreeSet::new(),
            resting: BTreeSet::new(),
            alive: all,
            counts: Counts { ready: all, ..Counts::default() },
            turn: 0,
        };
        for (agent, &size) in (0..).zip(sizes) {
            let first = WorkerIndex::try_from(roster.workers.len()).unwrap_or(WorkerIndex::MAX);
            let (alive, resting) = (size as usize, BTreeSet::new());
            roster.agents.push(Agent { first, alive, resting });
            for worker in first..first.saturating_add(size) {
                roster.workers.push(Worker { state: State::Ready(now), agent, is_cold: true });
                roster.lines.push_back(line(agent, true), worker);
            }
            if size > 0 {
                roster.idle.insert(agent);
            }
        }
        roster
    }

    /// Workers, gone ones included.
    pub(super) fn len(&self) -> usize {
        self.workers.len()
    }

    /// The workers of an agent.
    pub(super) fn workers_of(&self, agent: u32) -> std::ops::Range<WorkerIndex> {
        let of = |agent: usize| self.agents.get(agent).map(|agent| agent.first);
        let end = WorkerIndex::try_from(self.workers.len()).unwrap_or(WorkerIndex::MAX);
        of(agent as usize).unwrap_or(end)..of(agent as usize + 1).unwrap_or(end)
    }

    pub(super) fn agent(&self, worker: WorkerIndex) -> u32 {
        self.workers[worker as usize].agent
    }

    /// Its number among the workers of its agent, from 1.
    pub(super) fn number(&self, worker: WorkerIndex) -> u32 {
        worker - self.agents[self.agent(worker) as usize].first + 1
    }

    pub(super) fn state(&self, worker: WorkerIndex) -> State {
        self.workers[worker as usize].state
    }

    /// What it is working on.
    pub(super) fn task(&self, worker: WorkerIndex) -> Option<TaskNumber> {
        match self.state(worker) {
            State::Busy(task) => Some(task),
            _ => None,
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Workers of `agent`, or of all, that are not gone.
    pub(super) fn alive(&self, agent: Option<u32>) -> usize {
        agent.map_or(self.alive, |agent| self.agents[agent as usize].alive)
    }

    /// Gives a task to an idle worker of `agent`, or of any. Where none may call and the task is
    /// `at_once`, to one that rests.
    pub(super) fn take(
        &mut self,
        agent: Option<u32>,
        at_once: bool,
        task: TaskNumber,
    ) -> Option<WorkerIndex> {
        let worker = match self.idle_agent(agent) {
            Some(found) => {
                if agent.is_none() {
                    self.turn = found + 1;
                }
                self.next_of(found)?
            }
            None if at_once => {
                let resting = match agent {
                    Some(agent) => &self.agents[agent as usize].resting,
                    None => &self.resting,
                };
                resting.first()?.1
            }
            None => return None,
        };
        self.set(worker, State::Busy(task));
        Some(worker)
    }

    /// The agent with an idle worker that is asked: `agent`, or the next in turn.
    fn idle_agent(&self, agent: Option<u32>) -> Option<u32> {
        match agent {
            Some(agent) => self.idle.contains(&agent).then_some(agent),
            None => {
                let from_turn = (Bound::Included(self.turn), Bound::Unbounded);
                self.idle.range(from_turn).next().or_else(|| self.idle.first()).copied()
            }
        }
    }

    /// Puts a worker into another state.
    pub(super) fn set(&mut self, worker: WorkerIndex, state: State) {
        let Worker { state: old, agent, .. } = self.workers[worker as usize];
        match old {
            State::Ready(_) => self.leave_line(worker),
            State::Resting { until: at, .. } => {
                self.resting.remove(&(at, worker));
                self.agents[agent as usize].resting.remove(&(at, worker));
            }
            State::Gone => return,
            State::Busy(_) | State::Down => {}
        }
        *self.counts.of(old) -= 1;
        *self.counts.of(state) += 1;
        self.workers[worker as usize].state = state;
        match state {
            State::Ready(_) => self.join_line(worker),
            State::Resting { until: at, .. } => {
                self.resting.insert((at, worker));
                self.agents[agent as usize].resting.insert((at, worker));
            }
            State::Gone => {
                self.alive -= 1;
                self.agents[agent as usize].alive -= 1;
            }
            State::Busy(_) | State::Down => {}
        }
    }

    /// There is an actor for it from now on, or none any more.
    pub(super) fn set_cold(&mut self, worker: WorkerIndex, is_cold: bool) {
        let is_ready = matches!(self.state(worker), State::Ready(_));
        if is_ready {
            self.leave_line(worker);
        }
        self.workers[worker as usize].is_cold = is_cold;
        if is_ready {
            self.join_line(worker);
        }
    }

    fn leave_line(&mut self, worker: WorkerIndex) {
        let Worker { agent, is_cold, .. } = self.workers[worker as usize];
        self.lines.remove(line(agent, is_cold), worker);
        if self.next_of(agent).is_none() {
            self.idle.remove(&agent);
        }
    }

    fn join_line(&mut self, worker: WorkerIndex) {
        let Worker { agent, is_cold, .. } = self.workers[worker as usize];
        self.lines.push_back(line(agent, is_cold), worker);
        self.idle.insert(agent);
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
            self.set(worker, State::Ready(now));
            woken.push(worker);
        }
        woken
    }

    /// The agents that have an idle worker that may call.
    pub(super) fn idle_agents(&self) -> Vec<u32> {
        self.idle.iter().copied().collect()
    }

    /// The idle worker of `agent` that is next.
    pub(super) fn next_of(&self, agent: u32) -> Option<WorkerIndex> {
        self.lines.first(line(agent, false)).or_else(|| self.lines.first(line(agent, true)))
    }

    /// Every busy worker.
    pub(super) fn all_busy(&self) -> Vec<WorkerIndex> {
        let busy = |(_, worker): &(WorkerIndex, &Worker)| matches!(worker.state, State::Busy(_));
        (0..).zip(&self.workers).filter(busy).map(|(index, _)| index).collect()
    }
}

/// The line of an agent's idle workers that have an actor, or of those that are cold.
fn line(agent: u32, is_cold: bool) -> usize {
    2 * agent as usize + usize::from(is_cold)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::EPOCH;

    #[test]
    fn tasks_for_anyone_go_round_the_agents() {
        let mut roster = Roster::new(&[2, 1], NOW);
        let taken: Vec<_> = std::iter::from_fn(|| roster.take(None, false, 7)).collect();
        assert_eq!(taken, [0, 2, 1]);
        assert_eq!((roster.counts().busy, roster.task(2)), (3, Some(7)));
        assert_eq!((roster.number(1), roster.number(2)), (2, 1));
    }

    #[test]
    fn a_resting_worker_is_taken_only_for_what_would_rather_be_refused() {
        let mut roster = Roster::new(&[1], NOW);
        let at = Timestamp::from_millis(5);
        roster.set(0, State::Resting { until: at, since: NOW });
        assert_eq!(roster.take(Some(0), false, 1), None);
        assert_eq!(roster.take(Some(0), true, 1), Some(0));
        roster.set(0, State::Resting { until: at, since: NOW });
        assert_eq!(roster.next_wake(), Some(at));
        assert_eq!(roster.wake(at), [0]);
        assert_eq!(roster.take(Some(0), false, 1), Some(0));
    }

    #[test]
    fn who_has_an_actor_is_asked_before_who_has_none() {
        let mut roster = Roster::new(&[3], NOW);
        assert_eq!(roster.take(Some(0), false, 1), Some(0));
        roster.set_cold(0, false);
        roster.set(0, State::Ready(NOW));
        assert_eq!(roster.take(Some(0), false, 2), Some(0));
        assert_eq!(roster.take(Some(0), false, 3), Some(1));
        roster.set(0, State::Ready(NOW));
        roster.set_cold(0, true);
        assert_eq!(roster.take(Some(0), false, 4), Some(2));
    }

    #[test]
    fn random_histories_agree_with_a_plain_list() {
        for seed in 0..50 {
            let mut random = fastrand::Rng::with_seed(seed);
            let sizes = [3, 1, 4];
            let mut roster = Roster::new(&sizes, NOW);
            let mut plain = [State::Ready(NOW); 8];
            for step in 0..400 {
                let worker = random.u32(..8);
                let at = Timestamp::from_millis(random.u64(..50));
                let state = match random.u32(..12) {
                    0..4 => State::Ready(NOW),
                    4..7 => State::Resting { until: at, since: NOW },
                    7..10 => State::Busy(step),
                    10 => State::Down,
                    _ if step > 300 => State::Gone,
                    _ => State::Down,
                };
                roster.set(worker, state);
                if random.bool() {
                    roster.set_cold(worker, random.bool());
                }
                if plain[worker as usize] != State::Gone {
                    plain[worker as usize] = state;
                }
                let count = |is: fn(&State) -> bool| plain.iter().filter(|state| is(state)).count();
                let counts = roster.counts();
                assert_eq!(counts.ready, count(|s| matches!(s, State::Ready(_))), "seed {seed}");
                assert_eq!(counts.busy, roster.all_busy().len(), "seed {seed}");
                assert_eq!(roster.alive(None), 8 - count(|s| *s == State::Gone), "seed {seed}");
                for agent in 0..3 {
                    let any = (0..8).any(|w: u32| {
                        roster.agent(w) == agent && matches!(plain[w as usize], State::Ready(_))
                    });
                    assert_eq!(roster.next_of(agent).is_some(), any, "seed {seed}, step {step}");
                    assert_eq!(roster.idle_agents().contains(&agent), any, "seed {seed}");
                }
                let first = plain.iter().filter_map(|s| match s {
                    State::Resting { until, .. } => Some(*until),
                    _ => None,
                });
                assert_eq!(roster.next_wake(), first.min(), "seed {seed}");
            }
        }
    }
}
