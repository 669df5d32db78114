//! What an earlier life of the budget has given out means nothing to a later one.

use actix::{Actor, Addr, Context, Handler};

use super::*;
use crate::budget::{AwaitRoom, Budget, BudgetNotice, Durable, Reserve, ReserveError, Ticket};
use crate::guard::{self, Watcher};
use crate::ledger::{Ledger, Scope};
use crate::record::{AttemptId, CallId, OpenAttempt, Subject};

/// Lets the budget come back at once, as often as it likes.
struct Again(Clock);

impl Watcher for Again {
    fn clock(&self) -> &Clock {
        &self.0
    }

    fn panicked(&self, _: &str) -> Option<Duration> {
        Some(Duration::ZERO)
    }

    fn resumed(&self) {}

    fn ended(&self) {}
}

struct Deaf;

impl Actor for Deaf {
    type Context = Context<Self>;
}

impl Handler<BudgetNotice> for Deaf {
    type Result = ();

    fn handle(&mut self, _: BudgetNotice, _: &mut Context<Self>) {}
}

fn limit() -> NanoUsd {
    NanoUsd::from_dollars(10)
}

fn ledger() -> Ledger {
    Ledger::new(vec![BudgetSpec::new("global".parse().unwrap(), limit())])
}

/// The attempt that has all the money.
fn open() -> OpenAttempt {
    OpenAttempt {
        call_id: CallId::new(Timestamp::EPOCH, 1),
        attempt: 1,
        at: Timestamp::EPOCH,
        bound: limit(),
        account: "a key".into(),
        provider: "nobody".into(),
        subject: Arc::new(Subject { run_id: "a run".into(), ..Subject::default() }),
    }
}

fn reserve(name: AttemptId, amount: NanoUsd, ticket: Option<Ticket>) -> Reserve {
    let open = open();
    let scopes: Arc<[Scope]> = open.subject.scopes(&open.account).into();
    Reserve::new(name, scopes, amount, ticket, Timestamp::from_millis(60_000))
}

async fn ticket(budget: &Addr<Budget>, attempt: u32) -> Ticket {
    let name = AttemptId { call_id: CallId::new(Timestamp::EPOCH, 2), attempt };
    match budget.send(reserve(name, limit(), None)).await.unwrap() {
        Err(ReserveError::MustWait(ticket, _)) => ticket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_ticket_of_an_earlier_life_takes_nobodys_place() {
    VirtualClock::run(Timestamp::EPOCH, |clock| async move {
        let source = Box::new(|| {
            let durable = Durable { ledger: ledger(), open: vec![open().into()] };
            Box::pin(std::future::ready(Some(durable))) as LocalBoxFuture<'static, _>
        });
        let notices = Deaf.start().recipient();
        let budget = Budget::new(ledger(), clock.clone(), notices).rebuilt_from(source);
        let budget = guard::start(budget, Again(clock.clone()));
        let money = budget.send(reserve(open().id(), limit(), None)).await.unwrap().unwrap();
        let earlier = ticket(&budget, 2).await;
        budget.do_send(Ruin);
        let later = ticket(&budget, 3).await;
        let deadline = Timestamp::from_millis(60_000);
        let waits = actix::spawn(budget.send(AwaitRoom { ticket: later, deadline }));
        clock.sleep(Duration::from_secs(1)).await;
        drop(earlier);
        clock.sleep(Duration::from_secs(1)).await;
        drop(money);
        let turn = waits.await.unwrap().unwrap().unwrap();
        assert_eq!(clock.now(), Timestamp::from_millis(2_000));
        let name = AttemptId { call_id: CallId::new(Timestamp::EPOCH, 2), attempt: 3 };
        drop(budget.send(reserve(name, limit(), Some(turn))).await.unwrap().unwrap());
    });
}

#[test]
fn a_budget_that_cannot_be_rebuilt_ends_and_grants_nothing() {
    VirtualClock::run(Timestamp::EPOCH, |clock| async move {
        let nothing = Box::new(|| {
            Box::pin(std::future::ready(None)) as LocalBoxFuture<'static, Option<Durable>>
        });
        for has_source in [false, true] {
            let budget = Budget::new(ledger(), clock.clone(), Deaf.start().recipient());
            let budget = match has_source {
                true => budget.rebuilt_from(nothing.clone()),
                false => budget,
            };
            let budget = guard::start(budget, Again(clock.clone()));
            budget.do_send(Ruin);
            let answer = budget.send(reserve(open().id(), limit(), None)).await;
            assert!(answer.is_err(), "with a source: {has_source}");
            assert!(!budget.connected(), "with a source: {has_source}");
        }
    });
}
