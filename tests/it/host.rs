//! A program around the system: its panic hook and its other runtimes are its own.

use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use actix::Arbiter;
use agent_core::agent::{AgentSpec, Scene};
use agent_core::llm::{Answer, LlmClient, LlmError, Request};
use agent_core::supervision::Supervision;
use agent_core::system::{AgentSystem, Ended};
use agent_core::task::Task;
use futures_util::future::{LocalBoxFuture, join};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::behaviour::Does;
use crate::support::agent;

/// Set in the process that a test has for itself.
const ALONE: &str = "IMPRESARIO_TEST_ALONE";

/// Runs `scene` of the test `name` in a process of its own: what it sets there is the process's.
pub(crate) fn in_a_process_of_its_own(name: &str, scene: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return scene();
    }
    let this = std::env::current_exe().unwrap();
    let output =
        Command::new(this).args(["--exact", name, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}\n{complaints}", output.status);
    assert!(said.contains("1 passed"), "{name} is not a test:\n{said}");
}

type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

/// Answers when it is let; tells when it is asked.
#[derive(Debug, Clone)]
struct Gate {
    asked: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate { asked: Arc::new(Semaphore::new(0)), open: Arc::new(Semaphore::new(0)) }
    }
}

impl LlmClient for Gate {
    fn complete<'a>(&'a self, _: &'a Request) -> LocalBoxFuture<'a, Result<Answer, LlmError>> {
        Box::pin(async {
            self.asked.add_permits(1);
            self.open.acquire().await.unwrap().forget();
            Ok(Answer::default())
        })
    }

    fn provider(&self) -> &str {
        "gate"
    }
}

/// Panics in its own code, then in a tool, and then answers.
fn fails_twice() -> AgentSpec {
    let times = Arc::new(AtomicU32::new(0));
    agent(1).behaviour(move || {
        let times = Arc::clone(&times);
        Does(async move |scene: &Scene, task: &Task| match times.fetch_add(1, Ordering::SeqCst) {
            0 => panic!("in its own code"),
            1 => scene.tool("scan", || panic!("in a tool")),
            _ => scene.answer(task).await,
        })
    })
}

type Asked = (u32, oneshot::Sender<u32>);

/// Another runtime of the host's, on a thread of its own: it echoes what it is asked.
struct Neighbour(mpsc::UnboundedSender<Asked>);

impl Neighbour {
    async fn echo(mut asked: mpsc::UnboundedReceiver<Asked>) {
        while let Some((number, answer)) = asked.recv().await {
            // By way of a task, so that the runtime has more to do than to wait.
            let echoed = tokio::spawn(async move { number }).await;
            answer.send(echoed.unwrap()).unwrap();
        }
    }

    fn plain_tokio() -> (Neighbour, thread::JoinHandle<()>) {
        let (ask, asked) = mpsc::unbounded_channel();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(Neighbour::echo(asked));
        };
        (Neighbour(ask), thread::Builder::new().spawn(run).unwrap())
    }

    /// An actix system of its own, which lives as long as it is asked.
    fn actix() -> (Neighbour, thread::JoinHandle<()>) {
        let (ask, asked) = mpsc::unbounded_channel();
        let run = move || actix::System::new().block_on(Neighbour::echo(asked));
        (Neighbour(ask), thread::Builder::new().spawn(run).unwrap())
    }

    /// An arbiter of the actix system on this thread.
    fn arbiter() -> Neighbour {
        let (ask, asked) = mpsc::unbounded_channel();
        assert!(Arbiter::new().spawn(Neighbour::echo(asked)));
        Neighbour(ask)
    }

    async fn is_there(&self, number: u32) {
        let (answer, answered) = oneshot::channel();
        self.0.send((number, answer)).unwrap();
        assert_eq!(answered.await, Ok(number));
    }
}

/// A system in which a behaviour panics, and that is shut down while a call is in flight.
async fn a_guest(neighbours: &[Neighbour]) {
    let everybody = async |number| {
        for neighbour in neighbours {
            neighbour.is_there(number).await;
        }
    };
    let gate = Gate::default();
    let supervision = Supervision { backoff: Duration::from_millis(1), ..Supervision::default() };
    let system = AgentSystem::builder(gate.clone())
        .agent(fails_twice())
        .supervision(supervision)
        .start()
        .await
        .unwrap();
    let handle = system.submit(Task::new("1", "Fail twice")).await.unwrap();
    gate.asked.acquire().await.unwrap().forget();
    everybody(1).await;
    let shutdown = system.shutdown(Ended::Interrupted, Duration::from_secs(600));
    let meanwhile = async {
        // It is closed by now, and its call is still in flight.
        while system.try_submit(Task::new("2", "Too late")).await.is_ok() {}
        everybody(2).await;
        gate.open.add_permits(1);
    };
    let (ended, ()) = join(shutdown, meanwhile).await;
    assert_eq!(ended, Ended::Interrupted);
    assert!(handle.outcome().await.unwrap().error.is_none());
    assert_eq!(system.snapshot().await.unwrap().summary.restarts, 2);
    everybody(3).await;
    drop(system);
    everybody(4).await;
}

#[test]
fn the_hosts_panic_hook_and_its_other_runtimes_are_left_alone() {
    let name = "host::the_hosts_panic_hook_and_its_other_runtimes_are_left_alone";
    in_a_process_of_its_own(name, || {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&heard);
        let hook: Hook = Box::new(move |info| {
            // Where the test fails, this is what it says.
            _ = writeln!(io::stderr(), "{info}");
            hears.lock().unwrap().push(info.payload_as_str().unwrap_or_default().to_owned());
        });
        let its_place = (&raw const *hook).cast::<()>();
        panic::set_hook(hook);
        let (tokio, tokio_thread) = Neighbour::plain_tokio();
        let (actix, actix_thread) = Neighbour::actix();
        let mut neighbours = vec![tokio, actix];

        // On the host's own actix system, which goes on without its guest.
        actix::System::new().block_on(async {
            neighbours.push(Neighbour::arbiter());
            a_guest(&neighbours).await;
            assert_eq!(actix::spawn(async { 7 }).await.unwrap(), 7);
        });
        // In a plain tokio program, where the guest has a thread of its own.
        let mut plain = tokio::runtime::Builder::new_multi_thread();
        let plain = plain.worker_threads(1).enable_all().build().unwrap();
        plain.block_on(a_guest(&neighbours));

        let own = panic::catch_unwind(|| panic!("the host's own"));
        assert!(own.is_err());
        let guest = ["in its own code", "in a tool"];
        assert_eq!(*heard.lock().unwrap(), [&guest[..], &guest, &["the host's own"]].concat());
        let hook = panic::take_hook();
        assert_eq!((&raw const *hook).cast::<()>(), its_place, "another hook is set");
        drop(neighbours);
        tokio_thread.join().unwrap();
        actix_thread.join().unwrap();
    });
}
