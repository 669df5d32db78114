//! A thread that a tool holds says so to whoever watches it.

use crate::agent::{AgentSpec, Behaviour, Output, Scene};
use crate::clock::{Timestamp, VirtualClock};
use crate::doing::{Doing, Tool};
use crate::system::{AgentSystem, StartError};
use crate::task::{Task, TaskError};

use super::Gate;

struct Searches;

impl Behaviour for Searches {
    async fn perform(&mut self, scene: &Scene, _task: &Task) -> Result<Output, TaskError> {
        let thread = Doing::here();
        let held = scene.tool("search", || thread.tool());
        let expected =
            Tool { worker: "clerk-1".into(), name: "search".into(), since: scene.clock().now() };
        assert_eq!((held, thread.tool()), (Some(expected), None));
        Ok("found".into())
    }
}

#[test]
fn a_tool_that_runs_is_named_with_its_worker() {
    VirtualClock::run(Timestamp::EPOCH, |clock| async move {
        let clerk = |name: &str| AgentSpec::new(name, "claude-haiku-4-5").behaviour(|| Searches);
        let builder = AgentSystem::builder(Gate::default()).clock(clock);
        let named = builder.clone().agent(clerk("a>b")).start().await;
        assert!(matches!(named, Err(StartError::Name(name)) if name == "a>b"));
        let system = builder.agent(clerk("clerk")).start().await.unwrap();
        let outcome = system.run(Task::new("1", "Search")).await.unwrap();
        assert_eq!(outcome.output.as_deref(), Some("found"), "{outcome:?}");
    });
}
