//! The runtime's own CPU per call: a client that answers at once, all accounting on.

use std::path::Path;

use agent_core::agent::AgentSpec;
use agent_core::ledger::BudgetSpec;
use agent_core::llm::{Answer, Block, LlmClient, LlmError, Message, Request, StopReason};
use agent_core::permits::{AgentRateLimit, ProviderLimits};
use agent_core::system::AgentSystem;
use agent_core::task::Task;
use agent_core::usage::Usage;
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;

use crate::Failure;
use crate::measure::{Took, measure, median};

const TASKS: u32 = 50_000;
const WORKERS: u32 = 1_000;
const ROUNDS: usize = 5;
pub(crate) const MODEL: &str = "claude-haiku-4-5";

#[derive(Debug, Clone)]
struct AtOnce;

impl LlmClient for AtOnce {
    fn complete<'a>(
        &'a self,
        request: &'a Request,
    ) -> LocalBoxFuture<'a, Result<Answer, LlmError>> {
        Box::pin(async move {
            Ok(Answer {
                model: request.model.clone(),
                content: vec![Block::Text { text: "done".into() }],
                stop_reason: Some(StopReason::EndTurn),
                usage: Usage { input_tokens: 90, output_tokens: 40, ..Usage::default() },
                ..Answer::default()
            })
        })
    }

    fn provider(&self) -> &str {
        "at-once"
    }
}

/// The agents of a benchmark: their own limit is out of the way.
pub(crate) fn agent() -> Result<AgentSpec, Failure> {
    let calls = 1_000_000.try_into()?;
    let limit = AgentRateLimit { calls, ..AgentRateLimit::default() };
    Ok(AgentSpec::new("clerk", MODEL).count(WORKERS).max_tokens(100).rate_limit(limit))
}

pub(crate) fn task(id: u32) -> Task {
    let mut task = Task::new(id.to_string(), format!("File letter {id}"));
    task.description = Some("Put it where it belongs, and say where that is.".to_owned());
    task.project_id = Some(format!("project-{}", id % 3));
    task.user_id = Some(format!("user-{}", id % 7));
    task
}

/// Budgets in five scopes that never run out.
pub(crate) fn budgets() -> Result<Vec<BudgetSpec>, Failure> {
    let scopes = ["global", "project:*", "agent:*", "user:*", "model:*"];
    let budget = |scope: &str| Ok(BudgetSpec::new(scope.parse()?, "100000".parse()?));
    scopes.into_iter().map(budget).collect()
}

/// Plays `count` tasks to their outcomes; twice as many as there are workers are open at a time.
pub(crate) async fn play(system: &AgentSystem, count: u32) -> Result<(), Failure> {
    let mut outcomes = system.outcomes();
    let mut submitting = FuturesUnordered::new();
    let (mut submitted, mut open) = (0, count);
    while open > 0 {
        while submitted < count && submitted - (count - open) < 2 * WORKERS {
            submitting.push(system.submit(task(submitted)));
            submitted += 1;
        }
        tokio::select! {
            biased;
            Some(outcome) = outcomes.next() => {
                open -= 1;
                if let Some(error) = &outcome.error {
                    return Err(error.to_string().into());
                }
            }
            Some(submitted) = submitting.next(), if !submitting.is_empty() => {
                drop(submitted?);
            }
        }
    }
    Ok(())
}

async fn accounted(store: Option<&Path>) -> Result<Took, Failure> {
    let limits = ProviderLimits {
        requests_per_minute: 100_000_000.try_into().ok(),
        input_tokens_per_minute: 100_000_000_000.try_into().ok(),
        max_concurrent: WORKERS.try_into()?,
        ..ProviderLimits::default()
    };
    let mut builder = AgentSystem::builder(AtOnce).agent(agent()?).limits(limits);
    for budget in budgets()? {
        builder = builder.budget(budget);
    }
    if let Some(folder) = store {
        builder = builder.store(folder);
    }
    let system = builder.start().await?;
    let (took, played) = measure(play(&system, TASKS)).await;
    played?;
    system.finish().await;
    Ok(took)
}

/// The same calls by the same number of loops, with none of it.
async fn bare() -> Took {
    let client = AtOnce;
    let worker = |worker: u32| {
        let client = client.clone();
        async move {
            for call in 0..TASKS / WORKERS {
                let request = Request {
                    model: MODEL.to_owned(),
                    max_tokens: 100,
                    messages: vec![Message::user(format!("Task #{worker}-{call}"))],
                    ..Request::default()
                };
                // It cannot fail.
                _ = client.complete(&request).await;
            }
        }
    };
    let workers: FuturesUnordered<_> = (0..WORKERS).map(worker).collect();
    measure(workers.collect::<Vec<()>>()).await.0
}

pub(crate) fn run() -> Result<(), Failure> {
    actix::System::new().block_on(async {
        let (mut none, mut memory, mut sled) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            none.push(bare().await);
            memory.push(accounted(None).await?);
            let folder = tempfile::tempdir()?;
            sled.push(accounted(Some(folder.path())).await?);
        }
        println!("{TASKS} calls, {WORKERS} workers, median of {ROUNDS} rounds");
        println!("{:<28} {:>12} {:>12}", "", "CPU µs/call", "wall µs/call");
        let rows =
            [("bare loop (reference)", none), ("memory store", memory), ("sled store", sled)];
        for (name, rounds) in rows {
            let micros = |d: std::time::Duration| d.as_secs_f64() * 1e6 / f64::from(TASKS);
            let cpu = micros(median(&rounds, |took| took.cpu));
            let wall = micros(median(&rounds, |took| took.wall));
            println!("{name:<28} {cpu:>12.2} {wall:>12.2}");
        }
        Ok(())
    })
}
