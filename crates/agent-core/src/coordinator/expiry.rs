//! Tasks that end without an answer of their own: their deadline came, or they were cancelled.

use actix::{Context, Handler, Message};

use super::Coordinator;
use crate::clock::Timestamp;
use crate::task::{ErrorCode, TaskError, TaskId};
use crate::worker::Cancel;
use crate::worker::job::ended;

impl Coordinator {
    /// Ends the queued tasks whose deadline has come. Those at work end by themselves.
    pub(super) fn end_expired(&mut self, now: Timestamp, ctx: &mut Context<Self>) {
        while let Some((deadline, id)) = self.deadlines.pop_first() {
            if deadline > now {
                self.deadlines.insert((deadline, id));
                return;
            }
            if self.take_queued(&id) {
                let message = format!("the task's deadline {deadline} passed while it waited");
                self.end_without_answer(&id, ErrorCode::DeadlineExceeded, message, ctx);
            }
        }
    }

    /// Takes a task out of the queue, if it is there.
    fn take_queued(&mut self, id: &TaskId) -> bool {
        let Some(entry) = self.tasks.get(id) else { return false };
        let (line, priority) = (self.line(entry), entry.assignment.task.priority);
        self.queue.take(line, priority, entry.order).is_some()
    }

    fn end_without_answer(
        &mut self,
        id: &TaskId,
        code: ErrorCode,
        message: String,
        ctx: &mut Context<Self>,
    ) {
        let Some(entry) = self.tasks.get(id) else { return };
        let error = TaskError::new(code, message);
        let outcome = ended(&entry.assignment, self.services.clock.now(), Err(error));
        self.end(outcome, ctx);
    }

    pub(super) fn is_cancelled(&self, id: &TaskId) -> bool {
        self.tasks.get(id).is_some_and(|entry| entry.cancelled)
    }

    pub(super) fn end_cancelled(&mut self, id: &TaskId, ctx: &mut Context<Self>) {
        let message = format!("task {id} was cancelled");
        self.end_without_answer(id, ErrorCode::Cancelled, message, ctx);
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
        let Some(entry) = self.tasks.get_mut(&id) else { return false };
        entry.cancelled = true;
        let worker = self.at_work.iter().find(|(_, task)| **task == id).map(|(&worker, _)| worker);
        if let Some(worker) = worker {
            self.workers[worker as usize].do_send(Cancel);
        } else if self.take_queued(&id) {
            self.end_cancelled(&id, ctx);
        }
        true
    }
}
