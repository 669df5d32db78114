//! The ledger, and who waits for money in flight: first come first served behind each budget.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_core::clock::Timestamp;
use agent_core::ledger::{BudgetSpec, Ledger, OnExhausted, ReservationId, Scope, When};
use agent_core::money::NanoUsd;

#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) task: u64,
    pub(super) scopes: Arc<[Scope]>,
    pub(super) amount: NanoUsd,
}

#[derive(Debug)]
pub(super) enum Paid {
    Held(ReservationId),
    /// Under this number.
    Waits(u64),
    Refused,
}

enum Verdict {
    Room(ReservationId),
    Behind(Scope),
    Refused,
}

#[derive(Debug)]
pub(super) struct Till {
    ledger: Ledger,
    lines: BTreeMap<Scope, BTreeMap<u64, Wish>>,
    /// What is set aside for those whose turn has come.
    called: BTreeMap<u64, ReservationId>,
    next: u64,
}

impl Till {
    pub(super) fn new(budgets: Vec<BudgetSpec>) -> Till {
        let ledger = Ledger::new(budgets);
        Till { ledger, lines: BTreeMap::new(), called: BTreeMap::new(), next: 0 }
    }

    pub(super) fn reserve(&mut self, now: Timestamp, wish: Wish, ticket: Option<u64>) -> Paid {
        if let Some(held) = ticket.and_then(|number| self.called.remove(&number)) {
            return Paid::Held(held);
        }
        assert!(ticket.is_none(), "who comes with a ticket was called");
        match self.decide(now, &wish, u64::MAX) {
            Verdict::Room(id) => Paid::Held(id),
            Verdict::Refused => Paid::Refused,
            Verdict::Behind(scope) => {
                let number = self.next;
                self.next += 1;
                self.lines.entry(scope).or_default().insert(number, wish);
                Paid::Waits(number)
            }
        }
    }

    fn decide(&mut self, now: Timestamp, wish: &Wish, number: u64) -> Verdict {
        let no_room = match self.ledger.reserve(now, &wish.scopes, wish.amount) {
            Err(no_room) => no_room,
            Ok(id) => {
                let ahead = |scope: &&Scope| {
                    let first = self.lines.get(*scope).and_then(BTreeMap::first_key_value);
                    first.is_some_and(|(first, _)| *first < number)
                };
                let Some(scope) = wish.scopes.iter().find(ahead) else { return Verdict::Room(id) };
                self.ledger.release(now, id);
                return Verdict::Behind(scope.clone());
            }
        };
        match no_room.when {
            When::InFlight => Verdict::Behind(no_room.scope),
            When::Turns(_) if no_room.on_exhausted == OnExhausted::Wait => {
                panic!("money that waits for its window is left out")
            }
            When::Turns(_) | When::Never => Verdict::Refused,
        }
    }

    /// Charges a reservation. Who has waited and whether it may go on, in their order.
    pub(super) fn settle(
        &mut self,
        now: Timestamp,
        id: ReservationId,
        scopes: &[Scope],
        (actual, presumed): (NanoUsd, NanoUsd),
    ) -> Vec<(u64, bool)> {
        self.ledger.settle(now, id, actual, presumed);
        let mut told = Vec::new();
        for scope in scopes {
            self.serve(now, scope, &mut told);
        }
        told
    }

    fn serve(&mut self, now: Timestamp, scope: &Scope, told: &mut Vec<(u64, bool)>) {
        while let Some((number, wish)) = self.first(scope) {
            let verdict = self.decide(now, &wish, number);
            if matches!(&verdict, Verdict::Behind(other) if other == scope) {
                return;
            }
            self.leave(scope, number);
            match verdict {
                Verdict::Room(id) => {
                    self.called.insert(number, id);
                    told.push((wish.task, true));
                }
                Verdict::Refused => told.push((wish.task, false)),
                Verdict::Behind(other) => {
                    self.lines.entry(other).or_default().insert(number, wish);
                }
            }
        }
    }

    fn first(&self, scope: &Scope) -> Option<(u64, Wish)> {
        let (number, wish) = self.lines.get(scope)?.first_key_value()?;
        Some((*number, wish.clone()))
    }

    fn leave(&mut self, scope: &Scope, number: u64) {
        if let Some(line) = self.lines.get_mut(scope) {
            line.remove(&number);
        }
        self.lines.retain(|_, line| !line.is_empty());
    }
}
