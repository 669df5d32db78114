//! The limits, with time passed in.

use proptest::prelude::*;

use super::*;
use crate::mock::Enforcement;

const KINDS: [Enforcement; 2] = [Enforcement::Bucket, Enforcement::Sliding];
const MINUTE: Duration = Duration::from_secs(60);

fn limiter(requests: u32, input: u32, output: u32, enforcement: Enforcement) -> Limiter {
    Limiter::new(Limits {
        requests_per_minute: requests.try_into().ok(),
        input_tokens_per_minute: input.try_into().ok(),
        output_tokens_per_minute: output.try_into().ok(),
        enforcement,
    })
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + millis)
}

fn wait(limiter: &mut Limiter, amounts: Amounts, now: Timestamp) -> Option<Duration> {
    limiter.admit("k", "m", amounts, now).refusal.map(|refusal| refusal.wait)
}

#[test]
fn a_bucket_gives_a_minutes_worth_at_once_and_then_refills_evenly() {
    let mut limiter = limiter(60, 0, 0, Enforcement::Bucket);
    for _ in 0..60 {
        assert_eq!(wait(&mut limiter, [1, 0, 0], at(0)), None);
    }
    assert_eq!(wait(&mut limiter, [1, 0, 0], at(0)), Some(Duration::from_secs(1)));
    assert_eq!(wait(&mut limiter, [1, 0, 0], at(400)), Some(Duration::from_millis(600)));
    assert_eq!(wait(&mut limiter, [1, 0, 0], at(1_000)), None);
    assert!(wait(&mut limiter, [1, 0, 0], at(1_999)).is_some());
}

#[test]
fn a_sliding_window_frees_a_place_only_a_minute_after_it_was_taken() {
    let mut limiter = limiter(2, 0, 0, Enforcement::Sliding);
    assert_eq!(wait(&mut limiter, [1, 0, 0], at(0)), None);
    assert_eq!(wait(&mut limiter, [1, 0, 0], at(10_000)), None);
    assert_eq!(wait(&mut limiter, [1, 0, 0], at(30_000)), Some(Duration::from_secs(30)));
    assert_eq!(wait(&mut limiter, [1, 0, 0], at(59_999)), Some(Duration::from_millis(1)));
    assert_eq!(wait(&mut limiter, [1, 0, 0], at(60_000)), None);
    assert_eq!(wait(&mut limiter, [1, 0, 0], at(60_000)), Some(Duration::from_secs(10)));
}

#[test]
fn a_model_has_one_limit_under_all_its_names() {
    let mut limiter = limiter(2, 0, 10, Enforcement::Sliding);
    let mut admit = |model| limiter.admit("k", model, [1, 0, 5], at(0)).refusal.is_none();
    assert!(admit("claude-haiku-4-5") && admit("claude-haiku-4-5-20251001"));
    assert!(!admit("anthropic/claude-haiku-4-5") && admit("claude-sonnet-4-5"));
    limiter.give_back("k", "claude-haiku-4-5-20251001", 5, at(0));
    let standings = limiter.admit("k", "claude-haiku-4-5", [9, 0, 0], at(0)).standings;
    assert_eq!(standings[OUTPUT].unwrap().remaining, 5);
}

#[test]
fn a_refused_request_takes_nothing_of_any_limit() {
    for kind in KINDS {
        let mut limiter = limiter(10, 100, 100, kind);
        let admission = limiter.admit("k", "m", [1, 101, 1], at(0));
        assert_eq!(admission.refusal.unwrap().name, "input-tokens");
        assert_eq!(admission.standings.map(|s| s.unwrap().remaining), [10, 100, 100]);
    }
}

#[test]
fn what_was_reserved_for_output_and_not_used_is_given_back() {
    for kind in KINDS {
        let mut limiter = limiter(0, 0, 100, kind);
        assert_eq!(wait(&mut limiter, [1, 0, 90], at(0)), None);
        assert!(wait(&mut limiter, [1, 0, 50], at(0)).is_some());
        limiter.give_back("k", "m", 80, at(0));
        assert_eq!(wait(&mut limiter, [1, 0, 90], at(0)), None, "{kind:?}");
        assert!(wait(&mut limiter, [1, 0, 1], at(0)).is_some());
    }
}

#[test]
fn keys_and_models_have_limits_of_their_own() {
    for kind in KINDS {
        let mut limiter = limiter(1, 0, 0, kind);
        for (key, model) in [("a", "m"), ("a", "n"), ("b", "m")] {
            assert_eq!(limiter.admit(key, model, [1, 0, 0], at(0)).refusal, None);
            assert!(limiter.admit(key, model, [1, 0, 0], at(0)).refusal.is_some());
        }
    }
}

#[test]
fn a_standing_tells_what_is_left_and_when_all_is_there_again() {
    let whole = |kind| {
        let admission = limiter(60, 0, 0, kind).admit("k", "m", [1, 0, 0], at(0));
        admission.standings[0].unwrap()
    };
    let standing = |reset| Standing { limit: 60, remaining: 59, reset };
    assert_eq!(whole(Enforcement::Bucket), standing(at(1_000)));
    assert_eq!(whole(Enforcement::Sliding), standing(at(60_000)));
}

#[test]
fn idle_keys_are_forgotten_and_busy_ones_are_not() {
    for kind in KINDS {
        let mut limiter = limiter(60, 0, 0, kind);
        for n in 0..20_000 {
            // Each is idle again after a minute, while one is kept busy.
            let now = at(n * 100);
            assert_eq!(limiter.admit(&n.to_string(), "m", [1, 0, 0], now).refusal, None);
            limiter.admit("busy", "m", [1, 0, 0], now);
        }
        assert!(limiter.admit("busy", "m", [30, 0, 0], at(20_000 * 100)).refusal.is_some());
        assert!(limiter.count <= KEPT + 1, "{}", limiter.count);
        assert_eq!(limiter.count, limiter.meters.len());
    }
}

/// Admits requests at random gaps; returns what was admitted when.
fn play(kind: Enforcement, limit: u32, steps: &[(u64, u64)]) -> Vec<(Timestamp, u64)> {
    let mut limiter = limiter(0, limit, 0, kind);
    let mut now = at(0);
    let mut admitted = Vec::new();
    for &(gap, tokens) in steps {
        now = now + Duration::from_millis(gap);
        if wait(&mut limiter, [1, tokens, 0], now).is_none() {
            admitted.push((now, tokens));
        }
    }
    admitted
}

fn steps() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((0..20_000u64, 0..60u64), 1..60)
}

proptest! {
    #[test]
    fn no_sixty_seconds_hold_more_than_a_sliding_limit(steps in steps(), limit in 1..100u32) {
        let admitted = play(Enforcement::Sliding, limit, &steps);
        for (start, _) in &admitted {
            let inside = |at: Timestamp| at >= *start && at.since(*start) < MINUTE;
            let sum: u64 = admitted.iter().filter(|(t, _)| inside(*t)).map(|(_, n)| n).sum();
            prop_assert!(sum <= u64::from(limit), "{sum} within a minute of {start}");
        }
    }

    #[test]
    fn no_span_holds_more_than_a_full_bucket_and_its_refill(steps in steps(), limit in 1..100u32) {
        let admitted = play(Enforcement::Bucket, limit, &steps);
        for (first, (start, _)) in admitted.iter().enumerate() {
            let mut sum = 0;
            for (end, tokens) in &admitted[first..] {
                sum += tokens;
                let refill = end.since(*start).as_nanos() * u128::from(limit) / MINUTE.as_nanos();
                prop_assert!(u128::from(sum) <= u128::from(limit) + refill);
            }
        }
    }

    #[test]
    fn a_request_is_admitted_exactly_when_it_was_told(
        steps in steps(), limit in 1..100u32, tokens in 1..100u64, sliding: bool,
    ) {
        let mut limiter = limiter(0, limit, 0, KINDS[usize::from(sliding)]);
        let mut now = at(0);
        for (gap, tokens) in steps {
            now = now + Duration::from_millis(gap);
            let _ = wait(&mut limiter, [1, tokens, 0], now);
        }
        if let Some(told) = wait(&mut limiter, [1, tokens, 0], now) {
            let early = now + told.saturating_sub(Duration::from_nanos(1));
            prop_assert!(wait(&mut limiter, [1, tokens, 0], early).is_some());
            let admitted = wait(&mut limiter, [1, tokens, 0], now + told).is_none();
            prop_assert_eq!(admitted, tokens <= u64::from(limit));
        }
    }

    #[test]
    fn what_remains_is_what_a_plain_list_of_the_last_minute_says(
        steps in prop::collection::vec((0..20_000u64, 0..60u64, 0..60u64, 0..5usize), 1..60),
        limit in 1..100u32,
    ) {
        let mut limiter = limiter(0, 0, limit, Enforcement::Sliding);
        let mut list: Vec<(Timestamp, u64)> = Vec::new();
        let mut now = at(0);
        for (gap, held, used, back) in steps {
            now = now + Duration::from_millis(gap);
            let admission = limiter.admit("k", "m", [1, 0, held], now);
            if admission.refusal.is_none() {
                list.push((now, held));
            }
            // An earlier one ends, having used less than it held.
            let open = list.len().saturating_sub(back + 1);
            if let Some((since, held)) = list.get_mut(open).filter(|(_, held)| *held > used) {
                limiter.give_back("k", "m", *held - used, *since);
                *held = used;
            }
            let recent = list.iter().filter(|(at, _)| now.since(*at) < MINUTE);
            let sum: u64 = recent.map(|(_, held)| held).sum();
            let told = limiter.admit("k", "m", [0, 0, 0], now).standings[OUTPUT].unwrap();
            prop_assert_eq!(told.remaining, u64::from(limit) - sum);
        }
    }
}
