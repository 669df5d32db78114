//! Actors that all workers share, and panic.

use actix::{Context, Handler, Message};

use super::*;
use crate::budget::Ruin;
use crate::permits::ProviderLimits;
use crate::rate_limiter::RateLimiter;
use crate::store::Store;
use crate::supervision::Supervision;

/// Panics in whoever gets it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Panic;

impl Handler<Panic> for RateLimiter {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Context<Self>) {
        panic!("scripted panic");
    }
}

impl Handler<Panic> for Store {
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
fn a_budget_that_panics_too_often_stops_the_run_in_order_with_what_was_in_flight_recorded() {
    VirtualClock::run(Timestamp::from_millis(0), |clock| async move {
        let gate = Gate::default();
        let system = under_way(&clock, &gate).await;
        for _ in 0..100 {
            system.budget.do_send(Ruin);
        }
        clock.sleep(Duration::from_secs(300)).await;
        gate.open();
        assert_eq!(system.stopped().await, Ended::Stopped);
        assert_eq!(gate.sent(), 1, "a call left without a budget");
        let usage = system.usage(UsageQuery::default()).await.unwrap();
        assert_eq!(usage.total.totals.calls, 1);
    });
}

#[test]
fn a_budget_that_panics_while_the_store_is_down_waits_for_what_the_store_had_kept() {
    let (disk, gate) = (Disk::new(), Gate::default());
    on_a_system(async {
        let limit = crate::ledger::BudgetSpec::new("global".parse().unwrap(), "1".parse().unwrap());
        let system = disk.system(&gate).budget(limit).start().await.unwrap();
        let mut outcomes = system.outcomes();
        submitted(&system, 6).await;
        until("two attempts", async || gate.sent() == 2).await;
        disk.fails(true);
        gate.open();
        until("the store is down", async || is_down(&system).await).await;
        system.budget.do_send(Ruin);
        let asked = system.budget.send(crate::budget::GetBalances { named: true });
        Clock::real().sleep(Duration::from_millis(1_500)).await;
        assert!(is_down(&system).await);
        disk.fails(false);
        // What the two attempts cost is nowhere but in what the store kept.
        let balances = asked.await.unwrap();
        assert!(!balances[0].spent.is_zero(), "{balances:?}");
        for _ in 0..6 {
            assert!(outcomes.next().await.unwrap().error.is_none());
        }
        let spent = system.usage(UsageQuery::default()).await.unwrap().total.totals.cost;
        let balance = &system.balances().await.unwrap()[0];
        assert_eq!((balance.spent, balance.reserved.is_zero()), (spent, true));
        system.interrupt().await;
    });
    assert_eq!(disk.holds(), (6, 0, 6, 0));
}

#[test]
fn a_store_whose_actor_panics_has_lost_nothing_that_was_told_and_writes_nothing_twice() {
    let (disk, gate) = (Disk::new(), Gate::default());
    on_a_system(async {
        let system = disk.system(&gate).start().await.unwrap();
        let mut outcomes = system.outcomes();
        submitted(&system, 6).await;
        until("two attempts", async || gate.sent() == 2).await;
        system.store.do_send(Panic);
        gate.open();
        let mut told = BTreeMap::<String, u32>::new();
        for _ in 0..6 {
            let outcome = outcomes.next().await.unwrap();
            assert!(outcome.error.is_none(), "{outcome:?}");
            *told.entry(outcome.task_id.to_string()).or_default() += 1;
            if told.len() == 3 {
                system.store.do_send(Panic);
            }
        }
        assert!(told.len() == 6 && told.values().all(|times| *times == 1), "{told:?}");
        assert_eq!(gate.sent(), 6);
        system.interrupt().await;
    });
    assert_eq!(disk.holds(), (6, 0, 6, 0));
}

#[test]
fn a_store_whose_actor_panics_at_any_moment_keeps_every_record_once() {
    for seed in 0..8 {
        VirtualClock::run(Timestamp::from_millis(0), |clock| async move {
            let gate = Gate::default();
            gate.open();
            let backoff = Duration::from_millis(1);
            let often = Supervision {
                max_restarts: 10_000,
                backoff,
                max_backoff: backoff,
                ..Supervision::default()
            };
            let agent = AgentSpec::new("clerk", "claude-haiku-4-5").count(9);
            let builder = AgentSystem::builder(gate.clone()).clock(clock.clone()).seed(7);
            let system = builder.agent(agent).supervision(often).start().await.unwrap();
            let mut outcomes = system.outcomes();
            let sabotage = {
                let (store, clock) = (system.store.clone(), clock.clone());
                let mut random = fastrand::Rng::with_seed(seed);
                actix::spawn(async move {
                    loop {
                        for _ in 0..random.u32(0..40) {
                            tokio::task::yield_now().await;
                        }
                        store.do_send(Panic);
                        clock.sleep(Duration::from_millis(random.u64(1..8))).await;
                    }
                })
            };
            for id in 0..60 {
                drop(system.submit(Task::new(id.to_string(), "a task")).await.unwrap());
            }
            for _ in 0..60 {
                let outcome = outcomes.next().await.unwrap();
                assert!(outcome.error.is_none(), "seed {seed}: {outcome:?}");
            }
            sabotage.abort();
            assert!(outcomes.try_next().is_none(), "seed {seed}: twice");
            clock.sleep(Duration::from_secs(1)).await;
            let usage = system.usage(UsageQuery::default()).await.unwrap();
            let sent = gate.sent() as u64;
            assert_eq!((usage.total.totals.calls, sent), (60, 60), "seed {seed}");
        });
    }
}

#[test]
fn a_store_that_pauses_where_the_system_is_let_go_of_does_what_it_was_sent_and_ends() {
    let (disk, gate) = (Disk::new(), Gate::default());
    on_a_system(async {
        let day = Duration::from_secs(86_400);
        let long = Supervision { backoff: day, max_backoff: day, ..Supervision::default() };
        let system = disk.system(&gate).supervision(long).start().await.unwrap();
        submitted(&system, 1).await;
        until("an attempt", async || gate.sent() == 1).await;
        system.store.do_send(Panic);
        gate.open();
        let idle = async || system.snapshot().await.unwrap().running == 0;
        until("the answer", idle).await;
        drop(system);
        let free = async || Reader::open(disk.dir()).is_ok();
        until("the folder is free", free).await;
    });
    // The answer was recorded, and so was the task's end.
    assert_eq!(disk.holds(), (1, 0, 1, 0));
}

#[test]
fn a_store_whose_actor_panics_too_often_stops_the_run_in_order() {
    VirtualClock::run(Timestamp::from_millis(0), |clock| async move {
        let gate = Gate::default();
        let system = under_way(&clock, &gate).await;
        for _ in 0..10 {
            system.store.do_send(Panic);
        }
        assert_eq!(system.stopped().await, Ended::Stopped);
    });
}
