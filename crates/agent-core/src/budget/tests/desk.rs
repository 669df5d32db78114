//! The desk: money without a message, and nobody overtaken for it.

use std::cell::RefCell;
use std::future::poll_fn;

use super::*;
use crate::panics;
use crate::record::{OpenAttempt, Subject};

impl Stage {
    fn at_the_desk(&self, dollars: u64) -> Result<Reservation, Reserve> {
        let (name, scopes, amount) = (self.name(), scopes("global"), usd(dollars));
        let at_once = self.desk.reserve(self.desk.now(), name, &*scopes, amount);
        at_once.map_err(|coming| {
            Reserve::new(name, scopes, amount, None, seconds(1_000)).coming(coming)
        })
    }
}

#[test]
fn nobody_at_the_desk_overtakes_who_is_on_the_way_to_the_queue_or_in_it() {
    on_stage(vec![total("global", 10)], |stage| async move {
        let all = stage.at_the_desk(10).unwrap();
        let on_the_way = stage.at_the_desk(7).unwrap_err();
        let also = stage.at_the_desk(7).unwrap_err();
        drop(all);
        drop(stage.at_the_desk(1).unwrap_err());
        let first = stage.budget.send(on_the_way).await.unwrap().unwrap();
        assert_eq!(stage.sums().await, [0, 0, 7]);
        let Err(ReserveError::MustWait(ticket, _)) = stage.budget.send(also).await.unwrap() else {
            panic!("there is no room");
        };
        // There is room for this one, but another is before it.
        drop(stage.at_the_desk(3).unwrap_err());
        drop(first);
        drop(ticket.room(seconds(1)).await.unwrap());
        stage.sums().await;
        assert_eq!(stage.at_the_desk(3).unwrap().amount(), usd(3));
    });
}

#[test]
fn what_is_settled_at_the_desk_raises_its_notices() {
    on_stage(vec![total("global", 10)], |stage| async move {
        stage.at_the_desk(9).unwrap().depart().settle(usd(9));
        assert_eq!(stage.sums().await, [9, 0, 0]);
        let notices = stage.notices.0.lock().unwrap();
        assert!(matches!(notices[..], [BudgetNotice::Threshold(_)]), "{notices:?}");
    });
}

#[test]
fn nothing_is_given_out_at_the_desk_of_a_budget_whose_books_a_panic_has_spoiled() {
    on_stage(vec![total("global", 10)], |stage| async move {
        let held = stage.at_the_desk(4).unwrap();
        assert!(stage.budget.send(Ruin).await.is_err());
        assert!(stage.at_the_desk(1).is_err());
        drop(held);
    });
}

/// Starts a budget that comes back from a panic at once.
fn restarted(budget: Budget) -> Addr<Budget> {
    let ctx = Context::new();
    let address = ctx.address();
    let mut running = ctx.into_future(budget);
    actix::spawn(poll_fn(move |cx| {
        loop {
            match panics::contain(|| pin!(&mut running).poll(cx)) {
                Ok(polled) => return polled,
                Err(_) => assert!(running.restart()),
            }
        }
    }));
    address
}

type Journal = Rc<RefCell<Vec<Arc<OpenAttempt>>>>;

/// A budget of 10 dollars that is rebuilt from what is in the journal.
fn on_a_durable_stage<F: Future<Output = ()>>(test: impl FnOnce(Stage, Journal) -> F) {
    VirtualClock::run(Timestamp::EPOCH, |clock| {
        let (notices, journal) = (Watcher::default(), Journal::default());
        let watcher = notices.clone().start().recipient();
        let ledger = || Ledger::new(vec![total("global", 10)]);
        let source = {
            let journal = Rc::clone(&journal);
            Box::new(move || {
                let durable = Durable { ledger: ledger(), open: journal.borrow().clone() };
                Box::pin(async { Some(durable) }) as _
            })
        };
        let budget = Budget::new(ledger(), clock.clone(), watcher).rebuilt_from(source);
        let desk = budget.desk();
        test(
            Stage { budget: restarted(budget), desk, clock, notices, attempts: Rc::default() },
            journal,
        )
    });
}

/// An attempt is in the journal from here on.
fn opened(journal: &Journal, reservation: Reservation) -> InFlight {
    let AttemptId { call_id, attempt } = reservation.name();
    journal.borrow_mut().push(Arc::new(OpenAttempt {
        call_id,
        attempt,
        at: Timestamp::EPOCH,
        bound: reservation.amount(),
        account: "key".into(),
        provider: "none".into(),
        subject: Arc::new(Subject::default()),
    }));
    reservation.depart()
}

/// Has the next change break.
fn breaks(stage: &Stage) {
    stage.desk.lock().breaks = true;
}

#[test]
fn what_a_panic_over_the_books_cut_off_is_settled_when_they_are_rebuilt() {
    for unwinds in [false, true] {
        on_a_durable_stage(|stage, journal| async move {
            stage.sums().await;
            let (one, other) = (stage.at_the_desk(4).unwrap(), stage.at_the_desk(3).unwrap());
            let (one, other) = (opened(&journal, one), opened(&journal, other));
            breaks(&stage);
            if unwinds {
                panics::while_unwinding(move || one.settle(usd(1)));
            } else {
                one.settle(usd(1));
            }
            // Half of it was done, so nothing is given out, and nothing is settled here.
            assert!(stage.at_the_desk(1).is_err(), "unwinds: {unwinds}");
            other.settle(usd(2));
            stage.pass(1).await;
            assert_eq!(stage.sums().await, [3, 0, 0], "unwinds: {unwinds}");
            assert!(stage.at_the_desk(7).is_ok(), "unwinds: {unwinds}");
        });
    }
}

#[test]
fn a_caller_that_panics_over_the_books_leaves_nothing_set_aside() {
    on_a_durable_stage(|stage, journal| async move {
        stage.sums().await;
        let held = opened(&journal, stage.at_the_desk(4).unwrap());
        breaks(&stage);
        assert!(panics::contain(|| stage.at_the_desk(6)).is_err());
        let asks_again = stage.at_the_desk(6).unwrap_err();
        assert!(stage.budget.send(asks_again).await.is_err(), "it is rebuilt first");
        let six = stage.at_the_desk(6).unwrap();
        assert!(stage.at_the_desk(1).is_err());
        drop(six);
        held.settle(usd(4));
        assert_eq!(stage.sums().await, [4, 0, 0]);
    });
}

#[test]
fn a_task_that_ended_is_forgotten_at_once_or_in_its_turn_where_somebody_waits_for_money() {
    on_stage(vec![total("task:*", 10)], |stage| async move {
        let spend = async |task: &str| {
            stage.reserve(task, 4).await.unwrap().depart().settle(usd(4));
            stage.desk.forget(scopes(task)[0].clone());
        };
        let known = || stage.desk.lock().ledger.balances(seconds(0)).len();
        spend("task:one").await;
        assert_eq!(known(), 0);
        let held = stage.reserve("task:two", 9).await.unwrap();
        let ticket = stage.ticket("task:two", 2).await;
        spend("task:one").await;
        assert_eq!(known(), 2);
        stage.balances().await;
        assert_eq!(known(), 1);
        drop((held, ticket));
    });
}
