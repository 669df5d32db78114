//! Actors that all workers share, and panic.

use actix::{Context, Handler, Message};

use super::*;
use crate::budget::Budget;
use crate::permits::ProviderLimits;
use crate::rate_limiter::RateLimiter;

/// Panics in whoever gets it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Panic;

impl Handler<Panic> for Budget {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Context<Self>) {
        panic!("scripted panic");
    }
}

impl Handler<Panic> for RateLimiter {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Context<Self>) {
        panic!("scripted panic");
    }
}

/// One worker at a time, of tasks that wait for the gate.
async fn under_way(clock: &Clock, gate: &Gate) -> AgentSystem {
    let limits = ProviderLimits { max_concurrent: 1.try_into().unwrap(), ..Default::default() };
    let agent = AgentSpec::new("clerk", "claude-haiku-4-5").count(3);
    let builder = AgentSystem::builder(gate.clone()).clock(clock.clone()).seed(7);
    let system = builder.agent(agent).limits(limits).start().await.unwrap();
    for id in 0..3 {
        let submitted = system.submit(Task::new(id.to_string(), "a letter")).await;
        drop(submitted.unwrap());
    }
    while gate.sent() == 0 {
        clock.sleep(Duration::from_millis(1)).await;
    }
    system
}

#[test]
fn a_panic_of_the_rate_limiter_ends_no_task_and_loses_nobodys_place() {
    VirtualClock::run(Timestamp::from_millis(0), |clock| async move {
        let gate = Gate::default();
        let system = under_way(&clock, &gate).await;
        let mut outcomes = system.outcomes();
        system.limiter.do_send(Panic);
        gate.open();
        for _ in 0..3 {
            let outcome = outcomes.next().await.unwrap();
            assert!(outcome.error.is_none(), "{outcome:?}");
        }
        assert_eq!(gate.sent(), 3);
    });
}

#[test]
fn a_panic_of_the_budget_stops_the_run_in_order_with_what_was_in_flight_recorded() {
    VirtualClock::run(Timestamp::from_millis(0), |clock| async move {
        let gate = Gate::default();
        let system = under_way(&clock, &gate).await;
        system.budget.do_send(Panic);
        clock.sleep(Duration::from_secs(1)).await;
        gate.open();
        assert_eq!(system.stopped().await, Ended::Stopped);
        assert_eq!(gate.sent(), 1, "a call left without a budget");
        let usage = system.usage(UsageQuery::default()).await.unwrap();
        assert_eq!(usage.total.totals.calls, 1);
    });
}
