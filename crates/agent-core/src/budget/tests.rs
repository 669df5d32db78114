//! The budget's rules, each by a scene in virtual time.

mod crowd;
mod desk;

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use actix::Addr;

use super::*;
use crate::clock::VirtualClock;
use crate::ledger::{BudgetSpec, OnExhausted, When, Window};
use crate::record::CallId;

/// Keeps the notices.
#[derive(Default, Clone)]
struct Watcher(Arc<Mutex<Vec<BudgetNotice>>>);

impl Actor for Watcher {
    type Context = Context<Self>;
}

impl Handler<BudgetNotice> for Watcher {
    type Result = ();

    fn handle(&mut self, notice: BudgetNotice, _ctx: &mut Context<Self>) {
        self.0.lock().unwrap().push(notice);
    }
}

#[derive(Clone)]
struct Stage {
    budget: Addr<Budget>,
    desk: Desk,
    clock: Clock,
    notices: Watcher,
    attempts: Rc<Cell<u32>>,
}

fn usd(dollars: u64) -> NanoUsd {
    NanoUsd::from_dollars(dollars)
}

fn spec(scope: &str, limit: u64, window: Window, on_exhausted: OnExhausted) -> BudgetSpec {
    let scope = scope.parse().unwrap();
    BudgetSpec { scope, limit: usd(limit), window, on_exhausted, thresholds: vec![80] }
}

fn total(scope: &str, limit: u64) -> BudgetSpec {
    spec(scope, limit, Window::Total, OnExhausted::Reject)
}

fn scopes(names: &str) -> Arc<[Scope]> {
    let scope = |name: &str| match name.parse() {
        Ok(crate::ledger::ScopePattern::One(scope)) => scope,
        other => panic!("{other:?}"),
    };
    names.split(' ').map(scope).collect()
}

fn on_stage<F: Future<Output = T>, T>(specs: Vec<BudgetSpec>, test: impl FnOnce(Stage) -> F) -> T {
    VirtualClock::run(Timestamp::EPOCH, |clock| {
        let notices = Watcher::default();
        let watcher = notices.clone().start().recipient();
        let budget = Budget::new(Ledger::new(specs), clock.clone(), watcher).max_waiting(300);
        let desk = budget.desk();
        test(Stage { budget: budget.start(), desk, clock, notices, attempts: Rc::default() })
    })
}

fn seconds(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_000 * seconds)
}

impl Stage {
    /// Of an attempt that there was not yet.
    fn name(&self) -> AttemptId {
        self.attempts.set(self.attempts.get() + 1);
        AttemptId { call_id: CallId::new(Timestamp::EPOCH, 0), attempt: self.attempts.get() }
    }

    async fn reserve(&self, names: &str, dollars: u64) -> Result<Reservation, ReserveError> {
        self.ask(names, dollars, None, seconds(1_000)).await
    }

    async fn ask(
        &self,
        names: &str,
        dollars: u64,
        ticket: Option<Ticket>,
        deadline: Timestamp,
    ) -> Result<Reservation, ReserveError> {
        let (scopes, amount, name) = (scopes(names), usd(dollars), self.name());
        self.budget.send(Reserve::new(name, scopes, amount, ticket, deadline)).await.unwrap()
    }

    async fn ticket(&self, names: &str, dollars: u64) -> Ticket {
        match self.reserve(names, dollars).await {
            Err(ReserveError::MustWait(ticket, _)) => ticket,
            other => panic!("{other:?}"),
        }
    }

    /// Waits in a task of its own; what it gets is there when the task is awaited.
    fn wait(&self, ticket: Ticket, until: u64) -> JoinHandle<Result<Ticket, ReserveError>> {
        let request = self.budget.send(AwaitRoom { ticket, deadline: seconds(until) });
        actix::spawn(async move { request.await.unwrap() })
    }

    /// The worker's protocol: asks, waits, asks again.
    async fn obtain(
        &self,
        names: &str,
        dollars: u64,
        deadline: Timestamp,
    ) -> Result<Reservation, NoRoom> {
        let mut ticket = None;
        loop {
            match self.ask(names, dollars, ticket.take(), deadline).await {
                Ok(reservation) => return Ok(reservation),
                Err(ReserveError::Refused(no_room)) => return Err(no_room),
                Err(ReserveError::MustWait(place, _)) => match place.room(deadline).await {
                    Ok(place) => ticket = Some(place),
                    Err(ReserveError::Refused(no_room)) => return Err(no_room),
                    Err(ReserveError::MustWait(..)) => panic!("a wait ends in a wait"),
                },
            }
        }
    }

    async fn balances(&self) -> Vec<Balance> {
        self.budget.send(GetBalances { named: false }).await.unwrap()
    }

    /// Spent, presumed and reserved in the first budget, in dollars.
    async fn sums(&self) -> [u64; 3] {
        let first = &self.balances().await[0];
        [first.spent, first.presumed, first.reserved].map(|sum| sum.nanos() / 1_000_000_000)
    }

    async fn pass(&self, seconds: u64) {
        self.clock.sleep(Duration::from_secs(seconds)).await;
    }
}

#[test]
fn what_is_dropped_resolves_itself_before_it_left_as_nothing_and_after_as_presumed() {
    on_stage(vec![total("global", 10)], |stage| async move {
        drop(stage.reserve("global", 4).await.unwrap());
        assert_eq!(stage.sums().await, [0, 0, 0]);
        drop(stage.reserve("global", 4).await.unwrap().depart());
        assert_eq!(stage.sums().await, [0, 4, 0]);
        stage.reserve("global", 4).await.unwrap().depart().settle(usd(1));
        assert_eq!(stage.sums().await, [1, 4, 0]);
        stage.reserve("global", 4).await.unwrap().depart().release();
        stage.reserve("global", 4).await.unwrap().depart().settle_partly(usd(1), usd(2));
        assert_eq!(stage.sums().await, [2, 6, 0]);
        stage.reserve("global", 1).await.unwrap().depart().presume();
        assert_eq!(stage.sums().await, [2, 7, 0]);
    });
}

#[test]
fn the_parts_of_a_reservation_resolve_by_themselves_and_are_all_of_it() {
    on_stage(vec![total("global", 10)], |stage| async move {
        let mut whole = stage.reserve("global", 10).await.unwrap();
        let part = whole.split(usd(3)).unwrap();
        assert!(whole.split(usd(7)).is_none() && whole.split(NanoUsd::ZERO).is_none());
        whole.shrink(usd(5));
        assert_eq!(stage.sums().await, [0, 0, 8]);
        whole.depart().settle(usd(4));
        assert_eq!(stage.sums().await, [4, 0, 3]);
        drop(part.depart());
        assert_eq!(stage.sums().await, [4, 3, 0]);
    });
}

#[test]
fn what_holds_money_can_go_to_any_thread() {
    fn is_send<T: Send>() {}
    is_send::<Reservation>();
    is_send::<InFlight>();
    is_send::<Ticket>();
    is_send::<ReserveError>();
}

#[test]
fn a_newcomer_does_not_overtake_who_waits_for_the_same_budget_however_little_it_wants() {
    on_stage(vec![total("global", 10)], |stage| async move {
        let held = stage.reserve("global", 8).await.unwrap();
        let large = stage.ticket("global", 5).await;
        let small = stage.ticket("global", 1).await;
        let (large, small) = (stage.wait(large, 100), stage.wait(small, 100));
        stage.pass(1).await;
        assert!(!large.is_finished() && !small.is_finished());
        held.depart().settle(usd(1));
        let large = large.await.unwrap().unwrap();
        let small = small.await.unwrap().unwrap();
        assert_eq!(stage.sums().await, [1, 0, 6]);
        stage.ask("global", 5, Some(large), seconds(100)).await.unwrap().depart().settle(usd(5));
        drop(small);
        assert_eq!(stage.sums().await, [6, 0, 0]);
    });
}

#[test]
fn who_waits_for_one_project_does_not_hold_up_another() {
    on_stage(vec![total("global", 100), total("project:*", 5)], |stage| async move {
        let held = stage.reserve("global project:a", 5).await.unwrap();
        let waits = stage.ticket("global project:a", 5).await;
        stage.reserve("global project:b", 5).await.unwrap().depart().settle(usd(5));
        drop(held);
        drop(stage.wait(waits, 100).await.unwrap().unwrap());
        assert_eq!(stage.clock.now(), Timestamp::EPOCH);
    });
}

#[test]
fn money_for_a_turn_that_came_is_taken_by_nobody_else_and_goes_on_when_the_ticket_is_dropped() {
    on_stage(vec![total("global", 10)], |stage| async move {
        let held = stage.reserve("global", 10).await.unwrap();
        let (first, second) = (stage.ticket("global", 10).await, stage.ticket("global", 10).await);
        drop(held);
        let first = stage.wait(first, 100).await.unwrap().unwrap();
        let newcomer = stage.ticket("global", 1).await;
        drop((newcomer, first));
        let second = stage.wait(second, 100).await.unwrap().unwrap();
        stage.ask("global", 10, Some(second), seconds(100)).await.unwrap().depart().presume();
        assert_eq!(stage.sums().await, [0, 10, 0]);
    });
}

#[test]
fn a_ticket_dropped_at_the_head_of_the_queue_lets_the_next_pass() {
    on_stage(vec![total("global", 10)], |stage| async move {
        let _held = stage.reserve("global", 8).await.unwrap();
        let large = stage.ticket("global", 5).await;
        let small = stage.ticket("global", 2).await;
        drop(large);
        drop(stage.wait(small, 100).await.unwrap().unwrap());
        assert_eq!(stage.clock.now(), Timestamp::EPOCH);
    });
}

#[test]
fn a_wait_that_is_dropped_leaves_the_queue_at_once() {
    on_stage(vec![total("global", 10)], |stage| async move {
        let _held = stage.reserve("global", 8).await.unwrap();
        let large = stage.ticket("global", 5).await;
        let small = stage.ticket("global", 2).await;
        assert!(stage.clock.timeout(seconds(3), pin!(large.room(seconds(900)))).await.is_err());
        drop(small.room(seconds(900)).await.unwrap());
        assert_eq!(stage.clock.now(), seconds(3));
    });
}

#[test]
fn a_wait_ends_at_its_deadline_and_what_it_held_up_goes_on() {
    on_stage(vec![total("global", 10)], |stage| async move {
        let _held = stage.reserve("global", 8).await.unwrap();
        let large = stage.ticket("global", 5).await;
        let small = stage.ticket("global", 2).await;
        let (large, small) = (stage.wait(large, 7), stage.wait(small, 100));
        let Err(ReserveError::Refused(no_room)) = large.await.unwrap() else { panic!("room") };
        assert_eq!((no_room.when, stage.clock.now()), (When::InFlight, seconds(7)));
        drop(small.await.unwrap().unwrap());
        assert_eq!(stage.clock.now(), seconds(7));
    });
}

#[test]
fn money_for_a_turn_that_is_not_used_by_its_deadline_goes_on() {
    on_stage(vec![total("global", 10)], |stage| async move {
        let held = stage.reserve("global", 10).await.unwrap();
        let (slow, next) = (stage.ticket("global", 10).await, stage.ticket("global", 10).await);
        drop(held);
        let slow = stage.wait(slow, 5).await.unwrap().unwrap();
        drop(stage.wait(next, 100).await.unwrap().unwrap());
        assert_eq!(stage.clock.now(), seconds(5));
        let late = stage.ask("global", 10, Some(slow), seconds(5)).await;
        assert!(late.is_ok(), "the next dropped its ticket: {late:?}");
    });
}

#[test]
fn a_budget_that_waits_for_its_window_admits_at_the_turn_and_refuses_what_cannot_wait_so_long() {
    let day = spec("project:*", 10, Window::Day, OnExhausted::Wait);
    on_stage(vec![total("global", 100), day], |stage| async move {
        stage.reserve("global project:a", 10).await.unwrap().depart().settle(usd(9));
        let soon = stage.ask("global project:a", 3, None, seconds(86_399)).await;
        assert!(matches!(soon, Err(ReserveError::Refused(_))), "{soon:?}");
        let waiting = stage.clone();
        let waiting =
            actix::spawn(
                async move { waiting.obtain("global project:a", 3, seconds(90_000)).await },
            );
        stage.pass(1).await;
        // What has room in this window does not wait for the next one.
        stage.reserve("global project:a", 1).await.unwrap().depart().settle(usd(1));
        let reservation = waiting.await.unwrap().unwrap();
        assert_eq!((stage.clock.now(), reservation.amount()), (seconds(86_400), usd(3)));
    });
}

#[test]
fn who_waits_for_money_in_flight_is_woken_by_the_turn_of_the_window_too() {
    let hour = spec("global", 10, Window::Hour, OnExhausted::Reject);
    on_stage(vec![hour], |stage| async move {
        let _hangs = stage.reserve("global", 10).await.unwrap().depart();
        stage.obtain("global", 10, seconds(9_000)).await.unwrap().depart().release();
        assert_eq!(stage.clock.now(), seconds(3_600));
    });
}

#[test]
fn each_turn_of_a_window_wakes_as_many_as_fit_in_it() {
    let hour = spec("global", 10, Window::Hour, OnExhausted::Reject);
    on_stage(vec![hour], |stage| async move {
        let mut hang = vec![stage.reserve("global", 10).await.unwrap().depart()];
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                let stage = stage.clone();
                actix::spawn(async move {
                    let got = stage.obtain("global", 5, seconds(90_000)).await.unwrap();
                    (stage.clock.now(), got.depart())
                })
            })
            .collect();
        let mut woken = Vec::new();
        for waiting in waiting {
            let (at, in_flight) = waiting.await.unwrap();
            woken.push(at);
            hang.push(in_flight);
        }
        assert_eq!(woken, [3_600, 3_600, 7_200, 7_200].map(seconds));
    });
}

#[test]
fn who_waits_is_refused_as_soon_as_what_was_in_flight_is_spent() {
    on_stage(vec![total("global", 10)], |stage| async move {
        let held = stage.reserve("global", 10).await.unwrap();
        let waits = stage.ticket("global", 1).await;
        let waits = stage.wait(waits, 1_000);
        held.depart().settle(usd(10));
        let Err(ReserveError::Refused(no_room)) = waits.await.unwrap() else { panic!("room") };
        assert_eq!((no_room.when, stage.clock.now()), (When::Never, Timestamp::EPOCH));
    });
}

#[test]
fn a_queue_that_is_full_refuses() {
    on_stage(vec![total("global", 10)], |stage| async move {
        let _held = stage.reserve("global", 10).await.unwrap();
        let mut tickets = Vec::new();
        for _ in 0..300 {
            tickets.push(stage.ticket("global", 1).await);
        }
        let more = stage.reserve("global", 1).await;
        assert!(matches!(more, Err(ReserveError::Refused(_))), "{more:?}");
        tickets.pop();
        drop(stage.ticket("global", 1).await);
    });
}

#[test]
fn thresholds_overruns_refusals_and_stops_are_noticed() {
    let stops = spec("global", 10, Window::Total, OnExhausted::StopRun);
    on_stage(vec![stops], |stage| async move {
        stage.reserve("global", 5).await.unwrap().depart().settle(usd(12));
        assert!(stage.reserve("global", 1).await.is_err());
        stage.pass(1).await;
        let kinds: Vec<String> = stage.notices.0.lock().unwrap().iter().map(kind).collect();
        assert_eq!(kinds, ["80 %", "7 over 10", "stop", "exceeded"]);
    });
}

fn kind(notice: &BudgetNotice) -> String {
    match notice {
        BudgetNotice::Threshold(threshold) => format!("{} %", threshold.percent),
        BudgetNotice::Overrun(overrun) => format!("{} over {}", overrun.by, overrun.limit),
        BudgetNotice::Exceeded(_) => "exceeded".into(),
        BudgetNotice::StopRun(_) => "stop".into(),
    }
}
