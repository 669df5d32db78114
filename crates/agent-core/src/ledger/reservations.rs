//! The open reservations, in slots that are used again so that reserving allocates nothing.

use super::AccountId;
use crate::clock::Timestamp;
use crate::money::NanoUsd;

/// Names a reservation; never used again in the life of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReservationId {
    slot: u32,
    /// How often the slot had been used before.
    generation: u32,
}

/// The share of a reservation in one account; all shares are of the whole amount.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) account: AccountId,
    /// The start of the span in which it was reserved.
    pub(super) start: Timestamp,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    /// `None` where the slot is free.
    amount: Option<NanoUsd>,
    parts: Vec<Part>,
}

#[derive(Debug, Default)]
pub(super) struct Reservations {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Emptied lists of parts, to be used again.
    spare: Vec<Vec<Part>>,
}

impl Reservations {
    /// An empty list of parts.
    pub(super) fn parts(&mut self) -> Vec<Part> {
        self.spare.pop().unwrap_or_default()
    }

    pub(super) fn give_back(&mut self, mut parts: Vec<Part>) {
        parts.clear();
        self.spare.push(parts);
    }

    pub(super) fn open(&mut self, amount: NanoUsd, parts: Vec<Part>) -> ReservationId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let held = &mut self.slots[slot as usize];
        held.amount = Some(amount);
        held.parts = parts;
        ReservationId { slot, generation: held.generation }
    }

    /// Ends a reservation; `None` where it has ended.
    pub(super) fn close(&mut self, id: ReservationId) -> Option<(NanoUsd, Vec<Part>)> {
        let held = self.slots.get_mut(id.slot as usize)?;
        if held.generation != id.generation {
            return None;
        }
        let amount = held.amount.take()?;
        let parts = std::mem::take(&mut held.parts);
        // A slot whose generations are used up is not used again.
        if let Some(generation) = held.generation.checked_add(1) {
            held.generation = generation;
            self.free.push(id.slot);
        }
        Some((amount, parts))
    }

    pub(super) fn split(
        &mut self,
        id: ReservationId,
        amount: NanoUsd,
    ) -> Option<(ReservationId, &[Part])> {
        let rest = self.amount(id)?;
        if amount > rest {
            return None;
        }
        let mut parts = self.parts();
        parts.extend_from_slice(self.parts_of(id));
        self.slots[id.slot as usize].amount = Some(rest.saturating_sub(amount));
        let parted = self.open(amount, parts);
        Some((parted, self.parts_of(parted)))
    }

    fn held(&self, id: ReservationId) -> Option<&Slot> {
        let held = self.slots.get(id.slot as usize)?;
        (held.generation == id.generation).then_some(held)
    }

    pub(super) fn amount(&self, id: ReservationId) -> Option<NanoUsd> {
        self.held(id)?.amount
    }

    pub(super) fn parts_of(&self, id: ReservationId) -> &[Part] {
        self.held(id).map_or(&[], |held| &held.parts)
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}
