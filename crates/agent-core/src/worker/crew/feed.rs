//! Sub-tasks on their way through the workers of a crew.

use std::sync::Arc;

use super::{At, Crew, State};
use crate::agent::{ChildError, Output};
use crate::clock::Timestamp;
use crate::llm::StopReason;
use crate::permits::LimitMode;
use crate::task::{ErrorCode, Outcome, Task, TaskError};
use crate::worker::halts::Halt;
use crate::worker::job::Assignment;
use crate::worker::{Finish, Finished, Perform, WorkerIndex};

impl Crew {
    /// The sub-task as its worker is given it.
    pub(super) fn assignment(&self, task: Task) -> Assignment {
        let now = self.role.services.clock.now();
        let own = task.deadline.map_or(Timestamp::NEVER, |deadline| deadline.moment(now));
        let task = Task { priority: self.whole.task.priority, ..task };
        Assignment {
            task: Arc::new(task),
            standing: Arc::clone(&self.whole.standing),
            deadline: own.min(self.whole.deadline),
            mode: self.role.spec.rate_limit.as_ref().map_or(LimitMode::Wait, |limit| limit.mode),
            hand: self.whole.hand,
        }
    }

    /// Gives waiting sub-tasks to idle workers.
    pub(super) fn feed(&self) {
        let mut state = self.state.borrow_mut();
        let State { members, tasks, queue, .. } = &mut *state;
        for member in members.iter_mut().filter(|member| member.at == At::Idle) {
            let Some(number) = queue.pop_front() else { return };
            let Some(task) = tasks.get(&number) else { continue };
            member.at = At::Work(number);
            member.address.do_send(Perform(task.assignment.clone()));
        }
    }

    /// A worker is done with its sub-task.
    pub(in crate::worker) fn finished(&self, Finished { worker, ending, .. }: Finished) {
        let number = self.becomes(worker, At::Idle);
        match ending {
            Finish::Ended(outcome) => self.answer(number, performed(&outcome)),
            // It is a part of a task that goes back as a whole.
            Finish::Returned => self.halts.raise(Halt::Returned),
            // Nobody waits for it.
            Finish::Cancelled => {}
        }
        self.feed();
    }

    /// What a worker is at from now on; the number of the sub-task that it was at.
    pub(super) fn becomes(&self, worker: WorkerIndex, at: At) -> Option<u64> {
        let mut state = self.state.borrow_mut();
        let member = state.members.get_mut(worker as usize)?;
        member.pause = None;
        match std::mem::replace(&mut member.at, at) {
            At::Work(number) => Some(number),
            At::Idle | At::Pause | At::Gone => None,
        }
    }

    fn answer(&self, number: Option<u64>, answer: Result<Output, ChildError>) {
        let task = number.and_then(|number| self.state.borrow_mut().tasks.remove(&number));
        if let Some(task) = task {
            // Who does not wait any more need not be told.
            _ = task.tell.send(answer);
        }
    }

    /// Puts the sub-task of a worker that crashed back to the front, unless it is poison.
    pub(super) fn requeue(&self, number: u64, worker: &str, reason: &str) {
        let limit = self.policy.poison_limit.get();
        let mut state = self.state.borrow_mut();
        let Some(task) = state.tasks.get_mut(&number) else { return };
        task.crashes += 1;
        let crashes = task.crashes;
        if crashes <= limit {
            state.queue.push_front(number);
            drop(state);
            return self.feed();
        }
        drop(state);
        let message = format!(
            "worker {worker} panicked ({reason}): crash {crashes} over this sub-task, above \
             poison_limit ({limit})"
        );
        let error = TaskError::new(ErrorCode::WorkerCrashed, message);
        self.answer(Some(number), Err(ChildError::Failed(error)));
    }
}

/// A sub-task's end, less what is its parent's.
fn performed(outcome: &Outcome) -> Result<Output, ChildError> {
    match &outcome.error {
        Some(error) => Err(ChildError::Failed(error.clone())),
        None => Ok(Output {
            text: outcome.output.clone().unwrap_or_default(),
            stop_reason: outcome.stop_reason.as_deref().map(StopReason::from_name),
        }),
    }
}
