//! One budget of one scope: its sums, in the spans of its window.

use std::collections::VecDeque;

use super::{BudgetSpec, Overrun, Scope, Settlement, Threshold, When};
use crate::clock::Timestamp;
use crate::ledger::window::Span;
use crate::money::NanoUsd;

/// How a reservation ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Charge {
    /// What was reserved for it.
    pub(super) reserved: NanoUsd,
    pub(super) spent: NanoUsd,
    pub(super) presumed: NanoUsd,
}

impl Charge {
    /// By how much it is more than was reserved.
    fn excess(self) -> NanoUsd {
        self.spent.saturating_add(self.presumed).saturating_sub(self.reserved)
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    pub(super) spent: NanoUsd,
    pub(super) presumed: NanoUsd,
    pub(super) reserved: NanoUsd,
}

impl Sums {
    fn book(&mut self, charge: Charge) {
        self.reserved = self.reserved.saturating_sub(charge.reserved);
        self.spent = self.spent.saturating_add(charge.spent);
        self.presumed = self.presumed.saturating_add(charge.presumed);
    }

    fn add(&mut self, other: Sums) {
        self.spent = self.spent.saturating_add(other.spent);
        self.presumed = self.presumed.saturating_add(other.presumed);
        self.reserved = self.reserved.saturating_add(other.reserved);
    }

    /// Spent and presumed; wide, so that no sum of amounts overflows.
    fn settled(self) -> u128 {
        u128::from(self.spent.nanos()) + u128::from(self.presumed.nanos())
    }

    fn used(self) -> u128 {
        self.settled() + u128::from(self.reserved.nanos())
    }
}

#[derive(Debug)]
struct Bucket {
    span: Span,
    sums: Sums,
    /// Reservations in it that are not resolved, those of nothing too.
    holds: u32,
}

#[derive(Debug)]
pub(super) struct Account {
    /// Which budget.
    pub(super) spec: usize,
    pub(super) scope: Scope,
    /// To be dropped as soon as nothing is reserved.
    pub(super) forgotten: bool,
    /// The spans in the window, oldest first.
    open: VecDeque<Bucket>,
    /// Spans that left the window with money in flight.
    closed: Vec<Bucket>,
    /// The sums of `open`.
    sums: Sums,
    /// How many of the thresholds, from the lowest, were raised in this window.
    raised: usize,
}

impl Account {
    pub(super) fn new(spec: usize, scope: Scope) -> Account {
        Account {
            spec,
            scope,
            forgotten: false,
            open: VecDeque::new(),
            closed: Vec::new(),
            sums: Sums::default(),
            raised: 0,
        }
    }

    pub(super) fn sums(&self) -> Sums {
        self.sums
    }

    /// Whether a reservation in it is not resolved.
    pub(super) fn is_held(&self) -> bool {
        !self.closed.is_empty() || self.open.iter().any(|bucket| bucket.holds > 0)
    }

    /// Whether nothing is known of it that a new account would not know.
    pub(super) fn is_blank(&self) -> bool {
        self.sums.used() == 0 && !self.is_held()
    }

    /// Lets go of what has left the window by `now`.
    pub(super) fn turn(&mut self, spec: &BudgetSpec, now: Timestamp) {
        if self.turns_at() > now {
            return;
        }
        while self.turns_at() <= now {
            match self.open.pop_front() {
                Some(bucket) if bucket.holds > 0 => self.closed.push(bucket),
                Some(_) => {}
                None => break,
            }
        }
        self.sums = Sums::default();
        for bucket in &self.open {
            self.sums.add(bucket.sums);
        }
        self.raised = self.raised.min(self.crossed(spec));
    }

    /// When money next leaves the window by itself.
    pub(super) fn turns_at(&self) -> Timestamp {
        self.open.front().map_or(Timestamp::NEVER, |bucket| bucket.span.leaves)
    }

    /// What can be reserved now; `None` where even nothing cannot, after an overrun.
    pub(super) fn room(&self, spec: &BudgetSpec) -> Option<NanoUsd> {
        let room = u128::from(spec.limit.nanos()).checked_sub(self.sums.used())?;
        u64::try_from(room).ok().map(NanoUsd::from_nanos)
    }

    /// When there may be room for `amount`, if there is none now.
    pub(super) fn when(&self, spec: &BudgetSpec, amount: NanoUsd) -> When {
        let limit = u128::from(spec.limit.nanos());
        let mut needed = self.sums.settled() + u128::from(amount.nanos());
        if needed <= limit {
            return When::InFlight;
        }
        for bucket in &self.open {
            needed = needed.saturating_sub(bucket.sums.settled());
            if needed <= limit && bucket.span.leaves < Timestamp::NEVER {
                return When::Turns(bucket.span.leaves);
            }
        }
        When::Never
    }

    /// Reserves `amount` in the span of `now`, and returns where that starts.
    pub(super) fn hold(&mut self, spec: &BudgetSpec, now: Timestamp, amount: NanoUsd) -> Timestamp {
        self.forgotten = false;
        self.sums.reserved = self.sums.reserved.saturating_add(amount);
        let bucket = self.bucket_at(spec, now);
        bucket.sums.reserved = bucket.sums.reserved.saturating_add(amount);
        bucket.holds += 1;
        bucket.span.start
    }

    /// Books what was charged before this ledger began, unless its window is over.
    ///
    /// The thresholds that it crosses were raised then, and are not raised again.
    pub(super) fn restore(&mut self, spec: &BudgetSpec, at: Timestamp, now: Timestamp, past: Sums) {
        if spec.window.span(at).leaves <= now {
            return;
        }
        self.bucket_at(spec, at).sums.add(past);
        self.sums.add(past);
        self.raised = self.raised.max(self.crossed(spec));
    }

    fn bucket_at(&mut self, spec: &BudgetSpec, at: Timestamp) -> &mut Bucket {
        let in_newest = |bucket: &Bucket| bucket.span.start <= at && at < bucket.span.until;
        let place = match self.open.back() {
            Some(newest) if in_newest(newest) => self.open.len() - 1,
            _ => {
                let span = spec.window.span(at);
                match self.open.binary_search_by_key(&span.start, |bucket| bucket.span.start) {
                    Ok(place) => place,
                    Err(place) => {
                        let bucket = Bucket { span, sums: Sums::default(), holds: 0 };
                        // Most windows are one span.
                        self.open.reserve_exact(usize::from(self.open.is_empty()));
                        self.open.insert(place, bucket);
                        place
                    }
                }
            }
        };
        &mut self.open[place]
    }

    /// Parts the reservation in the span at `start` in two; the sums stay as they are.
    pub(super) fn split(&mut self, start: Timestamp) {
        if let Some(bucket) =
            self.open.iter_mut().chain(&mut self.closed).find(|bucket| bucket.span.start == start)
        {
            bucket.holds += 1;
        }
    }

    /// Resolves a reservation in the span at `start`; whether that span is still in the window.
    fn book(&mut self, start: Timestamp, charge: Charge) -> bool {
        let open = match self.open.back() {
            Some(newest) if newest.span.start == start => Some(self.open.len() - 1),
            _ => self.open.binary_search_by_key(&start, |bucket| bucket.span.start).ok(),
        };
        if let Some(place) = open {
            let bucket = &mut self.open[place];
            bucket.sums.book(charge);
            bucket.holds = bucket.holds.saturating_sub(1);
            self.sums.book(charge);
            return true;
        }
        if let Some(place) = self.closed.iter().position(|bucket| bucket.span.start == start) {
            let bucket = &mut self.closed[place];
            bucket.sums.book(charge);
            bucket.holds = bucket.holds.saturating_sub(1);
            if bucket.holds == 0 {
                self.closed.swap_remove(place);
            }
        }
        false
    }

    /// Resolves a reservation in the span at `start`, and tells what that crosses.
    pub(super) fn settle(
        &mut self,
        spec: &BudgetSpec,
        start: Timestamp,
        charge: Charge,
        tell: &mut Settlement,
    ) {
        let by = charge.excess();
        let in_window = self.book(start, charge);
        if !by.is_zero() {
            let overrun = Overrun {
                scope: self.scope.clone(),
                window: spec.window,
                limit: spec.limit,
                spent: self.spent(),
                by,
            };
            tell.overruns.push(overrun);
        }
        if !in_window {
            return;
        }
        while let Some(&percent) = spec.thresholds.get(self.raised) {
            if !self.is_crossed(spec, percent) {
                break;
            }
            self.raised += 1;
            tell.thresholds.push(Threshold {
                scope: self.scope.clone(),
                window: spec.window,
                percent,
                limit: spec.limit,
                spent: self.spent(),
                reserved: self.sums.reserved,
            });
        }
    }

    /// Spent, with what is presumed to be.
    pub(super) fn spent(&self) -> NanoUsd {
        self.sums.spent.saturating_add(self.sums.presumed)
    }

    fn is_crossed(&self, spec: &BudgetSpec, percent: u8) -> bool {
        let settled = self.sums.settled();
        settled > 0 && settled * 100 >= u128::from(spec.limit.nanos()) * u128::from(percent)
    }

    fn crossed(&self, spec: &BudgetSpec) -> usize {
        spec.thresholds.partition_point(|&percent| self.is_crossed(spec, percent))
    }
}
