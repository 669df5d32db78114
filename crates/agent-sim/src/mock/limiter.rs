//! The limits of every key and model: what is admitted, and what the headers say of it.

use std::collections::BTreeMap;
use std::time::Duration;

use agent_core::clock::Timestamp;
use agent_core::pricing::Catalogue;

use super::Limits;
use super::quota::Quota;

/// Keys and models beyond this many are forgotten once nothing is taken from their limits.
const KEPT: usize = 4096;

/// What a request takes of each limit: requests, input tokens, output tokens.
pub(crate) type Amounts = [u64; 3];

/// The names of the limits, as the headers have them.
pub(crate) const NAMES: [&str; 3] = ["requests", "input-tokens", "output-tokens"];

/// The output tokens among [`Amounts`].
const OUTPUT: usize = 2;

/// How one limit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) limit: u64,
    pub(crate) remaining: u64,
    /// When all of it is there again.
    pub(crate) reset: Timestamp,
}

/// How each limit stands that is set.
pub(crate) type Standings = [Option<Standing>; 3];

/// Which limit has no room, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Of [`NAMES`].
    pub(crate) name: &'static str,
    pub(crate) limit: u64,
    pub(crate) wait: Duration,
}

/// Whether a request is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Admission {
    pub(crate) refusal: Option<Refusal>,
    /// How the limits stand after it.
    pub(crate) standings: Standings,
    /// When that was decided.
    pub(crate) at: Timestamp,
}

type Meter = [Option<Quota>; 3];

/// The limits of every key and model. Every method takes `now`, which never goes back.
#[derive(Debug)]
pub(crate) struct Limiter {
    limits: Limits,
    meters: BTreeMap<String, BTreeMap<String, Meter>>,
    count: usize,
    // How many meters there are before the idle ones are forgotten.
    prune_at: usize,
}

impl Limiter {
    pub(crate) fn new(limits: Limits) -> Limiter {
        Limiter { limits, meters: BTreeMap::new(), count: 0, prune_at: KEPT }
    }

    fn is_unlimited(&self) -> bool {
        let limits = &self.limits;
        limits.requests_per_minute.is_none()
            && limits.input_tokens_per_minute.is_none()
            && limits.output_tokens_per_minute.is_none()
    }

    /// Takes all of `amounts` or nothing, and tells how the limits stand then.
    pub(crate) fn admit(
        &mut self,
        key: &str,
        model: &str,
        amounts: Amounts,
        now: Timestamp,
    ) -> Admission {
        if self.is_unlimited() {
            return Admission { refusal: None, standings: Standings::default(), at: now };
        }
        let meter = self.meter(key, model, now);
        let waits = meter.iter_mut().zip(amounts).zip(NAMES).filter_map(|((quota, n), name)| {
            let quota = quota.as_mut()?;
            let wait = quota.wait(now, n);
            Some(Refusal { name, limit: quota.limit(), wait })
        });
        let longest = waits.max_by_key(|refusal| refusal.wait);
        let refusal = longest.filter(|refusal| !refusal.wait.is_zero());
        if refusal.is_none() {
            for (quota, amount) in meter.iter_mut().zip(amounts) {
                quota.iter_mut().for_each(|quota| quota.take(now, amount));
            }
        }
        let standing = |quota: &mut Quota| Standing {
            limit: quota.limit(),
            remaining: quota.remaining(now),
            reset: quota.full_at(now),
        };
        let standings = meter.each_mut().map(|quota| quota.as_mut().map(standing));
        Admission { refusal, standings, at: now }
    }

    /// Gives back output tokens of what was admitted at `at` and not used.
    pub(crate) fn give_back(&mut self, key: &str, model: &str, output_tokens: u64, at: Timestamp) {
        if self.is_unlimited() {
            return;
        }
        let model = one_name(model);
        let meter = self.meters.get_mut(key).and_then(|models| models.get_mut(&model));
        if let Some(quota) = meter.and_then(|meter| meter[OUTPUT].as_mut()) {
            quota.give_back(at, output_tokens);
        }
    }

    fn meter(&mut self, key: &str, model: &str, now: Timestamp) -> &mut Meter {
        let model = one_name(model);
        if !self.meters.get(key).is_some_and(|models| models.contains_key(&model)) {
            self.forget_idle(now);
            self.count += 1;
        }
        let Limits { requests_per_minute, input_tokens_per_minute, .. } = self.limits;
        let Limits { output_tokens_per_minute, enforcement, .. } = self.limits;
        let limits = [requests_per_minute, input_tokens_per_minute, output_tokens_per_minute];
        let models = self.meters.entry(key.to_owned()).or_default();
        models
            .entry(model)
            .or_insert_with(|| limits.map(|limit| Some(Quota::new(limit?.get(), enforcement))))
    }

    /// So that keys and models without end do not take memory without end.
    fn forget_idle(&mut self, now: Timestamp) {
        if self.count < self.prune_at {
            return;
        }
        let is_busy = |quota: &mut Option<Quota>| {
            quota.as_mut().is_some_and(|quota| quota.full_at(now) > now)
        };
        self.meters.retain(|_, models| {
            models.retain(|_, meter| meter.iter_mut().any(is_busy));
            !models.is_empty()
        });
        self.count = self.meters.values().map(BTreeMap::len).sum();
        self.prune_at = KEPT.max(self.count * 2);
    }
}

/// A model has its limits under all its names, aliases and dated ones.
fn one_name(model: &str) -> String {
    Catalogue::builtin().resolve(model).map_or(model, |known| known.name()).to_owned()
}

#[cfg(test)]
mod tests;
