//! Threads that are held up by code that does not yield: what was to be done there is done elsewhere.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::num::{NonZeroU32, NonZeroUsize};
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex};
use std::task::Poll;
use std::time::Duration;

use agent_core::agent::{AgentSpec, Scene};
use agent_core::clock::Clock;
use agent_core::config::Guards;
use agent_core::llm::LlmErrorKind;
use agent_core::money::NanoUsd;
use agent_core::permits::ProviderLimits;
use agent_core::retry::{AttemptTimeout, RetryPolicy};
use agent_core::supervision::{GroupSpec, Strategy, Supervision};
use agent_core::system::{AgentSystem, AgentSystemBuilder, Ended, TaskHandle};
use agent_core::task::{Deadline, ErrorCode, Outcome, Task};
use futures_util::future::join;

use crate::behaviour::Does;
use crate::support::{Act, Scripted, agent, task};

/// The task that holds up the thread of its worker, the first time that it is done.
const BLOCKS: u32 = 0;

/// What holds a thread up, until it is opened; and how often each task was begun.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    is_open: bool,
    begun: BTreeMap<String, u32>,
}

impl Gate {
    pub(crate) fn open(&self) {
        self.0.0.lock().unwrap().is_open = true;
        self.0.1.notify_all();
    }

    pub(crate) fn pass(&self) {
        let state = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(state, |state| !state.is_open).unwrap());
    }

    pub(crate) fn begin(&self, task: &Task) -> u32 {
        let mut state = self.0.0.lock().unwrap();
        let times = state.begun.entry(task.id.to_string()).or_default();
        *times += 1;
        *times
    }

    pub(crate) fn begun(&self) -> BTreeMap<String, u32> {
        self.0.0.lock().unwrap().begun.clone()
    }
}

/// Whatever becomes of a test, no thread waits at its gate for ever.
pub(crate) struct Opens(pub(crate) Gate);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// Agents of so many workers on two threads; workers of even places share the first, where there
/// are no groups.
fn building(gate: &Gate, agents: &[(&str, u32, Option<&str>)]) -> AgentSystemBuilder {
    let quick = Act::Answer { input: 10, output: 10, after: Duration::ZERO };
    let client = Scripted::new(&Clock::real(), Vec::new(), quick);
    let mut builder = AgentSystem::builder(client)
        .arbiters(NonZeroUsize::new(2).unwrap())
        .blocked_after(Duration::from_millis(40));
    for &(name, workers, group) in agents {
        let gate = gate.clone();
        let spec = AgentSpec { name: name.into(), group: group.map(Into::into), ..agent(workers) };
        builder = builder.agent(spec.behaviour(move || {
            let gate = gate.clone();
            Does(async move |scene: &Scene, task: &Task| {
                if gate.begin(task) == 1 && task.id.as_str() == BLOCKS.to_string() {
                    scene.tool("compress", || gate.pass());
                }
                scene.answer(task).await
            })
        }));
    }
    builder
}

/// Has the task that blocks begun, so that its thread is held up from then on.
async fn held_up(system: &AgentSystem, gate: &Gate, task: Task) -> TaskHandle {
    let handle = system.submit(task).await.unwrap();
    let begun = async {
        while gate.begun().is_empty() {
            Clock::real().sleep(Duration::from_millis(1)).await;
        }
    };
    soon("its beginning", begun).await;
    handle
}

/// What comes within a minute of real time: a test that fails ends.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let clock = Clock::real();
    let deadline = clock.now() + Duration::from_secs(60);
    let waited = clock.timeout(deadline, Box::pin(future)).await;
    waited.unwrap_or_else(|_| panic!("{what} did not come"))
}

async fn is_done(handle: TaskHandle) -> Arc<Outcome> {
    let outcome = soon("an outcome", handle.outcome()).await.unwrap();
    assert!(outcome.error.is_none(), "{outcome:?}");
    outcome
}

#[test]
fn what_was_given_to_workers_of_a_thread_that_is_held_up_is_done_on_another() {
    actix::System::new().block_on(async {
        let gate = Gate::default();
        let opens = Opens(gate.clone());
        let system = building(&gate, &[("clerk", 6, None)]).start().await.unwrap();
        let blocks = held_up(&system, &gate, task(BLOCKS)).await;
        let mut given = Vec::new();
        // More than there are workers: some are given out while the thread is held up.
        for id in 1..20 {
            given.push(system.submit(task(id)).await.unwrap());
        }
        for handle in given {
            is_done(handle).await;
        }
        // Nobody sends anything there until it is free again.
        for id in 20..40 {
            is_done(system.submit(task(id)).await.unwrap()).await;
        }
        drop(opens);
        is_done(blocks).await;
        is_done(system.submit(task(40)).await.unwrap()).await;
        assert_eq!(gate.begun().into_values().max(), Some(1), "{:?}", gate.begun());
        let seen = system.snapshot().await.unwrap();
        assert_eq!((seen.summary.tasks.completed, seen.summary.restarts), (41, 0));
        assert_eq!(seen.workers.down, 0);
        system.finish().await;
    });
}

#[test]
fn a_group_whose_thread_is_held_up_waits_for_it_and_others_take_what_they_may() {
    actix::System::new().block_on(async {
        let gate = Gate::default();
        let opens = Opens(gate.clone());
        let team = Some("team");
        // The group is on the first thread, and so is `c`.
        let agents = [("a", 1, team), ("b", 1, team), ("c", 1, None), ("d", 1, None)];
        let group = GroupSpec::new("team", Strategy::OneForAll);
        let system = building(&gate, &agents).group(group).start().await.unwrap();
        let of = |agent: &str, id| Task { agent: Some(agent.into()), ..task(id) };
        let blocks = held_up(&system, &gate, of("a", BLOCKS)).await;
        let waits = system.submit(of("b", 1)).await.unwrap();
        for id in 2..12 {
            is_done(system.submit(task(id)).await.unwrap()).await;
        }
        assert_eq!(gate.begun().get("1"), None, "a group is never split");
        drop(opens);
        is_done(blocks).await;
        is_done(waits).await;
        system.finish().await;
    });
}

#[test]
fn a_worker_that_holds_its_thread_for_too_long_is_replaced_on_another() {
    actix::System::new().block_on(async {
        let gate = Gate::default();
        let opens = Opens(gate.clone());
        let wedged_after = Duration::from_millis(200);
        let policy = Supervision { wedged_after, ..Supervision::default() };
        let builder = building(&gate, &[("clerk", 2, None)]).supervision(policy);
        let system = builder.start().await.unwrap();
        let mut outcomes = system.outcomes();
        is_done(system.submit(task(BLOCKS)).await.unwrap()).await;
        assert_eq!(gate.begun()["0"], 2);
        drop(opens);
        for id in 1..5 {
            is_done(system.submit(task(id)).await.unwrap()).await;
        }
        system.finish().await;
        let told = std::iter::from_fn(|| outcomes.try_next()).count();
        assert_eq!(told, 5, "the one that was held up has nothing more to say");
    });
}

/// A system on two threads that soon replaces a worker, and gives an attempt 200 ms.
pub(crate) fn replaces(client: &Scripted, max_cost_per_task: NanoUsd) -> AgentSystemBuilder {
    let moment = Duration::from_millis(200);
    AgentSystem::builder(client.clone())
        .arbiters(NonZeroUsize::new(2).unwrap())
        .blocked_after(Duration::from_millis(40))
        .supervision(Supervision { wedged_after: moment, ..Supervision::default() })
        .guards(Guards { max_cost_per_task, ..Guards::default() })
        .timeouts(AttemptTimeout {
            base: moment,
            per_1k_tokens: Duration::ZERO,
            ..AttemptTimeout::default()
        })
}

/// Has a call leave, which is not answered, and holds up its thread.
async fn leaves_and_holds(mut call: impl Future + Unpin, scene: &Scene, gate: &Gate) {
    assert!(poll_fn(|cx| Poll::Ready(Pin::new(&mut call).poll(cx))).await.is_pending());
    scene.tool("compress", || gate.pass());
}

#[test]
fn what_a_replaced_worker_has_in_flight_counts_for_the_guard_of_the_next() {
    let ended = |max_cost_per_task: NanoUsd| async move {
        let gate = Gate::default();
        let _opens = Opens(gate.clone());
        let quick = Act::Answer { input: 10, output: 10, after: Duration::ZERO };
        let client = Scripted::new(&Clock::real(), vec![Act::Hang], quick);
        let system = replaces(&client, max_cost_per_task).agent(agent(2).behaviour(move || {
            let gate = gate.clone();
            Does(async move |scene: &Scene, task: &Task| {
                if gate.begin(task) == 1 {
                    leaves_and_holds(pin!(scene.answer(task)), scene, &gate).await;
                }
                scene.answer(task).await
            })
        }));
        let system = system.start().await.unwrap();
        let handle = system.submit(task(BLOCKS)).await.unwrap();
        soon("an outcome", handle.outcome()).await.unwrap()
    };
    actix::System::new().block_on(async {
        let both = ended(NanoUsd::from_dollars(1)).await;
        assert!(both.error.is_none() && !both.presumed_cost_usd.is_zero(), "{both:?}");
        let one = ended(both.presumed_cost_usd).await;
        let code = one.error.as_ref().map(|error| error.code);
        assert_eq!(code, Some(ErrorCode::CostLimitExceeded), "{one:?}");
    });
}

#[test]
fn what_a_replaced_worker_has_in_flight_counts_beside_calls_that_wait_to_leave() {
    let presumed = |max_cost_per_task: NanoUsd| async move {
        let gate = Gate::default();
        let _opens = Opens(gate.clone());
        let lost = Act::Fail(LlmErrorKind::Broken);
        let client = Scripted::new(&Clock::real(), vec![Act::Hang], lost);
        let spec = agent(2).behaviour(move || {
            let gate = gate.clone();
            Does(async move |scene: &Scene, task: &Task| {
                if gate.begin(task) == 1 {
                    leaves_and_holds(pin!(scene.answer(task)), scene, &gate).await;
                }
                // The first has the only permit until its thread is let go.
                let mut both = pin!(join(scene.answer(task), scene.answer(task)));
                let polled = poll_fn(|cx| Poll::Ready(both.as_mut().poll(cx))).await;
                assert!(polled.is_pending());
                gate.open();
                let (one, other) = both.await;
                one.and(other)
            })
        });
        let limits =
            ProviderLimits { max_concurrent: NonZeroU32::MIN, ..ProviderLimits::default() };
        let once = RetryPolicy { max_attempts: NonZeroU32::MIN, ..RetryPolicy::default() };
        let builder = replaces(&client, max_cost_per_task).limits(limits).retry(once).agent(spec);
        let system = builder.start().await.unwrap();
        let handle = system.submit(task(BLOCKS)).await.unwrap();
        let outcome = soon("an outcome", handle.outcome()).await.unwrap();
        outcome.presumed_cost_usd.nanos()
    };
    actix::System::new().block_on(async {
        let three = presumed(NanoUsd::from_dollars(1)).await;
        let two = NanoUsd::from_nanos(three / 3 * 2);
        assert_eq!(presumed(two).await, two.nanos());
    });
}

#[test]
fn what_a_replaced_worker_still_says_ends_nobody_elses_task() {
    actix::System::new().block_on(async {
        let (gate, second) = (Gate::default(), Gate::default());
        let opens = Opens(gate.clone());
        let wedged_after = Duration::from_millis(200);
        let policy = Supervision { wedged_after, ..Supervision::default() };
        let builder = building(&gate, &[("clerk", 1, None)]).supervision(policy);
        let spec = {
            let (gate, second) = (gate.clone(), second.clone());
            AgentSpec { name: "late".into(), ..agent(1) }.behaviour(move || {
                let (gate, second) = (gate.clone(), second.clone());
                Does(async move |scene: &Scene, task: &Task| {
                    if task.id.as_str() != BLOCKS.to_string() {
                        while second.begun().is_empty() {
                            scene.clock().sleep(Duration::from_millis(1)).await;
                        }
                    } else if gate.begin(task) == 1 {
                        gate.pass();
                        second.0.0.lock().unwrap().is_open = true;
                    }
                    Ok("done".into())
                })
            })
        };
        let system = builder.agent(spec).start().await.unwrap();
        let of = |id| Task { agent: Some("late".into()), ..task(id) };
        is_done(held_up(&system, &gate, of(BLOCKS)).await).await;
        let other = system.submit(of(1)).await.unwrap();
        drop(opens);
        let said = async {
            while !second.0.0.lock().unwrap().is_open {
                Clock::real().sleep(Duration::from_millis(1)).await;
            }
            // It is told by now, or a moment later.
            Clock::real().sleep(Duration::from_millis(50)).await;
        };
        soon("the end of the first", said).await;
        second.begin(&task(1));
        let outcome = is_done(other).await;
        assert_eq!(outcome.task_id.as_str(), "1");
        system.finish().await;
    });
}

#[test]
fn a_run_ends_although_a_worker_never_yields() {
    actix::System::new().block_on(async {
        let gate = Gate::default();
        let _opens = Opens(gate.clone());
        let builder = building(&gate, &[("clerk", 1, None)]).grace(Duration::ZERO);
        let system = builder.start().await.unwrap();
        let kept = held_up(&system, &gate, task(BLOCKS)).await;
        assert_eq!(soon("the end", system.interrupt()).await, Ended::Interrupted);
        assert!(kept.outcome().await.is_err(), "the task is kept, not ended");
    });
}

#[test]
fn the_threads_of_the_workers_end_with_a_system_that_nobody_stopped() {
    thread_local! {
        static ENDS: std::cell::RefCell<Option<std::sync::mpsc::Sender<()>>> = const { std::cell::RefCell::new(None) };
    }
    let (ends, ended) = std::sync::mpsc::channel::<()>();
    let ends = Mutex::new(Some(ends));
    let ends = Arc::new(ends);
    actix::System::new().block_on(async {
        let quick = Act::Answer { input: 10, output: 10, after: Duration::ZERO };
        let client = Scripted::new(&Clock::real(), Vec::new(), quick);
        let spec = agent(1).behaviour(move || {
            let ends = Arc::clone(&ends);
            Does(async move |_: &Scene, _: &Task| {
                let ends = ends.lock().unwrap().take();
                ENDS.with(|here| *here.borrow_mut() = ends);
                Ok("done".into())
            })
        });
        let two = NonZeroUsize::new(2).unwrap();
        let system = AgentSystem::builder(client).agent(spec).arbiters(two).start().await.unwrap();
        assert!(system.run(task(1)).await.unwrap().error.is_none());
        // Nobody drops the handle, so nobody tells the coordinator to stop.
        std::mem::forget(system);
    });
    let gone = ended.recv_timeout(Duration::from_secs(60));
    assert_eq!(gone, Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn a_task_whose_worker_holds_its_thread_ends_by_its_own_deadline() {
    actix::System::new().block_on(async {
        let gate = Gate::default();
        let _opens = Opens(gate.clone());
        let wedged_after = Duration::from_millis(200);
        let policy = Supervision { wedged_after, ..Supervision::default() };
        let builder = building(&gate, &[("clerk", 2, None)]).supervision(policy);
        let system = builder.start().await.unwrap();
        let deadline = Some(Deadline::After(Duration::from_millis(50)));
        let late = system.submit(Task { deadline, ..task(BLOCKS) }).await.unwrap();
        let outcome = soon("its end", late.outcome()).await.unwrap();
        let code = outcome.error.as_ref().map(|error| error.code);
        assert_eq!(code, Some(ErrorCode::DeadlineExceeded));
    });
}
