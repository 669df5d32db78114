//! What becomes of the task and of the money, for every way in which an attempt can end.

use std::time::Duration;

use agent_core::llm::LlmErrorKind;
use agent_core::permits::ProviderLimits;
use agent_core::task::{ErrorCode, Outcome};

use crate::support::{Act, GOOD, Scripted, agent, run, system, task};

/// What one task came to against a script: its outcome, requests sent, and the time it took.
fn play(script: Vec<Act>) -> (Outcome, usize, Duration) {
    run(|clock| async move {
        let client = Scripted::new(&clock, script, GOOD);
        let system = system(&clock, &client).agent(agent(1)).start().await.unwrap();
        let began = clock.now();
        let outcome = system.run(task(1)).await.unwrap();
        let balances = system.balances().await.unwrap();
        assert!(balances.iter().all(|balance| balance.reserved.is_zero()));
        assert!(client.billed_nanos() <= charged(&outcome), "billed more than was charged");
        (Outcome::clone(&outcome), client.sent().len(), clock.now().since(began))
    })
}

fn charged(outcome: &Outcome) -> u64 {
    outcome.cost_usd.nanos() + outcome.presumed_cost_usd.nanos()
}

fn code(outcome: &Outcome) -> Option<ErrorCode> {
    outcome.error.as_ref().map(|error| error.code)
}

#[test]
fn what_is_not_transient_is_tried_once_and_costs_nothing() {
    use LlmErrorKind::{Authentication, Billing, InvalidRequest, NotFound, Permission};
    for (kind, expected) in [
        (Authentication, ErrorCode::Authentication),
        (Permission, ErrorCode::Permission),
        (NotFound, ErrorCode::NotFound),
        (InvalidRequest, ErrorCode::InvalidRequest),
        (Billing, ErrorCode::Billing),
    ] {
        let (outcome, sent, _) = play(vec![Act::Fail(kind)]);
        assert_eq!((code(&outcome), sent, charged(&outcome)), (Some(expected), 1, 0), "{kind:?}");
    }
}

#[test]
fn what_is_transient_is_tried_three_times_and_released_where_it_was_not_billed() {
    use LlmErrorKind::{NotSent, Overloaded, RateLimited, Server};
    for (kind, expected) in [
        (NotSent, ErrorCode::Connection),
        (RateLimited, ErrorCode::ProviderRateLimited),
        (Overloaded, ErrorCode::ProviderOverloaded),
        (Server, ErrorCode::ProviderError),
    ] {
        let (outcome, sent, took) = play(vec![Act::Fail(kind); 3]);
        assert_eq!((code(&outcome), sent, charged(&outcome)), (Some(expected), 3, 0), "{kind:?}");
        assert!(took >= Duration::from_secs(6), "waits of 2 s and 4 s at least: {took:?}");
        let (outcome, sent, _) = play(vec![Act::Fail(kind)]);
        assert_eq!((code(&outcome), sent), (None, 2), "{kind:?}");
    }
}

#[test]
fn an_attempt_of_unknown_fate_is_charged_at_its_bound_each_time() {
    let (broken, sent, _) = play(vec![Act::Fail(LlmErrorKind::Broken); 3]);
    assert_eq!((code(&broken), sent), (Some(ErrorCode::Connection), 3));
    assert!(broken.cost_usd.is_zero());
    let (once, _, _) = play(vec![Act::Fail(LlmErrorKind::NotUnderstood)]);
    assert_eq!(code(&once), Some(ErrorCode::InvalidResponse));
    assert_eq!(broken.presumed_cost_usd.nanos(), 3 * once.presumed_cost_usd.nanos());
}

#[test]
fn a_provider_that_never_answers_costs_three_timeouts_and_no_more() {
    let (outcome, sent, took) = play(vec![Act::Hang; 3]);
    assert_eq!((code(&outcome), sent), (Some(ErrorCode::Timeout), 3));
    // Three times 30 s + 15 s × 100 / 1,000, and two waits of at most 4 s and 8 s.
    let (least, most) =
        (Duration::from_millis(94_500 + 6_000), Duration::from_millis(94_500 + 12_000));
    assert!(took >= least && took <= most, "{took:?}");
}

#[test]
fn a_deadline_that_passes_says_how_many_attempts_were_made() {
    run(|clock| async move {
        let client = Scripted::new(&clock, vec![Act::Fail(LlmErrorKind::Server), Act::Hang], GOOD);
        let system = system(&clock, &client).agent(agent(1)).start().await.unwrap();
        let mut late = task(1);
        late.deadline = Some("20s".parse().unwrap());
        let outcome = system.run(late).await.unwrap();
        assert_eq!((code(&outcome), outcome.attempts), (Some(ErrorCode::DeadlineExceeded), 2));
        let message = outcome.error.clone().unwrap().message;
        assert!(
            message.contains("2026-11-24T12:00:20") && message.contains("2 attempts"),
            "{message}"
        );
    });
}

#[test]
fn a_task_put_back_after_its_deadline_is_not_said_to_have_had_no_attempt() {
    crate::support::expect_panics();
    run(|clock| async move {
        let script = vec![Act::Panic(Duration::from_millis(900))];
        let client = Scripted::new(&clock, script, GOOD);
        let system = system(&clock, &client).agent(agent(1)).start().await.unwrap();
        let mut late = task(1);
        late.deadline = Some("1s".parse().unwrap());
        let outcome = system.run(late).await.unwrap();
        assert_eq!((code(&outcome), outcome.attempts), (Some(ErrorCode::DeadlineExceeded), 1));
        let message = outcome.error.clone().unwrap().message;
        assert!(!message.contains("before"), "{message}");
    });
}

#[test]
fn a_wait_that_is_given_up_says_what_held_it_up() {
    use LlmErrorKind::RateLimited;
    let slow = Act::Answer { input: 10, output: 10, after: Duration::from_secs(20) };
    let refused = Act::FailUntil(RateLimited, Duration::from_secs(200));
    let (most, pause) =
        ("1 calls are in flight, the most allowed at once", "paused by the provider until");
    for (first, says, knows_when) in [(slow, most, false), (refused, pause, true)] {
        run(|clock| async move {
            let client = Scripted::new(&clock, vec![first], GOOD);
            let limits = ProviderLimits {
                max_concurrent: 1.try_into().unwrap(),
                max_wait: Duration::from_secs(5),
                ..ProviderLimits::default()
            };
            let system =
                system(&clock, &client).agent(agent(2)).limits(limits).start().await.unwrap();
            let first = system.submit(task(1)).await.unwrap();
            clock.sleep(Duration::from_secs(1)).await;
            let error = system.run(task(2)).await.unwrap().error.clone().unwrap();
            assert_eq!(error.code, ErrorCode::RateLimitWaitExceeded);
            assert!(error.message.contains(says), "{}", error.message);
            assert!(!error.message.contains("18446744073709551615"), "{}", error.message);
            assert_eq!(error.retry_after_ms.is_some(), knows_when, "{error:?}");
            assert!(error.retry_after_ms != Some(0), "{error:?}");
            first.outcome().await.unwrap();
        });
    }
}

#[test]
fn a_call_above_a_minutes_whole_limit_is_refused_for_good_as_a_permit_that_is_not_to_be_had() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let limits = ProviderLimits {
            output_tokens_per_minute: 99.try_into().ok(),
            ..ProviderLimits::default()
        };
        let system = system(&clock, &client).agent(agent(1)).limits(limits).start().await.unwrap();
        let error = system.run(task(1)).await.unwrap().error.clone().unwrap();
        assert_eq!((error.code, error.retryable), (ErrorCode::RateLimitWaitExceeded, false));
        for part in ["100 output tokens", "99 in 60s"] {
            assert!(error.message.contains(part), "{part}: {}", error.message);
        }
        assert_eq!(client.sent(), []);
    });
}

#[test]
fn usage_that_was_seen_is_a_cost_and_the_rest_of_the_bound_is_presumed() {
    let (outcome, _, _) = play(vec![Act::Cut { output: 7 }]);
    assert_eq!(code(&outcome), None);
    // 10 in and 7 out of the cut attempt, 100 in and 50 out of the good one: $1 and $5 a million.
    assert_eq!(outcome.cost_usd.nanos(), 110 * 1_000 + 57 * 5_000);
    assert!(!outcome.presumed_cost_usd.is_zero());
}

#[test]
fn a_retry_never_comes_before_retry_after_and_ends_at_once_beyond_the_longest_wait() {
    let late = Act::FailUntil(LlmErrorKind::RateLimited, Duration::from_secs(77));
    let (outcome, sent, took) = play(vec![late]);
    assert_eq!((code(&outcome), sent), (None, 2));
    assert!(took >= Duration::from_secs(77), "{took:?}");

    let never = Act::FailUntil(LlmErrorKind::RateLimited, Duration::from_secs(3_600));
    let (outcome, sent, took) = play(vec![never]);
    assert_eq!((code(&outcome), sent), (Some(ErrorCode::ProviderRateLimited), 1));
    assert_eq!(outcome.error.unwrap().retry_after_ms, Some(3_600_000));
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_billing_refusal_takes_the_key_out_of_service_for_everyone() {
    run(|clock| async move {
        let client = Scripted::new(&clock, vec![Act::Fail(LlmErrorKind::Billing)], GOOD);
        let system = system(&clock, &client).agent(agent(2)).start().await.unwrap();
        for id in 1..=3 {
            let outcome = system.run(task(id)).await.unwrap();
            assert_eq!(code(&outcome), Some(ErrorCode::Billing), "task {id}");
        }
        assert_eq!(client.sent().len(), 1);
    });
}
