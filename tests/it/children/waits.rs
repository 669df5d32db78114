//! Sub-tasks that wait for a worker of their sub-agent, and how long they do.

use std::time::Duration;

use agent_core::agent::{ChildError, ChildLimits, Scene};
use agent_core::supervision::Supervision;
use agent_core::task::{Deadline, ErrorCode, Task};
use futures_util::future::join_all;

use super::{named, part};
use crate::behaviour::Does;
use crate::support::{Act, GOOD, Scripted, expect_panics, run, system, task};

fn within(seconds: u64, name: &str) -> Task {
    Task { deadline: Some(Deadline::After(Duration::from_secs(seconds))), ..part(name) }
}

/// Holds that a sub-task has ended as too late, unstarted.
fn is_late(error: &ChildError) {
    let ChildError::Failed(error) = error else { panic!("{error}") };
    assert_eq!(error.code, ErrorCode::DeadlineExceeded);
    assert!(error.message.ends_with("passed while it waited"), "{}", error.message);
}

#[test]
fn a_sub_task_whose_deadline_comes_while_it_waits_ends_then_and_is_not_begun() {
    expect_panics();
    run(|clock| async move {
        let slow = Act::Answer { input: 10, output: 10, after: Duration::from_secs(20) };
        let client = Scripted::new(&clock, vec![slow, Act::Panic(Duration::ZERO)], GOOD);
        let lead = named("lead", 1).behaviour(|| {
            Does(async |scene: &Scene, _: &Task| {
                let policy =
                    Supervision { backoff: Duration::from_secs(60), ..Supervision::default() };
                let child = scene.spawn_under(named("reader", 1), policy)?;
                let (clock, began) = (scene.clock(), scene.clock().now());
                let slow = child.execute(part("slow"));
                is_late(&child.execute(within(2, "late")).await.unwrap_err());
                assert_eq!(clock.now(), began + Duration::from_secs(2));
                slow.await?;
                // The same while its only worker pauses after a crash.
                is_late(&child.execute(within(5, "crashes")).await.unwrap_err());
                assert_eq!(clock.now(), began + Duration::from_secs(25));
                Ok("in time".into())
            })
        });
        let system = system(&clock, &client).agent(lead).start().await.unwrap();
        let outcome = system.run(task(1)).await.unwrap();
        assert_eq!((outcome.output.as_deref(), outcome.attempts), (Some("in time"), 2));
    });
}

#[test]
fn sub_tasks_that_came_too_late_take_no_place_among_those_that_wait() {
    run(|clock| async move {
        let slow = Act::Answer { input: 10, output: 10, after: Duration::from_secs(20) };
        let client = Scripted::new(&clock, vec![slow], GOOD);
        let lead = named("lead", 1).behaviour(|| {
            Does(async |scene: &Scene, _: &Task| {
                let child = scene.spawn(named("reader", 1))?;
                let slow = child.execute(part("slow"));
                // Nobody looks at them meanwhile.
                let late: Vec<_> = (0..3).map(|_| child.execute(within(2, "late"))).collect();
                let full = child.execute(part("too many")).await;
                assert!(matches!(full, Err(ChildError::Full { limit: 3, .. })), "{full:?}");
                scene.sleep(Duration::from_secs(3)).await;
                let next = child.execute(part("next"));
                for late in join_all(late).await {
                    is_late(&late.unwrap_err());
                }
                slow.await?;
                Ok(next.await?)
            })
        });
        let limits = ChildLimits { waiting: 3.try_into().unwrap(), ..ChildLimits::default() };
        let system = system(&clock, &client).agent(lead).children(limits).start().await.unwrap();
        let outcome = system.run(task(1)).await.unwrap();
        assert_eq!((outcome.error.clone(), outcome.attempts), (None, 2));
    });
}
