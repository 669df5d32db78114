//! Money set aside, as values that cannot be forgotten: dropped unresolved, they resolve themselves.
//!
//! ```text
//! Reservation ──depart──► InFlight ──settle──► charged at its true cost
//!      │                      ├──────release─► given back: it was not billed
//!      └──drop─► given back   └──drop────────► charged at the bound, as presumed
//! ```

use std::sync::atomic::{AtomicU64, Ordering};

use actix::{AsyncContext, Handler, Message};

use super::{Budget, Desk};
use crate::clock::Timestamp;
use crate::money::NanoUsd;
use crate::record::AttemptId;

/// How often the budget has come back from a panic.
#[derive(Debug, Default)]
pub(super) struct Lives(AtomicU64);

impl Lives {
    fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// Begins another life, and counts it.
    pub(super) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }
}

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
    name: AttemptId,
    amount: NanoUsd,
    /// The life of the budget in which it was set aside.
    life: u64,
    /// `None` once it was resolved.
    desk: Option<Desk>,
}

impl Share {
    /// Resolves it at `now`, or else at the present moment.
    fn resolve(&mut self, now: Option<Timestamp>, actual: NanoUsd, presumed: NanoUsd) {
        if let Some(desk) = self.desk.take() {
            let Share { name, amount, .. } = *self;
            let now = now.unwrap_or_else(|| desk.now());
            desk.resolve(now, Resolve { name, amount, actual, presumed });
        }
    }

    fn part(&mut self, amount: NanoUsd) -> Option<Share> {
        if amount.is_zero() || amount >= self.amount {
            return None;
        }
        self.amount = self.amount.saturating_sub(amount);
        Some(Share { name: self.name, amount, life: self.life, desk: self.desk.clone() })
    }
}

impl Reservation {
    pub(super) fn new(name: AttemptId, amount: NanoUsd, desk: Desk) -> Reservation {
        let life = desk.lives().now();
        Reservation(Share { name, amount, life, desk: Some(desk) })
    }

    /// The attempt that it is for; its parts after a split have the same name.
    pub fn name(&self) -> AttemptId {
        self.0.name
    }

    /// Whether the budget has not panicked since. One that has knows of the attempts that were in
    /// the journal when it did, and of no others: who is about to leave reserves again.
    pub fn is_current(&self) -> bool {
        self.0.desk.as_ref().is_some_and(|desk| desk.lives().now() == self.0.life)
    }

    /// `other` stands for the same attempt from here on; what it was before gives nothing back.
    pub(crate) fn replace(&mut self, other: Reservation) {
        self.0.desk = None;
        *self = other;
    }

    /// What is set aside.
    pub fn amount(&self) -> NanoUsd {
        self.0.amount
    }

    /// The request leaves: from now on it may be billed.
    pub fn depart(mut self) -> InFlight {
        let Share { name, amount, life, .. } = self.0;
        InFlight(Share { name, amount, life, desk: self.0.desk.take() })
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
        self.0.resolve(None, NanoUsd::ZERO, NanoUsd::ZERO);
    }
}

impl InFlight {
    /// The attempt that it is for.
    pub fn name(&self) -> AttemptId {
        self.0.name
    }

    /// The bound at which it is charged where its fate stays unknown.
    pub fn amount(&self) -> NanoUsd {
        self.0.amount
    }

    /// Charges the true cost; what is above the bound too, as an overrun.
    pub fn settle(mut self, actual: NanoUsd) {
        self.0.resolve(None, actual, NanoUsd::ZERO);
    }

    /// Charges `actual` for what was seen, and `presumed` as the bound of what was not.
    pub fn settle_partly(mut self, actual: NanoUsd, presumed: NanoUsd) {
        self.0.resolve(None, actual, presumed);
    }

    /// The same, at `now`.
    pub(crate) fn settle_at(mut self, now: Timestamp, actual: NanoUsd, presumed: NanoUsd) {
        self.0.resolve(Some(now), actual, presumed);
    }

    /// Charges the bound: the attempt's fate is unknown.
    pub fn presume(self) {
        drop(self);
    }

    /// Gives the money back: the attempt was not billed.
    pub fn release(mut self) {
        self.0.resolve(None, NanoUsd::ZERO, NanoUsd::ZERO);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.resolve(None, NanoUsd::ZERO, self.0.amount);
    }
}

// === Resolve ===

/// Resolves `amount` of a reservation; sent by the values above alone, once each.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Resolve {
    pub(super) name: AttemptId,
    pub(super) amount: NanoUsd,
    pub(super) actual: NanoUsd,
    pub(super) presumed: NanoUsd,
}

impl Handler<Resolve> for Budget {
    type Result = ();

    fn handle(&mut self, msg: Resolve, ctx: &mut Self::Context) {
        if self.desk.is_spoiled() {
            // What it is about is known again when the budget has been rebuilt.
            ctx.address().do_send(msg);
            return self.must_be_whole();
        }
        let Resolve { name, amount, actual, presumed } = msg;
        let id = self.desk.lock().resolved(name, amount);
        if let Some(id) = id {
            self.settle(id, actual, presumed, ctx);
        }
    }
}
