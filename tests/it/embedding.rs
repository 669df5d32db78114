//! The system as a guest: in somebody else's actix program, and in plain tokio programs.

use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message, ResponseFuture};
use agent_core::agent::{AgentSpec, Behaviour, Output, Scene};
use agent_core::clock::Clock;
use agent_core::llm::{Answer, Block, LlmClient, LlmError, Request, StopReason};
use agent_core::store::{Entry, StoreError, UsageQuery};
use agent_core::system::{AgentSystem, AgentSystemBuilder, Ended, StartError, SubmitError};
use agent_core::task::{Task, TaskError};
use agent_core::usage::Usage;
use futures_util::future::LocalBoxFuture;

use crate::support::MODEL;

/// Answers at once and remembers on which thread it was asked.
#[derive(Debug, Clone, Default)]
struct Seen(Arc<Mutex<Vec<ThreadId>>>);

impl Seen {
    fn threads(&self) -> Vec<ThreadId> {
        self.0.lock().unwrap().clone()
    }
}

impl LlmClient for Seen {
    fn complete<'a>(&'a self, _: &'a Request) -> LocalBoxFuture<'a, Result<Answer, LlmError>> {
        self.0.lock().unwrap().push(thread::current().id());
        Box::pin(async {
            Ok(Answer {
                content: vec![Block::Text { text: "done".into() }],
                stop_reason: Some(StopReason::EndTurn),
                usage: Usage { input_tokens: 100, output_tokens: 50, ..Usage::default() },
                ..Answer::default()
            })
        })
    }

    fn provider(&self) -> &str {
        "seen"
    }
}

fn builder(client: &Seen) -> AgentSystemBuilder {
    let clerk = AgentSpec::new("clerk", MODEL).count(4).max_tokens(100);
    AgentSystem::builder(client.clone()).agent(clerk)
}

/// An actor of the host's: takes letters, has each answered by the system, and counts them.
struct Desk {
    system: AgentSystem,
    answered: u32,
}

impl Actor for Desk {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "Result<String, SubmitError>")]
struct Letter(u32);

#[derive(Message)]
#[rtype(result = "()")]
struct Answered;

#[derive(Message)]
#[rtype(result = "u32")]
struct Count;

impl Handler<Letter> for Desk {
    type Result = ResponseFuture<Result<String, SubmitError>>;

    fn handle(&mut self, Letter(id): Letter, ctx: &mut Context<Self>) -> Self::Result {
        let (system, desk) = (self.system.clone(), ctx.address());
        Box::pin(async move {
            let outcome = system.run(Task::new(id.to_string(), "Answer the letter")).await?;
            desk.do_send(Answered);
            Ok(outcome.output.clone().unwrap_or_default())
        })
    }
}

impl Handler<Answered> for Desk {
    type Result = ();

    fn handle(&mut self, _: Answered, _: &mut Context<Self>) {
        self.answered += 1;
    }
}

impl Handler<Count> for Desk {
    type Result = u32;

    fn handle(&mut self, _: Count, _: &mut Context<Self>) -> u32 {
        self.answered
    }
}

#[actix::test]
async fn in_an_actix_program_the_system_runs_on_its_thread_and_leaves_its_actors_alone() {
    let client = Seen::default();
    let system = builder(&client).start().await.unwrap();
    let desk = Desk { system: system.clone(), answered: 0 }.start();
    let letters = (0..20).map(|id| desk.send(Letter(id)));
    for answer in futures_util::future::join_all(letters).await {
        assert_eq!(answer.unwrap().unwrap(), "done");
    }
    let here = thread::current().id();
    assert_eq!(client.threads(), [here; 20]);
    assert_eq!(system.finish().await, Ended::Finished);
    drop(system);
    // The host goes on without its guest.
    assert_eq!(desk.send(Count).await, Ok(20));
    assert!(matches!(desk.send(Letter(20)).await, Ok(Err(SubmitError::Closed))));
    assert_eq!(desk.send(Count).await, Ok(20));
    assert!(actix::System::try_current().is_some());
}

#[actix::test]
async fn two_systems_in_one_program_know_nothing_of_each_other() {
    let client = Seen::default();
    let (one, other) = (builder(&client).start().await, builder(&client).start().await);
    let (one, other) = (one.unwrap(), other.unwrap());
    one.run(Task::new("1", "Same id")).await.unwrap();
    one.finish().await;
    drop(one);
    let outcome = other.run(Task::new("1", "Same id")).await.unwrap();
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(other.snapshot().await.unwrap().summary.tasks.completed, 1);
}

#[actix::test]
async fn in_an_arbiter_of_the_host_the_system_runs_on_its_thread() {
    let client = Seen::default();
    let arbiter = actix::Arbiter::new();
    let (tell, told) = tokio::sync::oneshot::channel();
    let build = builder(&client);
    arbiter.spawn(async move {
        let started = build.start().await;
        assert!(tell.send((thread::current().id(), started)).is_ok());
    });
    let (its_thread, system) = told.await.unwrap();
    let system = system.unwrap();
    system.run(Task::new("1", "From another thread")).await.unwrap();
    assert_ne!(its_thread, thread::current().id());
    assert_eq!(client.threads(), [its_thread]);
    assert_eq!(system.finish().await, Ended::Finished);
    arbiter.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_tokio_program_of_many_threads_the_system_has_one_of_its_own() {
    let client = Seen::default();
    // Spawned, so that the future that starts it must be one that moves between threads.
    let system = tokio::spawn(builder(&client).start()).await.unwrap().unwrap();
    let mut callers = tokio::task::JoinSet::new();
    for id in 0..20 {
        let system = system.clone();
        callers.spawn(async move {
            let outcome = system.run(Task::new(id.to_string(), "From any thread")).await;
            (thread::current().id(), outcome)
        });
    }
    let mut from = vec![thread::current().id()];
    while let Some(called) = callers.join_next().await {
        let (thread, outcome) = called.unwrap();
        assert!(outcome.unwrap().error.is_none());
        from.push(thread);
    }
    let its = client.threads();
    assert_eq!(its, [its[0]; 20]);
    assert!(!from.contains(&its[0]), "the program's own threads do not play actors");
    assert_eq!(system.finish().await, Ended::Finished);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_let_go_of_when_the_last_handle_is_dropped_in_a_tokio_program() {
    let folder = tempfile::tempdir().unwrap();
    let client = Seen::default();
    for run in 0..2 {
        let system = start_when_free(|| builder(&client).store(folder.path())).await;
        system.run(Task::new(run.to_string(), "Once a run")).await.unwrap();
        assert_eq!(system.finish().await, Ended::Finished);
    }
    assert_eq!(client.threads().len(), 2);
}

/// Starts when the run before has let go of the folder, which its thread does soon.
async fn start_when_free(build: impl Fn() -> AgentSystemBuilder) -> AgentSystem {
    for _ in 0..1_000 {
        match build().start().await {
            Err(StartError::Store(StoreError::InUse { .. })) => {
                Clock::real().sleep(Duration::from_millis(10)).await;
            }
            started => return started.unwrap(),
        }
    }
    panic!("the run before has not let go of its folder after 10 s");
}

#[tokio::test]
async fn a_system_that_cannot_start_says_so_in_a_tokio_program_too() {
    let started = AgentSystem::builder(Seen::default()).start().await;
    assert!(matches!(started, Err(StartError::NoAgent)), "{started:?}");
    let many = AgentSpec::new("many", MODEL).count(u32::MAX);
    let started = builder(&Seen::default()).agent(many).start().await;
    let workers = u64::from(u32::MAX) + 4;
    let expected = format!("{workers} workers are more than the 1000000 that a system may have");
    let told = started.unwrap_err().to_string();
    assert!(told.starts_with(&expected), "{told}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    std::fs::write(&file, "not a folder").unwrap();
    let started = builder(&Seen::default()).store(file).start().await;
    assert!(matches!(started, Err(StartError::Store(_))), "{started:?}");
}

#[actix::test]
async fn an_observer_is_shown_each_step_once_and_in_order_and_nothing_is_kept() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let observer = Arc::clone(&seen);
    let observe = move |entries: &[Entry]| observer.lock().unwrap().extend_from_slice(entries);
    let system = builder(&Seen::default()).observe(observe).start().await.unwrap();
    system.run(Task::new("1", "Answer the letter")).await.unwrap();
    assert_eq!(system.usage(UsageQuery::default()).await.unwrap().total.totals.calls, 0);
    system.finish().await;
    let kinds: Vec<_> = seen.lock().unwrap().iter().map(kind).collect();
    let life = ["started", "accepted", "opened", "closed", "ended", "finished"];
    assert_eq!(kinds, life);
}

#[actix::test]
async fn a_fleet_file_is_kept_with_its_run_but_not_where_it_may_hold_a_key() {
    for (text, kept) in [("[limits]", true), ("# sk-ant-api03-secret", false)] {
        let seen = Arc::new(Mutex::new(None));
        let observer = Arc::clone(&seen);
        let observe = move |entries: &[Entry]| {
            for entry in entries {
                if let Entry::RunStarted { fleet, .. } = entry {
                    *observer.lock().unwrap() = Some(fleet.clone());
                }
            }
        };
        let builder = builder(&Seen::default()).observe(observe);
        let system = builder.fleet_file(Some(text.to_owned())).start().await.unwrap();
        system.finish().await;
        let told = seen.lock().unwrap().take();
        assert_eq!(told, Some(kept.then(|| text.to_owned())));
    }
}

fn kind(entry: &Entry) -> &'static str {
    match entry {
        Entry::RunStarted { .. } => "started",
        Entry::TaskAccepted { .. } => "accepted",
        Entry::AttemptOpened(_) => "opened",
        Entry::Audit(_) => "audit",
        Entry::AttemptClosed(_) => "closed",
        Entry::TaskEnded { .. } => "ended",
        Entry::RunFinished { .. } => "finished",
        _ => "other",
    }
}

#[test]
fn a_handle_that_outlives_the_actix_system_of_its_actors_says_so_and_hangs_nowhere() {
    let host = actix::System::new();
    let (system, open) = host.block_on(async {
        let hangs = AgentSpec::new("hangs", MODEL).behaviour(|| Hangs);
        let system = AgentSystem::builder(Seen::default()).agent(hangs).start().await.unwrap();
        let open = system.submit(Task::new("1", "a task")).await.unwrap();
        (system, open)
    });
    let mut lives = system.lifecycle();
    drop(host);
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio.block_on(async {
        let soon = Clock::real().now() + Duration::from_secs(20);
        let asked = async {
            assert!(matches!(open.outcome().await, Err(SubmitError::Closed)));
            let submitted = system.submit(Task::new("2", "a task")).await;
            assert!(matches!(submitted, Err(SubmitError::Closed)));
            assert!(system.snapshot().await.is_err());
            assert!(system.outcomes().next().await.is_none());
            while lives.next().await.is_some() {}
            assert_eq!(system.lifecycle().next().await, None);
            // A task is open that nobody finishes.
            assert_eq!(
                (system.stopped().await, system.finish().await),
                (Ended::Stopped, Ended::Stopped)
            );
        };
        Clock::real().timeout(soon, Box::pin(asked)).await.expect("nothing hangs");
    });
}

/// Never comes to an end.
struct Hangs;

impl Behaviour for Hangs {
    async fn perform(&mut self, _: &Scene, _: &Task) -> Result<Output, TaskError> {
        std::future::pending().await
    }
}
