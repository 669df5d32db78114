//! Tasks that end without an answer of their own: their deadline came, or they were cancelled.

use std::sync::Arc;

use actix::{Context, Handler, Message};

use super::Coordinator;
use crate::clock::Timestamp;
use crate::queue::TaskNumber;
use crate::task::{ErrorCode, TaskError, TaskId};
use crate::worker::job::ended;

impl Coordinator {
    /// Ends the queued tasks whose deadline has come. Those at work end by themselves.
    pub(super) fn end_expired(&mut self, now: Timestamp, ctx: &mut Context<Self>) {
        while let Some((deadline, task)) = self.deadlines.pop_first() {
            if deadline > now {
                self.deadlines.insert((deadline, task));
                return;
            }
            if self.take_queued(task) {
                self.end_late(task, ctx);
            }
        }
    }

    /// Ends a task that waits and whose deadline has come.
    pub(super) fn end_late(&mut self, task: TaskNumber, ctx: &mut Context<Self>) {
        let Some(entry) = self.tasks.get(&task) else { return };
        let deadline = entry.assignment.deadline;
        let message = format!("the task's deadline {deadline} passed while it waited");
        self.end_without_answer(task, ErrorCode::DeadlineExceeded, message, ctx);
    }

    /// Takes a task out of the queue, if it is there.
    fn take_queued(&mut self, task: TaskNumber) -> bool {
        let Some(entry) = self.tasks.get(&task) else { return false };
        self.queue.take(self.line(entry), entry.claim(task))
    }

    /// Ends a task with an error; whoever played it last is named, and the model that it asked.
    pub(super) fn end_without_answer(
        &mut self,
        task: TaskNumber,
        code: ErrorCode,
        message: String,
        ctx: &mut Context<Self>,
    ) {
        let Some(entry) = self.tasks.get(&task) else { return };
        let error = TaskError::new(code, message);
        let mut outcome = ended(&entry.assignment, self.services.clock.now(), Err(error));
        if let Some(worker) = entry.worker {
            let spec = &self.plan.agents[self.roster.agent(worker) as usize];
            outcome.agent_id = Some(self.name(worker));
            outcome.model.get_or_insert_with(|| spec.model.clone());
        }
        self.end(task, Arc::new(outcome), ctx);
    }

    pub(super) fn is_cancelled(&self, task: TaskNumber) -> bool {
        self.tasks.get(&task).is_some_and(|entry| entry.cancelled)
    }

    pub(super) fn end_cancelled(&mut self, task: TaskNumber, ctx: &mut Context<Self>) {
        let Some(entry) = self.tasks.get(&task) else { return };
        let message = format!("task {} was cancelled", entry.assignment.task.id);
        self.end_without_answer(task, ErrorCode::Cancelled, message, ctx);
    }
}

// === CancelTask ===

/// Cancels a task: out of the queue, or out of its worker's hands. What has left is charged at its
/// bound. Answers whether there was such a task.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub(crate) struct CancelTask(pub(crate) TaskId);

impl Handler<CancelTask> for Coordinator {
    type Result = bool;

    fn handle(&mut self, CancelTask(id): CancelTask, ctx: &mut Context<Self>) -> bool {
        let Some(&task) = self.numbers.get(&id) else { return false };
        let Some(entry) = self.tasks.get_mut(&task) else { return false };
        entry.cancelled = true;
        let worker = entry.worker;
        let worker = worker.filter(|&worker| self.roster.task(worker) == Some(task));
        if let Some(worker) = worker {
            self.troupe.cancel(worker);
        } else if self.take_queued(task) {
            self.end_cancelled(task, ctx);
        }
        true
    }
}
