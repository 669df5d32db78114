//! A program around the system that listens to what it tells, and panics over it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_core::agent::{Behaviour, Output, Scene};
use agent_core::money::NanoUsd;
use agent_core::store::Entry;
use agent_core::supervision::{GroupSpec, Strategy, Supervision};
use agent_core::system::Ended;
use agent_core::task::{Task, TaskError};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::host::in_a_process_of_its_own;
use crate::support::{Act, GOOD, Scripted, agent, budget, expect_panics, run, spent, system, task};

/// Panics over every event of this target, or of a module below it; how many there were.
#[derive(Clone)]
struct Panics(&'static str, Arc<AtomicU32>);

impl Panics {
    fn over(target: &'static str) -> Panics {
        Panics(target, Arc::default())
    }
}

impl Subscriber for Panics {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with(self.0)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        panic!("scripted panic");
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn a_subscriber_that_panics_over_each_event_costs_no_task_and_no_cent() {
    // Whether an event is heard at all is a matter of the whole process.
    let name = "listeners::a_subscriber_that_panics_over_each_event_costs_no_task_and_no_cent";
    in_a_process_of_its_own(name, || {
        expect_panics();
        let panics = Panics::over("audit");
        let heard = Arc::clone(&panics.1);
        tracing::subscriber::with_default(panics, scene);
        assert!(heard.load(Ordering::SeqCst) > 10, "nobody listened");
    });
}

fn scene() {
    run(|clock| async move {
        let late = Duration::from_secs(1);
        // Answered, refused and tried again, given up, and cut off by a panic while it works.
        let cut = Act::Cut { output: 3 };
        let script = vec![GOOD, cut.clone(), GOOD, cut.clone(), cut.clone(), cut];
        let script = script.into_iter().chain([Act::Panic(late)]).collect();
        let client = Scripted::new(&clock, script, GOOD);
        let builder = system(&clock, &client).agent(agent(1)).budget(budget("global", "1.00"));
        let system = builder.start().await.unwrap();
        let mut charged = 0;
        for (id, completes) in [(0, true), (1, true), (2, false), (3, true)] {
            let outcome = system.run(task(id)).await.unwrap();
            assert_eq!(outcome.error.is_none(), completes, "{outcome:?}");
            charged += outcome.cost_usd.nanos() + outcome.presumed_cost_usd.nanos();
        }
        let (all, reserved) = spent(&system).await;
        assert_eq!((all.nanos(), reserved), (charged, NanoUsd::ZERO));
        let summary = system.snapshot().await.unwrap().summary;
        let counted = summary.cost_usd.nanos() + summary.presumed_cost_usd.nanos();
        assert_eq!((counted, summary.restarts), (charged, 1));
        assert_eq!(summary.calls.attempts, client.sent().len() as u64);
        assert_eq!(system.finish().await, Ended::Finished);
    });
}

#[test]
fn an_observer_is_shown_no_event_of_a_call_where_somebody_listens_to_them() {
    let name = "listeners::an_observer_is_shown_no_event_of_a_call_where_somebody_listens_to_them";
    in_a_process_of_its_own(name, || {
        expect_panics();
        let panics = Panics::over("audit");
        let heard = Arc::clone(&panics.1);
        tracing::subscriber::with_default(panics, observed);
        assert_eq!(heard.load(Ordering::SeqCst), 2, "a start and a success");
    });
}

fn observed() {
    run(|clock| async move {
        let events = Arc::new(Mutex::new(Vec::new()));
        let observer = Arc::clone(&events);
        let observe = move |entries: &[Entry]| {
            let of_audit = entries.iter().filter(|entry| matches!(entry, Entry::Audit(_)));
            observer.lock().unwrap().extend(of_audit.cloned());
        };
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let system = system(&clock, &client).agent(agent(1)).observe(observe);
        let system = system.start().await.unwrap();
        system.run(task(0)).await.unwrap();
        system.finish().await;
        assert_eq!(*events.lock().unwrap(), []);
    });
}

/// Fails at whatever it is given, and where it is dropped.
struct Fails;

impl Behaviour for Fails {
    async fn perform(&mut self, _: &Scene, _: &Task) -> Result<Output, TaskError> {
        panic!("scripted panic");
    }
}

impl Drop for Fails {
    fn drop(&mut self) {
        panic!("scripted panic");
    }
}

#[test]
fn a_subscriber_that_panics_over_what_is_logged_ends_no_run_before_its_time() {
    let name =
        "listeners::a_subscriber_that_panics_over_what_is_logged_ends_no_run_before_its_time";
    in_a_process_of_its_own(name, || {
        expect_panics();
        let panics = Panics::over("agent_core");
        let heard = Arc::clone(&panics.1);
        tracing::subscriber::with_default(panics, logged);
        // A group restarts, and then too often.
        assert_eq!(heard.load(Ordering::SeqCst), 2);
    });
}

fn logged() {
    run(|clock| async move {
        let client = Scripted::new(&clock, Vec::new(), GOOD);
        let once = Supervision { max_restarts: 1, ..Supervision::default() };
        let system = system(&clock, &client)
            .agent(agent(1).behaviour(|| Fails).group("team"))
            .group(GroupSpec::new("team", Strategy::OneForAll).policy(once))
            .start()
            .await
            .unwrap();
        let kept = system.submit(task(1)).await.unwrap();
        assert_eq!(system.stopped().await, Ended::Stopped);
        assert!(kept.outcome().await.is_err(), "the task is kept, not ended");
        let summary = system.snapshot().await.unwrap().summary;
        assert_eq!((summary.tasks.total, summary.restarts), (1, 1));
        assert_eq!(system.interrupt().await, Ended::Stopped);
    });
}
