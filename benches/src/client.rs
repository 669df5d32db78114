//! The provider inside the process that the benchmarks call: answers at once or after a while, or
//! panics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agent_core::clock::{Clock, Timestamp};
use agent_core::llm::{Answer, Block, LlmClient, LlmError, Request, StopReason};
use agent_core::usage::Usage;
use futures_util::future::LocalBoxFuture;

/// Answers a few words.
#[derive(Debug, Clone)]
pub(crate) struct InProcess {
    clock: Clock,
    after: Duration,
    storm: Option<Storm>,
    /// When the latest call began, in nanoseconds.
    latest: Arc<AtomicU64>,
}

/// Calls of one model panic until a moment.
#[derive(Debug, Clone)]
pub(crate) struct Storm {
    pub(crate) model: &'static str,
    /// How long each takes.
    pub(crate) call: Duration,
    pub(crate) ends: Timestamp,
    /// How often it was so.
    pub(crate) panics: Arc<AtomicU64>,
}

impl InProcess {
    /// Answers after so long; at once where that is nothing.
    pub(crate) fn after(after: Duration) -> InProcess {
        InProcess { clock: Clock::real(), after, storm: None, latest: Arc::default() }
    }

    /// Tells when the latest call began, whoever holds it.
    pub(crate) fn latest(&self) -> impl Fn() -> Timestamp + use<> {
        let latest = Arc::clone(&self.latest);
        move || Timestamp::from_nanos(latest.load(Ordering::Relaxed))
    }

    pub(crate) fn storm(self, storm: Storm) -> InProcess {
        InProcess { storm: Some(storm), ..self }
    }
}

impl LlmClient for InProcess {
    fn complete<'a>(
        &'a self,
        request: &'a Request,
    ) -> LocalBoxFuture<'a, Result<Answer, LlmError>> {
        Box::pin(async move {
            let storm = self.storm.as_ref().filter(|storm| storm.model == request.model);
            let after = storm.map_or(self.after, |storm| storm.call);
            if !after.is_zero() {
                self.latest.store(self.clock.now().nanos(), Ordering::Relaxed);
                self.clock.sleep(after).await;
            }
            if let Some(storm) = storm.filter(|storm| self.clock.now() < storm.ends) {
                storm.panics.fetch_add(1, Ordering::Relaxed);
                panic!("asked for");
            }
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
        "in-process"
    }
}
