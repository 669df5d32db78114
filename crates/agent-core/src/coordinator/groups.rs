//! A worker of a group died: its group stops and starts whom its strategy says, or the run ends.

use std::time::Duration;

use actix::{Context, Handler, Message};

use super::supervise::Failure;
use super::{Coordinator, Lifecycle, State};
use crate::panics::log;
use crate::supervision::{Restart, Verdict};
use crate::worker::WorkerIndex;

impl Coordinator {
    /// Asks the groups of a worker that failed, and does what they say.
    pub(super) fn group_decides(
        &mut self,
        worker: WorkerIndex,
        failure: &Failure,
        ctx: &mut Context<Self>,
    ) {
        let (now, jitter) = (self.services.clock.now(), self.services.jitter());
        // Its own intensity first; the pause is its group's.
        let own = self.histories.restart(worker, now, &self.plan.supervision, jitter);
        let too_often = own.is_none();
        let Some(verdict) = self.tree.died(worker, too_often, now, jitter) else { return };
        let task = self.take_away(worker);
        self.troupe.retire(worker);
        self.roster.set(worker, State::Down);
        let pause = match &verdict {
            Verdict::Restart { pause, .. } => Some(*pause),
            Verdict::End { .. } => None,
        };
        self.note_failure(worker, task, failure, pause);
        match verdict {
            Verdict::Restart { group, workers, anew, pause } => {
                anew.into_iter().for_each(|worker| self.histories.forget(worker));
                self.restart_together(worker, &group, workers, pause, ctx);
            }
            Verdict::End { group } => {
                log!(error, group, %failure, "a group restarted too often: the run stops");
                self.tell(|| Lifecycle::GroupFailed { group: group.as_str().into() });
                self.stop_run(ctx);
            }
        }
        self.requeue_after_crash(worker, task, failure, ctx);
        self.tell_if_idle();
    }

    /// Stops workers from the last to the first, and has them started again after the pause.
    fn restart_together(
        &mut self,
        died: WorkerIndex,
        group: &str,
        workers: Vec<WorkerIndex>,
        pause: Duration,
        ctx: &mut Context<Self>,
    ) {
        let mut starts = Vec::with_capacity(workers.len());
        for &worker in workers.iter().rev() {
            let spec = &self.plan.agents[self.roster.agent(worker) as usize];
            let comes_back = spec.restart != Restart::Temporary;
            match self.roster.state(worker) {
                State::Gone => continue,
                // Its own pause is over with that of the group, and an earlier start is called off.
                State::Down => self.troupe.retire(worker),
                State::Ready(_) | State::Resting { .. } | State::Busy(_) => {
                    self.stop_with_group(worker, group, pause, ctx);
                }
            }
            if comes_back {
                starts.push(worker);
            } else {
                self.set_gone(worker, ctx);
            }
        }
        starts.reverse();
        let restarts = starts.len();
        log!(warn, group, workers = restarts, ?pause, "a group restarts its workers");
        self.tell(|| {
            let (group, died) = (group.into(), self.name(died).into());
            Lifecycle::GroupRestarts { group, died, workers: restarts, pause }
        });
        let at = self.services.clock.now() + pause;
        let lives = starts.iter().map(|&worker| (worker, self.troupe.life(worker))).collect();
        self.notify_at(at, StartTogether { lives }, ctx);
    }

    /// Stops one that did not die itself: its task goes back and is not to blame.
    fn stop_with_group(
        &mut self,
        worker: WorkerIndex,
        group: &str,
        pause: Duration,
        ctx: &mut Context<Self>,
    ) {
        let task = self.take_away(worker);
        let had_actor = self.troupe.has_actor(worker);
        self.troupe.retire(worker);
        self.roster.set(worker, State::Down);
        if had_actor {
            self.tell(|| Lifecycle::WorkerStopped { worker: self.name(worker).into() });
            let reason = format!("restarted with its group {group}");
            self.audit_restart(worker, task, &reason, Some(pause));
        }
        let Some(task) = task else { return };
        if self.is_cancelled(task) {
            return self.end_cancelled(task, ctx);
        }
        if let Some(entry) = self.tasks.get(&task) {
            let (id, crashes) = (&entry.assignment.task.id, entry.crashes);
            self.tell(|| Lifecycle::TaskRequeued { task: id.clone(), crashes });
        }
        self.enqueue(task, ctx);
    }
}

// === StartTogether ===

/// The pause of a group, or of one worker, is over. A worker that was stopped once more in the meantime is left out.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct StartTogether {
    pub(super) lives: Vec<(WorkerIndex, u32)>,
}

impl Handler<StartTogether> for Coordinator {
    type Result = ();

    fn handle(&mut self, StartTogether { lives }: StartTogether, ctx: &mut Context<Self>) {
        let is_due = |this: &Coordinator, (worker, life): &(WorkerIndex, u32)| {
            this.roster.state(*worker) == State::Down && this.troupe.life(*worker) == *life
        };
        let due: Vec<_> = lives.into_iter().filter(|start| is_due(self, start)).collect();
        for &(worker, _) in &due {
            if self.is_eager(worker) {
                self.start(worker);
            } else {
                self.roster.set_cold(worker, true);
            }
            self.tell(|| Lifecycle::WorkerRestarted { worker: self.name(worker).into() });
            self.set_ready(worker, ctx);
        }
        for (worker, _) in due {
            self.feed(worker, ctx);
        }
    }
}
