//! The arithmetic behind the budget: what is spent, presumed and reserved, in every scope at once.
//!
//! ```text
//! reserve ──► settle   the true cost, and the bound of what nobody knows as presumed
//!         ├──► presume the whole bound: the attempt's fate is unknown
//!         └──► release nothing: the attempt never left, or was not billed
//! ```
//!
//! For each scope and window, `spent + presumed + reserved ≤ limit` after each of these; the one
//! exception is a cost above its reservation, which is booked in full and reported as an
//! [`Overrun`]. Money belongs to the windows of the moment in which it was reserved, whenever it
//! is settled.

mod account;
mod accounts;
#[cfg(test)]
mod model;
mod report;
mod reservations;
mod scope;
#[cfg(test)]
mod tests;
mod window;

use account::{Account, Charge, Sums};
pub(crate) use accounts::AccountId;
use accounts::Accounts;
pub use report::{Balance, NoRoom, Overrun, Settlement, Threshold, When};
pub use reservations::ReservationId;
use reservations::{Part, Reservations};
pub(crate) use scope::{AGENT_SEPARATOR, NAMELESS, Scopes, agents_of};
pub use scope::{BudgetSpec, OnExhausted, Scope, ScopeError, ScopeKind, ScopePattern};
pub use window::{Window, WindowError};

use crate::clock::Timestamp;
use crate::money::NanoUsd;

/// All budgets, and the reservations in them.
///
/// Time is an argument, and never goes back: a moment before the latest one seen counts as that.
/// Sums beyond 18.4 billion dollars stay there.
#[derive(Debug)]
pub struct Ledger {
    seen: Timestamp,
    accounts: Accounts,
    reservations: Reservations,
}

impl Ledger {
    /// A ledger in which nothing is spent. Without budgets, everything has room.
    pub fn new(specs: Vec<BudgetSpec>) -> Ledger {
        Ledger {
            seen: Timestamp::EPOCH,
            accounts: Accounts::new(specs),
            reservations: Reservations::default(),
        }
    }

    /// Books what was charged at `at`, before this ledger began, in every window of `scopes` that
    /// has it still.
    ///
    /// The order of calls does not matter. The thresholds that it crosses are not raised again. The
    /// sum of a day gone by is booked safely at that day's last moment, the sum of today at the
    /// present one: a moment still to come counts as the present from then on, as after a clock
    /// that went back, so that no window is opened again.
    pub fn restore(&mut self, at: Timestamp, scopes: &[Scope], spent: NanoUsd, presumed: NanoUsd) {
        let now = self.see(at);
        let past = Sums { spent, presumed, reserved: NanoUsd::ZERO };
        let mut parts = self.reservations.parts();
        self.find(now, scopes, &mut parts);
        for part in &parts {
            if let Some((account, spec)) = self.accounts.get_mut(part.account) {
                account.restore(spec, at, now, past);
            }
        }
        self.reservations.give_back(parts);
    }

    /// Sets aside again what was set aside at `at`, before this ledger began, whatever room there
    /// is: it may be spent already.
    ///
    /// It belongs to the windows of that moment. The order of calls does not matter.
    pub fn restore_reserved(
        &mut self,
        at: Timestamp,
        scopes: &[Scope],
        amount: NanoUsd,
    ) -> ReservationId {
        let now = self.see(at);
        let mut parts = self.reservations.parts();
        self.find(now, scopes, &mut parts);
        for part in &mut parts {
            if let Some((account, spec)) = self.accounts.get_mut(part.account) {
                part.start = account.hold(spec, at, amount);
                // Its window may be over.
                account.turn(spec, now);
            }
        }
        self.reservations.open(amount, parts)
    }

    /// Sets `amount` aside in all budgets of `scopes`, or in none.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] where one of them has no room for it. Nothing has changed then.
    pub fn reserve(
        &mut self,
        now: Timestamp,
        scopes: &[Scope],
        amount: NanoUsd,
    ) -> Result<ReservationId, NoRoom> {
        let room = self.room(now, scopes, amount).map_err(|(_, no_room)| no_room)?;
        Ok(self.take(room))
    }

    /// Finds room for `amount` in all budgets of `scopes`; the first half of a reservation.
    ///
    /// # Errors
    ///
    /// The account that decides against it, and how.
    pub(crate) fn room(
        &mut self,
        now: Timestamp,
        scopes: &(impl Scopes + ?Sized),
        amount: NanoUsd,
    ) -> Result<Room, (AccountId, NoRoom)> {
        let now = self.see(now);
        self.accounts.sweep(now);
        let mut parts = self.reservations.parts();
        let mut fits = true;
        self.look(now, scopes, &mut parts, |account, spec| {
            fits &= account.room(spec).is_some_and(|room| amount <= room);
        });
        if fits {
            return Ok(Room { parts, amount });
        }
        let refusal = self.refusal(&parts, amount);
        self.reservations.give_back(parts);
        match refusal {
            Some(refusal) => Err(refusal),
            None => Ok(Room { parts: self.reservations.parts(), amount }),
        }
    }

    /// The gravest of the accounts that have no room.
    fn refusal(&mut self, parts: &[Part], amount: NanoUsd) -> Option<(AccountId, NoRoom)> {
        let mut available = NanoUsd::MAX;
        let mut worst: Option<(AccountId, NoRoom)> = None;
        for part in parts {
            let Some(no_room) = self.describe(part.account, amount) else { continue };
            available = available.min(no_room.available);
            let Some((account, spec)) = self.accounts.get_mut(part.account) else { continue };
            if account.room(spec).is_some_and(|room| amount <= room) {
                continue;
            }
            if worst.as_ref().is_none_or(|(_, worst)| no_room.gravity() > worst.gravity()) {
                worst = Some((part.account, no_room));
            }
        }
        worst.map(|(id, no_room)| (id, NoRoom { available, ..no_room }))
    }

    /// What a refusal by this account says.
    pub(crate) fn describe(&mut self, id: AccountId, requested: NanoUsd) -> Option<NoRoom> {
        let (account, spec) = self.accounts.get_mut(id)?;
        Some(NoRoom {
            scope: account.scope.clone(),
            window: spec.window,
            limit: spec.limit,
            spent: account.spent(),
            reserved: account.sums().reserved,
            requested,
            available: account.room(spec).unwrap_or_default(),
            when: account.when(spec, requested),
            on_exhausted: spec.on_exhausted,
        })
    }

    /// Takes the room that was found; the second half of a reservation.
    pub(crate) fn take(&mut self, room: Room) -> ReservationId {
        let Room { mut parts, amount } = room;
        for part in &mut parts {
            if let Some((account, spec)) = self.accounts.get_mut(part.account) {
                part.start = account.hold(spec, self.seen, amount);
            }
        }
        self.reservations.open(amount, parts)
    }

    /// Leaves the room that was found.
    pub(crate) fn leave(&mut self, room: Room) {
        self.reservations.give_back(room.parts);
    }

    /// Charges `actual`, and `presumed` for what nobody knows, in the windows of the reservation.
    ///
    /// `None`, and nothing changed, where the reservation was resolved before.
    pub fn settle(
        &mut self,
        now: Timestamp,
        id: ReservationId,
        actual: NanoUsd,
        presumed: NanoUsd,
    ) -> Option<Settlement> {
        let now = self.see(now);
        let (reserved, parts) = self.reservations.close(id)?;
        let charge = Charge { reserved, spent: actual, presumed };
        let mut settlement = Settlement::default();
        for part in &parts {
            let Some((account, spec)) = self.accounts.get_mut(part.account) else { continue };
            account.turn(spec, now);
            account.settle(spec, part.start, charge, &mut settlement);
            if account.forgotten && !account.is_held() {
                let scope = account.scope.clone();
                self.accounts.forget(&scope);
            }
        }
        self.reservations.give_back(parts);
        Some(settlement)
    }

    /// Charges the whole reservation, marked as presumed: nobody knows what it cost.
    ///
    /// `None`, and nothing changed, where the reservation was resolved before.
    pub fn presume(&mut self, now: Timestamp, id: ReservationId) -> Option<Settlement> {
        let reserved = self.amount(id)?;
        self.settle(now, id, NanoUsd::ZERO, reserved)
    }

    /// Gives the money back. `false`, and nothing changed, where it was resolved before.
    pub fn release(&mut self, now: Timestamp, id: ReservationId) -> bool {
        self.settle(now, id, NanoUsd::ZERO, NanoUsd::ZERO).is_some()
    }

    /// Parts `amount` from a reservation into one of its own, in the same windows.
    ///
    /// `None`, and nothing changed, where there is less in it or it was resolved before.
    pub fn split(&mut self, id: ReservationId, amount: NanoUsd) -> Option<ReservationId> {
        let (parted, parts) = self.reservations.split(id, amount)?;
        for part in parts {
            if let Some((account, _)) = self.accounts.get_mut(part.account) {
                account.split(part.start);
            }
        }
        Some(parted)
    }

    /// What a reservation holds; `None` where it was resolved.
    pub fn amount(&self, id: ReservationId) -> Option<NanoUsd> {
        self.reservations.amount(id)
    }

    /// Reservations that are not resolved.
    pub fn in_flight(&self) -> usize {
        self.reservations.len()
    }

    /// The account in which reservation `id` holds money.
    pub(crate) fn accounts_of(&self, id: ReservationId) -> impl Iterator<Item = AccountId> {
        self.reservations.parts_of(id).iter().map(|part| part.account)
    }

    /// The accounts of `scopes`.
    pub(crate) fn accounts(&mut self, now: Timestamp, scopes: &[Scope]) -> Vec<AccountId> {
        let mut parts = Vec::new();
        let now = self.see(now);
        self.find(now, scopes, &mut parts);
        parts.into_iter().map(|part| part.account).collect()
    }

    /// When money next leaves the account's window by itself.
    pub(crate) fn turns_at(&mut self, id: AccountId) -> Timestamp {
        self.accounts.get_mut(id).map_or(Timestamp::NEVER, |(account, _)| account.turns_at())
    }

    /// Drops what is known of a scope that has ended, such as a task, as soon as nothing is
    /// reserved in it. A scope that the fleet names is kept.
    pub fn forget(&mut self, scope: &Scope) {
        self.accounts.forget(scope);
    }

    /// All budgets as they stand, in the order of their scopes; those for each of a kind only
    /// where there is something in them.
    pub fn balances(&mut self, now: Timestamp) -> Vec<Balance> {
        let ids = self.accounts.ids();
        self.balances_of(now, ids)
    }

    /// Those of the scopes that the budgets name, without those of each `x:*`.
    pub fn named_balances(&mut self, now: Timestamp) -> Vec<Balance> {
        let ids = self.accounts.named();
        self.balances_of(now, ids)
    }

    /// Those of `scopes`.
    pub fn balances_in(&mut self, now: Timestamp, scopes: &[Scope]) -> Vec<Balance> {
        let ids = self.accounts(now, scopes);
        self.balances_of(now, ids)
    }

    fn balances_of(&mut self, now: Timestamp, ids: Vec<AccountId>) -> Vec<Balance> {
        let now = self.see(now);
        let mut balances = Vec::new();
        for id in ids {
            let Some((account, spec)) = self.accounts.get_mut(id) else { continue };
            account.turn(spec, now);
            if account.is_blank() && matches!(spec.scope, ScopePattern::Each(_)) {
                continue;
            }
            let sums = account.sums();
            balances.push(Balance {
                scope: account.scope.clone(),
                window: spec.window,
                limit: spec.limit,
                spent: sums.spent,
                presumed: sums.presumed,
                reserved: sums.reserved,
            });
        }
        balances
    }

    /// The accounts of `scopes`, each once, turned to `now`.
    fn find(&mut self, now: Timestamp, scopes: &[Scope], parts: &mut Vec<Part>) {
        self.look(now, scopes, parts, |_, _| {});
    }

    /// The same, and calls `look` with each.
    fn look(
        &mut self,
        now: Timestamp,
        scopes: &(impl Scopes + ?Sized),
        parts: &mut Vec<Part>,
        mut look: impl FnMut(&Account, &BudgetSpec),
    ) {
        scopes.each(|kind, name| {
            self.accounts.find(kind, name, |account| {
                if parts.iter().all(|part| part.account != account) {
                    parts.push(Part { account, start: now });
                }
            });
        });
        for part in parts {
            if let Some((account, spec)) = self.accounts.get_mut(part.account) {
                account.turn(spec, now);
                look(account, spec);
            }
        }
    }

    fn see(&mut self, now: Timestamp) -> Timestamp {
        self.seen = self.seen.max(now);
        self.seen
    }
}

/// Room found for an amount, good until the ledger changes: to be taken or left at once.
#[derive(Debug)]
pub(crate) struct Room {
    parts: Vec<Part>,
    amount: NanoUsd,
}

impl Room {
    /// The accounts that it is in.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = AccountId> {
        self.parts.iter().map(|part| part.account)
    }
}
