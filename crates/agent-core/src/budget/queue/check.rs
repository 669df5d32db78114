//! What must hold of the queue after every message; the tests of the actor look at it each time.

use super::{Place, Queue};
use crate::clock::Timestamp;
use crate::ledger::Ledger;

impl Queue {
    /// No wake-up was lost: nobody waits who has room in all budgets and nobody before it.
    pub(in crate::budget) fn check(&self, ledger: &mut Ledger, now: Timestamp) {
        for (number, waiter) in &self.waiters {
            if !matches!(waiter.place, Place::Behind(_)) {
                continue;
            }
            let request = &waiter.request;
            assert!(now < request.deadline, "{number} waits past its deadline");
            let Ok(room) = ledger.room(now, &*request.scopes, request.amount) else { continue };
            let first = |account| self.lines.get(&account)?.waiting.first();
            let held_up = room.accounts().any(|a| first(a).is_some_and(|first| first < number));
            ledger.leave(room);
            assert!(held_up, "{number} waits though it could go: {waiter:?}");
        }
    }
}
