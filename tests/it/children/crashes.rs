//! Workers of sub-agents that crash: what they were at goes on, by another or by themselves.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_core::agent::{AgentSpec, ChildError, Output, Scene};
use agent_core::supervision::{Restart, Supervision};
use agent_core::task::Task;
use futures_util::future::join_all;

use super::{named, part};
use crate::behaviour::Does;
use crate::support::{GOOD, Scripted, expect_panics, run, system, task};

/// Sub-tasks in the order in which they were begun.
type Begun = Arc<Mutex<Vec<String>>>;

/// A sub-agent that crashes when it begins `1` for the first time, and takes a second for all else.
fn crashes_once(workers: u32, begun: &Begun) -> AgentSpec {
    let begun = Arc::clone(begun);
    named("reader", workers).behaviour(move || {
        let begun = Arc::clone(&begun);
        Does(async move |scene: &Scene, task: &Task| {
            let is_first = {
                let mut begun = begun.lock().unwrap();
                begun.push(task.id.to_string());
                begun.iter().filter(|id| *id == "1").count() == 1
            };
            assert!(task.id.as_str() != "1" || !is_first, "scripted panic");
            scene.sleep(Duration::from_secs(1)).await;
            Ok("done".into())
        })
    })
}

/// Has a parent give three sub-tasks to a sub-agent that `spec` makes, which pauses for a minute after
/// a crash: the order in which they were begun, and how long they took.
fn three_parts<F>(spec: F) -> (Vec<String>, Duration)
where
    F: Fn(&Begun) -> AgentSpec + Send + Sync + 'static,
{
    expect_panics();
    run(|clock| async move {
        let begun = Begun::default();
        let (begins, spec) = (Arc::clone(&begun), Arc::new(spec));
        let lead = named("lead", 1).behaviour(move || {
            let (begun, spec) = (Arc::clone(&begins), Arc::clone(&spec));
            Does(async move |scene: &Scene, _: &Task| {
                let minute = Duration::from_secs(60);
                let policy =
                    Supervision { backoff: minute, max_backoff: minute, ..Supervision::default() };
                let child = scene.spawn_under(spec(&begun), policy)?;
                let parts = join_all(["1", "2", "3"].map(|name| child.execute(part(name)))).await;
                parts.into_iter().collect::<Result<Vec<_>, ChildError>>()?;
                Ok("done".into())
            })
        });
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let system = system(&clock, &client).agent(lead).start().await.unwrap();
        let began = clock.now();
        let outcome = system.run(task(1)).await.unwrap();
        assert_eq!(outcome.output.as_deref(), Some("done"), "{outcome:?}");
        let begun = begun.lock().unwrap().clone();
        (begun, clock.now().since(began))
    })
}

#[test]
fn what_a_crash_cut_off_is_done_before_what_has_not_been_begun() {
    let (begun, took) = three_parts(|begun| crashes_once(1, begun));
    assert_eq!(begun, ["1", "1", "2", "3"]);
    assert_eq!(took, Duration::from_secs(63));
}

#[test]
fn what_a_crash_cut_off_is_begun_at_once_where_another_worker_is_idle() {
    let (begun, took) = three_parts(|begun| crashes_once(4, begun));
    assert_eq!(begun, ["1", "2", "3", "1"]);
    assert_eq!(took, Duration::from_secs(1));
}

#[test]
fn a_sub_agent_lives_as_long_as_one_of_its_workers() {
    let temporary = |begun: &Begun| crashes_once(2, begun).restart(Restart::Temporary);
    let (begun, took) = three_parts(temporary);
    assert_eq!(begun, ["1", "2", "1", "3"]);
    assert_eq!(took, Duration::from_secs(3));
}

#[test]
fn a_parent_that_links_itself_to_a_child_that_has_given_up_crashes_too() {
    expect_panics();
    run(|clock| async move {
        let begun = Begun::default();
        let begins = Arc::clone(&begun);
        let lead = named("lead", 1).behaviour(move || {
            let begun = Arc::clone(&begins);
            Does(async move |scene: &Scene, _: &Task| -> Result<Output, _> {
                let child = scene.spawn(crashes_once(1, &begun).restart(Restart::Temporary))?;
                let answer = child.execute(part("1")).await;
                child.link();
                scene.sleep(Duration::from_secs(1)).await;
                Ok(answer?)
            })
        });
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let system = system(&clock, &client).agent(lead).start().await.unwrap();
        let outcome = system.run(task(1)).await.unwrap();
        assert_eq!(outcome.output.as_deref(), Some("done"), "done again, by a new child");
        assert_eq!(system.snapshot().await.unwrap().summary.restarts, 1);
    });
}
