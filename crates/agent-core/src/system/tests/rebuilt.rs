//! A budget that panics at any moment of its calls' lives, and comes back from what is durable.

use std::rc::Rc;

use super::*;
use crate::budget::Ruin;
use crate::ledger::{Balance, BudgetSpec};
use crate::llm::LlmErrorKind;
use crate::money::NanoUsd;
use crate::supervision::Supervision;
use crate::task::ErrorCode;

mod history;
mod tickets;

const TASKS: u64 = 16;
const PANICS: u32 = 60;
/// What 100 tokens in and 50 out cost.
const COST: NanoUsd = NanoUsd::from_nanos(350_000);

/// A provider that keeps a bill of its own.
#[derive(Debug)]
struct Billing {
    clock: Clock,
    bound: NanoUsd,
    bill: Mutex<Bill>,
}

#[derive(Debug)]
struct Bill {
    random: fastrand::Rng,
    in_flight: u64,
    billed: u64,
    /// The most that all that had left could ever have cost, at any moment.
    worst: NanoUsd,
}

impl Billing {
    fn new(clock: &Clock, bound: NanoUsd, seed: u64) -> Arc<Billing> {
        let random = fastrand::Rng::with_seed(seed);
        let bill = Mutex::new(Bill { random, in_flight: 0, billed: 0, worst: NanoUsd::ZERO });
        Arc::new(Billing { clock: clock.clone(), bound, bill })
    }
}

#[derive(Debug, Clone)]
struct Client(Arc<Billing>);

impl LlmClient for Client {
    fn complete<'a>(&'a self, _: &'a Request) -> LocalBoxFuture<'a, Result<Answer, LlmError>> {
        let Billing { clock, bound, bill } = &*self.0;
        Box::pin(async move {
            let (pause, fails) = {
                let bill = &mut *lock(bill);
                bill.in_flight += 1;
                let worst = COST.nanos() * bill.billed + bound.nanos() * bill.in_flight;
                bill.worst = bill.worst.max(NanoUsd::from_nanos(worst));
                (bill.random.u64(0..60), bill.random.u8(..8) == 0)
            };
            clock.sleep(Duration::from_millis(pause)).await;
            let bill = &mut *lock(bill);
            bill.in_flight -= 1;
            if fails {
                return Err(LlmError::new(LlmErrorKind::Server, "scripted"));
            }
            bill.billed += 1;
            Ok(Answer {
                content: vec![Block::Text { text: "done".into() }],
                stop_reason: Some(StopReason::EndTurn),
                usage: Usage { input_tokens: 100, output_tokens: 50, ..Usage::default() },
                ..Answer::default()
            })
        })
    }

    fn provider(&self) -> &str {
        "billing"
    }
}

async fn start(clock: &Clock, client: &Arc<Billing>, limit: NanoUsd) -> AgentSystem {
    let often = Supervision {
        max_restarts: 10_000,
        backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(1),
        ..Supervision::default()
    };
    let agent = AgentSpec::new("clerk", "claude-haiku-4-5").count(8).max_tokens(100);
    let builder = AgentSystem::builder(Client(Arc::clone(client))).clock(clock.clone()).seed(7);
    let limit = BudgetSpec::new("global".parse().unwrap(), limit);
    builder.agent(agent).budget(limit).supervision(often).start().await.unwrap()
}

fn task(id: u64) -> Task {
    Task::new(format!("{id:03}"), "a task")
}

/// What is reserved for one attempt of such a task.
fn bound() -> NanoUsd {
    VirtualClock::run(Timestamp::from_millis(0), |clock| async move {
        let client = Billing::new(&clock, NanoUsd::ZERO, 1);
        let system = start(&clock, &client, NanoUsd::from_dollars(1)).await;
        drop(system.submit(task(0)).await.unwrap());
        while lock(&client.bill).in_flight == 0 {
            tokio::task::yield_now().await;
        }
        system.balances().await.unwrap()[0].reserved
    })
}

/// Panics of the budget between any two steps of anybody.
async fn saboteur(system: Rc<AgentSystem>, clock: Clock, mut random: fastrand::Rng) {
    for _ in 0..PANICS {
        for _ in 0..random.u32(0..30) {
            tokio::task::yield_now().await;
        }
        system.budget.do_send(Ruin);
        clock.sleep(Duration::from_millis(random.u64(0..12))).await;
    }
}

fn holds(balance: &Balance, seed: u64) {
    let all = balance.spent.saturating_add(balance.presumed).saturating_add(balance.reserved);
    assert!(all <= balance.limit, "seed {seed}: {balance:?}");
}

/// All tasks under panics, some of them cancelled on the way where `cancels`.
async fn storm(clock: Clock, bound: NanoUsd, seed: u64, cancels: bool) {
    let room = if cancels { 6 } else { 2 };
    // Enough for everything in the end, and for few at once.
    let limit = NanoUsd::from_nanos(COST.nanos() * TASKS + bound.nanos() * room);
    let client = Billing::new(&clock, bound, seed);
    let system = Rc::new(start(&clock, &client, limit).await);
    let mut outcomes = system.outcomes();
    let mut told = BTreeMap::<String, u32>::new();
    let random = fastrand::Rng::with_seed(seed);
    let sabotage = actix::spawn(saboteur(Rc::clone(&system), clock.clone(), random.clone()));
    let auditor = {
        let (system, clock) = (Rc::clone(&system), clock.clone());
        actix::spawn(async move {
            loop {
                // It panics over nobody's question but its own.
                if let Ok(balances) = system.balances().await {
                    holds(&balances[0], seed);
                }
                clock.sleep(Duration::from_millis(1)).await;
            }
        })
    };
    for id in 0..TASKS {
        drop(system.submit(task(id)).await.unwrap());
        if cancels && id % 4 == 3 {
            clock.sleep(Duration::from_millis(id)).await;
            system.cancel(task(id - 3).id).await.unwrap();
        }
    }
    let mut completed = 0;
    for _ in 0..TASKS {
        let outcome = outcomes.next().await.unwrap();
        *told.entry(outcome.task_id.to_string()).or_default() += 1;
        let code = outcome.error.as_ref().map(|error| error.code);
        assert_ne!(code, Some(ErrorCode::BudgetExceeded), "seed {seed}: {outcome:?}");
        completed += u64::from(code.is_none());
    }
    sabotage.abort();
    assert!(!auditor.is_finished(), "seed {seed}: the auditor has found something");
    auditor.abort();
    clock.sleep(Duration::from_secs(60)).await;
    assert!(outcomes.try_next().is_none(), "seed {seed}");
    assert!(told.len() as u64 == TASKS && told.values().all(|t| *t == 1), "seed {seed}: {told:?}");

    let totals = system.usage(UsageQuery::default()).await.unwrap().total.totals;
    let balance = &system.balances().await.unwrap()[0];
    assert_eq!(balance.reserved, NanoUsd::ZERO, "seed {seed}");
    assert_eq!((balance.spent, balance.presumed), (totals.cost, totals.presumed), "seed {seed}");
    let bill = lock(&client.bill);
    assert!(bill.worst <= limit, "seed {seed}: {bill:?} of {limit}");
    if !cancels {
        assert_eq!((bill.billed, bill.in_flight), (completed, 0), "seed {seed}");
        assert_eq!(totals.cost.nanos(), COST.nanos() * completed, "seed {seed}");
    }
}

#[test]
fn a_budget_that_panics_at_any_moment_overspends_nothing_refuses_nobody_and_loses_no_record() {
    let bound = bound();
    for seed in 0..24 {
        VirtualClock::run(Timestamp::from_millis(0), |clock| storm(clock, bound, seed, false));
    }
}

#[test]
fn a_budget_that_panics_while_tasks_are_cancelled_keeps_its_limit_and_holds_nothing_for_ever() {
    let bound = bound();
    for seed in 100..112 {
        VirtualClock::run(Timestamp::from_millis(0), |clock| storm(clock, bound, seed, true));
    }
}

#[test]
fn the_ruin_of_a_budget_is_noticed_by_what_it_says() {
    // That the panics above would show: what is ruined has no budgets, what came back has one.
    VirtualClock::run(Timestamp::from_millis(0), |clock| async move {
        let client = Billing::new(&clock, NanoUsd::ZERO, 1);
        let system = start(&clock, &client, NanoUsd::from_dollars(1)).await;
        system.run(task(0)).await.unwrap();
        let before = system.balances().await.unwrap();
        system.budget.do_send(Ruin);
        assert_eq!(system.balances().await.unwrap(), before);
        assert_eq!(before[0].spent, COST);
    });
}
