//! Interleavings of the limiter's callers, in virtual time.

use std::num::NonZeroU32;

use super::*;
use crate::clock::VirtualClock;

fn wish(worker: &str) -> Acquire {
    Acquire {
        account: Arc::from("key"),
        model: Arc::from("model"),
        worker: Arc::from(worker),
        worker_limit: AgentRateLimit::default(),
        priority: Priority::Normal,
        input_tokens: 1,
        output_tokens: 1,
        deadline: Timestamp::NEVER,
    }
}

#[test]
fn a_dropped_permit_serves_the_next_at_once_and_a_departed_one_after_60_s() {
    VirtualClock::run(Timestamp::EPOCH, |clock| async move {
        let requests_per_minute = NonZeroU32::new(1);
        let limits = ProviderLimits { requests_per_minute, ..ProviderLimits::default() };
        let limiter = RateLimiter::new(limits, clock.clone().into()).start();
        drop(limiter.send(wish("a")).await.unwrap().unwrap());
        let permit = limiter.send(wish("b")).await.unwrap().unwrap();
        assert_eq!(permit.waited(), Duration::ZERO);
        drop(permit.depart());
        let permit = limiter.send(wish("c")).await.unwrap().unwrap();
        assert_eq!(permit.waited(), Duration::from_secs(60));
        let departed = permit.depart();
        let until = Timestamp::from_millis(900_000);
        departed.settle(Feedback { out_of_service: Some(until), ..Feedback::default() });
        let refused = limiter.send(wish("d")).await.unwrap().unwrap_err();
        assert_eq!(refused, PermitError::OutOfService { account: Arc::from("key"), until });
    });
}

#[test]
fn the_11th_of_11_rapid_calls_is_refused_or_waits_as_its_mode_says() {
    VirtualClock::run(Timestamp::EPOCH, |clock| async move {
        let limiter = RateLimiter::new(ProviderLimits::default(), clock.clone().into()).start();
        for _ in 0..10 {
            drop(limiter.send(wish("a")).await.unwrap().unwrap().depart());
        }
        let mut eager = wish("a");
        eager.worker_limit.mode = LimitMode::Reject;
        let refused = limiter.send(eager).await.unwrap().unwrap_err();
        let (per, retry_after) = (Duration::from_secs(60), Duration::from_secs(60));
        assert_eq!(refused, PermitError::WorkerLimit { calls: 10, per, retry_after });
        let hasty = Acquire { deadline: Timestamp::from_millis(1_000), ..wish("a") };
        let refused = limiter.send(hasty).await.unwrap().unwrap_err();
        let waited = Duration::from_secs(1);
        assert_eq!(refused, PermitError::WaitExceeded { scope: "model".to_owned(), waited });
        let permit = limiter.send(wish("a")).await.unwrap().unwrap();
        assert_eq!(permit.waited(), Duration::from_secs(59));
    });
}
