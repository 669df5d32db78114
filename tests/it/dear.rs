//! Retries that a task may not pay for: not announced, not waited for, refused by the cost guard.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_core::audit::AuditKind;
use agent_core::config::Guards;
use agent_core::llm::LlmErrorKind;
use agent_core::money::NanoUsd;
use agent_core::store::Entry;
use agent_core::task::{ErrorCode, Outcome};

use crate::support::{Act, Scripted, agent, run, system, task};

/// What becomes of a task that may cost so much, where each attempt fails like this: its outcome, how
/// long it took, and whether each failure was told as one that is tried again.
fn failing(kind: LlmErrorKind, max_cost_per_task: NanoUsd) -> (Arc<Outcome>, Duration, Vec<bool>) {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), Act::Fail(kind));
        let told = Arc::new(Mutex::new(Vec::new()));
        let tells = Arc::clone(&told);
        let observe = move |entries: &[Entry]| {
            for entry in entries {
                if let Entry::Audit(event) = entry
                    && let AuditKind::CallFailure { will_retry, .. } = event.kind
                {
                    tells.lock().unwrap().push(will_retry);
                }
            }
        };
        let guards = Guards { max_cost_per_task, ..Guards::default() };
        let builder = system(&clock, &client).agent(agent(1)).guards(guards).observe(observe);
        let system = builder.start().await.unwrap();
        let began = clock.now();
        let outcome = system.run(task(1)).await.unwrap();
        let told = told.lock().unwrap().clone();
        (outcome, clock.now().since(began), told)
    })
}

fn code(outcome: &Outcome) -> Option<ErrorCode> {
    outcome.error.as_ref().map(|error| error.code)
}

#[test]
fn a_retry_that_would_be_too_dear_is_not_announced_and_not_waited_for() {
    let (outcome, _, told) = failing(LlmErrorKind::Broken, NanoUsd::from_dollars(1));
    assert_eq!((code(&outcome), told), (Some(ErrorCode::Connection), vec![true, true, false]));
    let bound = outcome.presumed_cost_usd.nanos() / 3;

    // Just enough for two, of which it is not known whether they were billed.
    let (outcome, took, told) = failing(LlmErrorKind::Broken, NanoUsd::from_nanos(2 * bound));
    assert_eq!((code(&outcome), told), (Some(ErrorCode::CostLimitExceeded), vec![true, false]));
    let (short, at_once, told) = failing(LlmErrorKind::Broken, NanoUsd::from_nanos(2 * bound - 1));
    assert_eq!((code(&short), told), (Some(ErrorCode::CostLimitExceeded), vec![false]));
    assert_eq!((outcome.attempts, short.attempts), (2, 1));
    assert!(at_once.is_zero() && !took.is_zero(), "{at_once:?}, {took:?}");

    // Those that cost nothing leave all for the next.
    let (free, _, told) = failing(LlmErrorKind::RateLimited, NanoUsd::from_nanos(bound));
    let refused = Some(ErrorCode::ProviderRateLimited);
    assert_eq!((code(&free), free.attempts, told), (refused, 3, vec![true, true, false]));
}
