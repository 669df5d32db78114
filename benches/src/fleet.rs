//! The agents, limits, budgets and tasks of the benchmarks, and how tasks are played.

use agent_core::agent::AgentSpec;
use agent_core::ledger::BudgetSpec;
use agent_core::llm::LlmClient;
use agent_core::permits::{AgentRateLimit, ProviderLimits};
use agent_core::system::{AgentSystem, AgentSystemBuilder, SubmitError};
use agent_core::task::Task;

use crate::Failure;

/// Tasks that are open at a time, unless a benchmark says otherwise.
const OPEN: usize = 20_000;
/// Who submit them, each one after the other.
const SUBMITTERS: u32 = 512;
pub(crate) const MODEL: &str = "claude-haiku-4-5";

/// The agent of most benchmarks.
pub(crate) fn clerks(workers: u32) -> Result<AgentSpec, Failure> {
    agent("clerk", MODEL, workers)
}

/// An agent whose own limit is out of the way, but there.
pub(crate) fn agent(name: &str, model: &str, workers: u32) -> Result<AgentSpec, Failure> {
    let limit = AgentRateLimit { calls: 1_000_000.try_into()?, ..AgentRateLimit::default() };
    Ok(AgentSpec::new(name, model).count(workers).max_tokens(100).rate_limit(limit))
}

/// A system of this agent: limits of requests, tokens and calls at once, and budgets in five scopes,
/// none of which is ever reached.
pub(crate) fn system(
    client: impl LlmClient + 'static,
    agent: AgentSpec,
) -> Result<AgentSystemBuilder, Failure> {
    let limits = ProviderLimits {
        requests_per_minute: 1_000_000_000.try_into().ok(),
        input_tokens_per_minute: 1_000_000_000_000.try_into().ok(),
        max_concurrent: 1_000_000.try_into()?,
        ..ProviderLimits::default()
    };
    let builder = AgentSystem::builder(client).agent(agent).limits(limits).max_open_tasks(OPEN);
    Ok(budgets()?.into_iter().fold(builder, AgentSystemBuilder::budget))
}

pub(crate) fn task(id: u32) -> Task {
    let mut task = Task::new(id.to_string(), format!("File letter {id}"));
    task.description = Some("Put it where it belongs, and say where that is.".to_owned());
    task.project_id = Some(format!("project-{}", id % 3));
    task.user_id = Some(format!("user-{}", id % 7));
    task
}

fn budgets() -> Result<Vec<BudgetSpec>, Failure> {
    let scopes = ["global", "project:*", "agent:*", "user:*", "model:*"];
    let budget = |scope: &str| Ok(BudgetSpec::new(scope.parse()?, "100000".parse()?));
    scopes.into_iter().map(budget).collect()
}

/// Plays `count` tasks to their outcomes; answers how many failed.
pub(crate) async fn play(system: &AgentSystem, count: u32) -> Result<u32, Failure> {
    let mut outcomes = system.outcomes();
    let submitter = |first: u32| {
        let system = system.clone();
        actix::spawn(async move {
            for id in (first..count).step_by(SUBMITTERS as usize) {
                system.submit(task(id)).await?;
            }
            Ok::<_, SubmitError>(())
        })
    };
    let submitters: Vec<_> = (0..SUBMITTERS).map(submitter).collect();
    let mut failed = 0;
    for _ in 0..count {
        let outcome = outcomes.next().await.ok_or("the run ended before its tasks")?;
        failed += u32::from(outcome.error.is_some());
    }
    for submitter in submitters {
        submitter.await??;
    }
    Ok(failed)
}

/// The same where none may fail.
pub(crate) async fn play_well(system: &AgentSystem, count: u32) -> Result<(), Failure> {
    match play(system, count).await? {
        0 => Ok(()),
        failed => Err(format!("{failed} of {count} tasks failed").into()),
    }
}
