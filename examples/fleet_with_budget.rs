//! A hundred supervised workers under one budget and one rate limit, in a plain tokio program.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::num::NonZeroU32;

use agent_core::agent::AgentSpec;
use agent_core::ledger::{BudgetSpec, ScopePattern};
use agent_core::permits::ProviderLimits;
use agent_core::system::AgentSystem;
use agent_core::task::Task;
use agent_sim::simulated::SimulatedProvider;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limits = ProviderLimits {
        requests_per_minute: NonZeroU32::new(1_000),
        max_concurrent: NonZeroU32::new(100).ok_or("not zero")?,
        ..ProviderLimits::default()
    };
    let system = AgentSystem::builder(SimulatedProvider::default())
        .agent(AgentSpec::new("clerk", "claude-haiku-4-5").count(100).max_tokens(512))
        .budget(BudgetSpec::new(ScopePattern::GLOBAL, "0.25".parse()?))
        .limits(limits)
        .start()
        .await?;
    let mut outcomes = system.outcomes();
    for id in 0..300 {
        system.submit(Task::new(id.to_string(), format!("Sort folder {id}"))).await?;
    }
    let (mut completed, mut refused) = (0, 0);
    while completed + refused < 300 {
        let outcome = outcomes.next().await.ok_or("the system is gone")?;
        *if outcome.error.is_none() { &mut completed } else { &mut refused } += 1;
    }
    let spent = system.snapshot().await?.summary.cost_usd;
    println!("{completed} tasks completed for ${spent}; {refused} did not fit the budget");
    system.finish().await;
    Ok(())
}
