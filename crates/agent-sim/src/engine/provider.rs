//! The simulated provider: latency, limits and faults, in process, on whatever clock there is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_core::clock::{Clock, Timestamp};
use agent_core::llm::{Answer, Block, LlmClient, LlmError, LlmErrorKind, Request, StopReason};
use agent_core::permits::{Headroom, RateHeaders};
use agent_core::pricing;
use agent_core::usage::Usage;
use futures_util::future::LocalBoxFuture;

use super::ask::Ask;
use super::faults::Faults;
use super::hash::hash;
use crate::draws::{Draw, Stream, nanos};
use crate::latency::{LatencyModel, Load, Timing};
use crate::mock::limiter::{Limiter, Standings};
use crate::scenario::{Effect, LatencyChoice, ProviderSpec, Scenario};

const LATENCY: Stream = Stream::named("latency");
const SESSION: Stream = Stream::named("session");

/// How long an error takes: an assumption, as of a round trip and a gateway that refuses.
const ERROR: Duration = Duration::from_millis(100);

/// The account of all calls.
const ACCOUNT: &str = "simulated";

/// A provider that behaves as a scenario says.
#[derive(Debug)]
pub struct ScriptedProvider {
    clock: Clock,
    start: Timestamp,
    seed: u64,
    prices: Arc<pricing::Catalogue>,
    spec: ProviderSpec,
    text: Arc<str>,
    world: Mutex<World>,
}

/// What changes as it answers.
#[derive(Debug)]
struct World {
    limiter: Limiter,
    load: Option<Load>,
    faults: Faults,
    /// Attempts so far of calls that have no answer yet.
    attempts: BTreeMap<(u32, u64, u32), u32>,
    models: BTreeMap<String, Model>,
    refused: u64,
}

/// What is known of a model.
#[derive(Debug, Clone)]
struct Model {
    /// Its one name.
    name: Arc<str>,
    latency: Option<Arc<LatencyModel>>,
}

impl ScriptedProvider {
    /// The provider of a scenario, for the replica with this seed. Times since the start count from
    /// now.
    pub fn new(scenario: &Scenario, seed: u64, clock: Clock) -> ScriptedProvider {
        let spec = scenario.provider.clone();
        let load = spec.load.and_then(|(sigma, reversion)| {
            // The scenario has checked them.
            Load::new(seed, 0, sigma, nanos(reversion.as_secs_f64())).ok()
        });
        let world = World {
            limiter: Limiter::new(spec.limits.clone()),
            load,
            faults: Faults::new(&scenario.fault, seed),
            attempts: BTreeMap::new(),
            models: BTreeMap::new(),
            refused: 0,
        };
        ScriptedProvider {
            start: clock.now(),
            clock,
            seed,
            prices: Arc::clone(&scenario.prices),
            spec,
            text: "Done (simulated).".into(),
            world: Mutex::new(world),
        }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls that it has refused with 429 so far.
    pub fn refused(&self) -> u64 {
        self.world().refused
    }

    fn model(&self, world: &mut World, asked: &str) -> Model {
        if let Some(model) = world.models.get(asked) {
            return model.clone();
        }
        let latency = match &self.spec.latency {
            LatencyChoice::ByModel => self.spec.models.find(asked).ok(),
            LatencyChoice::Named(name) => self.spec.models.find(name).ok(),
            LatencyChoice::Inline(model) => return self.learn(world, asked, Some(model)),
        };
        self.learn(world, asked, latency.map(|found| found.model))
    }

    fn learn(&self, world: &mut World, asked: &str, latency: Option<&LatencyModel>) -> Model {
        let name = self.prices.resolve(asked).map_or(asked, |model| model.name()).into();
        let model = Model { name, latency: latency.cloned().map(Arc::new) };
        world.models.insert(asked.to_owned(), model.clone());
        model
    }

    /// What becomes of a request that arrives now.
    fn arrive(&self, request: &Request) -> Course {
        let now = self.clock.now();
        let (mut world, since) = (self.world(), now.since(self.start));
        let world = &mut *world;
        let ask = Ask::of(request).unwrap_or_else(|| unscripted(request));
        let model = self.model(world, &request.model);
        let attempt = world.attempts.entry((ask.workload, ask.task, ask.turn)).or_default();
        *attempt += 1;
        let attempt = *attempt;
        let effect = world.faults.hit(&ask, attempt, since);
        match effect {
            Some(Effect::Outage) => return Course::Fails(ERROR, unreachable_()),
            Some(Effect::Status { status, retry_after }) => {
                return Course::Fails(ERROR, status_error(status, retry_after));
            }
            Some(Effect::Hang) => return Course::Hangs,
            Some(Effect::Slow(_) | Effect::Reset | Effect::Limits(_)) | None => {}
        }
        let share = world.faults.limits(since);
        // A limit of half as much is one of which everything takes twice as much.
        let scaled =
            |amount: u64| if share < 1.0 { (amount as f64 / share) as u64 } else { amount };
        let reserved = u64::from(request.max_tokens);
        let amounts = [1, ask.input - ask.cached, reserved].map(scaled);
        let admitted = world.limiter.admit(ACCOUNT, &model.name, amounts, now);
        let limits = headers(&admitted.standings);
        if let Some(refusal) = admitted.refusal {
            world.refused += 1;
            return Course::Fails(
                ERROR,
                refused(refusal.name, refusal.limit, refusal.wait, limits),
            );
        }
        let output = ask.output.min(reserved);
        let load = world
            .load
            .as_ref()
            .map_or(1.0, |load| load.at(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)));
        let slower = if let Some(Effect::Slow(factor)) = effect { factor } else { 1.0 };
        let timing = self.timing(&model, &ask, attempt, output, load * slower);
        let served = Served { model, back: scaled(reserved - output), at: now };
        match effect {
            Some(Effect::Reset) => Course::Breaks(timing, served),
            _ => Course::Answers(timing, served, ask, limits),
        }
    }

    fn timing(&self, model: &Model, ask: &Ask, attempt: u32, output: u64, load: f64) -> Timing {
        let Some(latency) = &model.latency else { return Timing { first_ns: 0, total_ns: 0 } };
        let turn = u64::from(ask.turn) << 32 | u64::from(attempt);
        let key = |turn: u64| [u64::from(ask.workload), ask.task, turn];
        let session = match latency.session_sigma {
            0.0 => 1.0,
            _ => latency.session(&mut Draw::new(self.seed, SESSION, key(0))),
        };
        let draw = &mut Draw::new(self.seed, LATENCY, key(turn));
        latency.timing(ask.input, output, load * session, draw)
    }

    fn answer(&self, request: &Request, ask: &Ask, limits: RateHeaders) -> Answer {
        let most = u64::from(request.max_tokens);
        let cut = ask.output > most;
        Answer {
            model: request.model.clone(),
            content: vec![Block::Text { text: Arc::clone(&self.text) }],
            stop_reason: Some(if cut { StopReason::MaxTokens } else { StopReason::EndTurn }),
            usage: Usage {
                input_tokens: ask.input - ask.cached,
                cache_read_tokens: ask.cached,
                output_tokens: ask.output.min(most),
                ..Usage::default()
            },
            limits,
            ..Answer::default()
        }
    }

    /// Has the provider know that a call is over, and that not all of its output was used.
    fn over(&self, served: &Served) {
        let Served { model, back, at } = served;
        self.world().limiter.give_back(ACCOUNT, &model.name, *back, *at);
    }
}

/// What becomes of a request.
enum Course {
    Fails(Duration, LlmError),
    Hangs,
    Breaks(Timing, Served),
    Answers(Timing, Served, Ask, RateHeaders),
}

/// A request that was admitted: output tokens that it does not need come back when it is over.
struct Served {
    model: Model,
    back: u64,
    at: Timestamp,
}

/// Gives back what an admitted request did not use, whether or not anybody still waits for it.
struct Over<'a>(&'a ScriptedProvider, Served);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over(&self.1);
    }
}

impl ScriptedProvider {
    /// Answers a request that arrives now.
    pub(crate) async fn respond(&self, request: &Request) -> Result<Answer, LlmError> {
        match self.arrive(request) {
            Course::Fails(after, error) => {
                self.clock.sleep(after).await;
                Err(error)
            }
            Course::Hangs => std::future::pending().await,
            Course::Breaks(timing, served) => {
                let _over = Over(self, served);
                self.clock.sleep(Duration::from_nanos(timing.total_ns / 2)).await;
                Err(LlmError::new(LlmErrorKind::Broken, "the connection was reset"))
            }
            Course::Answers(timing, served, ask, limits) => {
                let over = Over(self, served);
                self.clock.sleep(Duration::from_nanos(timing.total_ns)).await;
                drop(over);
                self.world().attempts.remove(&(ask.workload, ask.task, ask.turn));
                Ok(self.answer(request, &ask, limits))
            }
        }
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
    let task = text.next().map_or(0, |text| hash(text.as_bytes()));
    let input = request.text_bytes() * 2 / 7 + 1;
    Ask { workload: u32::MAX, task, turn: 0, input, cached: 0, output: 250, worker: 0 }
}

fn unreachable_() -> LlmError {
    LlmError::new(LlmErrorKind::NotSent, "no connection to the simulated provider: it is out")
}

fn status_error(status: u16, retry_after: Option<Duration>) -> LlmError {
    let (kind, what) = match status {
        401 => (LlmErrorKind::Authentication, "authentication"),
        402 => (LlmErrorKind::Billing, "billing"),
        403 => (LlmErrorKind::Permission, "permission"),
        404 => (LlmErrorKind::NotFound, "not found"),
        408 | 409 | 500..=528 | 530..=599 => (LlmErrorKind::Server, "server error"),
        429 => (LlmErrorKind::RateLimited, "rate limited"),
        529 => (LlmErrorKind::Overloaded, "overloaded"),
        _ => (LlmErrorKind::InvalidRequest, "invalid request"),
    };
    let mut error = LlmError::new(kind, format!("simulated fault: {what} ({status})"));
    (error.status, error.retry_after) = (Some(status), retry_after);
    error
}

fn refused(name: &str, limit: u64, wait: Duration, limits: RateHeaders) -> LlmError {
    let message = format!("the simulated provider's limit of {limit} {name} a minute is reached");
    let mut error = LlmError::new(LlmErrorKind::RateLimited, message);
    error.status = Some(429);
    // The header has whole seconds.
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    error.retry_after = Some(Duration::from_secs(seconds.max(1)));
    error.limits = limits;
    error
}

fn headers(standings: &Standings) -> RateHeaders {
    let [requests, input_tokens, output_tokens] = standings.map(|standing| {
        let standing = standing?;
        let (limit, remaining, reset) = (standing.limit, standing.remaining, standing.reset);
        Some(Headroom { limit, remaining, reset })
    });
    RateHeaders { requests, input_tokens, output_tokens, tokens: None }
}
