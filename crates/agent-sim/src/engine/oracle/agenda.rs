//! What is to come: at its time, or at once and in turn, as messages between actors are handled.

use std::collections::{BTreeMap, VecDeque};

use agent_core::clock::Timestamp;
use agent_core::ledger::ReservationId;
use agent_core::money::NanoUsd;
use agent_core::permits::{Feedback, GrantId};
use agent_core::task::ErrorCode;

use super::attempt::Back;

/// What is to be done; tasks by their numbers.
#[derive(Debug)]
pub(super) enum Due {
    /// A workload's next task is brought, when its time has come.
    Source(u32),
    /// That time has come.
    Arrival(u32),
    /// A user of a closed workload brings another.
    User(u32),
    Placed(u64),
    Begun(u64),
    /// A task's tools are done.
    Called(u64),
    Asks(u64),
    /// The limiter's timer, unless another was set since.
    Ring(Timestamp),
    GivenBack(GrantId),
    Pays(u64),
    Leaves(u64),
    Returns(u64, Box<Back>),
    Settled(GrantId, Box<Feedback>),
    Resolved(u64, ReservationId, NanoUsd, NanoUsd),
    Retries(u64),
    Finished(u64, Option<ErrorCode>),
    Told(u64),
    /// Workers have rested, unless another time was set since.
    Wake(Timestamp),
}

/// A heap of timers, ordered by time and then by when they were set, before which comes what is to
/// be done at once.
#[derive(Debug)]
pub(super) struct Agenda {
    now: Timestamp,
    soon: VecDeque<Due>,
    timers: BTreeMap<(Timestamp, u64), Due>,
    set: u64,
}

impl Agenda {
    pub(super) fn new(now: Timestamp) -> Agenda {
        Agenda { now, soon: VecDeque::new(), timers: BTreeMap::new(), set: 0 }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    pub(super) fn soon(&mut self, due: Due) {
        self.soon.push_back(due);
    }

    pub(super) fn at(&mut self, at: Timestamp, due: Due) {
        if at <= self.now {
            return self.soon(due);
        }
        self.timers.insert((at, self.set), due);
        self.set += 1;
    }

    pub(super) fn next(&mut self) -> Option<Due> {
        if let Some(due) = self.soon.pop_front() {
            return Some(due);
        }
        let ((at, _), due) = self.timers.pop_first()?;
        self.now = at;
        Some(due)
    }
}
