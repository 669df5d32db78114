//! The promises of the runtime, each by a test that fails when it is broken.

use std::collections::BTreeSet;
use std::time::Duration;

use agent_core::ledger::{BudgetSpec, ScopePattern};
use agent_core::money::NanoUsd;
use agent_core::permits::{AgentRateLimit, ProviderLimits};
use agent_core::supervision::Supervision;
use agent_core::system::{Ended, SubmitError};
use agent_core::task::{Deadline, ErrorCode, Priority, Task};

use crate::support::{
    Act, GOOD, MODEL, Scripted, agent, budget, expect_panics, run, spent, system, task,
};

#[test]
fn money_is_conserved_and_every_task_ends_once_in_a_storm() {
    expect_panics();
    let only: Option<u64> = std::env::var("IMPRESARIO_SEED").ok().and_then(|s| s.parse().ok());
    for seed in only.map_or(0..12, |seed| seed..seed + 1) {
        storm(seed);
    }
}

fn storm(seed: u64) {
    run(|clock| async move {
        let client = Scripted::wild(&clock, seed);
        let supervision = Supervision { max_restarts: 1_000, ..Supervision::default() };
        let limit: NanoUsd = "0.06".parse().unwrap();
        let system = system(&clock, &client)
            .agent(agent(20))
            .budget(BudgetSpec::new(ScopePattern::global(), limit))
            .budget(budget("task:*", "0.01"))
            .supervision(supervision)
            .start()
            .await
            .unwrap();
        let mut outcomes = system.outcomes();
        for id in 0..200 {
            system.submit(task(id)).await.unwrap();
        }
        let mut ended = BTreeSet::new();
        let mut charged = 0;
        while ended.len() < 200 {
            for balance in system.balances().await.unwrap() {
                let all = balance.spent.saturating_add(balance.presumed);
                let all = all.saturating_add(balance.reserved);
                assert!(all <= balance.limit, "seed {seed}: {balance:?}");
            }
            let outcome = outcomes.next().await.unwrap();
            charged += outcome.cost_usd.nanos() + outcome.presumed_cost_usd.nanos();
            assert!(ended.insert(outcome.task_id.clone()), "seed {seed}: twice");
        }
        assert!(client.billed_nanos() <= charged, "seed {seed}");
        let (spent, reserved) = spent(&system).await;
        assert_eq!((spent.nanos(), reserved), (charged, NanoUsd::ZERO), "seed {seed}");
        assert!(outcomes.try_next().is_none(), "seed {seed}");
    });
}

#[test]
fn what_is_refused_for_itself_takes_neither_permit_nor_money() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let system = system(&clock, &client)
            .agent(agent(1))
            .budget(budget("global", "100.00"))
            .budget(budget("project:*", "50.00"))
            .start()
            .await
            .unwrap();
        let with_project = |task: Task| Task { project_id: Some("p".into()), ..task };
        let blank = Task { title: None, ..with_project(task(1)) };
        let unpaid = task(2);
        let nobody = Task { agent: Some("poet".into()), ..with_project(task(3)) };
        let unknown = Task { model: Some("gpt-none".into()), ..with_project(task(4)) };
        let dear = Task {
            model: Some("claude-opus-4-5".into()),
            max_tokens: Some(64_000),
            ..with_project(task(5))
        };
        // Of its description only a little would be sent; the guard bounds what was asked for.
        let long = Task {
            model: Some("claude-opus-4-5".into()),
            description: Some("a word ".repeat(50_000)),
            ..with_project(task(6))
        };
        for (task, code) in [
            (long, ErrorCode::CostLimitExceeded),
            (blank, ErrorCode::InvalidTask),
            (unpaid, ErrorCode::InvalidTask),
            (nobody, ErrorCode::InvalidTask),
            (unknown, ErrorCode::InvalidTask),
            (dear, ErrorCode::CostLimitExceeded),
        ] {
            let outcome = system.run(task).await.unwrap();
            assert_eq!(outcome.error.as_ref().map(|error| error.code), Some(code));
        }
        assert!(client.sent().is_empty());
        assert!(system.headroom().await.unwrap().iter().all(|pair| pair.requests.0 == 0));
        assert_eq!(spent(&system).await, (NanoUsd::ZERO, NanoUsd::ZERO));
        let again = system.run(task(1)).await;
        assert!(matches!(again, Err(SubmitError::Duplicate(_))), "{again:?}");
    });
}

#[test]
fn a_poisonous_task_ends_after_its_crashes_and_others_go_on() {
    expect_panics();
    run(|clock| async move {
        let crash = Act::Panic(Duration::from_millis(5));
        let client = Scripted::new(&clock, vec![crash; 4], GOOD);
        let system = system(&clock, &client).agent(agent(1)).start().await.unwrap();
        let outcome = system.run(task(1)).await.unwrap();
        assert_eq!(outcome.error.as_ref().unwrap().code, ErrorCode::WorkerCrashed);
        assert_eq!(outcome.attempts, 4);
        assert!(client.billed_nanos() <= outcome.presumed_cost_usd.nanos());
        assert!(system.run(task(2)).await.unwrap().error.is_none());
        let summary = system.snapshot().await.unwrap().summary;
        assert_eq!((summary.restarts, summary.audit_warnings["worker_restarted"]), (4, 4));
    });
}

#[test]
fn tasks_end_when_no_worker_is_left_to_play_them() {
    expect_panics();
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), Act::Panic(Duration::from_millis(5)));
        let system = system(&clock, &client).agent(agent(1)).start().await.unwrap();
        let mut handles = Vec::new();
        for id in 0..5 {
            handles.push(system.submit(task(id)).await.unwrap());
        }
        for handle in handles {
            let outcome = handle.outcome().await.unwrap();
            assert_eq!(outcome.error.as_ref().unwrap().code, ErrorCode::WorkerCrashed);
        }
    });
}

#[test]
fn the_eleventh_rapid_call_is_refused_on_a_handle_and_waits_in_the_queue() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let spec = agent(1).rate_limit(AgentRateLimit::default());
        let system = system(&clock, &client).agent(spec).start().await.unwrap();
        let handle = system.agent("clerk").unwrap();
        for id in 1..=10 {
            assert!(handle.execute(task(id)).await.unwrap().error.is_none(), "task {id}");
        }
        let refused = handle.execute(task(11)).await.unwrap();
        let error = refused.error.clone().unwrap();
        assert_eq!(error.code, ErrorCode::AgentRateLimitExceeded);
        assert!(error.retry_after_ms.is_some_and(|ms| ms > 58_000 && ms <= 60_000), "{error:?}");
        assert_eq!(client.sent().len(), 10);

        let queued = system.run(task(12)).await.unwrap();
        assert!(queued.error.is_none());
        let sent = client.sent();
        assert!(sent[10].since(sent[0]) >= Duration::from_secs(60));
    });
}

#[test]
fn a_queued_task_goes_to_a_worker_that_may_call() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let one = AgentRateLimit { calls: 1.try_into().unwrap(), ..AgentRateLimit::default() };
        let system = system(&clock, &client).agent(agent(3).rate_limit(one)).start().await.unwrap();
        let began = clock.now();
        for id in 0..3 {
            system.run(task(id)).await.unwrap();
        }
        assert!(clock.now().since(began) < Duration::from_secs(1));
        system.run(task(3)).await.unwrap();
        assert!(clock.now().since(began) >= Duration::from_secs(60));
    });
}

#[test]
fn no_window_of_a_minute_sees_more_requests_than_the_limit_however_many_workers() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let limits =
            ProviderLimits { requests_per_minute: 30.try_into().ok(), ..ProviderLimits::default() };
        let limits = ProviderLimits { max_wait: Duration::from_secs(3_600), ..limits };
        let system = system(&clock, &client).agent(agent(50)).limits(limits).start().await.unwrap();
        let mut handles = Vec::new();
        for id in 0..120 {
            handles.push(system.submit(task(id)).await.unwrap());
        }
        for handle in handles {
            assert!(handle.outcome().await.unwrap().error.is_none());
        }
        let sent = client.sent();
        for (index, &at) in sent.iter().enumerate().skip(30) {
            assert!(at.since(sent[index - 30]) >= Duration::from_secs(60), "request {index}");
        }
        assert!(sent[119].since(sent[0]) < Duration::from_secs(190), "the limit is not used");
    });
}

#[test]
fn the_more_urgent_is_played_first_and_equals_in_their_order() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let system = system(&clock, &client).agent(agent(1)).start().await.unwrap();
        let mut outcomes = system.outcomes();
        let priorities =
            [Priority::Normal, Priority::Low, Priority::Normal, Priority::High, Priority::High];
        for (id, priority) in (0..).zip(priorities) {
            system.submit(Task { priority, ..task(id) }).await.unwrap();
        }
        let mut order = Vec::new();
        for _ in priorities {
            order.push(outcomes.next().await.unwrap().task_id.to_string());
        }
        // The first was begun before the others came.
        assert_eq!(order, ["0", "3", "4", "2", "1"]);
    });
}

#[test]
fn a_deadline_ends_a_task_that_works_and_one_that_waits() {
    run(|clock| async move {
        let client = Scripted::new(&clock, vec![Act::Hang], GOOD);
        let system = system(&clock, &client).agent(agent(1)).start().await.unwrap();
        let soon = Some(Deadline::After(Duration::from_secs(10)));
        let began = clock.now();
        let working = system.submit(Task { deadline: soon, ..task(1) }).await.unwrap();
        let sooner = Some(Deadline::After(Duration::from_secs(5)));
        let waiting = system.submit(Task { deadline: sooner, ..task(2) }).await.unwrap();
        let waited = waiting.outcome().await.unwrap();
        assert_eq!(clock.now().since(began), Duration::from_secs(5));
        let worked = working.outcome().await.unwrap();
        assert_eq!(clock.now().since(began), Duration::from_secs(10));
        for outcome in [&waited, &worked] {
            let code = outcome.error.as_ref().map(|error| error.code);
            assert_eq!(code, Some(ErrorCode::DeadlineExceeded));
        }
        assert!(waited.presumed_cost_usd.is_zero() && !worked.presumed_cost_usd.is_zero());
    });
}

#[test]
fn a_cancelled_task_ends_once_and_what_has_left_is_presumed() {
    run(|clock| async move {
        let client = Scripted::new(&clock, vec![Act::Hang], GOOD);
        let system = system(&clock, &client).agent(agent(1)).start().await.unwrap();
        let (first, second) = (system.submit(task(1)).await.unwrap(), system.submit(task(2)).await);
        clock.sleep(Duration::from_secs(1)).await;
        for id in ["2", "1"] {
            assert!(system.cancel(id.into()).await.unwrap());
        }
        let first = first.outcome().await.unwrap();
        assert_eq!(first.error.as_ref().unwrap().code, ErrorCode::Cancelled);
        assert!(!first.presumed_cost_usd.is_zero());
        // Whoever had begun it is named, and with which model.
        assert_eq!(first.agent_id.as_deref(), Some("clerk-1"));
        assert_eq!(first.model.as_deref(), Some(MODEL));
        let second = second.unwrap().outcome().await.unwrap();
        assert_eq!(
            (second.error.as_ref().unwrap().code, second.attempts),
            (ErrorCode::Cancelled, 0)
        );
        assert_eq!((second.agent_id.as_deref(), second.model.as_deref()), (None, None));
        assert!(!system.cancel("1".into()).await.unwrap());
        assert!(system.run(task(3)).await.unwrap().error.is_none());
    });
}

#[test]
fn to_cancel_a_task_that_came_back_costs_its_last_worker_nothing_of_what_it_is_at_now() {
    expect_panics();
    run(|clock| async move {
        let slow = Act::Answer { input: 10, output: 10, after: Duration::from_secs(10) };
        let client = Scripted::new(&clock, vec![Act::Panic(Duration::ZERO), slow], GOOD);
        let system = system(&clock, &client).agent(agent(1)).start().await.unwrap();
        let came_back = system.submit(task(1)).await.unwrap();
        let urgent = Task { priority: Priority::High, ..task(2) };
        let urgent = system.submit(urgent).await.unwrap();
        clock.sleep(Duration::from_secs(5)).await;
        assert!(system.cancel("1".into()).await.unwrap());
        let cancelled = came_back.outcome().await.unwrap();
        assert_eq!(cancelled.error.as_ref().unwrap().code, ErrorCode::Cancelled);
        let urgent = urgent.outcome().await.unwrap();
        assert_eq!((urgent.error.as_ref(), urgent.attempts), (None, 1));
        assert_eq!(client.sent().len(), 2);
    });
}

#[test]
fn an_answer_without_any_tokens_is_no_error_and_no_usage() {
    run(|clock| async move {
        let nothing = Act::Answer { input: 0, output: 0, after: Duration::ZERO };
        let client = Scripted::new(&clock, vec![nothing], GOOD);
        let system = system(&clock, &client).agent(agent(1)).start().await.unwrap();
        assert!(system.run(task(1)).await.unwrap().error.is_none());
        let report = system.usage(Default::default()).await.unwrap();
        assert_eq!(report.total.totals.calls, 0);
        system.run(task(2)).await.unwrap();
        let report = system.usage(Default::default()).await.unwrap();
        assert_eq!((report.total.totals.calls, MODEL), (1, "claude-haiku-4-5"));
    });
}

#[test]
fn an_interrupt_cancels_what_outlives_the_grace_period() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), Act::Hang);
        let system = system(&clock, &client)
            .agent(agent(2))
            .budget(budget("global", "1.00"))
            .grace(Duration::from_secs(3))
            .start()
            .await
            .unwrap();
        let began = clock.now();
        for id in 0..4 {
            system.submit(task(id)).await.unwrap();
        }
        clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(system.interrupt().await, Ended::Interrupted);
        assert_eq!(clock.now().since(began), Duration::from_secs(4));
        let (spent, reserved) = spent(&system).await;
        assert!(!spent.is_zero() && reserved.is_zero());
        assert!(matches!(system.submit(task(9)).await, Err(SubmitError::Closed)));
        assert_eq!(client.sent().len(), 2);
    });
}

#[test]
fn who_waits_for_tasks_that_the_run_leaves_open_is_told_in_their_order() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), Act::Hang);
        let builder = system(&clock, &client).agent(agent(1)).grace(Duration::ZERO);
        let system = builder.start().await.unwrap();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        for id in 0..20 {
            let (task, tell) = (system.submit(task(id)).await.unwrap(), tell.clone());
            actix::spawn(async move {
                assert!(task.outcome().await.is_err());
                tell.send(id).unwrap();
            });
        }
        drop(tell);
        system.interrupt().await;
        let mut order = Vec::new();
        while let Some(id) = told.recv().await {
            order.push(id);
        }
        assert_eq!(order, Vec::from_iter(0..20));
    });
}
