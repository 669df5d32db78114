//! A provider of your own: whatever answers a request can be an `LlmClient`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use agent_core::agent::AgentSpec;
use agent_core::llm::{Answer, Block, LlmClient, LlmError, LlmErrorKind, Request, StopReason};
use agent_core::system::AgentSystem;
use agent_core::task::Task;
use agent_core::usage::Usage;
use futures_util::future::LocalBoxFuture;

/// Answers with the request in capitals; refuses to shout at anyone.
#[derive(Debug)]
struct Capitals;

impl LlmClient for Capitals {
    fn complete<'a>(
        &'a self,
        request: &'a Request,
    ) -> LocalBoxFuture<'a, Result<Answer, LlmError>> {
        Box::pin(async move {
            let text: String = request
                .messages
                .iter()
                .flat_map(|m| &m.content)
                .filter_map(Block::as_text)
                .collect();
            if text.contains('!') {
                let why = "an exclamation mark is not answered";
                return Err(LlmError::new(LlmErrorKind::InvalidRequest, why));
            }
            let usage = Usage {
                input_tokens: text.len() as u64 / 4,
                output_tokens: text.len() as u64 / 4,
                ..Usage::default()
            };
            Ok(Answer {
                model: request.model.clone(),
                content: vec![Block::Text { text: text.to_uppercase().into() }],
                stop_reason: Some(StopReason::EndTurn),
                usage,
                ..Answer::default()
            })
        })
    }

    fn provider(&self) -> &str {
        "capitals"
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let agent = AgentSpec::new("herald", "claude-haiku-4-5");
    let system = AgentSystem::builder(Capitals).agent(agent).start().await?;
    for title in ["Announce the release", "Announce the release!"] {
        let outcome = system.run(Task::new(title, title)).await?;
        match &outcome.error {
            None => println!("{}", outcome.output.as_deref().unwrap_or_default()),
            Some(error) => println!("refused: {error}"),
        }
    }
    system.finish().await;
    Ok(())
}
