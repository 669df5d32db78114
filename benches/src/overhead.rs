//! The runtime's own CPU per call: a client that answers at once, all accounting on.

use std::path::Path;
use std::time::Duration;

use agent_core::llm::{LlmClient, Message, Request};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::Failure;
use crate::client::InProcess;
use crate::fleet::{MODEL, clerks, play_well, system};
use crate::measure::{Took, each, measure, median};

const TASKS: u32 = 50_000;
const WORKERS: u32 = 1_000;
const ROUNDS: usize = 5;

/// Where what happens is written down.
enum Records<'a> {
    Nowhere,
    InMemory,
    In(&'a Path),
}

async fn accounted(records: Records<'_>) -> Result<Took, Failure> {
    let builder = system(InProcess::after(Duration::ZERO), clerks(WORKERS)?)?
        .max_open_tasks(2 * WORKERS as usize);
    let builder = match records {
        Records::Nowhere => builder.without_records(),
        Records::InMemory => builder,
        Records::In(folder) => builder.store(folder),
    };
    let system = builder.start().await?;
    let (took, played) = measure(play_well(&system, TASKS)).await;
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
        let (mut none, mut nowhere) = (Vec::new(), Vec::new());
        let (mut memory, mut disk) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            none.push(bare().await);
            nowhere.push(accounted(Records::Nowhere).await?);
            memory.push(accounted(Records::InMemory).await?);
            let folder = tempfile::tempdir()?;
            disk.push(accounted(Records::In(folder.path())).await?);
        }
        println!("{TASKS} calls, {WORKERS} workers, median of {ROUNDS} rounds");
        println!("{:<28} {:>12} {:>12}", "", "CPU µs/call", "wall µs/call");
        let rows = [
            ("bare loop (reference)", none),
            ("without records", nowhere),
            ("memory store", memory),
            ("store on disk", disk),
        ];
        for (name, rounds) in rows {
            let cpu = each(median(&rounds, |took| took.cpu), TASKS);
            let wall = each(median(&rounds, |took| took.wall), TASKS);
            println!("{name:<28} {cpu:>12.2} {wall:>12.2}");
        }
        Ok(())
    })
}
