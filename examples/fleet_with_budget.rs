//! A hundred supervised workers under one budget and one rate limit, in a plain tokio program.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::num::NonZeroU32;

use agent_core::agent::AgentSpec;
use agent_core::ledger::{BudgetSpec, ScopePattern};
use agent_core::permits::ProviderLimits;
use agent_core::system::AgentSystem;
use agent_core::task::Task;
use agent_sim::simulated::SimulatedProvider;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limits = ProviderLimits {
        requests_per_minute: NonZeroU32::new(3_000),
        max_concurrent: NonZeroU32::new(100).ok_or("not zero")?,
        ..ProviderLimits::default()
    };
    let system = AgentSystem::builder(SimulatedProvider::default())
        .agent(AgentSpec::new("clerk", "claude-haiku-4-5").count(100).max_tokens(64))
        .budget(BudgetSpec::new(ScopePattern::global(), "0.05".parse()?))
        .limits(limits)
        .start()
        .await?;
    let mut tasks = Vec::new();
    for id in 0..200 {
        tasks.push(system.submit(Task::new(id.to_string(), format!("Sort folder {id}"))).await?);
    }
    for task in tasks {
        task.outcome().await?;
    }
    let run = system.snapshot().await?.summary;
    println!("{} tasks completed for ${}", run.tasks.completed, run.cost_usd);
    println!("{} did not fit the budget", run.tasks.failed);
    system.finish().await;
    Ok(())
}
