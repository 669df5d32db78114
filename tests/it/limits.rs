//! A provider that enforces its limits to the letter, and a crowd that uses them to the full.

use std::collections::VecDeque;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_core::agent::Behaviour;
use agent_core::clock::{Clock, Timestamp};
use agent_core::llm::{Answer, Block, LlmClient, LlmError, LlmErrorKind, Request, StopReason};
use agent_core::permits::ProviderLimits;
use agent_core::system::AgentSystem;
use agent_core::task::{ErrorCode, Task};
use agent_core::usage::Usage;
use futures_util::future::LocalBoxFuture;

use crate::support::{GOOD, Scripted, agent, run, system, task};

const MINUTE: Duration = Duration::from_secs(60);
const REQUESTS: u64 = 600;
const INPUT_TOKENS: u64 = 100_000;
/// Minutes that are measured, after the first.
const MINUTES: u32 = 5;

/// How a provider counts.
#[derive(Debug, Clone, Copy)]
enum Counting {
    /// A bucket that holds a minute's worth and is refilled all the time.
    Bucket,
    /// All that came in the last minute, to the nanosecond.
    Window,
}

/// One limit.
#[derive(Debug)]
struct Meter {
    counting: Counting,
    limit: u64,
    /// Millionths left in the bucket, at that moment.
    bucket: (u128, Timestamp),
    taken: VecDeque<(Timestamp, u64)>,
}

impl Meter {
    fn new(counting: Counting, limit: u64, now: Timestamp) -> Meter {
        let bucket = (u128::from(limit) * 1_000_000, now);
        Meter { counting, limit, bucket, taken: VecDeque::new() }
    }

    fn take(&mut self, now: Timestamp, amount: u64) -> bool {
        match self.counting {
            Counting::Bucket => {
                let (left, at) = self.bucket;
                let full = u128::from(self.limit) * 1_000_000;
                let refill = full * now.since(at).as_nanos() / MINUTE.as_nanos();
                let left = (left + refill).min(full);
                let rest = left.checked_sub(u128::from(amount) * 1_000_000);
                self.bucket = (rest.unwrap_or(left), now);
                rest.is_some()
            }
            Counting::Window => {
                while self.taken.front().is_some_and(|(at, _)| *at + MINUTE <= now) {
                    self.taken.pop_front();
                }
                let sum: u64 = self.taken.iter().map(|(_, amount)| amount).sum();
                let fits = sum + amount <= self.limit;
                if fits {
                    self.taken.push_back((now, amount));
                }
                fits
            }
        }
    }
}

#[derive(Debug)]
struct State {
    requests: Meter,
    input: Meter,
    random: fastrand::Rng,
    /// When each task's request left, in their order.
    left: Vec<(Timestamp, u32)>,
    /// When how many tokens were counted.
    counted: Vec<(Timestamp, u64)>,
    refused: u32,
}

/// A provider that refuses whatever is beyond its limits.
#[derive(Debug, Clone)]
struct Strict {
    clock: Clock,
    state: Arc<Mutex<State>>,
}

impl Strict {
    fn new(clock: &Clock, counting: Counting) -> Strict {
        let meter = |limit| Meter::new(counting, limit, clock.now());
        Strict {
            clock: clock.clone(),
            state: Arc::new(Mutex::new(State {
                requests: meter(REQUESTS),
                input: meter(INPUT_TOKENS),
                random: fastrand::Rng::with_seed(11),
                left: Vec::new(),
                counted: Vec::new(),
                refused: 0,
            })),
        }
    }

    fn millis(&self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.state.lock().unwrap().random.u64(range))
    }

    /// Counts a request that has just come in, if the limits admit it.
    fn admits(&self, input: u64) -> bool {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap();
        if state.requests.take(now, 1) && state.input.take(now, input) {
            state.counted.push((now, input));
            return true;
        }
        state.refused += 1;
        false
    }
}

impl LlmClient for Strict {
    fn complete<'a>(
        &'a self,
        request: &'a Request,
    ) -> LocalBoxFuture<'a, Result<Answer, LlmError>> {
        Box::pin(async move {
            let text = format!("{:?}", request.messages);
            let (_, name) = text.split_once("File letter ").unwrap();
            let digits = name.find(|c: char| !c.is_ascii_digit()).unwrap();
            let number = name[..digits].parse().unwrap();
            self.state.lock().unwrap().left.push((self.clock.now(), number));
            // A request is under way for a while before it is counted.
            self.clock.sleep(self.millis(0..300)).await;
            let input = request.text_bytes() / 4;
            if !self.admits(input) {
                return Err(LlmError::new(LlmErrorKind::RateLimited, "beyond the limit"));
            }
            self.clock.sleep(self.millis(100..600)).await;
            Ok(Answer {
                content: vec![Block::Text { text: "done".into() }],
                stop_reason: Some(StopReason::EndTurn),
                usage: Usage { input_tokens: input, output_tokens: 20, ..Usage::default() },
                ..Answer::default()
            })
        })
    }

    fn provider(&self) -> &str {
        "strict"
    }
}

/// 1,000 workers, more work than the limits admit, and every task's description so long; how much
/// of the limits on requests and input tokens was used after the first minute.
fn crowd(counting: Counting, bytes: std::ops::Range<usize>) -> (f64, f64) {
    run(|clock| async move {
        let client = Strict::new(&clock, counting);
        let limits = ProviderLimits {
            requests_per_minute: NonZeroU32::new(600),
            input_tokens_per_minute: NonZeroU64::new(INPUT_TOKENS),
            max_concurrent: NonZeroU32::new(1_000).unwrap(),
            max_wait: Duration::from_secs(3_600),
            ..ProviderLimits::default()
        };
        let builder = AgentSystem::builder(client.clone()).clock(clock.clone()).seed(7);
        let system = builder.agent(agent(1_000)).limits(limits).start().await.unwrap();
        let began = clock.now();
        let mut random = fastrand::Rng::with_seed(13);
        for id in 0..600 * (MINUTES + 2) {
            let description = "x".repeat(random.usize(bytes.clone()));
            system.submit(Task { description: Some(description), ..task(id) }).await.unwrap();
        }
        let from = began + MINUTE;
        let until = from + MINUTE * MINUTES;
        clock.sleep(until.since(clock.now())).await;

        let state = client.state.lock().unwrap();
        assert_eq!(state.refused, 0, "answered with 429");
        let disorder = state.left.iter().zip(0..).find(|((_, number), place)| number != place);
        assert_eq!(disorder, None, "not first come first served");
        let measured = || state.counted.iter().filter(|(at, _)| from < *at && *at <= until);
        let minutes = f64::from(MINUTES);
        let tokens: u64 = measured().map(|(_, tokens)| tokens).sum();
        (
            measured().count() as f64 / (REQUESTS as f64 * minutes),
            tokens as f64 / (INPUT_TOKENS as f64 * minutes),
        )
    })
}

#[test]
fn a_crowd_uses_the_limit_on_requests_to_the_full_and_never_passes_it() {
    for counting in [Counting::Bucket, Counting::Window] {
        let (requests, _) = crowd(counting, 1..2);
        assert!(requests >= 0.98, "{counting:?}: {:.1} % of the requests", requests * 100.0);
    }
}

#[test]
fn a_crowd_uses_the_limit_on_input_tokens_to_the_full_and_never_passes_it() {
    for counting in [Counting::Bucket, Counting::Window] {
        let (_, tokens) = crowd(counting, 200..2_000);
        assert!(tokens >= 0.98, "{counting:?}: {:.1} % of the tokens", tokens * 100.0);
    }
}

#[test]
fn a_permit_that_is_not_to_be_had_before_the_deadline_is_named_whoever_waits_for_it() {
    #[derive(Debug)]
    struct Plain;
    impl Behaviour for Plain {}

    for spec in [agent(1), agent(1).behaviour(|| Plain)] {
        run(|clock| async move {
            let client = Scripted::new(&clock, Vec::new(), GOOD);
            let limits = ProviderLimits {
                requests_per_minute: 1.try_into().ok(),
                ..ProviderLimits::default()
            };
            let system = system(&clock, &client).agent(spec).limits(limits).start().await.unwrap();
            system.run(task(1)).await.unwrap();
            let began = clock.now();
            let deadline = Some("5s".parse().unwrap());
            let late = system.run(Task { deadline, ..task(2) }).await.unwrap();
            assert_eq!(clock.now().since(began), Duration::from_secs(5));
            let error = late.error.clone().unwrap();
            assert_eq!(error.code, ErrorCode::RateLimitWaitExceeded, "{error}");
            assert!(error.message.contains("no permit"), "{error}");
            assert_eq!(late.attempts, 0);
        });
    }
}
