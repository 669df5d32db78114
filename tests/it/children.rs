//! Sub-agents: under their parent in life, in end and in money.

mod cancelled;
mod crashes;
mod ends;
mod waits;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use agent_core::agent::{AgentSpec, ChildEnd, ChildError, ChildLimits, Output, Scene, SpawnError};
use agent_core::clock::{Clock, Timestamp};
use agent_core::money::NanoUsd;
use agent_core::store::{AuditFilter, Dimension, Reader, StoreError, UsageQuery};
use agent_core::supervision::{Restart, Supervision};
use agent_core::system::{AgentSystem, StartError};
use agent_core::task::{Deadline, ErrorCode, Task};
use futures_util::future::join_all;

use crate::behaviour::{Does, ask};
use crate::support::{Act, GOOD, Scripted, agent, budget, expect_panics, run, system, task};

/// A sub-agent whose own limit is out of the way.
fn named(name: &str, workers: u32) -> AgentSpec {
    AgentSpec { name: name.into(), ..agent(workers) }
}

fn part(name: &str) -> Task {
    Task::new(name, format!("Part {name}"))
}

#[test]
fn the_spend_of_a_child_counts_in_every_scope_of_its_parent_and_in_its_own() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let lead = named("lead", 1).behaviour(|| {
            Does(async |scene: &Scene, task: &Task| {
                let researcher = scene.spawn(named("researcher", 1).behaviour(|| {
                    Does(async |scene: &Scene, task: &Task| {
                        let reader = scene.spawn(named("reader", 1))?;
                        reader.execute(part("read")).await?;
                        scene.answer(task).await
                    })
                }))?;
                assert_eq!(researcher.name(), "lead>researcher");
                // Who pays is the parent's task, whatever a sub-task says.
                let part = Task { project_id: Some("another".into()), ..part("1") };
                researcher.execute(part).await?;
                scene.answer(task).await
            })
        });
        let scopes = ["project:web", "user:ann", "task:1", "agent:lead", "agent:researcher"];
        let mut builder = system(&clock, &client).agent(lead);
        for scope in scopes.into_iter().chain(["agent:reader", "project:another"]) {
            builder = builder.budget(budget(scope, "1.00"));
        }
        let system = builder.start().await.unwrap();
        let (project_id, user_id) = (Some("web".into()), Some("ann".into()));
        let outcome = system.run(Task { project_id, user_id, ..task(1) }).await.unwrap();
        assert!(outcome.error.is_none(), "{outcome:?}");
        assert_eq!((outcome.attempts, outcome.usage.output_tokens), (3, 150));
        assert_eq!(outcome.agent_id.as_deref(), Some("lead-1"));
        let each = outcome.cost_usd.nanos() / 3;
        let spent: Vec<_> = system
            .balances()
            .await
            .unwrap()
            .iter()
            .map(|balance| (balance.scope.to_string(), balance.spent.nanos() / each))
            .collect();
        let expected = [
            ("project:another", 0),
            ("project:web", 3),
            ("agent:lead", 3),
            ("agent:reader", 1),
            ("agent:researcher", 2),
            ("user:ann", 3),
            ("task:1", 3),
        ];
        assert_eq!(spent, expected.map(|(scope, times)| (scope.to_owned(), times)));

        let by = vec![Dimension::Agent];
        let report = system.usage(UsageQuery { by, ..UsageQuery::default() }).await.unwrap();
        let agents: Vec<_> =
            report.rows.iter().map(|row| row.group[0].1.clone().unwrap()).collect();
        assert_eq!(agents, ["lead", "lead>researcher", "lead>researcher>reader"]);
        assert_eq!(report.total.totals.cost, outcome.cost_usd);
    });
}

#[test]
fn a_sub_task_is_no_task_of_the_run_and_its_records_name_the_child_and_the_parents_task() {
    let folder = tempfile::tempdir().unwrap();
    actix::System::new().block_on(async {
        let clock = Clock::real();
        let quick = Act::Answer { input: 10, output: 10, after: Duration::ZERO };
        let client = Scripted::new(&clock, Vec::new(), quick);
        let lead = || {
            named("lead", 1).behaviour(|| {
                Does(async |scene: &Scene, _: &Task| {
                    let child = scene.spawn(named("researcher", 1))?;
                    Ok(child.execute(part("1")).await?)
                })
            })
        };
        for run in ["1", "2"] {
            let system = loop {
                let builder = AgentSystem::builder(client.clone())
                    .agent(lead())
                    .budget(budget("agent:lead", "1.00"))
                    .budget(budget("agent:researcher", "1.00"))
                    .store(folder.path());
                match builder.start().await {
                    // The database's own threads may hold its lock for a moment longer.
                    Err(StartError::Store(StoreError::InUse { .. })) => {
                        clock.sleep(Duration::from_millis(5)).await;
                    }
                    started => break started.unwrap(),
                }
            };
            let mut outcomes = system.outcomes();
            let outcome = system.run(Task::new(run, "The whole")).await.unwrap();
            assert_eq!(outcome.output.as_deref(), Some("done"));
            assert_eq!(outcomes.next().await.unwrap().task_id.as_str(), run);
            assert!(outcomes.try_next().is_none());
            let summary = system.snapshot().await.unwrap().summary;
            assert_eq!((summary.tasks.total, summary.agents, summary.calls.attempts), (1, 1, 1));
            // What an earlier process spent is on the parent's account too.
            let all: u64 = run.parse().unwrap();
            for balance in system.balances().await.unwrap() {
                assert_eq!(balance.spent.nanos(), outcome.cost_usd.nanos() * all, "{balance:?}");
            }
            system.finish().await;
        }
    });
    let reader = loop {
        match Reader::open(folder.path()) {
            Err(StoreError::InUse { .. }) => std::thread::yield_now(),
            opened => break opened.unwrap(),
        }
    };
    let mut records = Vec::new();
    reader
        .records(Timestamp::EPOCH, Timestamp::NEVER, &mut |record| {
            records.push(record);
            true
        })
        .unwrap();
    let subject = &records[0].subject;
    assert_eq!(subject.agent.as_deref(), Some("lead>researcher"));
    assert_eq!(subject.agent_id.as_deref(), Some("lead-1>researcher-1"));
    assert_eq!((records.len(), subject.task_id.as_deref()), (2, Some("1")));
    let mut calls = 0;
    let filter = AuditFilter { agent: Some("lead>researcher".into()), ..AuditFilter::default() };
    reader
        .audit(&filter, &mut |event| {
            calls += 1;
            assert!(event.subject.task_id.is_some());
            true
        })
        .unwrap();
    assert_eq!(calls, 4, "start and success of two calls");
}

#[test]
fn many_sub_tasks_at_once_are_shared_by_the_childs_workers_and_no_more_wait_than_may() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let lead = named("lead", 1).behaviour(|| {
            Does(async |scene: &Scene, _: &Task| {
                let child = scene.spawn(named("reader", 3))?;
                // They begin before anybody waits for them.
                let parts: Vec<_> = (0..9).map(|n| child.execute(part(&n.to_string()))).collect();
                let results = join_all(parts).await;
                let full = results
                    .iter()
                    .filter(|result| matches!(result, Err(ChildError::Full { limit: 5, .. })));
                Ok(full.count().to_string().into())
            })
        });
        let limits = ChildLimits { waiting: 5.try_into().unwrap(), ..ChildLimits::default() };
        let system = system(&clock, &client).agent(lead).children(limits).start().await.unwrap();
        let began = clock.now();
        let outcome = system.run(task(1)).await.unwrap();
        // Three are at work and five wait: one of nine is too many.
        assert_eq!((outcome.output.as_deref(), outcome.attempts), (Some("1"), 8));
        assert_eq!(clock.now().since(began), Duration::from_millis(300));
    });
}

#[test]
fn children_are_bounded_in_number_and_in_depth() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        static DEEPEST: AtomicU32 = AtomicU32::new(0);
        fn nested(depth: u32) -> AgentSpec {
            named(&format!("g{depth}"), 1).behaviour(move || {
                Does(async move |scene: &Scene, _: &Task| {
                    DEEPEST.fetch_max(depth, Ordering::SeqCst);
                    let child = scene.spawn(nested(depth + 1))?;
                    Ok(child.execute(part("deeper")).await?)
                })
            })
        }
        let wide = named("wide", 1).behaviour(|| {
            Does(async |scene: &Scene, _: &Task| {
                let first = scene.spawn(named("a", 2))?;
                let second = scene.spawn(named("b", 2));
                assert_eq!(second.unwrap_err(), SpawnError::TooMany { limit: 3 });
                // The place of one that has ended is free.
                first.stop();
                scene.spawn(named("b", 3))?;
                let unpriced = scene.spawn(AgentSpec::new("c", "gpt-none"));
                assert!(matches!(unpriced, Err(SpawnError::Price(_))), "{unpriced:?}");
                assert!(matches!(scene.spawn(named("a>b", 1)), Err(SpawnError::Name(_))));
                Ok("bounded".into())
            })
        });
        let limits = ChildLimits {
            depth: 2.try_into().unwrap(),
            workers: 3.try_into().unwrap(),
            ..ChildLimits::default()
        };
        let system = system(&clock, &client)
            .agent(nested(0))
            .agent(wide)
            .children(limits)
            .start()
            .await
            .unwrap();
        let of = |id, agent: &str| Task { agent: Some(agent.into()), ..task(id) };
        let deep = system.run(of(1, "g0")).await.unwrap();
        let error = deep.error.clone().unwrap();
        assert_eq!(error.code, ErrorCode::InvalidTask);
        assert!(error.message.contains("2 generations below"), "{error}");
        assert_eq!(DEEPEST.load(Ordering::SeqCst), 2);
        let wide = system.run(of(2, "wide")).await.unwrap();
        assert_eq!(wide.output.as_deref(), Some("bounded"), "{wide:?}");
    });
}

#[test]
fn a_child_that_crashes_goes_on_at_its_address_and_does_its_sub_task_again() {
    expect_panics();
    run(|clock| async move {
        let crash = Act::Panic(Duration::from_millis(5));
        let client = Scripted::new(&clock, vec![crash], GOOD);
        let lead = named("lead", 1).behaviour(|| {
            Does(async |scene: &Scene, _: &Task| {
                let child = scene.spawn(named("reader", 1))?;
                child.execute(part("1")).await?;
                Ok(child.execute(part("2")).await?)
            })
        });
        let system = system(&clock, &client).agent(lead).start().await.unwrap();
        let outcome = system.run(task(1)).await.unwrap();
        assert_eq!((outcome.output.as_deref(), outcome.attempts), (Some("done"), 3));
        assert!(!outcome.presumed_cost_usd.is_zero(), "what the crash had sent is charged");
        let summary = system.snapshot().await.unwrap().summary;
        assert_eq!(summary.audit_warnings["worker_restarted"], 1);
        assert_eq!(summary.restarts, 1);
    });
}

#[test]
fn a_child_that_crashes_too_often_is_a_notice_to_its_parent_and_no_crash_of_it() {
    expect_panics();
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), Act::Panic(Duration::from_millis(5)));
        let lead = named("lead", 1).behaviour(|| {
            Does(async |scene: &Scene, _: &Task| {
                let policy = Supervision { max_restarts: 1, ..Supervision::default() };
                let child = scene.spawn_under(named("reader", 1), policy)?;
                let (pending, ended) = (child.execute(part("1")), child.ended());
                let end = ended.await;
                assert_eq!(end, ChildEnd::GaveUp { reason: "scripted panic".into() });
                let error = pending.await.unwrap_err();
                assert_eq!(error.to_string(), format!("sub-agent lead>reader has ended: {end}"));
                assert_eq!(child.execute(part("2")).await.unwrap_err(), error);
                assert_eq!(child.ended().await, end);
                let once = named("reader", 1).restart(Restart::Temporary);
                let error = scene.spawn(once)?.execute(part("3")).await.unwrap_err();
                assert!(matches!(error, ChildError::Ended { .. }), "{error}");
                // A sub-task that is poison is no end of the child.
                let poison =
                    Supervision { poison_limit: 1.try_into().unwrap(), ..Supervision::default() };
                let child = scene.spawn_under(named("reader", 1), poison)?;
                let error = child.execute(part("4")).await.unwrap_err();
                assert!(
                    matches!(&error, ChildError::Failed(e) if e.code == ErrorCode::WorkerCrashed)
                );
                Ok("managed without".into())
            })
        });
        let system = system(&clock, &client).agent(lead).start().await.unwrap();
        let outcome = system.run(task(1)).await.unwrap();
        assert_eq!(outcome.output.as_deref(), Some("managed without"), "{outcome:?}");
        assert_eq!(outcome.attempts, 2 + 1 + 2);
    });
}

#[test]
fn a_parent_that_is_linked_to_its_child_crashes_with_it() {
    expect_panics();
    run(|clock| async move {
        let crash = Act::Panic(Duration::from_millis(5));
        let client = Scripted::new(&clock, vec![crash], GOOD);
        let lead = named("lead", 1).behaviour(|| {
            Does(async |scene: &Scene, _: &Task| {
                let child = scene.spawn(named("reader", 1).restart(Restart::Temporary))?;
                child.link();
                match child.execute(part("1")).await {
                    Ok(output) => Ok(output),
                    // The crash comes before whatever is made of the error.
                    Err(_) => Ok("managed without".into()),
                }
            })
        });
        let system = system(&clock, &client).agent(lead).start().await.unwrap();
        let outcome = system.run(task(1)).await.unwrap();
        assert_eq!(outcome.output.as_deref(), Some("done"), "done again, by the same worker");
        let summary = system.snapshot().await.unwrap().summary;
        assert_eq!((summary.restarts, outcome.attempts), (1, 2));
    });
}

#[test]
fn the_deadline_of_the_parent_cancels_its_grandchildren() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), Act::Hang);
        let lead = named("lead", 1).behaviour(|| {
            Does(async |scene: &Scene, _: &Task| {
                let whole = scene.deadline();
                let child = scene.spawn(named("child", 1).behaviour(move || {
                    Does(async move |scene: &Scene, _: &Task| {
                        assert_eq!(scene.deadline(), whole, "at most that of the parent");
                        let grandchild = scene.spawn(named("grandchild", 1))?;
                        Ok(grandchild.execute(part("hang")).await?)
                    })
                }))?;
                let deadline = Some(Deadline::After(Duration::from_secs(3_600)));
                Ok(child.execute(Task { deadline, ..part("1") }).await?)
            })
        });
        let system = system(&clock, &client)
            .agent(lead)
            .budget(budget("global", "1.00"))
            .start()
            .await
            .unwrap();
        let began = clock.now();
        let deadline = Some(Deadline::After(Duration::from_secs(7)));
        let outcome = system.run(Task { deadline, ..task(1) }).await.unwrap();
        assert_eq!(clock.now().since(began), Duration::from_secs(7));
        assert_eq!(outcome.error.as_ref().unwrap().code, ErrorCode::DeadlineExceeded);
        assert_eq!((outcome.attempts, client.sent().len()), (1, 1));
        assert!(!outcome.presumed_cost_usd.is_zero());
        let snapshot = system.snapshot().await.unwrap();
        assert_eq!(snapshot.in_flight, 0);
        let balance = &system.balances().await.unwrap()[0];
        assert_eq!(
            (balance.presumed, balance.reserved),
            (outcome.presumed_cost_usd, NanoUsd::ZERO)
        );
    });
}

#[test]
fn a_sub_task_has_a_deadline_of_its_own_and_is_cancelled_where_nobody_waits_for_it() {
    run(|clock| async move {
        let client = Scripted::new(&clock, vec![Act::Hang, Act::Hang], GOOD);
        let lead = named("lead", 1).behaviour(|| {
            Does(async |scene: &Scene, _: &Task| {
                let child = scene.spawn(named("reader", 1))?;
                let deadline = Some(Deadline::After(Duration::from_secs(2)));
                let late = child.execute(Task { deadline, ..part("1") }).await.unwrap_err();
                assert!(
                    matches!(&late, ChildError::Failed(e) if e.code == ErrorCode::DeadlineExceeded)
                );
                let dropped = child.execute(part("2"));
                scene.clock().sleep(Duration::from_secs(2)).await;
                drop(dropped);
                let output: Output = child.execute(part("3")).await?;
                scene.complete(ask(&output.text)).await.map(Into::into)
            })
        });
        let system = system(&clock, &client).agent(lead).start().await.unwrap();
        let began = clock.now();
        let outcome = system.run(task(1)).await.unwrap();
        assert_eq!((outcome.output.as_deref(), outcome.attempts), (Some("done"), 4));
        assert_eq!(clock.now().since(began), Duration::from_millis(4_200));
    });
}
