//! The runtime's own CPU per call: a client that answers at once, all accounting on.

use std::path::Path;
use std::time::Duration;

use agent_core::llm::{LlmClient, Message, Request};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::Failure;
use crate::client::InProcess;
use crate::fleet::{MODEL, play_well, system};
use crate::measure::{Took, each, measure, median};

const TASKS: u32 = 50_000;
const WORKERS: u32 = 1_000;
const ROUNDS: usize = 5;

async fn accounted(store: Option<&Path>) -> Result<Took, Failure> {
    let mut builder = system(InProcess::after(Duration::ZERO), WORKERS)?;
    if let Some(folder) = store {
        builder = builder.store(folder);
    }
    let system = builder.start().await?;
    let (took, played) = measure(play_well(&system, TASKS, 2 * WORKERS)).await;
    played?;
    system.finish().await;
    Ok(took)
}

/// The same calls by the same number of loops, with none of it.
async fn bare() -> Took {
    let client = InProcess::after(Duration::ZERO);
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
            let cpu = each(median(&rounds, |took| took.cpu), TASKS);
            let wall = each(median(&rounds, |took| took.wall), TASKS);
            println!("{name:<28} {cpu:>12.2} {wall:>12.2}");
        }
        Ok(())
    })
}
