//! What was asked for: contexts, outputs, tool gaps, and what failed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Call;
use crate::draws::QuantileTable;

/// What the calls of one model were like.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    /// All of its calls.
    pub calls: u64,
    /// Those that failed, by status or by kind where there was no status.
    pub errors: BTreeMap<Arc<str>, u64>,
    /// Input tokens, cached ones among them, of those that were answered.
    pub context: Option<QuantileTable>,
    /// Their output tokens.
    pub output: Option<QuantileTable>,
    /// Seconds between an answer and the session's next call.
    pub gap: Option<QuantileTable>,
    /// The share of all input that was read from the cache, where that is known.
    pub cached_share: Option<f64>,
}

impl Profile {
    /// The profile of each model.
    pub fn of(calls: &[Call]) -> BTreeMap<Arc<str>, Profile> {
        let mut by_model: BTreeMap<Arc<str>, Vec<&Call>> = BTreeMap::new();
        for call in calls {
            by_model.entry(Arc::clone(&call.model)).or_default().push(call);
        }
        by_model.into_iter().map(|(model, calls)| (model, Profile::of_model(&calls))).collect()
    }

    fn of_model(calls: &[&Call]) -> Profile {
        let mut profile = Profile { calls: calls.len() as u64, ..Profile::default() };
        for error in calls.iter().filter_map(|call| call.error.as_ref()) {
            *profile.errors.entry(Arc::clone(error)).or_default() += 1;
        }
        let answered = || calls.iter().filter(|call| call.error.is_none());
        // What was measured is finite and not below 0: only an empty table is none.
        let table = |values: Vec<f64>| QuantileTable::of(values).ok();
        profile.context = table(answered().map(|call| call.input as f64).collect());
        profile.output = table(answered().map(|call| call.output as f64).collect());
        profile.gap = table(calls.iter().filter_map(|call| call.gap_s).collect());
        let known = || answered().filter(|call| call.cached.is_some());
        let input: u128 = known().map(|call| u128::from(call.input)).sum();
        let cached: u128 = known().filter_map(|call| call.cached.map(u128::from)).sum();
        profile.cached_share = (input > 0).then(|| cached as f64 / input as f64);
        profile
    }
}
