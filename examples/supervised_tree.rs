//! A supervised tree: an editor with sub-agents, a crash, a restart, and an end in order.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent_core::agent::{AgentSpec, Behaviour, Output, Scene};
use agent_core::clock::Clock;
use agent_core::llm::Message;
use agent_core::system::{AgentSystem, Ended};
use agent_core::task::{Task, TaskError};
use agent_sim::simulated::{Latency, SimulatedProvider};
use futures_util::future::try_join_all;

const MODEL: &str = "claude-haiku-4-5";

/// Has each chapter of a book researched by a sub-agent, then writes the book.
struct Editor;

impl Behaviour for Editor {
    async fn perform(&mut self, scene: &Scene, task: &Task) -> Result<Output, TaskError> {
        println!("{} begins {:?}", scene.name(), task.title());
        let researchers = AgentSpec::new("researcher", MODEL)
            .count(2)
            .behaviour(|| Researcher { name: "a researcher that was never asked".to_owned() });
        let researchers = scene.spawn(researchers)?;
        let chapters = ["the abacus", "double entry", "the spreadsheet"];
        let chapters = chapters.map(|title| researchers.execute(Task::new(title, title)));
        let mut request = scene.opening(task)?;
        for chapter in try_join_all(chapters).await? {
            request.messages.push(Message::user(chapter.text));
        }
        println!("{} has every chapter, and writes", scene.name());
        Ok(scene.complete(request).await?.into())
    }
}

/// Researches one chapter. The first page that it scans is torn.
struct Researcher {
    name: String,
}

static TORN: AtomicBool = AtomicBool::new(true);

impl Behaviour for Researcher {
    async fn perform(&mut self, scene: &Scene, task: &Task) -> Result<Output, TaskError> {
        scene.name().clone_into(&mut self.name);
        println!("  {} researches {:?}", self.name, task.title());
        scene.tool("scan", || {
            assert!(!TORN.swap(false, Ordering::Relaxed), "the page is torn");
        });
        scene.answer(task).await
    }
}

impl Drop for Researcher {
    fn drop(&mut self) {
        println!("  {} leaves", self.name);
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    std::panic::set_hook(Box::new(|panic| {
        println!("  a panic: {}", panic.payload_as_str().unwrap_or_default());
    }));
    let clock = Clock::real();
    let mut provider = SimulatedProvider::new(clock.clone(), 1);
    provider.latency = Latency { base: Duration::from_millis(200), ..Latency::default() };
    provider.output_tokens = 20.0;
    let editor = AgentSpec::new("editor", MODEL).behaviour(|| Editor);
    let system = AgentSystem::builder(provider).agent(editor).start().await?;

    let book = system.run(Task::new("1", "A history of ledgers")).await?;
    println!("the book is {:?}: ${} for {} calls\n", book.status, book.cost_usd, book.attempts);

    // The second is interrupted: its sub-agents leave before the end of their editor is told.
    let unfinished = system.submit(Task::new("2", "A future of ledgers")).await?;
    clock.sleep(Duration::from_millis(100)).await;
    let ended = system.shutdown(Ended::Interrupted, Duration::ZERO).await;
    println!(
        "the run has ended: {ended:?}; the second book {}",
        match unfinished.outcome().await {
            Ok(outcome) => format!("is {:?}", outcome.status),
            Err(_) => "is kept for later".to_owned(),
        }
    );
    let run = system.snapshot().await?.summary;
    println!(
        "{} restart, ${} billed, at most ${} more",
        run.restarts, run.cost_usd, run.presumed_cost_usd
    );
    Ok(())
}
