//! What a simulated worker does with a task: call after call, with its tools in between.

use std::time::Duration;

use agent_core::agent::{Behaviour, Output, Scene};
use agent_core::clock::Clock;
use agent_core::hash::Digest;
use agent_core::task::{ErrorCode, Task, TaskError};

use super::script::Shared;

/// Plays the tasks of a script.
#[derive(Debug)]
pub(crate) struct Player(pub(crate) Shared);

impl Behaviour for Player {
    async fn perform(&mut self, scene: &Scene, task: &Task) -> Result<Output, TaskError> {
        let Some(place) = self.0.place(task.id.as_str()) else {
            let message = format!("task {} is none of the scenario's", task.id);
            return Err(TaskError::new(ErrorCode::InvalidTask, message));
        };
        let (mut plan, worker) = (self.0.plan(place), Digest::of(scene.name().as_bytes()));
        let mut turn = 0;
        while let Some(step) = self.0.next(&mut plan) {
            rest(scene.clock(), step.gap, self.0.patience()).await;
            scene.complete(step.ask(place, turn, worker).request()).await?;
            turn += 1;
        }
        Ok(Output::default())
    }
}

/// Waits in pieces no longer than `patience`: a tool that works for long is not one at which
/// nothing moves.
async fn rest(clock: &Clock, gap: Duration, patience: Duration) {
    let end = clock.now() + gap;
    while clock.now() < end {
        clock.sleep_until(end.min(clock.now() + patience)).await;
    }
}
