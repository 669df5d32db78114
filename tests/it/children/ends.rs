//! Whatever ends a parent ends its children first, the youngest before the older.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_core::agent::{AgentSpec, Behaviour, Child, ChildEnd, ChildError, Output, Scene};
use agent_core::ledger::{BudgetSpec, OnExhausted};
use agent_core::system::Ended;
use agent_core::task::{Deadline, ErrorCode, Task, TaskError};

use super::{named, part};
use crate::behaviour::Does;
use crate::support::{Act, GOOD, Scripted, budget, expect_panics, run, system, task};

type Log = Arc<Mutex<Vec<String>>>;

/// What the parent does once its children are at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Completes,
    Fails,
    IsCancelled,
    IsTooLate,
    Panics,
}

/// Notes its end, and has children as `depth` says: two each.
struct Noted {
    log: Log,
    name: String,
    depth: u32,
    how: How,
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.log.lock().unwrap().push(self.name.clone());
    }
}

fn noted(log: &Log, name: String, depth: u32, how: How) -> AgentSpec {
    let log = Arc::clone(log);
    named(&name.clone(), 1).behaviour(move || {
        let (log, name) = (Arc::clone(&log), name.clone());
        Noted { log, name, depth, how }
    })
}

impl Behaviour for Noted {
    async fn perform(&mut self, scene: &Scene, task: &Task) -> Result<Output, TaskError> {
        let mut parts = Vec::new();
        for child in ["1", "2"].into_iter().take(if self.depth > 0 { 2 } else { 0 }) {
            let name = format!("{}{child}", self.name);
            let child = scene.spawn(noted(&self.log, name, self.depth - 1, self.how))?;
            parts.push(child.execute(part("hang")));
        }
        if self.depth < 2 {
            return scene.answer(task).await;
        }
        scene.clock().sleep(Duration::from_secs(3)).await;
        match self.how {
            How::Completes => Ok("done".into()),
            How::Fails => Err(TaskError::new(ErrorCode::InvalidTask, "no")),
            How::IsCancelled | How::IsTooLate => std::future::pending().await,
            How::Panics => panic!("scripted panic"),
        }
    }
}

#[test]
fn children_end_before_their_parent_is_told_ended_in_reverse_order_and_grandchildren_first() {
    expect_panics();
    let ways = [How::Completes, How::Fails, How::IsCancelled, How::IsTooLate, How::Panics];
    for how in ways {
        run(|clock| async move {
            let client = Scripted::new(&clock, Vec::new(), Act::Hang);
            let log = Log::default();
            let lead = noted(&log, "p".into(), 2, how);
            let system = system(&clock, &client).agent(lead).start().await.unwrap();
            let deadline =
                (how == How::IsTooLate).then_some(Deadline::After(Duration::from_secs(3)));
            let handle = system.submit(Task { deadline, ..task(1) }).await.unwrap();
            clock.sleep(Duration::from_secs(2)).await;
            assert_eq!(client.sent().len(), 6, "all below are at work");
            assert!(log.lock().unwrap().is_empty());
            if how == How::IsCancelled {
                system.cancel("1".into()).await.unwrap();
            }
            let outcome = if how == How::Panics {
                // It is told to the coordinator, and begun again.
                while system.snapshot().await.unwrap().summary.restarts == 0 {
                    clock.sleep(Duration::from_millis(100)).await;
                }
                None
            } else {
                let outcome = handle.outcome().await.unwrap();
                assert_eq!(outcome.attempts, 6, "{how:?}");
                assert!(!outcome.presumed_cost_usd.is_zero(), "{how:?}");
                Some(outcome)
            };
            let ended = log.lock().unwrap().join(" ");
            let children = "p22 p21 p2 p12 p11 p1";
            let expected = match how {
                // Its own behaviour is kept for the next task.
                How::Completes | How::Fails => children.to_owned(),
                How::IsCancelled | How::IsTooLate | How::Panics => format!("{children} p"),
            };
            assert_eq!(ended, expected, "{how:?}");
            let error = outcome.and_then(|outcome| outcome.error.clone()).map(|e| e.code);
            let expected = match how {
                How::Completes | How::Panics => None,
                How::Fails => Some(ErrorCode::InvalidTask),
                How::IsCancelled => Some(ErrorCode::Cancelled),
                How::IsTooLate => Some(ErrorCode::DeadlineExceeded),
            };
            assert_eq!(error, expected, "{how:?}");
        });
    }
}

/// Panics whenever it is dropped.
struct Brittle;

impl Drop for Brittle {
    fn drop(&mut self) {
        panic!("scripted panic");
    }
}

impl Behaviour for Brittle {}

#[test]
fn a_child_whose_drop_panics_ends_with_its_parent_and_costs_nobody_anything() {
    expect_panics();
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let lead = named("lead", 1).behaviour(|| {
            Does(async |scene: &Scene, _: &Task| {
                let child = scene.spawn(named("brittle", 2).behaviour(|| Brittle))?;
                child.execute(part("1")).await?;
                let at_work = child.execute(part("2"));
                scene.clock().sleep(Duration::from_millis(50)).await;
                child.stop();
                assert!(at_work.await.is_err());
                let other = scene.spawn(named("brittle", 1).behaviour(|| Brittle))?;
                Ok(other.execute(part("3")).await?)
            })
        });
        let system = system(&clock, &client).agent(lead).start().await.unwrap();
        for id in 1..3 {
            let outcome = system.run(task(id)).await.unwrap();
            assert_eq!((outcome.output.as_deref(), outcome.attempts), (Some("done"), 3));
        }
        assert_eq!(system.snapshot().await.unwrap().summary.restarts, 0);
    });
}

#[test]
fn a_task_is_kept_where_the_run_stops_over_a_call_of_its_sub_agent() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let lead = named("lead", 1).behaviour(|| {
            Does(async |scene: &Scene, _: &Task| {
                let child = scene.spawn(named("reader", 1))?;
                match child.execute(part("1")).await {
                    Ok(output) => Ok(output),
                    Err(error) => Ok(format!("managed without: {error}").into()),
                }
            })
        });
        let stop =
            BudgetSpec { on_exhausted: OnExhausted::StopRun, ..budget("agent:reader", "0.0001") };
        let system = system(&clock, &client).agent(lead).budget(stop).start().await.unwrap();
        let handle = system.submit(task(1)).await.unwrap();
        assert_eq!(system.stopped().await, Ended::Stopped);
        assert!(handle.outcome().await.is_err(), "it has not ended");
        assert!(client.sent().is_empty());
    });
}

thread_local! {
    /// A sub-agent, for who is one of its workers.
    static ITSELF: RefCell<Option<Child>> = const { RefCell::new(None) };
}

#[test]
fn a_worker_that_stops_its_own_sub_agent_goes_no_further_than_its_next_wait() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let lead = named("lead", 1).behaviour(|| {
            Does(async |scene: &Scene, _: &Task| {
                let stops = named("kid", 1).behaviour(|| {
                    Does(async |scene: &Scene, _: &Task| {
                        ITSELF.with_borrow(|child| child.as_ref().unwrap().stop());
                        scene.sleep(Duration::from_secs(1)).await;
                        panic!("it goes on");
                    })
                });
                let child = scene.spawn(stops)?;
                ITSELF.set(Some(child.clone()));
                let answer = child.execute(part("1")).await;
                assert!(matches!(answer, Err(ChildError::Ended { end: ChildEnd::Stopped, .. })));
                scene.sleep(Duration::from_secs(5)).await;
                Ok("done".into())
            })
        });
        let system = system(&clock, &client).agent(lead).start().await.unwrap();
        let outcome = system.run(task(1)).await.unwrap();
        assert_eq!(outcome.output.as_deref(), Some("done"), "{outcome:?}");
        let summary = system.snapshot().await.unwrap().summary;
        assert_eq!(summary.audit_warnings.get("worker_restarted"), None);
        ITSELF.set(None);
    });
}
