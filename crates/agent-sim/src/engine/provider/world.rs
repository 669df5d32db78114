//! What becomes of a request that arrives at the simulated provider: a plain struct, time passed in.

use std::sync::Arc;
use std::time::Duration;

use agent_core::clock::Timestamp;
use agent_core::llm::{LlmError, LlmErrorKind};
use agent_core::lookup::Lookup;
use agent_core::permits::{Headroom, RateHeaders};
use agent_core::pricing::{self, Catalogue};
use agent_core::usage::Usage;

use super::Ask;
use crate::draws::{Draw, Stream, nanos};
use crate::engine::faults::Faults;
use crate::latency::{LatencyModel, Load};
use crate::mock::limiter::{Limiter, Standings};
use crate::mock::room::{LARGEST_BODY, too_long};
use crate::scenario::{
    Arrival, Effect, Failure, LatencyChoice, ProviderSpec, Recorded, Scenario, Workload,
};

const LATENCY: Stream = Stream::named("latency");
const SESSION: Stream = Stream::named("session");

/// How long an error takes: an assumption, as of a round trip and a gateway that refuses.
const ERROR: Duration = Duration::from_millis(100);

/// The account of all calls.
const ACCOUNT: &str = "simulated";

/// A simulated provider as it stands. Times never go back.
#[derive(Debug)]
pub(in crate::engine) struct World {
    start: Timestamp,
    seed: u64,
    prices: Arc<Catalogue>,
    spec: ProviderSpec,
    limiter: Limiter,
    load: Option<Load>,
    faults: Faults,
    /// The tasks of each workload, where it is a trace.
    recorded: Vec<Option<Arc<[Recorded]>>>,
    /// Attempts so far of calls that have no answer yet.
    attempts: Lookup<(u32, u64, u32), u32>,
    models: Lookup<String, Model>,
    pub(in crate::engine) refused: u64,
}

/// What is known of a model.
#[derive(Debug, Clone)]
struct Model {
    /// Its one name.
    name: Arc<str>,
    known: Option<Arc<pricing::Model>>,
    latency: Option<Arc<LatencyModel>>,
}

/// What becomes of a request. Small, and with it whatever waits for it.
#[derive(Debug)]
pub(in crate::engine) struct Course {
    /// How long that takes; [`Duration::MAX`] where there is never an end.
    pub(in crate::engine) after: Duration,
    /// Where it was admitted.
    pub(in crate::engine) served: Option<Served>,
    pub(in crate::engine) end: End,
}

/// How a request ends: with an answer and what its headers say, where they say anything.
pub(in crate::engine) type End = Result<Option<Box<RateHeaders>>, Box<LlmError>>;

impl Course {
    fn fails(after: Duration, error: LlmError) -> Course {
        Course { after, served: None, end: Err(Box::new(error)) }
    }
}

/// A request that was admitted: output tokens that it does not need come back when it is over.
#[derive(Debug)]
pub(in crate::engine) struct Served {
    model: Arc<str>,
    back: u64,
    at: Timestamp,
}

impl World {
    /// The provider of a scenario, for the replica with this seed, which begins at `start`.
    pub(in crate::engine) fn new(scenario: &Scenario, seed: u64, start: Timestamp) -> World {
        let spec = scenario.provider.clone();
        let load = spec.load.and_then(|(sigma, reversion)| {
            // The scenario has checked them.
            Load::new(seed, 0, sigma, nanos(reversion.as_secs_f64())).ok()
        });
        let recorded = |workload: &Workload| match &workload.arrival {
            Arrival::Trace(tasks) => Some(Arc::clone(tasks)),
            Arrival::Open(_) | Arrival::Closed { .. } => None,
        };
        World {
            start,
            seed,
            prices: Arc::clone(&scenario.prices),
            limiter: Limiter::new(spec.limits.clone()),
            spec,
            load,
            faults: Faults::new(&scenario.fault, seed),
            recorded: scenario.workload.iter().map(recorded).collect(),
            attempts: Lookup::default(),
            models: Lookup::default(),
            refused: 0,
        }
    }

    fn model(&mut self, asked: &str) -> Model {
        if let Some(model) = self.models.get(asked) {
            return model.clone();
        }
        let latency = match &self.spec.latency {
            LatencyChoice::ByModel => self.spec.models.find(asked).ok().map(|found| found.model),
            LatencyChoice::Named(name) => self.spec.models.find(name).ok().map(|found| found.model),
            LatencyChoice::Inline(model) => Some(&**model),
        };
        let known = self.prices.resolve(asked).cloned().map(Arc::new);
        let name = known.as_ref().map_or(asked, |model| model.name()).into();
        let model = Model { name, known, latency: latency.cloned().map(Arc::new) };
        self.models.insert(asked.to_owned(), model.clone());
        model
    }

    /// What becomes of a request for the model `asked` that arrives at `now`.
    pub(in crate::engine) fn arrive(
        &mut self,
        now: Timestamp,
        asked: &str,
        max_tokens: u32,
        ask: &Ask,
    ) -> Course {
        let since = now.since(self.start);
        let model = self.model(asked);
        let attempt = self.attempts.entry((ask.workload, ask.task, ask.turn)).or_default();
        *attempt += 1;
        let attempt = *attempt;
        let drawn = self.faults.hit(ask, attempt, since);
        let recorded = self.recorded(ask, attempt);
        let effect = recorded.map(|failure| failure.effect).or(drawn);
        let after = recorded.map(|failure| failure.after);
        let error = after.unwrap_or(ERROR);
        match effect {
            Some(Effect::Outage) => return Course::fails(error, unreachable_()),
            Some(Effect::Status { status, retry_after }) => {
                return Course::fails(error, status_error(status, retry_after));
            }
            Some(Effect::Hang) => return Course::fails(Duration::MAX, broken()),
            Some(Effect::Slow(_) | Effect::Reset | Effect::Limits(_)) | None => {}
        }
        if let Some(error) = no_room(&model, asked, max_tokens, ask) {
            return Course::fails(ERROR, error);
        }
        let share = self.faults.limits(since);
        // A limit of half as much is one of which everything takes twice as much.
        let scaled =
            |amount: u64| if share < 1.0 { (amount as f64 / share) as u64 } else { amount };
        let reserved = u64::from(max_tokens);
        let amounts = [1, ask.input - ask.cached, reserved].map(scaled);
        let admitted = self.limiter.admit(ACCOUNT, &model.name, amounts, now);
        let is_told = self.spec.headers && admitted.standings.iter().any(Option::is_some);
        let limits = is_told.then(|| Box::new(headers(&admitted.standings)));
        if let Some(refusal) = admitted.refusal {
            self.refused += 1;
            let error = refused(refusal.name, refusal.limit, refusal.wait, limits);
            return Course::fails(ERROR, error);
        }
        let output = ask.output.min(reserved);
        let load = self
            .load
            .as_ref()
            .map_or(1.0, |load| load.at(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)));
        let slower = if let Some(Effect::Slow(factor)) = effect { factor } else { 1.0 };
        let total_ns = self.takes(&model, ask, attempt, output, load * slower);
        let served = Served { model: model.name, back: scaled(reserved - output), at: now };
        let total = Duration::from_nanos(total_ns);
        let (after, end) = match effect {
            Some(Effect::Reset) => (after.unwrap_or(total / 2), Err(Box::new(broken()))),
            _ => (total, Ok(limits)),
        };
        Course { after, served: Some(served), end }
    }

    /// The failure that is on record of an attempt.
    fn recorded(&self, ask: &Ask, attempt: u32) -> Option<Failure> {
        let tasks = self.recorded.get(ask.workload as usize)?.as_ref()?;
        let task = tasks.get(usize::try_from(ask.task).ok()?)?;
        let is_it = |it: &&Failure| (it.turn, it.attempt) == (ask.turn, attempt);
        task.failures.iter().find(is_it).copied()
    }

    fn takes(&self, model: &Model, ask: &Ask, attempt: u32, output: u64, load: f64) -> u64 {
        let Some(latency) = &model.latency else { return 0 };
        let turn = u64::from(ask.turn) << 32 | u64::from(attempt);
        let key = |turn: u64| [u64::from(ask.workload), ask.task, turn];
        let session = match latency.session_sigma {
            0.0 => 1.0,
            _ => latency.session(&mut Draw::new(self.seed, SESSION, key(0))),
        };
        let draw = &mut Draw::new(self.seed, LATENCY, key(turn));
        latency.timing(ask.input, output, load * session, draw).total_ns
    }

    /// A request is over that was admitted, whether or not anybody still waited for it.
    pub(in crate::engine) fn over(&mut self, Served { model, back, at }: &Served) {
        self.limiter.give_back(ACCOUNT, model, *back, *at);
    }

    /// A call has its answer.
    pub(in crate::engine) fn answered(&mut self, ask: &Ask) {
        self.attempts.remove(&(ask.workload, ask.task, ask.turn));
    }
}

/// What is billed for the answer to a call.
pub(in crate::engine) fn usage(ask: &Ask, max_tokens: u32) -> Usage {
    Usage {
        input_tokens: ask.input - ask.cached - ask.written,
        cache_write_5m_tokens: ask.written,
        cache_read_tokens: ask.cached,
        output_tokens: ask.output.min(u64::from(max_tokens)),
        ..Usage::default()
    }
}

/// The connection broke in the middle of an answer.
fn broken() -> LlmError {
    LlmError::new(LlmErrorKind::Broken, "the connection was reset")
}

fn unreachable_() -> LlmError {
    LlmError::new(LlmErrorKind::NotSent, "no connection to the simulated provider: it is out")
}

/// Why a request is refused for good: its model has no room for it, or nobody reads so much.
fn no_room(model: &Model, asked: &str, max_tokens: u32, ask: &Ask) -> Option<LlmError> {
    let known = model.known.as_ref();
    let too_long = known.and_then(|it| too_long(it, asked, ask.input, max_tokens.into()));
    let (status, message) = match too_long {
        Some(message) => (400, message),
        None if ask.bytes() > LARGEST_BODY as u64 => {
            (413, "Request exceeds the maximum size".to_owned())
        }
        None => return None,
    };
    let mut error = LlmError::new(LlmErrorKind::InvalidRequest, message);
    error.status = Some(status);
    Some(error)
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

fn refused(name: &str, limit: u64, wait: Duration, limits: Option<Box<RateHeaders>>) -> LlmError {
    let message = format!("the simulated provider's limit of {limit} {name} a minute is reached");
    let mut error = LlmError::new(LlmErrorKind::RateLimited, message);
    error.status = Some(429);
    // The header has whole seconds.
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    error.retry_after = Some(Duration::from_secs(seconds.max(1)));
    error.limits = limits.map(|limits| *limits).unwrap_or_default();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_in_whole_seconds_when_there_is_room_and_never_too_soon() {
        for (wait_ms, seconds) in [(200, 1), (1_000, 1), (1_001, 2), (59_999, 60)] {
            let error = refused("requests", 50, Duration::from_millis(wait_ms), None);
            assert_eq!(error.retry_after, Some(Duration::from_secs(seconds)), "{wait_ms} ms");
            assert_eq!((error.status, error.kind), (Some(429), LlmErrorKind::RateLimited));
        }
    }
}
