//! What was taken from a provider's limits in the last 60 s, exactly.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::Timestamp;

/// Requests, input tokens and output tokens, in this order.
pub(super) type Amount = [u64; 3];

/// The length of a provider's window.
pub(super) const LENGTH: Duration = Duration::from_secs(60);
/// The most by which a provider is taken to see a request later than it was granted.
const LAG: Duration = Duration::from_secs(1);

/// A sliding log. An entry counts for 60 s after its attempt ended, or after 1 s more than the
/// grant where that is earlier: by then the provider's own window has let it go as well.
#[derive(Debug, Default)]
pub(super) struct Window {
    entries: BTreeMap<u64, (Timestamp, Amount)>,
    expiry: BTreeSet<(Timestamp, u64)>,
    used: Amount,
}

impl Window {
    pub(super) fn take(&mut self, id: u64, now: Timestamp, amount: Amount) {
        self.insert(id, now + LAG + LENGTH, amount);
    }

    fn insert(&mut self, id: u64, until: Timestamp, amount: Amount) {
        self.entries.insert(id, (until, amount));
        self.expiry.insert((until, id));
        for (used, more) in self.used.iter_mut().zip(amount) {
            *used = used.saturating_add(more);
        }
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<(Timestamp, Amount)> {
        let (until, amount) = self.entries.remove(&id)?;
        self.expiry.remove(&(until, id));
        for (used, less) in self.used.iter_mut().zip(amount) {
            *used = used.saturating_sub(less);
        }
        Some((until, amount))
    }

    /// The attempt has ended: its entry counts for 60 s more at most.
    pub(super) fn end(&mut self, id: u64, now: Timestamp) {
        if let Some((until, amount)) = self.remove(id) {
            self.insert(id, until.min(now + LENGTH), amount);
        }
    }

    /// Puts the true tokens in place of the estimate. What exceeds the estimate counts from `now`
    /// under `excess_id`, since the provider may book it only at the end.
    pub(super) fn correct(
        &mut self,
        (id, booked): (u64, Amount),
        excess_id: u64,
        now: Timestamp,
        truth: Amount,
    ) {
        let until = self.remove(id).map_or(now, |(until, _)| until);
        let mut kept = booked;
        let mut excess = [0; 3];
        for at in 1..3 {
            kept[at] = booked[at].min(truth[at]);
            excess[at] = truth[at].saturating_sub(kept[at]);
        }
        if until > now {
            self.insert(id, until, kept);
        }
        if excess != [0; 3] {
            self.insert(excess_id, now + LENGTH, excess);
        }
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        while let Some(&(until, id)) = self.expiry.first()
            && until <= now
        {
            self.remove(id);
        }
    }

    pub(super) fn used(&self) -> Amount {
        self.used
    }

    pub(super) fn next_expiry(&self) -> Timestamp {
        self.expiry.first().map_or(Timestamp::NEVER, |&(until, _)| until)
    }
}
