//! The first agent: one worker, one task, one answer. No key: the provider is simulated.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use agent_core::agent::AgentSpec;
use agent_core::system::AgentSystem;
use agent_core::task::Task;
use agent_sim::simulated::SimulatedProvider;

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let poet = AgentSpec::new("poet", "claude-sonnet-4-5");
    let system = AgentSystem::builder(SimulatedProvider::default()).agent(poet).start().await?;
    let outcome = system.run(Task::new("1", "Write a haiku about ledgers")).await?;
    println!("{} for ${}", outcome.output.as_deref().unwrap_or("nothing"), outcome.cost_usd);
    system.finish().await;
    Ok(())
}
