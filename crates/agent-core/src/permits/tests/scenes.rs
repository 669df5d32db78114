//! Single rules of the permits, each by a scene.

use super::*;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_000 * seconds)
}

fn limits(requests: u32, input: u64) -> ProviderLimits {
    ProviderLimits {
        requests_per_minute: requests.try_into().ok(),
        input_tokens_per_minute: input.try_into().ok(),
        ..ProviderLimits::default()
    }
}

pub(super) fn ask(worker: &str, input_tokens: u64) -> Ask {
    Ask {
        account: "key".into(),
        model: "small".into(),
        worker: worker.into(),
        worker_limit: AgentRateLimit {
            calls: 1_000_000.try_into().unwrap(),
            ..AgentRateLimit::default()
        },
        priority: Priority::Normal,
        input_tokens,
        output_tokens: 0,
        deadline: Timestamp::NEVER,
    }
}

fn granted(answer: Answer) -> GrantId {
    match answer {
        Answer::Granted(grant) => grant.id,
        other => panic!("{other:?}"),
    }
}

fn waits(answer: Answer) -> WaiterId {
    match answer {
        Answer::Waits(id) => id,
        other => panic!("{other:?}"),
    }
}

/// Who is told at that moment, granted or not.
fn told(permits: &mut Permits, now: Timestamp) -> Vec<(WaiterId, bool)> {
    permits.admit(now).into_iter().map(|(id, answer)| (id, answer.is_ok())).collect()
}

fn used(input: u64) -> Feedback {
    Feedback { input_tokens: Some(input), output_tokens: Some(0), ..Feedback::default() }
}

/// Permits after a first answer, which had no tokens.
fn taught(limits: ProviderLimits) -> Permits {
    let mut permits = Permits::new(limits);
    let first = granted(permits.ask(at(0), ask("first", 0)));
    assert_eq!(permits.settle(at(0), first, &used(0)), []);
    permits
}

#[test]
fn before_any_answer_input_counts_three_times_and_no_more_than_the_limit() {
    let mut permits = Permits::new(limits(10, 100));
    let calls = [(); 3].map(|()| granted(permits.ask(at(0), ask("a", 10))));
    let fourth = waits(permits.ask(at(0), ask("a", 10)));
    let large = waits(permits.ask(at(0), ask("a", 70)));
    // It was three times what it was estimated as: the others may be too.
    permits.settle(at(1), calls[0], &used(30));
    assert_eq!(told(&mut permits, at(1)), [(fourth, true)]);
    permits.settle(at(2), calls[1], &used(10));
    permits.settle(at(2), calls[2], &used(10));
    assert_eq!(told(&mut permits, at(2)), []);
    assert_eq!(told(&mut permits, at(61)), [(large, true)]);

    let mut permits = Permits::new(limits(10, 100));
    granted(permits.ask(at(0), ask("a", 90)));
}

#[test]
fn who_is_behind_one_that_gives_up_goes_at_that_moment() {
    let mut permits = taught(limits(10, 100));
    granted(permits.ask(at(0), ask("a", 50)));
    let large = waits(permits.ask(at(0), Ask { deadline: at(5), ..ask("b", 100) }));
    let small = waits(permits.ask(at(0), ask("c", 50)));
    assert_eq!(permits.next_event(at(0)), Some(at(5)));
    assert_eq!(told(&mut permits, at(5)), [(large, false), (small, true)]);
}

#[test]
fn whoever_comes_first_by_waiting_long_is_told_so_at_that_moment() {
    let mut permits = taught(limits(10, 100));
    granted(permits.ask(at(0), ask("a", 50)));
    let second = granted(permits.ask(at(0), ask("a", 50)));
    let low = waits(permits.ask(at(0), Ask { priority: Priority::Low, ..ask("b", 50) }));
    waits(permits.ask(at(1), ask("c", 100)));
    permits.settle(at(2), second, &used(0));
    assert_eq!(told(&mut permits, at(2)), []);
    // The large one, of normal priority, fits at 61 s. At 30 s the low one counts as normal too,
    // and came before.
    assert_eq!(permits.next_event(at(2)), Some(at(30)));
    assert_eq!(told(&mut permits, at(30)), [(low, true)]);
}

#[test]
fn a_call_given_back_lets_the_same_worker_go_on_in_its_order() {
    let mut permits = Permits::new(ProviderLimits::default());
    let one = AgentRateLimit { calls: 1.try_into().unwrap(), ..AgentRateLimit::default() };
    let call = || Ask { worker_limit: one.clone(), ..ask("a", 1) };
    let first = granted(permits.ask(at(0), call()));
    let second = waits(permits.ask(at(1), call()));
    permits.give_back(first);
    let third = waits(permits.ask(at(2), call()));
    assert_eq!(permits.next_event(at(2)), Some(at(2)));
    assert_eq!(told(&mut permits, at(2)), [(second, true)]);
    assert_eq!(told(&mut permits, at(62)), [(third, true)]);
}

#[test]
fn a_worker_that_may_call_again_does_not_wait_for_others_to_rise() {
    let mut permits = taught(limits(10, 100));
    let one = AgentRateLimit {
        calls: 1.try_into().unwrap(),
        per: Duration::from_secs(5),
        ..AgentRateLimit::default()
    };
    let quick = |input| Ask { worker_limit: one.clone(), ..ask("a", input) };
    granted(permits.ask(at(0), quick(50)));
    let rests = waits(permits.ask(at(0), quick(50)));
    waits(permits.ask(at(0), ask("b", 100)));
    waits(permits.ask(at(0), Ask { priority: Priority::Low, ..ask("c", 100) }));
    assert_eq!(permits.next_event(at(0)), Some(at(5)));
    assert_eq!(told(&mut permits, at(5)), [(rests, true)]);
}

#[test]
fn a_request_larger_than_a_limit_is_refused_at_once_and_takes_nothing() {
    let mut permits = Permits::new(limits(10, 100));
    let Answer::Refused(error) = permits.ask(at(0), ask("a", 101)) else { panic!("not refused") };
    assert_eq!(
        error.to_string(),
        "101 input tokens are more than the limit of model:small, 100 in 60s"
    );
    let headroom = &permits.headroom(at(0))[0];
    assert_eq!((headroom.requests.0, headroom.input_tokens.0, headroom.waiting), (0, 0, 0));
    granted(permits.ask(at(0), ask("a", 100)));
}

#[test]
fn who_no_longer_fits_a_limit_that_proved_smaller_is_refused_at_once() {
    let mut permits = Permits::new(limits(10, 100));
    let first = granted(permits.ask(at(0), ask("a", 60)));
    let large = waits(permits.ask(at(0), ask("b", 80)));
    let small = waits(permits.ask(at(0), ask("c", 20)));
    let headers = RateHeaders {
        input_tokens: Some(Headroom { limit: 70, remaining: 70, reset: at(0) }),
        ..RateHeaders::default()
    };
    let refused = permits.settle(at(1), first, &Feedback { headers, ..used(50) });
    assert!(
        matches!(&refused[..], [(id, PermitError::TooLarge { limit: 70, requested: 80, .. })] if *id == large),
        "{refused:?}"
    );
    assert_eq!(permits.next_event(at(1)), Some(at(1)));
    assert_eq!(told(&mut permits, at(1)), [(small, true)]);
}

#[test]
fn after_retry_after_one_goes_alone_and_the_others_follow_when_it_is_served() {
    let mut permits = Permits::new(limits(100, 1_000));
    let first = granted(permits.ask(at(0), ask("a", 1)));
    let refused =
        Feedback { pause: Some(Duration::from_secs(20)), congested: true, ..Feedback::default() };
    permits.settle(at(1), first, &refused);
    let waiting: Vec<WaiterId> =
        (0..4).map(|i| waits(permits.ask(at(1), ask(&i.to_string(), 1)))).collect();
    assert_eq!(permits.next_event(at(1)), Some(at(21)));
    assert_eq!(told(&mut permits, at(20)), []);
    let probe = permits.admit(at(21));
    assert_eq!(probe.len(), 1);
    let probe = probe[0].1.as_ref().unwrap().id;

    // Refused again: everybody waits again, and again one goes alone.
    permits.settle(at(22), probe, &refused);
    assert_eq!(permits.next_event(at(22)), Some(at(42)));
    let probe = permits.admit(at(42));
    assert_eq!((probe.len(), probe[0].0), (1, waiting[1]));
    let probe = probe[0].1.as_ref().unwrap().id;
    permits.settle(at(43), probe, &used(1));
    assert_eq!(told(&mut permits, at(43)), [(waiting[2], true), (waiting[3], true)]);
}

#[test]
fn a_probe_that_is_not_refused_soon_holds_up_nobody() {
    let mut permits = Permits::new(limits(100, 1_000));
    let first = granted(permits.ask(at(0), ask("a", 1)));
    let pause = Some(Duration::from_secs(20));
    permits.settle(at(0), first, &Feedback { pause, ..Feedback::default() });
    granted(permits.ask(at(20), ask("a", 1)));
    let next = waits(permits.ask(at(20), ask("b", 1)));
    assert_eq!(permits.next_event(at(20)), Some(at(22)));
    assert_eq!(told(&mut permits, at(22)), [(next, true)]);
}

#[test]
fn a_share_of_a_key_is_not_held_back_while_the_provider_has_more_left() {
    let mut permits = Permits::new(limits(1_000, 1_000));
    let first = granted(permits.ask(at(0), ask("a", 1)));
    let left = |remaining| RateHeaders {
        requests: Some(Headroom { limit: 4_000, remaining, reset: at(60) }),
        ..RateHeaders::default()
    };
    permits.settle(at(1), first, &Feedback { headers: left(1_500), ..used(1) });
    assert_eq!(permits.headroom(at(1))[0].requests, (1, 1_000));
    let second = granted(permits.ask(at(1), ask("a", 1)));
    permits.settle(at(1), second, &Feedback { headers: left(100), ..used(1) });
    assert_eq!(permits.headroom(at(1))[0].requests, (900, 1_000));
    assert_eq!(permits.headroom(at(60))[0].requests.0, 2);
}

fn output_left(remaining: u64, reset: Timestamp) -> Feedback {
    let output_tokens = Some(Headroom { limit: 8_000, remaining, reset });
    Feedback { headers: RateHeaders { output_tokens, ..RateHeaders::default() }, ..used(0) }
}

fn writes(output_tokens: u64) -> (Permits, Ask) {
    let output_tokens_per_minute = 8_000.try_into().ok();
    let limits = ProviderLimits { output_tokens_per_minute, ..ProviderLimits::default() };
    (Permits::new(limits), Ask { output_tokens, ..ask("a", 0) })
}

#[test]
fn what_was_left_while_our_own_calls_had_the_rest_holds_up_nobody_once_they_are_over() {
    let (mut permits, call) = writes(1_000);
    let calls = [(); 8].map(|()| granted(permits.ask(at(0), call.clone())));
    for (i, id) in (0..).zip(calls) {
        let feedback =
            Feedback { output_tokens: Some(100), ..output_left(7_000 - i * 1_000, at(60)) };
        permits.settle(at(1), id, &feedback);
    }
    assert_eq!(permits.headroom(at(1))[0].output_tokens, (800, 8_000));
}

#[test]
fn what_our_call_had_when_it_left_long_after_its_grant_is_not_taken_for_that_of_others() {
    let (mut permits, call) = writes(8_000);
    let id = granted(permits.ask(at(0), call));
    permits.depart(at(5), id);
    permits.settle(at(10), id, &Feedback { output_tokens: Some(100), ..output_left(0, at(65)) });
    assert_eq!(permits.headroom(at(10))[0].output_tokens, (100, 8_000));
}

#[test]
fn what_others_use_is_held_whatever_we_had_under_way() {
    let (mut permits, call) = writes(1_000);
    let calls = [(); 3].map(|()| granted(permits.ask(at(0), call.clone())));
    permits.settle(at(1), calls[0], &output_left(1_000, at(60)));
    // Of 8,000 at most 3,000 were ours, and 1,000 were left.
    assert_eq!(permits.headroom(at(1))[0].output_tokens, (2_000 + 4_000, 8_000));
    // The next to answer tells of the same.
    permits.settle(at(2), calls[1], &output_left(1_000, at(60)));
    assert_eq!(permits.headroom(at(2))[0].output_tokens, (1_000 + 4_000, 8_000));
    permits.settle(at(2), calls[2], &output_left(0, at(60)));
    assert_eq!(permits.headroom(at(2))[0].output_tokens, (5_000, 8_000));
}

#[test]
fn what_was_left_more_than_a_minute_ago_holds_up_nobody() {
    let (mut permits, call) = writes(1_000);
    let long = granted(permits.ask(at(0), call));
    permits.settle(at(62), long, &output_left(0, at(90)));
    assert_eq!(permits.headroom(at(62))[0].output_tokens, (0, 8_000));
}

#[test]
fn usage_that_no_sum_can_hold_blocks_until_it_leaves_and_no_longer() {
    let mut permits = taught(limits(10, 100));
    let calls = [(); 3].map(|()| granted(permits.ask(at(0), ask("a", 30))));
    for call in calls {
        permits.settle(at(1), call, &used(u64::MAX));
    }
    let next = waits(permits.ask(at(1), ask("a", 1)));
    assert_eq!(permits.next_event(at(1)), Some(at(61)));
    assert_eq!(told(&mut permits, at(60)), []);
    assert_eq!(told(&mut permits, at(61)), [(next, true)]);
}

#[test]
fn a_key_stays_out_of_service_as_long_as_the_latest_word_says() {
    let mut permits = Permits::new(ProviderLimits::default());
    let calls = [(); 3].map(|()| granted(permits.ask(at(0), ask("a", 1))));
    for (call, until) in calls.into_iter().zip([50, 90, 60]) {
        let out_of_service = Some(at(until));
        permits.settle(at(1), call, &Feedback { out_of_service, ..Feedback::default() });
    }
    let refused = permits.ask(at(89), ask("a", 1));
    assert!(
        matches!(refused, Answer::Refused(PermitError::OutOfService { until, .. }) if until == at(90))
    );
    granted(permits.ask(at(90), ask("a", 1)));
}

#[test]
fn the_least_urgent_goes_before_all_who_come_a_minute_after_it() {
    let mut permits = Permits::new(limits(30, 1_000_000));
    let urgent = |n: u64| Ask { priority: Priority::High, ..ask(&n.to_string(), 1) };
    let served = |permits: &mut Permits, now, id| permits.settle(now, id, &used(1));
    for _ in 0..30 {
        let id = granted(permits.ask(at(0), urgent(0)));
        served(&mut permits, at(0), id);
    }
    let low = waits(permits.ask(at(0), Ask { priority: Priority::Low, ..ask("low", 1) }));
    let mut late = Vec::new();
    for second in 1..=240 {
        let id = waits(permits.ask(at(second), urgent(second)));
        if second >= 60 {
            late.push(id);
        }
        for (id, answer) in permits.admit(at(second)) {
            assert!(!late.contains(&id), "overtaken at {second} s");
            if id == low {
                return;
            }
            served(&mut permits, at(second), answer.unwrap().id);
        }
    }
    panic!("never granted");
}
