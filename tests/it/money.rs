//! What budgets do to calls: refuse, hold back, clamp, stop.

use std::time::Duration;

use agent_core::ledger::{BudgetSpec, OnExhausted, Window};
use agent_core::permits::ProviderLimits;
use agent_core::store::UsageQuery;
use agent_core::system::Ended;
use agent_core::task::ErrorCode;

use crate::support::{Act, GOOD, Scripted, agent, budget, run, spent, system, task};

#[test]
fn who_finds_money_in_flight_waits_for_it_instead_of_being_refused() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        // The bound on a call is under $0.001, its cost $0.00035: four fit at once, ten in all.
        let system = system(&clock, &client)
            .agent(agent(10))
            .budget(budget("global", "0.0042"))
            .start()
            .await
            .unwrap();
        let mut handles = Vec::new();
        for id in 0..10 {
            handles.push(system.submit(task(id)).await.unwrap());
        }
        let mut refused = 0;
        for handle in handles {
            refused += u32::from(handle.outcome().await.unwrap().error.is_some());
        }
        assert_eq!(refused, 0);
        assert_eq!(spent(&system).await.0, "0.0035".parse().unwrap());
    });
}

#[test]
fn a_refusal_names_the_budget_and_consumes_nothing() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let system = system(&clock, &client)
            .agent(agent(1))
            .budget(budget("global", "1.00"))
            .budget(budget("project:web", "0.0001"))
            .start()
            .await
            .unwrap();
        let mut dear = task(1);
        dear.project_id = Some("web".into());
        let outcome = system.run(dear).await.unwrap();
        let error = outcome.error.clone().unwrap();
        assert_eq!(error.code, ErrorCode::BudgetExceeded);
        assert!(error.message.contains("project:web"), "{}", error.message);
        assert_eq!((client.sent().len(), outcome.attempts), (0, 0));
        for balance in system.balances().await.unwrap() {
            assert!(balance.spent.is_zero() && balance.reserved.is_zero());
        }
        let limits = system.headroom().await.unwrap();
        assert!(limits.iter().all(|pair| pair.requests.0 == 0 && pair.in_flight == 0));
    });
}

#[test]
fn a_budget_that_waits_goes_on_when_its_window_turns() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let daily = BudgetSpec {
            window: Window::Day,
            on_exhausted: OnExhausted::Wait,
            ..budget("global", "0.0012")
        };
        let limits =
            ProviderLimits { max_wait: Duration::from_secs(86_400), ..ProviderLimits::default() };
        let system = system(&clock, &client)
            .agent(agent(1))
            .budget(daily)
            .limits(limits)
            .start()
            .await
            .unwrap();
        for id in 0..3 {
            assert!(system.run(task(id)).await.unwrap().error.is_none(), "task {id}");
        }
        assert!(clock.now() >= "2026-11-25T00:00:00Z".parse().unwrap(), "{}", clock.now());
    });
}

#[test]
fn money_is_waited_for_longer_than_a_permit_may_be() {
    run(|clock| async move {
        let slow = Act::Answer { input: 100, output: 50, after: Duration::from_secs(20) };
        let client = Scripted::new(&clock, Vec::new(), slow);
        let hourly = BudgetSpec {
            window: Window::Hour,
            on_exhausted: OnExhausted::Wait,
            ..budget("global", "0.0012")
        };
        let limits =
            ProviderLimits { max_wait: Duration::from_secs(1), ..ProviderLimits::default() };
        let system = system(&clock, &client)
            .agent(agent(2))
            .budget(hourly)
            .limits(limits)
            .start()
            .await
            .unwrap();
        // Two fit one after the other, once the first has cost less than its bound; the third only
        // in the next hour.
        let all = (0..3).map(|id| system.run(task(id)));
        for outcome in futures_util::future::join_all(all).await {
            let outcome = outcome.unwrap();
            assert!(outcome.error.is_none(), "{outcome:?}");
        }
        assert!(clock.now() >= "2026-11-24T13:00:00Z".parse().unwrap(), "{}", clock.now());
    });
}

#[test]
fn a_budget_that_stops_the_run_keeps_its_tasks() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let stop = BudgetSpec { on_exhausted: OnExhausted::StopRun, ..budget("global", "0.0012") };
        let system = system(&clock, &client).agent(agent(1)).budget(stop).start().await.unwrap();
        for id in 0..5 {
            system.submit(task(id)).await.unwrap();
        }
        assert_eq!(system.stopped().await, Ended::Stopped);
        let tasks = system.snapshot().await.unwrap().summary.tasks;
        assert!(tasks.completed > 0 && tasks.failed == 0 && tasks.completed < tasks.total);
    });
}

#[test]
fn a_refusal_is_worth_trying_again_where_the_window_turns_and_not_where_it_never_does() {
    run(|clock| async move {
        for (window, turns) in [(Window::Hour, true), (Window::Total, false)] {
            let client = Scripted::new(&clock, Vec::new(), GOOD);
            let small = BudgetSpec { window, ..budget("global", "0.0010") };
            let system =
                system(&clock, &client).agent(agent(1)).budget(small).start().await.unwrap();
            assert!(system.run(task(1)).await.unwrap().error.is_none());
            let error = system.run(task(2)).await.unwrap().error.clone().unwrap();
            assert_eq!(error.code, ErrorCode::BudgetExceeded);
            assert_eq!((error.retryable, error.retry_after_ms.is_some()), (turns, turns));
        }
    });
}

#[test]
fn a_call_is_clamped_to_what_fits_where_its_agent_allows_it() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let mut spec = agent(1);
        spec.clamp_max_tokens = true;
        let system = system(&clock, &client)
            .agent(spec)
            .budget(budget("global", "0.0006"))
            .start()
            .await
            .unwrap();
        assert!(system.run(task(1)).await.unwrap().error.is_none());
        assert!(spent(&system).await.0 <= "0.0006".parse().unwrap());
    });
}

#[test]
fn no_alias_of_a_model_escapes_its_budget_or_its_limit() {
    let names = ["claude-haiku-4-5", "claude-haiku-4-5-20251001", "claude-haiku-4-5-latest"];
    for (asked, of_budget) in names.into_iter().flat_map(|a| names.map(|b| (a, b))) {
        run(|clock| async move {
            let client = Scripted::new(&clock, Vec::new(), GOOD);
            let limits = ProviderLimits {
                requests_per_minute: 1.try_into().ok(),
                max_wait: Duration::from_secs(1),
                ..ProviderLimits::default()
            };
            let mut spec = agent(2);
            spec.model = asked.to_owned();
            let system = system(&clock, &client)
                .agent(spec)
                .limits(limits)
                .budget(budget(&format!("model:{of_budget}"), "0.001"))
                .start()
                .await
                .unwrap();
            let first = system.run(task(1)).await.unwrap();
            assert!(first.error.is_none(), "{first:?}");
            assert_eq!(spent(&system).await.0, first.cost_usd, "{asked} of {of_budget}");
            let mut other = task(2);
            other.model = Some(of_budget.to_owned());
            let limited = system.run(other).await.unwrap().error.clone().unwrap();
            assert_eq!(limited.code, ErrorCode::RateLimitWaitExceeded, "{asked} of {of_budget}");
        });
    }
}

#[test]
fn without_records_a_budget_is_as_exact_and_there_is_no_usage_to_be_asked_for() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let system = system(&clock, &client)
            .agent(agent(10))
            .budget(budget("global", "0.0042"))
            .without_records()
            .start()
            .await
            .unwrap();
        let mut handles = Vec::new();
        for id in 0..20 {
            handles.push(system.submit(task(id)).await.unwrap());
        }
        let (mut completed, mut refused) = (0, 0);
        for handle in handles {
            match &handle.outcome().await.unwrap().error {
                None => completed += 1,
                Some(error) => {
                    assert_eq!(error.code, ErrorCode::BudgetExceeded);
                    refused += 1;
                }
            }
        }
        assert!(completed > 9 && refused > 0, "{completed} completed, {refused} refused");
        let balances = system.balances().await.unwrap();
        assert_eq!(balances[0].spent.nanos(), client.billed_nanos());
        assert!(balances[0].reserved.is_zero());
        let summary = system.snapshot().await.unwrap().summary;
        assert_eq!(summary.tasks.completed, completed);
        let usage = system.usage(UsageQuery::default()).await.unwrap();
        assert_eq!((usage.total.totals.calls, usage.total.totals.cost.nanos()), (0, 0));
        assert_eq!(system.finish().await, Ended::Finished);
    });
}
