//! Who waits for money, and in what order: first come first served in each budget that has none.
//!
//! A call waits behind *one* budget, one that lacks room for it. A call with a later number that
//! needs that budget waits behind it too, however small it is; calls that need only other budgets
//! pass. Whenever money comes back to a budget, or its window turns, the first behind it is tried:
//! it gets its money, moves behind another budget that it lacks, or stays, and holds up the rest.
//! A call that lacks only money that leaves with a window waits apart and holds up nobody until
//! then.
//!
//! Money for a call whose turn has come is set aside until it asks again, or its deadline.

#[cfg(test)]
mod check;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::clock::Timestamp;
use crate::ledger::{AccountId, Ledger, NoRoom, ReservationId, Scope, When};
use crate::money::NanoUsd;

/// What a call asks for.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) scopes: Arc<[Scope]>,
    pub(super) amount: NanoUsd,
    /// It is not to wait longer.
    pub(super) deadline: Timestamp,
}

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Answer {
    Granted(ReservationId),
    /// It waits under this number.
    Waits(u64, NoRoom),
    Refused(NoRoom),
}

/// That the turn of a waiting caller has come, or why it never will.
pub(super) type Turn = Result<(), NoRoom>;

type Reply = oneshot::Sender<Turn>;

#[derive(Debug)]
struct Waiter {
    request: Request,
    place: Place,
    /// Why it waits.
    lacks: NoRoom,
    reply: Option<Reply>,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    /// Behind the budget that it lacks.
    Behind(AccountId),
    /// Until a window turns.
    Until(Timestamp),
    /// Its turn has come.
    Called(ReservationId),
    /// Its turn will not come; kept until it asks.
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    /// The window of a budget that is waited for turns.
    Turn(AccountId),
    /// The window that this waiter waits for turns.
    Retry(u64),
    Deadline(u64),
}

#[derive(Debug)]
struct Line {
    waiting: BTreeSet<u64>,
    turns_at: Timestamp,
}

#[derive(Debug)]
pub(super) struct Queue {
    next: u64,
    limit: usize,
    waiters: BTreeMap<u64, Waiter>,
    lines: BTreeMap<AccountId, Line>,
    alarms: BTreeSet<(Timestamp, Alarm)>,
    /// Refusals that were told to waiters, to be noticed.
    refusals: Vec<NoRoom>,
}

impl Queue {
    pub(super) fn new(limit: usize) -> Queue {
        let (waiters, lines, alarms) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Queue { next: 0, limit, waiters, lines, alarms, refusals: Vec::new() }
    }

    /// An empty queue of the same size, whose numbers begin with `first`.
    pub(super) fn anew(&self, first: u64) -> Queue {
        Queue { next: first, ..Queue::new(self.limit) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Whether nobody waits behind a budget, so that money that comes back interests nobody.
    pub(super) fn has_no_lines(&self) -> bool {
        self.lines.is_empty()
    }

    /// When [`Queue::ring`] is next due.
    pub(super) fn next_alarm(&self) -> Option<Timestamp> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// What waiters were refused since this was last asked.
    pub(super) fn take_refusals(&mut self) -> Vec<NoRoom> {
        std::mem::take(&mut self.refusals)
    }

    /// Grants the request, or queues it; `number` is its own where it has waited.
    pub(super) fn reserve(
        &mut self,
        ledger: &mut Ledger,
        now: Timestamp,
        request: Request,
        number: Option<u64>,
    ) -> Answer {
        let mut freed = Vec::new();
        if let Some(number) = number {
            if let Some(held) = self.collect(number, &request) {
                return Answer::Granted(held);
            }
            freed = self.remove(ledger, now, number);
        }
        let verdict = self.decide(ledger, now, &request, number.unwrap_or(u64::MAX));
        let answer = match verdict {
            Verdict::Room(id) => Answer::Granted(id),
            Verdict::Refused(no_room) => Answer::Refused(no_room),
            Verdict::Waits(_, no_room) if self.waiters.len() >= self.limit => {
                Answer::Refused(no_room)
            }
            Verdict::Waits(place, no_room) => {
                let number = number.unwrap_or(self.next);
                self.next = self.next.max(number + 1);
                let waiter = Waiter { request, place, lacks: no_room.clone(), reply: None };
                self.stand(ledger, number, waiter);
                Answer::Waits(number, no_room)
            }
        };
        self.serve_all(ledger, now, freed);
        answer
    }

    /// Hands over what was set aside for a waiter whose turn has come, if it is what it asks for.
    fn collect(&mut self, number: u64, request: &Request) -> Option<ReservationId> {
        let waiter = self.waiters.get(&number)?;
        let Place::Called(id) = waiter.place else { return None };
        let same =
            waiter.request.amount == request.amount && waiter.request.scopes == request.scopes;
        if !same {
            return None;
        }
        self.alarms.remove(&(waiter.request.deadline, Alarm::Deadline(number)));
        self.waiters.remove(&number);
        Some(id)
    }

    /// Tells `reply` when the turn of waiter `number` has come, which is not to be after
    /// `deadline`.
    pub(super) fn wait(&mut self, number: u64, deadline: Timestamp, reply: Reply) {
        // A reply that is dropped tells the caller that nothing is known of its number.
        let Some(waiter) = self.waiters.get_mut(&number) else { return };
        self.alarms.remove(&(waiter.request.deadline, Alarm::Deadline(number)));
        waiter.request.deadline = deadline;
        if deadline < Timestamp::NEVER {
            self.alarms.insert((deadline, Alarm::Deadline(number)));
        }
        waiter.reply = Some(reply);
        self.answer(number);
    }

    /// Answers a waiter that listens and whose fate is decided.
    fn answer(&mut self, number: u64) {
        let Some(waiter) = self.waiters.get_mut(&number) else { return };
        let told = match waiter.place {
            Place::Behind(_) | Place::Until(_) => return,
            Place::Called(_) => Ok(()),
            Place::Refused => Err(waiter.lacks.clone()),
        };
        let Some(reply) = waiter.reply.take() else { return };
        if let Err(no_room) = &told {
            self.refusals.push(no_room.clone());
            self.alarms.remove(&(waiter.request.deadline, Alarm::Deadline(number)));
            self.waiters.remove(&number);
        }
        // A caller that has gone drops its ticket, which leaves the queue.
        let _ = reply.send(told);
    }

    /// Takes a waiter out whose ticket was dropped.
    pub(super) fn leave(&mut self, ledger: &mut Ledger, now: Timestamp, number: u64) {
        let freed = self.remove(ledger, now, number);
        self.serve_all(ledger, now, freed);
    }

    /// Takes a waiter out; the budgets in which others may have got room by that.
    fn remove(&mut self, ledger: &mut Ledger, now: Timestamp, number: u64) -> Vec<AccountId> {
        let freed = self.unplace(ledger, now, number);
        if let Some(waiter) = self.waiters.remove(&number) {
            self.alarms.remove(&(waiter.request.deadline, Alarm::Deadline(number)));
        }
        freed
    }

    /// Takes a waiter from its place, which becomes [`Place::Refused`].
    fn unplace(&mut self, ledger: &mut Ledger, now: Timestamp, number: u64) -> Vec<AccountId> {
        let Some(waiter) = self.waiters.get_mut(&number) else { return Vec::new() };
        match std::mem::replace(&mut waiter.place, Place::Refused) {
            Place::Refused => Vec::new(),
            Place::Until(at) => {
                self.alarms.remove(&(at, Alarm::Retry(number)));
                Vec::new()
            }
            Place::Called(id) => {
                let freed = ledger.accounts_of(id).collect();
                ledger.release(now, id);
                freed
            }
            Place::Behind(account) => {
                if let Some(line) = self.lines.get_mut(&account) {
                    line.waiting.remove(&number);
                    if line.waiting.is_empty() {
                        self.alarms.remove(&(line.turns_at, Alarm::Turn(account)));
                        self.lines.remove(&account);
                    }
                }
                vec![account]
            }
        }
    }

    /// Puts a waiter into its place.
    fn stand(&mut self, ledger: &mut Ledger, number: u64, waiter: Waiter) {
        match waiter.place {
            Place::Behind(account) => {
                let line = self.lines.entry(account).or_insert_with(|| Line {
                    waiting: BTreeSet::new(),
                    turns_at: Timestamp::NEVER,
                });
                line.waiting.insert(number);
                // A turn that is due is left for its alarm: the ledger may have turned already.
                if line.turns_at == Timestamp::NEVER {
                    self.watch(ledger, account);
                }
            }
            Place::Until(at) => {
                self.alarms.insert((at, Alarm::Retry(number)));
            }
            Place::Called(_) | Place::Refused => {}
        }
        if waiter.request.deadline < Timestamp::NEVER {
            self.alarms.insert((waiter.request.deadline, Alarm::Deadline(number)));
        }
        self.waiters.insert(number, waiter);
    }

    /// Sets the alarm for the moment at which the window of a budget turns that is waited for.
    fn watch(&mut self, ledger: &mut Ledger, account: AccountId) {
        let Some(line) = self.lines.get_mut(&account) else { return };
        let turns_at = ledger.turns_at(account);
        if turns_at != line.turns_at {
            self.alarms.remove(&(line.turns_at, Alarm::Turn(account)));
            line.turns_at = turns_at;
        }
        if turns_at < Timestamp::NEVER {
            self.alarms.insert((turns_at, Alarm::Turn(account)));
        }
    }

    fn decide(
        &self,
        ledger: &mut Ledger,
        now: Timestamp,
        request: &Request,
        number: u64,
    ) -> Verdict {
        let (account, no_room) = match ledger.room(now, &*request.scopes, request.amount) {
            Ok(room) => {
                let ahead = |account: &AccountId| {
                    let line = self.lines.get(account);
                    line.and_then(|l| l.waiting.first()).is_some_and(|first| *first < number)
                };
                // Nothing is copied where nobody waits: that is nearly always.
                let ahead = if self.lines.is_empty() { None } else { room.accounts().find(ahead) };
                let described = ahead.and_then(|a| Some((a, ledger.describe(a, request.amount)?)));
                let Some(behind) = described else { return Verdict::Room(ledger.take(room)) };
                ledger.leave(room);
                behind
            }
            Err(no_room) => no_room,
        };
        let place = match (no_room.when, no_room.wait_until()) {
            (When::InFlight, _) if now < request.deadline => Place::Behind(account),
            (When::Turns(_), Some(at)) if at <= request.deadline => Place::Until(at),
            _ => return Verdict::Refused(no_room),
        };
        Verdict::Waits(place, no_room)
    }

    /// Tries a waiter again; `false` where it stays in its place.
    fn retry(&mut self, ledger: &mut Ledger, now: Timestamp, number: u64) -> bool {
        let Some(waiter) = self.waiters.get(&number) else { return true };
        let verdict = self.decide(ledger, now, &waiter.request, number);
        match (&verdict, waiter.place) {
            (Verdict::Waits(Place::Behind(new), _), Place::Behind(old)) if *new == old => {
                return false;
            }
            _ => {}
        }
        self.unplace(ledger, now, number);
        let Some(mut waiter) = self.waiters.remove(&number) else { return true };
        waiter.place = match verdict {
            Verdict::Room(id) => Place::Called(id),
            Verdict::Waits(place, no_room) => {
                waiter.lacks = no_room;
                place
            }
            Verdict::Refused(no_room) => {
                waiter.lacks = no_room;
                Place::Refused
            }
        };
        self.stand(ledger, number, waiter);
        self.answer(number);
        true
    }

    /// Tries those who wait behind a budget in which there may be room, the first first.
    pub(super) fn serve(&mut self, ledger: &mut Ledger, now: Timestamp, account: AccountId) {
        while let Some(&first) = self.lines.get(&account).and_then(|line| line.waiting.first()) {
            if !self.retry(ledger, now, first) {
                break;
            }
        }
        self.watch(ledger, account);
    }

    pub(super) fn serve_all(
        &mut self,
        ledger: &mut Ledger,
        now: Timestamp,
        accounts: Vec<AccountId>,
    ) {
        for account in accounts {
            self.serve(ledger, now, account);
        }
    }

    /// Does what is due by `now`: windows that turned, then deadlines, in the order of time.
    pub(super) fn ring(&mut self, ledger: &mut Ledger, now: Timestamp) {
        while let Some(&(at, alarm)) = self.alarms.first() {
            if at > now {
                break;
            }
            self.alarms.pop_first();
            match alarm {
                Alarm::Turn(account) => self.serve(ledger, now, account),
                Alarm::Retry(number) => {
                    self.retry(ledger, now, number);
                }
                Alarm::Deadline(number) => {
                    let freed = self.unplace(ledger, now, number);
                    self.answer(number);
                    self.serve_all(ledger, now, freed);
                }
            }
        }
    }
}

/// What the ledger and the lines make of a request.
#[derive(Debug)]
enum Verdict {
    Room(ReservationId),
    Waits(Place, NoRoom),
    Refused(NoRoom),
}
