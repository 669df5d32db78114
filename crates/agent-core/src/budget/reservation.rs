//! Money set aside, as values that cannot be forgotten: dropped unresolved, they resolve themselves.
//!
//! ```text
//! Reservation ──depart──► InFlight ──settle──► charged at its true cost
//!      │                      ├──────release─► given back: it was not billed
//!      └──drop─► given back   └──drop────────► charged at the bound, as presumed
//! ```

use actix::{Addr, Handler, Message};

use super::Budget;
use crate::ledger::ReservationId;
use crate::money::NanoUsd;

/// Money set aside for an attempt that has not left yet. Dropped, it goes back.
#[must_use = "a reservation that is dropped is released"]
#[derive(Debug)]
pub struct Reservation(Share);

/// The money of an attempt that has left. Dropped, it is charged at its bound, as presumed.
#[must_use = "money in flight that is dropped is charged at its bound"]
#[derive(Debug)]
pub struct InFlight(Share);

/// A part of a reservation in the ledger, or the whole of it.
#[derive(Debug)]
struct Share {
    id: ReservationId,
    amount: NanoUsd,
    /// `None` once it was resolved.
    budget: Option<Addr<Budget>>,
}

impl Share {
    fn resolve(&mut self, actual: NanoUsd, presumed: NanoUsd) {
        if let Some(budget) = self.budget.take() {
            let Share { id, amount, .. } = *self;
            budget.do_send(Resolve { id, amount, actual, presumed });
        }
    }

    fn part(&mut self, amount: NanoUsd) -> Option<Share> {
        if amount.is_zero() || amount >= self.amount {
            return None;
        }
        self.amount = self.amount.saturating_sub(amount);
        Some(Share { id: self.id, amount, budget: self.budget.clone() })
    }
}

impl Reservation {
    pub(super) fn new(id: ReservationId, amount: NanoUsd, budget: Addr<Budget>) -> Reservation {
        Reservation(Share { id, amount, budget: Some(budget) })
    }

    /// Names the reservation in the ledger; its parts after a split have the same name.
    pub fn id(&self) -> ReservationId {
        self.0.id
    }

    /// What is set aside.
    pub fn amount(&self) -> NanoUsd {
        self.0.amount
    }

    /// The request leaves: from now on it may be billed.
    pub fn depart(mut self) -> InFlight {
        let Share { id, amount, .. } = self.0;
        InFlight(Share { id, amount, budget: self.0.budget.take() })
    }

    /// Parts `amount` from it, in the same scopes and windows.
    ///
    /// `None`, and nothing changed, unless something stays on both sides.
    pub fn split(&mut self, amount: NanoUsd) -> Option<Reservation> {
        self.0.part(amount).map(Reservation)
    }

    /// Gives back what is more than `to`; nothing where `to` is zero or not less than it is.
    pub fn shrink(&mut self, to: NanoUsd) {
        if !to.is_zero() {
            drop(self.split(self.amount().saturating_sub(to)));
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.0.resolve(NanoUsd::ZERO, NanoUsd::ZERO);
    }
}

impl InFlight {
    /// Names the reservation in the ledger.
    pub fn id(&self) -> ReservationId {
        self.0.id
    }

    /// The bound at which it is charged where its fate stays unknown.
    pub fn amount(&self) -> NanoUsd {
        self.0.amount
    }

    /// Charges the true cost; what is above the bound too, as an overrun.
    pub fn settle(mut self, actual: NanoUsd) {
        self.0.resolve(actual, NanoUsd::ZERO);
    }

    /// Charges `actual` for what was seen, and `presumed` as the bound of what was not.
    pub fn settle_partly(mut self, actual: NanoUsd, presumed: NanoUsd) {
        self.0.resolve(actual, presumed);
    }

    /// Charges the bound: the attempt's fate is unknown.
    pub fn presume(self) {
        drop(self);
    }

    /// Gives the money back: the attempt was not billed.
    pub fn release(mut self) {
        self.0.resolve(NanoUsd::ZERO, NanoUsd::ZERO);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.resolve(NanoUsd::ZERO, self.0.amount);
    }
}

// === Resolve ===

/// Resolves `amount` of a reservation; sent by the values above alone, once each.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Resolve {
    id: ReservationId,
    amount: NanoUsd,
    actual: NanoUsd,
    presumed: NanoUsd,
}

impl Handler<Resolve> for Budget {
    type Result = ();

    fn handle(&mut self, msg: Resolve, ctx: &mut Self::Context) {
        let Resolve { id, amount, actual, presumed } = msg;
        let is_part = self.ledger.amount(id).is_some_and(|held| amount < held);
        let id = if is_part { self.ledger.split(id, amount).unwrap_or(id) } else { id };
        self.settle(id, actual, presumed, ctx);
    }
}
