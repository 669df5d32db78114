//! A call as it was observed, and where it comes from.

use std::sync::Arc;

use agent_core::pricing;

use crate::trace::Trace;

/// A call that was observed: one attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The model that was asked, by its one name.
    pub model: Arc<str>,
    /// Which session, task or conversation it is of.
    pub session: u64,
    /// Input tokens, cached ones among them.
    pub input: u64,
    /// Those that were read from the cache, where that is known.
    pub cached: Option<u64>,
    /// Output tokens.
    pub output: u64,
    /// Seconds until the answer was whole.
    pub total_s: f64,
    /// Seconds until the first visible token, where that is known.
    pub first_s: Option<f64>,
    /// Seconds between the session's answer before and this call, where there was one.
    pub gap_s: Option<f64>,
    /// What it failed with: `429`, or `timeout` where there was no status.
    pub error: Option<Arc<str>>,
}

impl Call {
    /// The calls of a trace: those with a model, an input and a duration, and those that failed.
    /// A call without a session is one of its own.
    pub fn of_trace(trace: &Trace) -> Vec<Call> {
        let alone = u64::from(u32::MAX) + 1;
        let calls = trace.requests.iter().zip(alone..).filter_map(|(request, own)| {
            let failed = request.failed.then(|| Arc::from("failed"));
            let total = request.total_ns.filter(|ns| *ns > 0);
            if failed.is_none() && (total.is_none() || request.input.is_none()) {
                return None;
            }
            Some(Call {
                model: canonical(request.model.as_ref()?),
                session: request.session.map_or(own, u64::from),
                input: u64::from(request.input.unwrap_or_default()),
                cached: request.cached.map(u64::from),
                output: u64::from(request.output),
                total_s: seconds(total.unwrap_or_default()),
                first_s: request.first_ns.filter(|ns| *ns > 0).map(seconds),
                gap_s: request.gap_ns.filter(|_| request.turn > 0).map(seconds),
                error: failed,
            })
        });
        calls.collect()
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// The one name of a model: that of the price list where it knows it.
pub(super) fn canonical(model: &Arc<str>) -> Arc<str> {
    let prices = pricing::Catalogue::builtin();
    prices.resolve(model).map_or_else(|| Arc::clone(model), |known| known.name().into())
}
