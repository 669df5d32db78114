//! A provider inside the process: no key, no network, plausible latency and token counts.

use std::fmt::Write as _;
use std::hash::Hasher;
use std::time::Duration;

use agent_core::clock::Clock;
use agent_core::hash::Digest;
use agent_core::llm::{Answer, Block, LlmClient, LlmError, Request, StopReason};
use agent_core::usage::Usage;
use futures_util::future::LocalBoxFuture;

/// How long answers take: log-normal around `base` + `per_output_token` × output tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    /// Time before the first token.
    pub base: Duration,
    /// Time for each token of output.
    pub per_output_token: Duration,
    /// Standard deviation of the logarithm of the total.
    pub sigma: f64,
}

impl Default for Latency {
    /// Fitted on 71 measured calls of Claude Sonnet 4.6: 1.03 s + 13.4 ms a token, spread 0.18.
    fn default() -> Self {
        Latency {
            base: Duration::from_millis(1_030),
            per_output_token: Duration::from_micros(13_400),
            sigma: 0.18,
        }
    }
}

/// A provider that answers by itself.
///
/// What it answers, and how long that takes, depends on the request and the seed alone, so a run
/// is the same in whatever order its tasks are played.
#[derive(Debug, Clone)]
pub struct SimulatedProvider {
    clock: Clock,
    seed: u64,
    /// How long answers take.
    pub latency: Latency,
    /// Median length of answers in tokens; their spread is that of agents' answers (σ = 0.8).
    /// Default: 160.
    pub output_tokens: f64,
}

impl SimulatedProvider {
    /// A provider that takes time from `clock`.
    pub fn new(clock: Clock, seed: u64) -> SimulatedProvider {
        let latency = Latency::default();
        SimulatedProvider { clock, seed, latency, output_tokens: 160.0 }
    }

    fn draws(&self, request: &Request) -> fastrand::Rng {
        let mut hash = Digest::seeded(self.seed);
        hash.write(request.model.as_bytes());
        for text in request.messages.iter().flat_map(|m| &m.content).filter_map(Block::as_text) {
            hash.write(text.as_bytes());
        }
        fastrand::Rng::with_seed(hash.finish())
    }
}

impl Default for SimulatedProvider {
    /// In real time, seed 0.
    fn default() -> Self {
        SimulatedProvider::new(Clock::real(), 0)
    }
}

impl LlmClient for SimulatedProvider {
    fn complete<'a>(
        &'a self,
        request: &'a Request,
    ) -> LocalBoxFuture<'a, Result<Answer, LlmError>> {
        let mut draws = self.draws(request);
        let wanted = self.output_tokens * (0.8 * normal(&mut draws)).exp();
        let output = (wanted.round().max(1.0) as u64).min(u64::from(request.max_tokens));
        let spread = (self.latency.sigma * normal(&mut draws)).exp();
        let typing = self.latency.per_output_token.saturating_mul(output.min(1 << 20) as u32);
        let total = (self.latency.base + typing).mul_f64(spread);
        Box::pin(async move {
            self.clock.sleep(total).await;
            let cut = (wanted.round() as u64) > output;
            Ok(answer(request, output, cut, &mut draws))
        })
    }

    fn provider(&self) -> &str {
        "simulated"
    }
}

fn answer(request: &Request, output: u64, cut: bool, draws: &mut fastrand::Rng) -> Answer {
    // Claude's tokenizers make about one token of 3.5 bytes of English.
    let input = request.text_bytes() * 2 / 7 + 8;
    let prompt = request.messages.iter().flat_map(|m| &m.content).find_map(Block::as_text);
    let title = prompt.and_then(|text| text.lines().next()).unwrap_or("the task");
    let mut text = format!("Done (simulated): {title}.");
    for _ in 0..output.saturating_sub(12).min(400) / 8 {
        // Writing to a string cannot fail.
        _ = write!(text, " {}", draws.choice(SENTENCES).unwrap_or(&""));
    }
    Answer {
        id: format!("msg_sim_{:016x}", draws.u64(..)),
        model: request.model.clone(),
        content: vec![Block::Text { text: text.into() }],
        stop_reason: Some(if cut { StopReason::MaxTokens } else { StopReason::EndTurn }),
        usage: Usage { input_tokens: input, output_tokens: output, ..Usage::default() },
        request_id: Some(format!("req_sim_{:016x}", draws.u64(..))),
        ..Answer::default()
    }
}

const SENTENCES: &[&str] = &[
    "I read the description and listed what is asked.",
    "The change is small and stands in one place.",
    "A test fails without it and passes with it.",
    "Nothing else depends on the old behaviour.",
    "I checked the edge cases: empty, one, many.",
    "What remains open is named at the end.",
];

/// A draw from the standard normal distribution (Box and Muller).
fn normal(draws: &mut fastrand::Rng) -> f64 {
    let radius = (-2.0 * (1.0 - draws.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * draws.f64()).cos()
}

#[cfg(test)]
mod tests {
    use agent_core::clock::{Timestamp, VirtualClock};
    use agent_core::llm::Message;

    use super::*;

    fn request(text: &str, max_tokens: u32) -> Request {
        let messages = vec![Message::user(text)];
        Request { model: "claude-sonnet-4-5".into(), max_tokens, messages, ..Request::default() }
    }

    #[test]
    fn the_same_request_has_the_same_answer_after_the_same_time() {
        VirtualClock::run(Timestamp::EPOCH, |clock| async move {
            let provider = SimulatedProvider::new(clock.clone(), 7);
            let mut seen = Vec::new();
            for _ in 0..2 {
                let began = clock.now();
                let answer = provider.complete(&request("Task #1: a", 4096)).await.unwrap();
                seen.push((answer, clock.now().since(began)));
            }
            assert_eq!(seen[0], seen[1]);
            assert!(seen[0].1 > Duration::from_millis(500), "{:?}", seen[0].1);
        });
    }

    #[test]
    fn an_answer_never_exceeds_max_tokens_and_says_where_it_was_cut() {
        VirtualClock::run(Timestamp::EPOCH, |clock| async move {
            let provider = SimulatedProvider::new(clock, 7);
            for task in 0..50 {
                let request = request(&format!("Task #{task}: a"), 20);
                let answer = provider.complete(&request).await.unwrap();
                assert!(answer.usage.output_tokens <= 20);
                let cut = answer.stop_reason == Some(StopReason::MaxTokens);
                assert_eq!(cut, answer.usage.output_tokens == 20, "task {task}");
            }
        });
    }
}
