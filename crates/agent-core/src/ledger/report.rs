//! What the ledger tells: refusals, thresholds, overruns and balances.

use thiserror::Error;

use super::{OnExhausted, Scope, Window};
use crate::clock::Timestamp;
use crate::money::NanoUsd;

/// When there may be room for a call for which there is none now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// When money in flight comes back: it would fit if all of it did.
    InFlight,
    /// Not before this moment, when enough of the money spent has left the window.
    Turns(Timestamp),
    /// Not in any window: it is above the limit, or the window has no end.
    Never,
}

/// A budget has no room for a call; nothing was reserved in any of its budgets.
///
/// Where several budgets have none, this is the one that decides: one that stops the run or refuses
/// before one that waits for its window, and that before one that waits for money in flight.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "budget {scope} ({window}) has no room for ${requested}: limit ${limit}, spent ${spent}, \
     reserved ${reserved}"
)]
pub struct NoRoom {
    /// Whose budget.
    pub scope: Scope,
    /// Over what time.
    pub window: Window,
    /// Its limit.
    pub limit: NanoUsd,
    /// Spent in the window, with what is presumed to be.
    pub spent: NanoUsd,
    /// Set aside for calls in flight.
    pub reserved: NanoUsd,
    /// What the call asked for.
    pub requested: NanoUsd,
    /// The most that every budget of the call has room for now.
    pub available: NanoUsd,
    /// When there may be room.
    pub when: When,
    /// What the budget's owner wants done.
    pub on_exhausted: OnExhausted,
}

impl NoRoom {
    /// From when on waiting may help: at any time, so from the epoch on, for money in flight.
    /// `None` where the call is to be refused.
    pub fn wait_until(&self) -> Option<Timestamp> {
        match self.when {
            When::InFlight => Some(Timestamp::EPOCH),
            When::Turns(at) if self.on_exhausted == OnExhausted::Wait => Some(at),
            When::Turns(_) | When::Never => None,
        }
    }

    /// Orders by what has to be done about it, the gravest last.
    pub(super) fn gravity(&self) -> (u8, Timestamp) {
        match (self.wait_until(), self.on_exhausted) {
            (Some(Timestamp::EPOCH), _) => (0, Timestamp::EPOCH),
            (Some(at), _) => (1, at),
            (None, OnExhausted::StopRun) => (3, Timestamp::NEVER),
            (None, _) => (2, Timestamp::NEVER),
        }
    }
}

/// What a booking has brought about; empty nearly always.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "thresholds and overruns are told once"]
pub struct Settlement {
    /// The thresholds crossed by it, each for the first time in its window.
    pub thresholds: Vec<Threshold>,
    /// Where it was more than reserved: each budget that was charged.
    pub overruns: Vec<Overrun>,
}

/// A budget's spending has reached a percentage of its limit.
///
/// What is spent and presumed counts, money in flight does not: that may come back. A rolling
/// window raises a threshold again after its spending was below it; a window that is over, none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threshold {
    /// Whose budget.
    pub scope: Scope,
    /// Over what time.
    pub window: Window,
    /// The percentage of the limit that was reached.
    pub percent: u8,
    /// The limit.
    pub limit: NanoUsd,
    /// Spent in the window, with what is presumed to be.
    pub spent: NanoUsd,
    /// Set aside for calls in flight.
    pub reserved: NanoUsd,
}

/// A call cost more than was reserved for it. It was charged in full; while a budget is above its
/// limit it takes no new calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overrun {
    /// Whose budget.
    pub scope: Scope,
    /// Over what time.
    pub window: Window,
    /// The limit.
    pub limit: NanoUsd,
    /// Spent in the window after the charge, with what is presumed to be.
    pub spent: NanoUsd,
    /// The cost above the reservation.
    pub by: NanoUsd,
}

/// One budget of one scope as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// Whose budget.
    pub scope: Scope,
    /// Over what time.
    pub window: Window,
    /// At most so much in the window.
    pub limit: NanoUsd,
    /// Charged in the window at its true cost.
    pub spent: NanoUsd,
    /// Charged in the window at its bound, since its true cost is unknown.
    pub presumed: NanoUsd,
    /// Set aside in the window for calls in flight.
    pub reserved: NanoUsd,
}
