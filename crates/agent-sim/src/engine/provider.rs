//! The simulated provider: latency, limits and faults, in process, on whatever clock there is.

mod world;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_core::clock::Clock;
use agent_core::hash::Digest;
use agent_core::llm::{Answer, Block, LlmClient, LlmError, Request, StopReason};
use agent_core::permits::RateHeaders;
use futures_util::future::LocalBoxFuture;

use super::ask::Ask;
use crate::scenario::Scenario;

#[cfg(test)]
pub(super) use world::{Course, End};
pub(super) use world::{Served, World, usage};

/// A provider that behaves as a scenario says.
#[derive(Debug)]
pub struct ScriptedProvider {
    clock: Clock,
    text: Arc<str>,
    world: Mutex<World>,
}

impl ScriptedProvider {
    /// The provider of a scenario, for the replica with this seed. Times since the start count from
    /// now.
    pub fn new(scenario: &Scenario, seed: u64, clock: Clock) -> ScriptedProvider {
        let world = Mutex::new(World::new(scenario, seed, clock.now()));
        ScriptedProvider { clock, text: "Done (simulated).".into(), world }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls that it has refused with 429 so far.
    pub fn refused(&self) -> u64 {
        self.world().refused
    }

    fn answer(&self, request: &Request, ask: &Ask, limits: RateHeaders) -> Answer {
        let cut = ask.output > u64::from(request.max_tokens);
        Answer {
            model: request.model.clone(),
            content: vec![Block::Text { text: Arc::clone(&self.text) }],
            stop_reason: Some(if cut { StopReason::MaxTokens } else { StopReason::EndTurn }),
            usage: usage(ask, request.max_tokens),
            limits,
            ..Answer::default()
        }
    }
}

/// Gives back what an admitted request did not use, whether or not anybody still waits for it.
struct Over<'a>(&'a ScriptedProvider, Served);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.world().over(&self.1);
    }
}

impl ScriptedProvider {
    /// Answers a request that arrives now.
    pub(crate) async fn respond(&self, request: &Request) -> Result<Answer, LlmError> {
        let ask = Ask::of(request).unwrap_or_else(|| unscripted(request));
        let now = self.clock.now();
        let course = self.world().arrive(now, &request.model, request.max_tokens, &ask);
        let over = course.served.map(|served| Over(self, served));
        self.clock.sleep_until(now + course.after).await;
        drop(over);
        let limits = course.end.map_err(|error| *error)?;
        self.world().answered(&ask);
        Ok(self.answer(request, &ask, limits.map(|limits| *limits).unwrap_or_default()))
    }
}

impl LlmClient for ScriptedProvider {
    fn complete<'a>(
        &'a self,
        request: &'a Request,
    ) -> LocalBoxFuture<'a, Result<Answer, LlmError>> {
        Box::pin(self.respond(request))
    }

    fn provider(&self) -> &str {
        "simulated"
    }
}

/// What a request without a script asks for: as long as its text, an answer of 250 tokens.
fn unscripted(request: &Request) -> Ask {
    let mut text = request.messages.iter().flat_map(|it| &it.content).filter_map(Block::as_text);
    let task = text.next().map_or(0, |text| Digest::of(text.as_bytes()));
    let input = request.text_bytes() * 2 / 7 + 1;
    Ask { workload: u32::MAX, task, turn: 0, input, cached: 0, written: 0, output: 250, worker: 0 }
}
