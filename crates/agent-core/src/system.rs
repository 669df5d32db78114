//! The composition root: builds every actor, wires them together, and hands out the handle.

mod builder;
mod durable;
mod handle;
mod start;
#[cfg(test)]
mod tests;
mod wire;

pub use crate::coordinator::{Ended, SubmitError};
pub use builder::{AgentSystemBuilder, Unfinished};
pub use handle::{AgentHandle, AgentSystem, Outcomes, Resumed, TaskHandle};
pub use start::StartError;
