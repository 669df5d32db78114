//! Who spent what: totals from the store, by project and by day.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use agent_core::agent::AgentSpec;
use agent_core::store::{Dimension, UsageQuery};
use agent_core::system::AgentSystem;
use agent_core::task::Task;
use agent_sim::simulated::SimulatedProvider;

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("impresario-example-{}", std::process::id()));
    let agent = AgentSpec::new("clerk", "claude-haiku-4-5").count(8).max_tokens(64);
    let provider = SimulatedProvider::default();
    let system = AgentSystem::builder(provider).agent(agent).store(&folder).start().await?;
    let mut tasks = Vec::new();
    for id in 0..8 {
        let mut task = Task::new(id.to_string(), format!("File letter {id}"));
        task.project_id = Some(if id % 2 == 0 { "web" } else { "docs" }.to_owned());
        tasks.push(system.submit(task).await?);
    }
    for task in tasks {
        task.outcome().await?;
    }
    let by = vec![Dimension::Project, Dimension::Day];
    let report = system.usage(UsageQuery { by, ..UsageQuery::default() }).await?;
    println!("{}", serde_json::to_string_pretty(&report)?);
    system.finish().await;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
