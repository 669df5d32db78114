//! The limiter's promises, each by a scene in virtual time.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{ActorContext, Addr, Supervisor};
use futures_util::FutureExt;

use super::*;
use crate::clock::VirtualClock;
use crate::panics;
use crate::permits::{AgentRateLimit, Feedback};
use crate::task::Priority;

/// Ends the limiter: by a stop, or by a panic.
#[derive(Message)]
#[rtype(result = "()")]
enum End {
    Stop,
    Panic,
}

impl Handler<End> for RateLimiter {
    type Result = ();

    fn handle(&mut self, end: End, ctx: &mut Context<Self>) {
        match end {
            End::Stop => ctx.stop(),
            End::Panic => panic!("asked for"),
        }
    }
}

type Acquired = Result<Permit, PermitError>;

#[derive(Clone)]
struct Stage {
    limiter: Addr<RateLimiter>,
    desk: Desk,
    clock: Clock,
}

fn limits(requests: u32, at_once: u32) -> ProviderLimits {
    ProviderLimits {
        requests_per_minute: requests.try_into().ok(),
        max_concurrent: at_once.try_into().unwrap(),
        ..ProviderLimits::default()
    }
}

fn on_stage<F: Future>(limits: ProviderLimits, scene: impl FnOnce(Stage) -> F) -> F::Output {
    VirtualClock::run(Timestamp::EPOCH, |clock| {
        let limiter = RateLimiter::new(limits, clock.clone());
        let desk = limiter.desk();
        scene(Stage { limiter: Supervisor::start(|_| limiter), desk, clock })
    })
}

impl Stage {
    fn ask(&self) -> actix::prelude::Request<RateLimiter, Acquire> {
        self.limiter.send(Acquire::new(Stage::one()))
    }

    fn one() -> Ask {
        let calls = 1_000_000.try_into().unwrap();
        Ask {
            account: "key".into(),
            model: "small".into(),
            worker: "clerk".into(),
            worker_limit: AgentRateLimit { calls, ..AgentRateLimit::default() },
            priority: Priority::Normal,
            input_tokens: 1,
            output_tokens: 1,
            deadline: Timestamp::NEVER,
        }
    }

    async fn permit(&self) -> Permit {
        self.ask().await.unwrap().unwrap()
    }

    /// Asks in a task of its own, which has its place in the queue when this returns.
    async fn wait(&self) -> JoinHandle<Acquired> {
        let request = self.ask();
        let waiting = actix::spawn(async move { request.await.unwrap() });
        self.stand().await;
        waiting
    }

    /// Requests in the window, in flight, and waiting.
    async fn stand(&self) -> (u64, u32, usize) {
        let headroom = self.limiter.send(GetHeadroom).await.unwrap();
        (headroom[0].requests.0, headroom[0].in_flight, headroom[0].waiting)
    }

    /// Lets everything that can happen now happen.
    async fn settled(&self) -> (u64, u32, usize) {
        self.clock.sleep(Duration::from_nanos(1)).await;
        self.stand().await
    }
}

#[test]
fn a_permit_that_is_dropped_was_never_taken_and_one_that_has_left_stays_counted() {
    on_stage(limits(2, 2), |stage| async move {
        drop(stage.permit().await);
        assert_eq!(stage.settled().await, (0, 0, 0));
        drop(stage.permit().await.depart(Timestamp::EPOCH));
        assert_eq!(stage.settled().await, (1, 0, 0));
    });
}

#[test]
fn permits_come_back_in_whatever_order_they_are_dropped() {
    on_stage(limits(5, 5), |stage| async move {
        let mut permits = Vec::new();
        for _ in 0..5 {
            permits.push(stage.permit().await);
        }
        let waiting = stage.wait().await;
        for place in [3, 0, 2, 1, 0] {
            drop(permits.remove(place));
        }
        let last = waiting.await.unwrap().unwrap();
        assert_eq!(stage.settled().await, (1, 1, 0));
        drop(last);
        assert_eq!(stage.settled().await, (0, 0, 0));
    });
}

#[test]
fn a_holder_that_panics_gives_its_permit_to_the_next() {
    on_stage(limits(10, 1), |stage| async move {
        let permit = stage.permit().await;
        let waiting = stage.wait().await;
        let holder = actix::spawn(async move {
            let _permit = permit;
            panic!("asked for");
        });
        assert!(holder.await.is_err());
        let next = waiting.await.unwrap().unwrap();
        assert_eq!(stage.settled().await, (1, 1, 0));
        let sender = actix::spawn(async move {
            let _request = next.depart(Timestamp::EPOCH);
            panic!("asked for");
        });
        assert!(sender.await.is_err());
        assert_eq!(stage.settled().await, (1, 0, 0));
    });
}

#[test]
fn a_caller_that_is_gone_gives_back_its_place() {
    on_stage(limits(10, 1), |stage| async move {
        let permit = stage.permit().await;
        let (first, second) = (stage.wait().await, stage.wait().await);
        first.abort();
        assert!(first.await.is_err());
        assert_eq!(stage.settled().await, (1, 1, 1));
        drop(permit);
        drop(second.await.unwrap().unwrap());
        assert_eq!(stage.settled().await, (0, 0, 0));
    });
}

#[test]
fn a_permit_for_a_caller_that_is_just_gone_goes_to_the_next_at_once() {
    on_stage(limits(10, 1), |stage| async move {
        let permit = stage.permit().await;
        let mut first = Box::pin(stage.ask());
        assert!((&mut first).now_or_never().is_none());
        let second = stage.wait().await;
        // The limiter hears of the permit before it hears that the first has left.
        drop(first);
        drop(permit);
        drop(second.await.unwrap().unwrap());
        assert_eq!(stage.clock.now(), Timestamp::EPOCH);
        assert_eq!(stage.settled().await, (0, 0, 0));
    });
}

#[test]
fn a_permit_that_nobody_fetches_comes_back() {
    on_stage(limits(10, 1), |stage| async move {
        let mut granted = Box::pin(stage.ask());
        assert!((&mut granted).now_or_never().is_none());
        assert_eq!(stage.settled().await, (1, 1, 0));
        drop(granted);
        assert_eq!(stage.settled().await, (0, 0, 0));
    });
}

#[test]
fn a_limiter_that_starts_again_keeps_what_was_granted_and_who_waits_asks_again() {
    on_stage(limits(3, 10), |stage| async move {
        for _ in 0..3 {
            stage.permit().await.depart(Timestamp::EPOCH).settle(Feedback::default());
        }
        let waiting = actix::spawn(stage.ask());
        stage.clock.sleep(Duration::from_secs(30)).await;
        stage.limiter.send(End::Stop).await.unwrap();
        assert_eq!(stage.settled().await, (3, 0, 0));
        assert!(matches!(waiting.await.unwrap(), Err(actix::MailboxError::Closed)));
        let permit = stage.permit().await;
        assert_eq!(stage.clock.now(), Timestamp::from_millis(60_000));
        assert!(permit.waited() <= Duration::from_secs(30));
    });
}

#[test]
fn callers_are_let_go_when_the_limiter_is_gone() {
    on_stage(limits(1, 10), |stage| async move {
        let permit = stage.permit().await;
        let request = stage.ask();
        let waiting = actix::spawn(request);
        stage.stand().await;
        assert!(stage.limiter.send(End::Panic).await.is_err());
        assert!(matches!(waiting.await.unwrap(), Err(actix::MailboxError::Closed)));
        drop(permit);
    });
}

#[test]
fn a_thousand_waiters_go_in_the_order_in_which_they_came() {
    let limits = ProviderLimits { max_wait: Duration::from_secs(3_600), ..limits(100, 7) };
    on_stage(limits, |stage| async move {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiters = Vec::new();
        for number in 0..1_000_u64 {
            let (stage, order) = (stage.clone(), Arc::clone(&order));
            waiters.push(actix::spawn(async move {
                let permit = stage.permit().await;
                order.lock().unwrap().push((stage.clock.now(), number));
                // Some take long, some fail before they leave.
                stage.clock.sleep(Duration::from_millis(number % 13 * 100)).await;
                if number % 10 != 0 {
                    permit.depart(Timestamp::EPOCH).settle(Feedback::default());
                }
            }));
        }
        for waiter in waiters {
            waiter.await.unwrap();
        }
        let order = order.lock().unwrap();
        assert!(order.iter().map(|(_, number)| *number).eq(0..1_000));
        let departed: Vec<Timestamp> =
            order.iter().filter(|(_, n)| n % 10 != 0).map(|(at, _)| *at).collect();
        let too_soon = departed.windows(101).find(|w| w[100] < w[0] + Duration::from_secs(60));
        assert_eq!(too_soon, None);
        assert!(stage.clock.now() < Timestamp::from_millis(9 * 62_000), "the limit is not used");
    });
}

#[test]
fn a_request_that_leaves_long_after_its_permit_was_granted_counts_from_its_departure() {
    on_stage(limits(1, 10), async |stage| {
        let permit = stage.permit().await;
        stage.clock.sleep(Duration::from_secs(30)).await;
        permit.depart(stage.clock.now()).settle(Feedback::default());
        drop(stage.permit().await.depart(stage.clock.now()));
        assert_eq!(stage.clock.now(), Timestamp::EPOCH + Duration::from_secs(90));
    });
}

#[test]
fn nobody_at_the_desk_overtakes_who_is_on_the_way_to_the_queue_or_in_it() {
    on_stage(limits(10, 1), async |stage| {
        let held = stage.desk.ask(stage.desk.now(), Stage::one()).unwrap().unwrap();
        let on_the_way = stage.desk.ask(stage.desk.now(), Stage::one()).unwrap_err();
        drop(held);
        let too_soon = stage.desk.ask(stage.desk.now(), Stage::one());
        assert!(too_soon.is_err());
        drop(too_soon);
        let first = stage.limiter.send(on_the_way).await.unwrap().unwrap();
        let waiting = stage.wait().await;
        drop(first);
        assert!(stage.desk.ask(stage.desk.now(), Stage::one()).is_err());
        drop(waiting.await.unwrap().unwrap());
        assert_eq!(stage.settled().await, (0, 0, 0));
        assert!(stage.desk.ask(stage.desk.now(), Stage::one()).unwrap().is_ok());
    });
}

#[test]
fn after_a_panic_over_the_permits_what_was_taken_counts_whatever_unwound_already() {
    for unwinds in [false, true] {
        on_stage(limits(3, 2), async |stage| {
            let one = stage
                .desk
                .ask(stage.desk.now(), Stage::one())
                .unwrap()
                .unwrap()
                .depart(Timestamp::EPOCH);
            let other = stage.desk.ask(stage.desk.now(), Stage::one()).unwrap().unwrap();
            let ruin = || {
                stage.desk.change(End::Stop, |permits, _| {
                    permits.ruin();
                    panic!("scripted panic");
                });
            };
            if unwinds {
                panics::while_unwinding(ruin);
            } else {
                ruin();
            }
            assert_eq!(stage.stand().await, (2, 2, 0), "unwinds: {unwinds}");
            drop((one, other));
            assert_eq!(stage.settled().await, (1, 0, 0), "unwinds: {unwinds}");
        });
    }
}
