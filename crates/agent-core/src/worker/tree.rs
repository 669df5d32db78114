//! What the workers of one task share: the money that its calls may still cost, and their number.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use crate::agent::{ChildLimits, SpawnError};
use crate::ledger::AGENT_SEPARATOR;
use crate::money::NanoUsd;
use crate::record::Subject;
use crate::worker::services::lock;

/// The place of a worker among those of its task.
#[derive(Debug)]
pub(crate) struct Family {
    tree: Arc<Tree>,
    depth: u32,
    /// Whom its parent's calls are about; none for the task's own worker.
    parent: Option<Arc<Subject>>,
}

impl Family {
    /// That of the task's own worker.
    pub(super) fn first(limits: ChildLimits) -> Arc<Family> {
        let tree = Arc::new(Tree { limits, state: Mutex::default() });
        Arc::new(Family { tree, depth: 0, parent: None })
    }

    /// That of a sub-agent of a worker whose calls are about `subject`.
    pub(super) fn child(&self, subject: &Arc<Subject>) -> Result<Arc<Family>, SpawnError> {
        let limit = self.tree.limits.depth.get();
        if self.depth >= limit {
            return Err(SpawnError::TooDeep { limit });
        }
        let (tree, parent) = (Arc::clone(&self.tree), Some(Arc::clone(subject)));
        Ok(Arc::new(Family { tree, depth: self.depth + 1, parent }))
    }

    pub(super) fn tree(&self) -> &Arc<Tree> {
        &self.tree
    }

    /// Generations below the task's own worker.
    pub(super) fn depth(&self) -> u32 {
        self.depth
    }

    /// Whom a call is about: the task is the parent's, and so is who pays.
    pub(super) fn subject(&self, own: Subject) -> Subject {
        let Some(parent) = &self.parent else { return own };
        let agent = own.agent.map(|own| below(parent.agent.as_deref(), &own));
        Subject {
            agent,
            task_id: parent.task_id.clone(),
            project_id: parent.project_id.clone(),
            user_id: parent.user_id.clone(),
            ..own
        }
    }
}

/// The name of what is under `parent`.
pub(super) fn below(parent: Option<&str>, own: &str) -> Arc<str> {
    match parent {
        Some(parent) => format!("{parent}{AGENT_SEPARATOR}{own}").into(),
        None => own.into(),
    }
}

/// All workers of one task together.
#[derive(Debug)]
pub(crate) struct Tree {
    limits: ChildLimits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What calls that are under way may still cost.
    held: NanoUsd,
    /// What those of their attempts that have left may.
    in_flight: NanoUsd,
    /// Who waits for some of it, oldest first.
    waiting: Vec<(u64, Waker)>,
    next: u64,
    workers: u32,
}

impl Tree {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn limits(&self) -> &ChildLimits {
        &self.limits
    }

    /// What calls that are under way may still cost.
    pub(super) fn held(&self) -> NanoUsd {
        self.state().held
    }

    /// What attempts of its calls that have left may cost.
    pub(super) fn in_flight(&self) -> NanoUsd {
        self.state().in_flight
    }

    /// An attempt that may cost `bound` leaves.
    pub(super) fn depart(self: &Arc<Self>, bound: NanoUsd) -> Away {
        let mut state = self.state();
        state.in_flight = state.in_flight.saturating_add(bound);
        drop(state);
        Away { tree: Arc::clone(self), bound }
    }

    /// Counts workers of a sub-agent that starts.
    pub(super) fn enter(&self, workers: u32) -> Result<(), SpawnError> {
        let limit = self.limits.workers.get();
        let mut state = self.state();
        let all = state.workers.saturating_add(workers);
        if all > limit {
            return Err(SpawnError::TooMany { limit });
        }
        state.workers = all;
        Ok(())
    }

    /// They have ended.
    pub(super) fn leave(&self, workers: u32) {
        self.state().workers -= workers;
    }

    /// A call that may have to wait for others of the task.
    pub(super) fn turn(self: &Arc<Self>) -> Turn {
        Turn { tree: Arc::clone(self), number: None }
    }
}

/// A place among the calls that wait for what others of the task leave; first come, first served.
#[derive(Debug)]
pub(super) struct Turn {
    tree: Arc<Tree>,
    number: Option<u64>,
}

impl Turn {
    /// Holds `bound`, where it fits into `left` beside all that is held, and nobody is before it.
    pub(super) fn poll_hold(
        &mut self,
        bound: NanoUsd,
        left: NanoUsd,
        cx: &Context<'_>,
    ) -> Poll<Held> {
        let mut state = self.tree.state();
        let first = state.waiting.first().is_none_or(|(number, _)| Some(*number) == self.number);
        if first && state.held.saturating_add(bound) <= left {
            state.held = state.held.saturating_add(bound);
            drop(state);
            return Poll::Ready(Held { tree: Arc::clone(&self.tree), bound });
        }
        match self.number.and_then(|n| state.waiting.iter_mut().find(|(number, _)| *number == n)) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => {
                let number = state.next;
                state.next += 1;
                state.waiting.push((number, cx.waker().clone()));
                self.number = Some(number);
            }
        }
        Poll::Pending
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut state = self.tree.state();
        state.waiting.retain(|(waiting, _)| *waiting != number);
        wake_first(state);
    }
}

/// What a call may still cost; let go when it has ended.
#[derive(Debug)]
pub(super) struct Held {
    tree: Arc<Tree>,
    bound: NanoUsd,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.tree.state();
        state.held = state.held.saturating_sub(self.bound);
        wake_first(state);
    }
}

/// An attempt of one of a task's calls that has left; dropped when it has ended.
#[derive(Debug)]
pub(super) struct Away {
    tree: Arc<Tree>,
    bound: NanoUsd,
}

impl Drop for Away {
    fn drop(&mut self) {
        let mut state = self.tree.state();
        state.in_flight = state.in_flight.saturating_sub(self.bound);
    }
}

fn wake_first(state: MutexGuard<'_, State>) {
    let first = state.waiting.first().map(|(_, waker)| waker.clone());
    drop(state);
    if let Some(first) = first {
        first.wake();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker_ref;

    use super::*;

    #[test]
    fn who_could_hold_less_does_not_overtake_who_waits_to_hold_more() {
        let tree = Arc::clone(Family::first(ChildLimits::default()).tree());
        let left = NanoUsd::from_nanos(10);
        let hold = |turn: &mut Turn, bound| {
            let cx = Context::from_waker(noop_waker_ref());
            match turn.poll_hold(NanoUsd::from_nanos(bound), left, &cx) {
                Poll::Ready(held) => Some(held),
                Poll::Pending => None,
            }
        };
        let (mut first, mut large, mut small) = (tree.turn(), tree.turn(), tree.turn());
        let held = hold(&mut first, 6).expect("there is room");
        assert!(hold(&mut large, 8).is_none());
        assert!(hold(&mut small, 2).is_none());
        drop(held);
        assert!(hold(&mut small, 2).is_none());
        let held = hold(&mut large, 8).expect("there is room, and nobody is before it");
        drop(large);
        assert!(hold(&mut small, 2).is_some());
        drop(held);
        assert_eq!(tree.held(), NanoUsd::ZERO);
    }
}
