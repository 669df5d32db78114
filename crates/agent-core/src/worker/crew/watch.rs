//! What happens when a worker of a sub-agent panics: its parent's task goes on.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::{At, Crew};
use crate::agent::ChildEnd;
use crate::audit::AuditKind;
use crate::clock::Clock;
use crate::guard::Watcher;
use crate::llm::redact;
use crate::supervision::Restart;
use crate::worker::WorkerIndex;
use crate::worker::job::millis;
use crate::worker::progress::Step;

/// Watches one worker of a crew, and decides on its restarts.
pub(super) struct CrewWatch {
    crew: Rc<Crew>,
    worker: WorkerIndex,
}

impl fmt::Debug for CrewWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrewWatch").field("worker", &self.worker).finish_non_exhaustive()
    }
}

impl CrewWatch {
    pub(super) fn new(crew: Rc<Crew>, worker: WorkerIndex) -> CrewWatch {
        CrewWatch { crew, worker }
    }
}

impl Watcher for CrewWatch {
    fn clock(&self) -> &Clock {
        &self.crew.role.services.clock
    }

    fn panicked(&self, reason: &str) -> Option<Duration> {
        self.crew.panicked(self.worker, &redact(reason))
    }

    fn resumed(&self) {
        self.crew.becomes(self.worker, At::Idle);
        self.crew.feed();
    }

    fn ended(&self) {
        self.crew.gone(self.worker);
    }
}

impl Crew {
    fn panicked(&self, worker: WorkerIndex, reason: &str) -> Option<Duration> {
        let services = &self.role.services;
        let mut state = self.state.borrow_mut();
        let member = state.members.get_mut(worker as usize)?;
        let pause = match self.role.spec.restart {
            Restart::Temporary => None,
            Restart::Permanent | Restart::Transient => {
                member.history.restart(services.clock.now(), &self.policy, services.jitter())
            }
        };
        let name = Arc::clone(&member.name);
        reason.clone_into(&mut state.last_reason);
        state.restarts += u32::from(pause.is_some());
        let restarts = state.restarts;
        drop(state);
        let reason = reason.to_owned();
        let event = match pause {
            Some(pause) => {
                let (reason, backoff_ms) = (reason.clone(), millis(pause));
                AuditKind::WorkerRestarted { reason, restarts, backoff_ms }
            }
            None => AuditKind::WorkerGaveUp { reason: reason.clone(), restarts },
        };
        services.audit(None, &Arc::new(self.subject(&name)), event);
        let at = if pause.is_some() { At::Pause } else { At::Gone };
        let number = self.becomes(worker, at);
        let over = pause.map(|pause| services.clock.now() + pause);
        if let Some(member) = self.state.borrow_mut().members.get_mut(worker as usize) {
            member.pause = over.map(|over| Step::new(Arc::clone(&self.whole.standing), over));
        }
        if let Some(number) = number {
            self.requeue(number, &name, &reason);
        }
        pause
    }

    /// A worker ended for good; with the last of them the sub-agent ends.
    fn gone(&self, worker: WorkerIndex) {
        self.becomes(worker, At::Gone);
        let state = self.state.borrow();
        if state.members.iter().any(|member| member.at != At::Gone) {
            return;
        }
        let reason = state.last_reason.clone();
        drop(state);
        self.end(ChildEnd::GaveUp { reason });
    }
}
