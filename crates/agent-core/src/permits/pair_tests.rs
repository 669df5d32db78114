//! Laws of one key and model's permits.

use std::num::{NonZeroU32, NonZeroU64};

use proptest::prelude::*;

use super::*;

fn limits(requests: u32, input: u64) -> ProviderLimits {
    ProviderLimits {
        requests_per_minute: NonZeroU32::new(requests),
        input_tokens_per_minute: NonZeroU64::new(input),
        ..ProviderLimits::default()
    }
}

proptest! {
    #[test]
    fn no_60_s_seen_up_to_1_s_late_hold_more_requests_or_tokens_than_the_limit(
        steps in prop::collection::vec((0_u64..9_000, 1_u64..60, 0_u64..3_000), 1..120),
    ) {
        let mut permits = PairPermits::new(limits(6, 100));
        let (mut now, mut seen, mut open) = (0, Vec::new(), Vec::new());
        for (step, input, lag) in steps {
            now += step;
            open.retain(|&(id, end, input)| {
                if end <= now {
                    permits.settle(id, Timestamp::from_millis(end), input, 0);
                }
                end > now
            });
            let at = Timestamp::from_millis(now);
            if let Admission::Granted(id) = permits.acquire(at, input, 0) {
                open.push((id, now + lag, input));
                seen.push((now, now + lag.min(1_000), input));
            }
        }
        // The worst a provider may see: of each request, any moment from grant to latest arrival.
        for &(_, start, _) in &seen {
            let inside = seen.iter().filter(|s| s.1 >= start && s.0 < start + 60_000);
            let (count, tokens) = inside.fold((0, 0), |sum, s| (sum.0 + 1, sum.1 + s.2));
            prop_assert!(count <= 6 && tokens <= 100, "{count} requests, {tokens} tokens");
        }
    }
}

#[test]
fn what_is_given_back_was_never_taken_and_what_ended_unknown_stays() {
    let mut permits = PairPermits::new(limits(1, 100));
    let Admission::Granted(id) = permits.acquire(Timestamp::EPOCH, 100, 0) else { panic!() };
    permits.give_back(id);
    let Admission::Granted(id) = permits.acquire(Timestamp::EPOCH, 100, 0) else { panic!() };
    permits.end(id, Timestamp::EPOCH);
    let free = Timestamp::from_millis(60_000);
    assert_eq!(permits.acquire(Timestamp::EPOCH, 1, 0), Admission::NotBefore(free));
    assert!(matches!(permits.acquire(free, 1, 0), Admission::Granted(_)));
}

#[test]
fn a_request_over_the_whole_limit_goes_alone_and_its_excess_counts() {
    let mut permits = PairPermits::new(limits(10, 100));
    let Admission::Granted(id) = permits.acquire(Timestamp::EPOCH, 500, 0) else { panic!() };
    permits.settle(id, Timestamp::from_millis(500), 500, 0);
    let late = permits.acquire(Timestamp::from_millis(60_499), 1, 0);
    assert_eq!(late, Admission::NotBefore(Timestamp::from_millis(60_500)));
}

#[test]
fn at_most_8_probe_until_one_is_answered_and_congestion_halves_once_a_second() {
    let mut permits = PairPermits::new(limits(100, 1_000));
    let ids: Vec<_> = (0..9).map(|_| permits.acquire(Timestamp::EPOCH, 1, 0)).collect();
    assert_eq!(ids[8], Admission::NotBefore(Timestamp::NEVER));
    let Admission::Granted(first) = ids[0] else { panic!() };
    permits.settle(first, Timestamp::EPOCH, 1, 0);
    assert!(matches!(permits.acquire(Timestamp::EPOCH, 1, 0), Admission::Granted(_)));
    permits.congested(Timestamp::EPOCH);
    permits.congested(Timestamp::from_millis(999));
    assert_eq!((permits.concurrency(), permits.in_flight()), (32, 8));
    permits.pause(Timestamp::from_millis(5));
    permits.pause(Timestamp::from_millis(3));
    let paused = Admission::NotBefore(Timestamp::from_millis(5));
    assert_eq!(permits.acquire(Timestamp::EPOCH, 1, 0), paused);
}

#[test]
fn the_excess_of_an_attempt_longer_than_the_window_counts_from_its_end() {
    let mut permits = PairPermits::new(limits(10, 100));
    let Admission::Granted(id) = permits.acquire(Timestamp::EPOCH, 10, 0) else { panic!() };
    permits.settle(id, Timestamp::from_millis(90_000), 110, 0);
    let full = Admission::NotBefore(Timestamp::from_millis(150_000));
    assert_eq!(permits.acquire(Timestamp::from_millis(90_000), 1, 0), full);
}
