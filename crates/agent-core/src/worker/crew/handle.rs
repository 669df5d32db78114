//! A crew as the handle of its parent sees it, and how it ends.

use tokio::sync::oneshot;

use super::{At, Crew, SubTask};
use crate::agent::{ChildEnd, ChildError, Children, Submitted};
use crate::task::{ErrorCode, Task, TaskError};
use crate::worker::Cancel;
use crate::worker::halts::Halt;

impl Children for Crew {
    fn name(&self) -> &str {
        &self.name
    }

    fn submit(&self, task: Task) -> Submitted {
        let (tell, answer) = oneshot::channel();
        let assignment = self.assignment(task);
        let limit = self.family.tree().limits().waiting.get();
        if self.state.borrow().queue.len() >= limit as usize {
            self.expire_all();
        }
        let mut state = self.state.borrow_mut();
        let number = state.next;
        state.next += 1;
        let refusal = match &state.ended {
            Some(end) => Some(self.ended_error(end)),
            None if state.queue.len() >= limit as usize => {
                Some(ChildError::Full { name: self.name.to_string(), limit })
            }
            None => None,
        };
        if let Some(refusal) = refusal {
            _ = tell.send(Err(refusal));
            return Submitted { number, answer, expiry: None };
        }
        let own = assignment.deadline < self.whole.deadline;
        let clock = &self.role.services.clock;
        let expiry = own.then(|| clock.sleep_until(assignment.deadline));
        state.tasks.insert(number, SubTask { assignment, crashes: 0, tell });
        state.queue.push_back(number);
        drop(state);
        self.feed();
        Submitted { number, answer, expiry }
    }

    fn expire(&self, number: u64) {
        let mut state = self.state.borrow_mut();
        let waiting = state.queue.len();
        state.queue.retain(|&other| other != number);
        if state.queue.len() == waiting {
            // Whoever is at it ends it.
            return;
        }
        let Some(SubTask { assignment, tell, .. }) = state.tasks.remove(&number) else { return };
        let message =
            format!("the sub-task's deadline {} passed while it waited", assignment.deadline);
        let error = TaskError::new(ErrorCode::DeadlineExceeded, message);
        // Who does not wait any more need not be told.
        _ = tell.send(Err(ChildError::Failed(error)));
    }

    fn withdraw(&self, number: u64) {
        let mut state = self.state.borrow_mut();
        if state.tasks.remove(&number).is_none() {
            return;
        }
        state.queue.retain(|&waiting| waiting != number);
        if let Some(member) = state.members.iter().find(|m| m.at == At::Work(number)) {
            member.address.do_send(Cancel);
        }
    }

    fn watch(&self) -> oneshot::Receiver<ChildEnd> {
        let (tell, told) = oneshot::channel();
        let mut state = self.state.borrow_mut();
        match &state.ended {
            Some(end) => _ = tell.send(end.clone()),
            None => {
                state.watchers.retain(|watcher| !watcher.is_closed());
                state.watchers.push(tell);
            }
        }
        told
    }

    fn link(&self) {
        self.linked.set(true);
        self.crash_parent();
    }

    /// Its workers are gone when this returns, the youngest first.
    fn stop(&self) {
        loop {
            // One at a time: what ends is user code, and may look at this sub-agent.
            let youngest = self.state.borrow_mut().members.iter_mut().rev().find_map(|m| {
                (m.at, m.pause) = (At::Gone, None);
                m.leash.take()
            });
            match youngest {
                Some(leash) => leash.cut(),
                None => break,
            }
        }
        self.end(ChildEnd::Stopped);
    }
}

impl Crew {
    /// Ends what waits and has come too late, so that it takes nobody's place.
    fn expire_all(&self) {
        let now = self.role.services.clock.now();
        let state = self.state.borrow();
        let is_late = |number: &&u64| {
            state.tasks.get(number).is_some_and(|task| task.assignment.deadline <= now)
        };
        let late: Vec<u64> = state.queue.iter().filter(is_late).copied().collect();
        drop(state);
        late.into_iter().for_each(|number| self.expire(number));
    }

    /// Tells everyone who waits that it has ended. Once.
    pub(super) fn end(&self, end: ChildEnd) {
        let mut state = self.state.borrow_mut();
        if state.ended.is_some() {
            return;
        }
        state.ended = Some(end.clone());
        state.queue.clear();
        let tasks = std::mem::take(&mut state.tasks);
        let watchers = std::mem::take(&mut state.watchers);
        drop(state);
        self.family.tree().leave(self.numbers.1);
        for task in tasks.into_values() {
            _ = task.tell.send(Err(self.ended_error(&end)));
        }
        for watcher in watchers {
            _ = watcher.send(end.clone());
        }
        self.crash_parent();
    }

    /// Has its parent crash where it is linked and has given up.
    fn crash_parent(&self) {
        if self.linked.get()
            && let Some(ChildEnd::GaveUp { reason }) = &self.state.borrow().ended
        {
            let name = &self.name;
            self.halts.raise(Halt::Crashed(format!("sub-agent {name} gave up: {reason}")));
        }
    }

    fn ended_error(&self, end: &ChildEnd) -> ChildError {
        ChildError::Ended { name: self.name.to_string(), end: end.clone() }
    }
}
