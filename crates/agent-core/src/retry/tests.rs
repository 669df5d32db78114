//! The laws of a retry, for any policy and any failure.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

const FAILURE: Failure = Failure { transient: true, retry_after: None, should_retry: None };

/// The least wait after an attempt, said by doubling.
fn step(policy: &RetryPolicy, attempt: u32) -> Duration {
    let mut step = policy.initial_backoff;
    for _ in 1..attempt {
        step = (step * 2).min(policy.max_backoff);
    }
    step.min(policy.max_backoff)
}

fn policies() -> impl Strategy<Value = RetryPolicy> {
    let any =
        (1..12u32, 0..20_000u64, 0..60_000u64).prop_map(|(attempts, initial, max)| RetryPolicy {
            max_attempts: attempts.try_into().unwrap(),
            initial_backoff: Duration::from_millis(initial),
            max_backoff: Duration::from_millis(max),
        });
    prop_oneof![Just(RetryPolicy::default()), any]
}

fn failures() -> impl Strategy<Value = Failure> {
    let retry_after = proptest::option::of(0..100_000u64);
    let parts = (proptest::bool::weighted(0.9), retry_after, any::<Option<bool>>());
    parts.prop_map(|(transient, retry_after, should_retry)| Failure {
        transient,
        retry_after: retry_after.map(Duration::from_millis),
        should_retry,
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4_000,
        rng_seed: RngSeed::Fixed(5),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_wait_keeps_its_bounds_and_a_failure_stands_for_no_other_reason(
        policy in policies(),
        attempt in 1..15u32,
        failure in failures(),
        now in 0..1_000_000u64,
        left in 0..200_000u64,
        rng in prop_oneof![9 => 0.0..1.0, 1 => any::<f64>()],
    ) {
        let now = Timestamp::from_millis(now);
        let deadline = now + Duration::from_millis(left);
        let decision = policy.decide(attempt, &failure, now, deadline, rng);
        prop_assert_eq!(decision, policy.decide(attempt, &failure, now, deadline, rng));
        let step = step(&policy, attempt);
        let after = failure.retry_after.unwrap_or_default();
        let most = (step * 2).min(policy.max_backoff.max(step));
        let (least, most) = (step.max(after), most.max(after));
        if !failure.transient || failure.should_retry == Some(false) {
            prop_assert_eq!(decision, Retry::GiveUp(Why::NotTransient));
        } else if attempt >= policy.max_attempts.get() {
            prop_assert_eq!(decision, Retry::GiveUp(Why::Exhausted));
        } else if now + least >= deadline {
            prop_assert_eq!(decision, Retry::GiveUp(Why::Deadline));
        } else {
            match decision {
                Retry::After(wait) => {
                    prop_assert!(least <= wait && wait <= most, "{wait:?}");
                    prop_assert!(now + wait < deadline);
                }
                Retry::GiveUp(why) => {
                    prop_assert_eq!(why, Why::Deadline);
                    prop_assert!(now + most >= deadline);
                }
            }
        }
    }

    #[test]
    fn a_call_has_no_more_attempts_than_it_may_and_ends_before_its_deadline(
        policy in policies(), left in 0..300_000u64, seed in any::<u64>(), takes in 0..20_000u64,
    ) {
        let deadline = Timestamp::from_millis(left);
        let play = || {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut now, mut left_at) = (Timestamp::EPOCH, Vec::new());
            loop {
                left_at.push(now);
                now = now + Duration::from_millis(takes);
                let attempt = u32::try_from(left_at.len()).unwrap();
                match policy.decide(attempt, &FAILURE, now, deadline, rng.f64()) {
                    Retry::After(wait) => now = now + wait,
                    Retry::GiveUp(why) => return (left_at, why),
                }
            }
        };
        let (left_at, why) = play();
        prop_assert_eq!(&play(), &(left_at.clone(), why));
        prop_assert!(left_at.len() <= policy.max_attempts.get() as usize);
        prop_assert_eq!(why == Why::Exhausted, left_at.len() == policy.max_attempts.get() as usize);
        prop_assert!(left_at[1..].iter().all(|at| *at < deadline));
    }

    #[test]
    fn jitter_only_adds_and_spreads_callers_over_a_step_or_up_to_the_longest_wait(
        policy in policies(), attempt in 1..15u32, less in 0.0..1.0, more in 0.0..1.0,
    ) {
        let policy = RetryPolicy { max_attempts: NonZeroU32::MAX, ..policy };
        let wait = |rng| match policy.decide(attempt, &FAILURE, Timestamp::EPOCH, Timestamp::NEVER, rng) {
            Retry::After(wait) => wait,
            Retry::GiveUp(why) => panic!("{why:?}"),
        };
        let step = step(&policy, attempt);
        let most = policy.max_backoff.max(step);
        prop_assert_eq!((wait(0.0), wait(1.0)), (step, (step * 2).min(most)));
        let (less, more) = if less <= more { (less, more) } else { (more, less) };
        prop_assert!(wait(less) <= wait(more));
        let spread = (step + step.mul_f64(more)).min(most);
        prop_assert!(wait(more).abs_diff(spread) <= step / 500);
    }
}

#[test]
fn the_waits_are_2_4_8_and_then_10_seconds_at_least() {
    let policy = RetryPolicy { max_attempts: NonZeroU32::MAX, ..RetryPolicy::default() };
    for (attempt, seconds) in (1..).zip([2, 4, 8, 10, 10]).chain([(u32::MAX - 1, 10)]) {
        let wait = policy.decide(attempt, &FAILURE, Timestamp::EPOCH, Timestamp::NEVER, 0.0);
        assert_eq!(wait, Retry::After(Duration::from_secs(seconds)), "after attempt {attempt}");
    }
}

#[test]
fn a_wait_that_would_end_at_the_deadline_is_not_begun() {
    let decide = |nanos| {
        let deadline = Timestamp::from_nanos(nanos);
        RetryPolicy::default().decide(1, &FAILURE, Timestamp::EPOCH, deadline, 0.0)
    };
    assert_eq!(decide(2_000_000_000), Retry::GiveUp(Why::Deadline));
    assert_eq!(decide(2_000_000_001), Retry::After(Duration::from_secs(2)));
}

#[test]
fn the_provider_may_forbid_a_retry_and_the_third_attempt_is_the_last() {
    let decide = |attempt, failure: Failure| {
        RetryPolicy::default().decide(attempt, &failure, Timestamp::EPOCH, Timestamp::NEVER, 0.0)
    };
    assert_eq!(decide(1, FAILURE), Retry::After(Duration::from_secs(2)));
    assert_eq!(decide(2, FAILURE), Retry::After(Duration::from_secs(4)));
    assert_eq!(decide(3, FAILURE), Retry::GiveUp(Why::Exhausted));
    let forbidden = Failure { should_retry: Some(false), ..FAILURE };
    assert_eq!(decide(1, forbidden), Retry::GiveUp(Why::NotTransient));
    let lasting = Failure { transient: false, should_retry: Some(true), ..FAILURE };
    assert_eq!(decide(1, lasting), Retry::GiveUp(Why::NotTransient));
}

#[test]
fn an_attempt_has_30_s_and_15_s_for_each_1000_tokens() {
    let timeout = AttemptTimeout::default();
    assert_eq!(timeout.of(2_500), Duration::from_millis(67_500));
    let endless = AttemptTimeout { per_1k_tokens: Duration::MAX, ..timeout };
    assert!(endless.of(u32::MAX) >= Duration::from_secs(500_000_000));
}

#[test]
fn jitter_hangs_on_seed_task_and_attempt_alone_and_is_spread_evenly() {
    assert_eq!(jitter(7, "t-1", 2), jitter(7, "t-1", 2));
    let mut bins = [0_u32; 10];
    for task in 0..1_000 {
        for attempt in 1..=10 {
            let draw = jitter(1, &format!("task-{task}"), attempt);
            bins[(draw * 10.0) as usize] += 1;
            assert_ne!(draw, jitter(2, &format!("task-{task}"), attempt));
        }
    }
    // Six standard deviations of a binomial with 10,000 trials and 1/10.
    assert!(bins.iter().all(|count| (820..1_180).contains(count)), "{bins:?}");
}
