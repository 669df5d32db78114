//! Each worker's own limit on calls; it outlives a restart of the worker.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::AgentRateLimit;
use crate::clock::Timestamp;

/// The calls of every worker within its own window, exactly.
///
/// Memory is one moment for each call within the window, so at most `calls` for each worker.
#[derive(Debug, Default)]
pub struct WorkerWindows(BTreeMap<Arc<str>, VecDeque<Timestamp>>);

impl WorkerWindows {
    /// Takes one call of `worker`. `now` never goes back.
    ///
    /// # Errors
    ///
    /// When the worker may call again, where its limit is used up; nothing is taken then.
    pub fn take(
        &mut self,
        worker: &Arc<str>,
        limit: &AgentRateLimit,
        now: Timestamp,
    ) -> Result<(), Timestamp> {
        let free = self.free_at(worker, limit, now);
        if free > now {
            return Err(free);
        }
        let calls = self.0.entry(Arc::clone(worker)).or_default();
        while calls.front().is_some_and(|&at| at + limit.per <= now) {
            calls.pop_front();
        }
        calls.push_back(now);
        Ok(())
    }

    /// When `worker` may call next: `now`, or later.
    pub fn free_at(&self, worker: &str, limit: &AgentRateLimit, now: Timestamp) -> Timestamp {
        let Some(calls) = self.0.get(worker) else { return now };
        let oldest = calls.len().checked_sub(limit.calls.get() as usize);
        oldest.and_then(|at| calls.get(at)).map_or(now, |&at| now.max(at + limit.per))
    }

    /// Gives back a call taken at `at`, as if it had not been made.
    pub fn give_back(&mut self, worker: &str, at: Timestamp) {
        if let Some(calls) = self.0.get_mut(worker)
            && let Ok(index) = calls.binary_search(&at)
        {
            calls.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn the_call_after_the_last_waits_for_the_oldest_and_a_refusal_takes_nothing() {
        for calls in [1, 10, 1_000_000] {
            let calls = NonZeroU32::new(calls).unwrap();
            let limit = AgentRateLimit { calls, ..AgentRateLimit::default() };
            let (mut windows, worker) = (WorkerWindows::default(), Arc::from("w"));
            for _ in 0..calls.get() {
                windows.take(&worker, &limit, Timestamp::EPOCH).unwrap();
            }
            let free = Timestamp::EPOCH + limit.per;
            let late = Timestamp::from_millis(59_999);
            assert_eq!(windows.take(&worker, &limit, late), Err(free));
            windows.give_back(&worker, Timestamp::EPOCH);
            windows.take(&worker, &limit, late).unwrap();
            assert_eq!(
                windows.take(&worker, &limit, free),
                if calls.get() == 1 { Err(late + limit.per) } else { Ok(()) }
            );
        }
    }
}
