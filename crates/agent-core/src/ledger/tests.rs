//! Single rules of the ledger, each by an example.

use std::time::Duration;

use super::*;

fn usd(dollars: u64) -> NanoUsd {
    NanoUsd::from_dollars(dollars)
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn budget(scope: &str, limit: u64, window: Window) -> BudgetSpec {
    BudgetSpec {
        scope: scope.parse().unwrap(),
        limit: usd(limit),
        window,
        on_exhausted: OnExhausted::Reject,
        thresholds: vec![50, 80, 100],
    }
}

fn task(name: u32) -> Scope {
    Scope::new(ScopeKind::Task, name.to_string())
}

fn web() -> Scope {
    Scope::new(ScopeKind::Project, "web")
}

const NOON: &str = "2026-11-24T12:00:00Z";

#[test]
fn fifty_calls_at_once_do_not_pass_a_limit_of_ten() {
    let mut ledger = Ledger::new(vec![budget("global", 10, Window::Total)]);
    let admitted =
        (0..50).filter(|_| ledger.reserve(at(NOON), &[Scope::global()], usd(1)).is_ok()).count();
    assert_eq!(admitted, 10);
}

#[test]
fn a_call_that_one_scope_refuses_takes_nothing_from_the_others() {
    let mut ledger =
        Ledger::new(vec![budget("global", 10, Window::Total), budget("project:*", 2, Window::Day)]);
    let no_room = ledger.reserve(at(NOON), &[Scope::global(), web()], usd(3)).unwrap_err();
    assert_eq!((no_room.scope, no_room.when, no_room.available), (web(), When::Never, usd(2)));
    let balances = ledger.balances(at(NOON));
    assert_eq!(balances.len(), 1);
    assert!(balances[0].reserved.is_zero());
}

#[test]
fn a_refusal_names_scope_limit_spent_and_reserved() {
    let mut ledger = Ledger::new(vec![budget("project:web", 10, Window::Day)]);
    let first = ledger.reserve(at(NOON), &[web()], usd(4)).unwrap();
    let _ = ledger.settle(at(NOON), first, usd(3), usd(1)).unwrap();
    ledger.reserve(at(NOON), &[web()], usd(5)).unwrap();
    let no_room = ledger.reserve(at(NOON), &[web()], usd(2)).unwrap_err();
    assert_eq!(no_room.when, When::InFlight);
    assert_eq!(
        no_room.to_string(),
        "budget project:web (day) has no room for $2: limit $10, spent $4, reserved $5"
    );
}

#[test]
fn money_belongs_to_the_window_in_which_it_was_reserved() {
    let mut ledger = Ledger::new(vec![budget("global", 10, Window::Day)]);
    let late = ledger.reserve(at("2026-11-24T23:59:59Z"), &[Scope::global()], usd(10)).unwrap();
    let midnight = at("2026-11-25T00:00:00Z");
    let next = ledger.reserve(midnight, &[Scope::global()], usd(10)).unwrap();
    let told = ledger.settle(midnight, late, usd(10), NanoUsd::ZERO).unwrap();
    assert_eq!(told, Settlement::default());
    assert!(ledger.release(midnight, next));
    assert!(ledger.balances(midnight)[0].spent.is_zero());
}

#[test]
fn a_clock_that_goes_back_does_not_reopen_a_window() {
    let mut ledger = Ledger::new(vec![budget("global", 10, Window::Day)]);
    let day = |day| at(&format!("2026-11-{day}T12:00:00Z"));
    ledger.reserve(day(24), &[Scope::global()], usd(10)).unwrap();
    ledger.reserve(day(25), &[Scope::global()], usd(5)).unwrap();
    ledger.reserve(day(24), &[Scope::global()], usd(5)).unwrap();
    for day in [day(24), day(25)] {
        assert!(ledger.reserve(day, &[Scope::global()], usd(1)).is_err());
    }
}

#[test]
fn an_overrun_is_charged_in_full_and_closes_the_scope_until_its_window_turns() {
    let mut ledger = Ledger::new(vec![budget("global", 10, Window::Day)]);
    let id = ledger.reserve(at(NOON), &[Scope::global()], usd(4)).unwrap();
    let told = ledger.settle(at(NOON), id, usd(15), NanoUsd::ZERO).unwrap();
    assert_eq!((told.overruns[0].spent, told.overruns[0].by), (usd(15), usd(11)));
    let free = ledger.reserve(at(NOON), &[Scope::global()], NanoUsd::ZERO).unwrap_err();
    let midnight = at("2026-11-25T00:00:00Z");
    assert_eq!((free.when, free.available), (When::Turns(midnight), NanoUsd::ZERO));
    assert!(ledger.reserve(midnight, &[Scope::global()], usd(10)).is_ok());
}

#[test]
fn each_threshold_is_raised_once_in_a_window_and_counts_what_is_presumed() {
    let mut ledger = Ledger::new(vec![budget("global", 10, Window::Day)]);
    let mut spend = |time: &str, dollars| {
        let id = ledger.reserve(at(time), &[Scope::global()], usd(dollars)).unwrap();
        let told = ledger.presume(at(time), id).unwrap();
        told.thresholds.iter().map(|threshold| threshold.percent).collect::<Vec<_>>()
    };
    assert_eq!(spend(NOON, 4), [0_u8; 0]);
    assert_eq!(spend(NOON, 4), [50, 80]);
    assert_eq!(spend(NOON, 1), [0_u8; 0]);
    assert_eq!(spend(NOON, 1), [100]);
    assert_eq!(spend("2026-11-25T00:00:00Z", 5), [50]);
}

#[test]
fn a_restart_finds_what_was_spent_in_windows_that_go_on_and_raises_nothing_again() {
    let mut ledger = Ledger::new(vec![
        budget("global", 100, Window::Total),
        budget("project:*", 10, Window::Day),
        budget("project:web", 10, Window::Rolling(Duration::from_secs(7_200))),
    ]);
    let scopes = [Scope::global(), web()];
    ledger.restore(at(NOON), &scopes, usd(5), usd(1));
    ledger.restore(at("2026-11-24T09:00:00Z"), &scopes, usd(1), NanoUsd::ZERO);
    ledger.restore(at("2026-11-23T12:00:00Z"), &scopes, usd(70), NanoUsd::ZERO);
    let settled: Vec<_> = ledger.balances(at(NOON)).iter().map(|b| (b.spent, b.presumed)).collect();
    assert_eq!(settled, [(usd(76), usd(1)), (usd(5), usd(1)), (usd(6), usd(1))]);
    let id = ledger.reserve(at(NOON), &scopes, usd(1)).unwrap();
    let told = ledger.settle(at(NOON), id, usd(1), NanoUsd::ZERO).unwrap();
    assert_eq!(told.thresholds.iter().map(|t| t.percent).collect::<Vec<_>>(), [80]);
}

#[test]
fn a_call_that_fits_when_the_window_turns_is_told_when() {
    let hour = Duration::from_secs(3_600);
    let mut ledger = Ledger::new(vec![budget("global", 10, Window::Rolling(hour))]);
    for minutes in [0, 30] {
        let now = at(NOON) + Duration::from_secs(60 * minutes);
        let id = ledger.reserve(now, &[Scope::global()], usd(5)).unwrap();
        let _ = ledger.settle(now, id, usd(5), NanoUsd::ZERO).unwrap();
    }
    let now = at(NOON) + Duration::from_secs(60 * 45);
    let mut turn = |amount| match ledger.reserve(now, &[Scope::global()], amount) {
        Err(NoRoom { when: When::Turns(turn), .. }) => turn.to_string(),
        other => format!("{other:?}"),
    };
    assert_eq!(turn(usd(5)), "2026-11-24T13:01:00.000Z");
    assert_eq!(turn(usd(6)), "2026-11-24T13:31:00.000Z");
}

#[test]
fn the_budget_that_refuses_is_named_before_one_that_waits() {
    let mut waits = budget("global", 10, Window::Day);
    waits.on_exhausted = OnExhausted::Wait;
    let mut stops = budget("project:web", 10, Window::Month);
    stops.on_exhausted = OnExhausted::StopRun;
    let mut ledger = Ledger::new(vec![stops, waits, budget("task:*", 10, Window::Day)]);
    let scopes = [Scope::global(), web(), task(1)];
    ledger.restore(at(NOON), &scopes, usd(10), NanoUsd::ZERO);
    let mut refused_by = |scopes: &[Scope]| {
        let no_room = ledger.reserve(at(NOON), scopes, usd(1)).unwrap_err();
        (no_room.scope.to_string(), no_room.wait_until().is_some())
    };
    assert_eq!(refused_by(&[Scope::global()]), ("global".into(), true));
    assert_eq!(refused_by(&[Scope::global(), task(1)]), ("task:1".into(), false));
    assert_eq!(refused_by(&scopes), ("project:web".into(), false));
}

#[test]
fn a_scope_named_twice_is_charged_once() {
    let mut ledger = Ledger::new(vec![budget("global", 10, Window::Total)]);
    ledger.reserve(at(NOON), &[Scope::global(), Scope::global()], usd(10)).unwrap();
    assert_eq!(ledger.balances(at(NOON))[0].reserved, usd(10));
}

#[test]
fn tasks_that_ended_leave_no_balance_behind() {
    let mut ledger =
        Ledger::new(vec![budget("task:*", 10, Window::Total), budget("task:*", 10, Window::Day)]);
    for name in 0..1_000 {
        let id = ledger.reserve(at(NOON), &[task(name)], usd(1)).unwrap();
        ledger.forget(&task(name));
        assert_eq!(ledger.accounts.len(), 2, "dropped with money in flight");
        let _ = ledger.settle(at(NOON), id, usd(1), NanoUsd::ZERO).unwrap();
    }
    assert_eq!(ledger.accounts.len(), 0);
}

#[test]
fn balances_of_windows_that_are_over_do_not_pile_up() {
    let mut ledger =
        Ledger::new(vec![budget("task:*", 10, Window::Rolling(Duration::from_secs(60)))]);
    for name in 0..10_000 {
        let now = Timestamp::from_millis(1_000 * u64::from(name));
        let id = ledger.reserve(now, &[task(name)], usd(1)).unwrap();
        let _ = ledger.settle(now, id, usd(1), NanoUsd::ZERO).unwrap();
    }
    assert!(ledger.accounts.len() < 200, "{}", ledger.accounts.len());
}

#[test]
fn sums_too_large_to_hold_refuse_instead_of_wrapping() {
    let mut open = budget("global", 1, Window::Total);
    open.limit = NanoUsd::MAX;
    let mut ledger = Ledger::new(vec![open]);
    let id = ledger.reserve(at(NOON), &[Scope::global()], NanoUsd::MAX).unwrap();
    assert!(ledger.reserve(at(NOON), &[Scope::global()], usd(1)).is_err());
    let _ = ledger.settle(at(NOON), id, NanoUsd::MAX, NanoUsd::MAX).unwrap();
    assert!(ledger.reserve(at(NOON), &[Scope::global()], NanoUsd::ZERO).is_err());
}

#[test]
fn a_reservation_that_was_resolved_stays_so_when_its_slot_is_used_again() {
    let mut ledger = Ledger::new(vec![budget("global", 10, Window::Total)]);
    let first = ledger.reserve(at(NOON), &[Scope::global()], usd(1)).unwrap();
    assert!(ledger.release(at(NOON), first));
    let second = ledger.reserve(at(NOON), &[Scope::global()], usd(2)).unwrap();
    assert_eq!(ledger.settle(at(NOON), first, usd(9), NanoUsd::ZERO), None);
    assert_eq!(ledger.split(first, usd(1)), None);
    assert_eq!((ledger.amount(first), ledger.amount(second)), (None, Some(usd(2))));
    assert_eq!(ledger.balances(at(NOON))[0].reserved, usd(2));
}

#[test]
fn a_task_is_not_forgotten_while_a_part_of_its_reservation_is_open() {
    let mut ledger = Ledger::new(vec![budget("task:*", 10, Window::Total)]);
    let whole = ledger.reserve(at(NOON), &[task(1)], usd(10)).unwrap();
    let part = ledger.split(whole, usd(4)).unwrap();
    assert!(ledger.release(at(NOON), part));
    ledger.forget(&task(1));
    assert_eq!(ledger.balances(at(NOON))[0].reserved, usd(6));
    assert!(ledger.release(at(NOON), whole));
    assert_eq!(ledger.accounts.len(), 0);
}

#[test]
fn what_is_settled_after_its_window_and_its_task_are_over_is_charged_to_nobody_else() {
    let mut ledger =
        Ledger::new(vec![budget("task:*", 10, Window::Hour), budget("user:*", 10, Window::Month)]);
    let late = ledger.reserve(at("2026-11-01T00:30:00Z"), &[task(1)], usd(3)).unwrap();
    let now = at("2026-11-01T01:30:00Z");
    let _ = ledger.balances(now);
    ledger.forget(&task(1));
    ledger.reserve(now, &[Scope::new(ScopeKind::User, "ann")], usd(5)).unwrap();
    let _ = ledger.settle(now, late, usd(3), NanoUsd::ZERO).unwrap();
    let ann = &ledger.balances(now)[0];
    assert_eq!((ann.spent, ann.reserved), (NanoUsd::ZERO, usd(5)));
}
