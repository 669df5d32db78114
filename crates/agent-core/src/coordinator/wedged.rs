//! Workers at whose task nothing moves any more: they are stopped and replaced.
//!
//! Whoever is given a task stands in one line, and is looked at there a few times in
//! `wedged_after` as long as it works: no timer for each, and nothing to be told with each task.

use std::collections::VecDeque;
use std::time::Duration;

use actix::{Context, Handler, Message};

use super::groups::StartTogether;
use super::supervise::Failure;
use super::{Coordinator, State};
use crate::clock::Timestamp;
use crate::queue::TaskNumber;
use crate::supervision::Restart;
use crate::worker::WorkerIndex;

/// Looks at each worker in `wedged_after`.
const LOOKS: u32 = 4;

/// The workers that may be at work, by when they were looked at last.
#[derive(Debug, Default)]
pub(super) struct Line {
    workers: VecDeque<(Timestamp, WorkerIndex)>,
    /// Whether a [`Sweep`] is on its way.
    is_armed: bool,
}

impl Line {
    /// All of them.
    pub(super) fn workers(&self) -> Vec<WorkerIndex> {
        self.workers.iter().map(|&(_, worker)| worker).collect()
    }

    /// Takes the first of them, where it was looked at at `until` or before.
    fn next(&mut self, until: Timestamp) -> Option<WorkerIndex> {
        self.workers.front().filter(|(looked, _)| *looked <= until)?;
        self.workers.pop_front().map(|(_, worker)| worker)
    }
}

/// Some workers are to be looked at.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Sweep;

impl Handler<Sweep> for Coordinator {
    type Result = ();

    fn handle(&mut self, _msg: Sweep, ctx: &mut Context<Self>) {
        self.at_work.is_armed = false;
        let now = self.services.clock.now();
        // Whoever would be next soon is looked at too: few timers, however many workers.
        let until = now.saturating_sub(self.pause_between_looks() / 2);
        while let Some(worker) = self.at_work.next(until) {
            self.troupe.set_looked_at(worker, false);
            if let Some(task) = self.roster.task(worker) {
                match self.wedged_for(task, now) {
                    Some(since) => self.replace(worker, since, ctx),
                    None => self.look_at(worker, now, ctx),
                }
            }
        }
        self.arm_sweep(ctx);
        self.tell_if_idle();
    }
}

/// How late a task is at `now` at which something must have moved by `due`: but not before it was
/// given out, and by its deadline at the latest.
fn late(
    due: Timestamp,
    (given_at, deadline): (Timestamp, Timestamp),
    now: Timestamp,
) -> Option<Duration> {
    let due = due.max(given_at).min(deadline);
    (due < now).then(|| now.since(due))
}

impl Coordinator {
    /// Has a worker looked at as long as it works.
    pub(super) fn look_at(&mut self, worker: WorkerIndex, now: Timestamp, ctx: &mut Context<Self>) {
        if self.troupe.set_looked_at(worker, true) {
            return;
        }
        self.at_work.workers.push_back((now, worker));
        self.arm_sweep(ctx);
    }

    fn arm_sweep(&mut self, ctx: &mut Context<Self>) {
        let Some(&(looked, _)) = self.at_work.workers.front() else { return };
        if !self.at_work.is_armed {
            self.at_work.is_armed = true;
            self.notify_at(looked + self.pause_between_looks(), Sweep, ctx);
        }
    }

    fn pause_between_looks(&self) -> Duration {
        (self.plan.supervision.wedged_after / LOOKS).max(Duration::from_millis(1))
    }

    /// For how long nothing has moved at a task, where that is too long.
    fn wedged_for(&self, task: TaskNumber, now: Timestamp) -> Option<Duration> {
        let entry = self.tasks.get(&task)?;
        let due = entry.assignment.standing.progress().due();
        let bounds = (entry.given_at, entry.assignment.deadline);
        late(due, bounds, now).filter(|late| *late >= self.plan.supervision.wedged_after)
    }

    /// Stops a wedged worker and has another actor in its place; its task goes back, and what had
    /// left for it is settled as presumed where its thread comes to it.
    fn replace(&mut self, worker: WorkerIndex, since: Duration, ctx: &mut Context<Self>) {
        let failure = Failure::Wedged(since);
        let restart = self.plan.agents[self.roster.agent(worker) as usize].restart;
        if self.tree.has(worker) && restart != Restart::Temporary {
            return self.group_decides(worker, &failure, ctx);
        }
        let (now, jitter) = (self.services.clock.now(), self.services.jitter());
        let pause = match restart {
            Restart::Temporary => None,
            Restart::Permanent | Restart::Transient => {
                self.histories.restart(worker, now, &self.plan.supervision, jitter)
            }
        };
        let task = self.take_away(worker);
        self.troupe.retire(worker);
        self.roster.set(worker, State::Down);
        self.note_failure(worker, task, &failure, pause);
        self.requeue_after_crash(worker, task, &failure, ctx);
        match pause {
            Some(pause) => {
                let lives = vec![(worker, self.troupe.life(worker))];
                self.notify_at(now + pause, StartTogether { lives }, ctx);
            }
            None => self.set_gone(worker, ctx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_late_from_when_it_was_given_out_and_by_its_deadline_whatever_it_waits_for() {
        let at = |seconds: u64| Timestamp::from_millis(seconds * 1_000);
        let late = |due, given_at, deadline| {
            late(due, (given_at, deadline), at(10)).map(|late| late.as_secs())
        };
        let never = Timestamp::NEVER;
        assert_eq!(late(at(3), at(0), never), Some(7));
        // It waited long for a worker, and nothing has moved yet.
        assert_eq!(late(Timestamp::EPOCH, at(8), never), Some(2));
        assert_eq!(late(never, at(0), at(6)), Some(4));
        assert_eq!(late(at(10), at(0), never), None);
        assert_eq!(late(at(20), at(0), never), None);
        assert_eq!(late(never, at(0), never), None);
    }
}
