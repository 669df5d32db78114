//! A scripted provider with a bill, and a system in virtual time around it.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_core::agent::AgentSpec;
use agent_core::clock::{Clock, Timestamp, VirtualClock};
use agent_core::ledger::BudgetSpec;
use agent_core::llm::{Answer, Block, LlmClient, LlmError, LlmErrorKind, Request, StopReason};
use agent_core::money::NanoUsd;
use agent_core::permits::AgentRateLimit;
use agent_core::pricing::Catalogue;
use agent_core::system::{AgentSystem, AgentSystemBuilder};
use agent_core::task::Task;
use agent_core::usage::Usage;
use futures_util::future::LocalBoxFuture;

pub(crate) const MODEL: &str = "claude-haiku-4-5";

/// What happens to one request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// An answer of so many tokens, after a while.
    Answer { input: u64, output: u64, after: Duration },
    /// A failure, at once.
    Fail(LlmErrorKind),
    /// The same, with the provider's `retry-after`.
    FailUntil(LlmErrorKind, Duration),
    /// A failure after usage was seen.
    Cut { output: u64 },
    /// No answer, ever; it is billed all the same.
    Hang,
    /// A panic in the client, after a while; billed.
    Panic(Duration),
}

/// A quick answer: 100 tokens in, 50 out.
pub(crate) const GOOD: Act =
    Act::Answer { input: 100, output: 50, after: Duration::from_millis(100) };

#[derive(Debug)]
struct State {
    script: VecDeque<Act>,
    otherwise: Act,
    random: Option<fastrand::Rng>,
    sent: Vec<Timestamp>,
    billed_nanos: u64,
}

/// A provider that follows a script.
#[derive(Debug, Clone)]
pub(crate) struct Scripted {
    clock: Clock,
    state: Arc<Mutex<State>>,
}

impl Scripted {
    /// Follows `script`, and then does `otherwise` for ever.
    pub(crate) fn new(clock: &Clock, script: Vec<Act>, otherwise: Act) -> Scripted {
        let (random, sent) = (None, Vec::new());
        let script = script.into();
        let state = State { script, otherwise, random, sent, billed_nanos: 0 };
        Scripted { clock: clock.clone(), state: Arc::new(Mutex::new(state)) }
    }

    /// Answers, fails, hangs and panics at random.
    pub(crate) fn wild(clock: &Clock, seed: u64) -> Scripted {
        let scripted = Scripted::new(clock, Vec::new(), GOOD);
        scripted.state.lock().unwrap().random = Some(fastrand::Rng::with_seed(seed));
        scripted
    }

    pub(crate) fn sent(&self) -> Vec<Timestamp> {
        self.state.lock().unwrap().sent.clone()
    }

    pub(crate) fn billed_nanos(&self) -> u64 {
        self.state.lock().unwrap().billed_nanos
    }

    fn bill(&self, input: u64, output: u64) {
        let usage = Usage { input_tokens: input, output_tokens: output, ..Usage::default() };
        let cost = Catalogue::builtin().cost(MODEL, &usage).unwrap();
        self.state.lock().unwrap().billed_nanos += cost.nanos();
    }

    fn next(&self) -> Act {
        let mut state = self.state.lock().unwrap();
        state.sent.push(self.clock.now());
        if let Some(random) = &mut state.random {
            let after = Duration::from_millis(random.u64(1..3_000));
            return match random.u32(..20) {
                0 => Act::Hang,
                1 => Act::Panic(after),
                2 => Act::Fail(LlmErrorKind::Broken),
                3 => Act::Fail(LlmErrorKind::RateLimited),
                4 => Act::Fail(LlmErrorKind::InvalidRequest),
                5 => Act::Cut { output: random.u64(1..20) },
                _ => Act::Answer { input: random.u64(1..60), output: random.u64(1..100), after },
            };
        }
        state.script.pop_front().unwrap_or_else(|| state.otherwise.clone())
    }
}

impl LlmClient for Scripted {
    fn complete<'a>(
        &'a self,
        request: &'a Request,
    ) -> LocalBoxFuture<'a, Result<Answer, LlmError>> {
        Box::pin(async move {
            match self.next() {
                Act::Answer { input, output, after } => {
                    self.clock.sleep(after).await;
                    let output = output.min(u64::from(request.max_tokens));
                    self.bill(input, output);
                    Ok(Answer {
                        content: vec![Block::Text { text: "done".into() }],
                        stop_reason: Some(StopReason::EndTurn),
                        usage: Usage {
                            input_tokens: input,
                            output_tokens: output,
                            ..Usage::default()
                        },
                        ..Answer::default()
                    })
                }
                Act::Fail(kind) => {
                    if kind == LlmErrorKind::Broken {
                        self.bill(10, 10);
                    }
                    Err(LlmError::new(kind, "scripted"))
                }
                Act::FailUntil(kind, retry_after) => {
                    let mut error = LlmError::new(kind, "scripted");
                    error.retry_after = Some(retry_after);
                    Err(error)
                }
                Act::Cut { output } => {
                    self.bill(10, output);
                    let mut error = LlmError::new(LlmErrorKind::Broken, "scripted");
                    let usage =
                        Usage { input_tokens: 10, output_tokens: output, ..Usage::default() };
                    error.seen = Some(usage);
                    Err(error)
                }
                Act::Hang => {
                    self.bill(10, 10);
                    std::future::pending().await
                }
                Act::Panic(after) => {
                    self.bill(10, 10);
                    self.clock.sleep(after).await;
                    panic!("scripted panic");
                }
            }
        })
    }

    fn provider(&self) -> &str {
        "scripted"
    }
}

/// Runs `test` in virtual time from a Tuesday noon.
pub(crate) fn run<F: Future>(test: impl FnOnce(Clock) -> F) -> F::Output {
    VirtualClock::run("2026-11-24T12:00:00Z".parse().unwrap(), test)
}

/// An agent whose own limit is out of the way: at most 100 tokens a call.
pub(crate) fn agent(workers: u32) -> AgentSpec {
    let calls = 1_000_000.try_into().unwrap();
    let limit = AgentRateLimit { calls, ..AgentRateLimit::default() };
    AgentSpec::new("clerk", MODEL).count(workers).max_tokens(100).rate_limit(limit)
}

/// A system in memory that calls `client`.
pub(crate) fn system(clock: &Clock, client: &Scripted) -> AgentSystemBuilder {
    AgentSystem::builder(client.clone()).clock(clock.clone()).seed(7)
}

pub(crate) fn task(id: u32) -> Task {
    Task::new(id.to_string(), format!("File letter {id}"))
}

/// A silent hook: panics that a test asks for are not printed.
pub(crate) fn expect_panics() {
    std::panic::set_hook(Box::new(|info| {
        let text = info.payload_as_str().unwrap_or_default();
        if text != "scripted panic" {
            #[expect(clippy::print_stderr, reason = "what the default hook would print")]
            {
                eprintln!("{info}");
            }
        }
    }));
}

pub(crate) fn budget(scope: &str, limit: &str) -> BudgetSpec {
    BudgetSpec::new(scope.parse().unwrap(), limit.parse().unwrap())
}

/// Charged, presumed included, and set aside, in the first budget.
pub(crate) async fn spent(system: &AgentSystem) -> (NanoUsd, NanoUsd) {
    let balance = &system.balances().await.unwrap()[0];
    (balance.spent.saturating_add(balance.presumed), balance.reserved)
}
