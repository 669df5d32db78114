//! The actor that every call asks for leave: one queue for each key and model, one timer.

mod permit;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseFuture};
use actix::{SpawnHandle, WrapFuture};
use thiserror::Error;
use tokio::sync::oneshot;

pub use permit::{Departed, Feedback, Permit};

use crate::clock::{Clock, Timestamp};
use crate::permits::{Admission, AgentRateLimit, LimitMode, PairPermits};
use crate::permits::{ProviderLimits, WorkerWindows};
use crate::task::Priority;
use permit::{Fate, Returned};

/// The most that wait for one key and model.
const QUEUE: usize = 100_000;
/// Who has waited so long is no longer overtaken by a higher priority.
const AGED: Duration = Duration::from_secs(30);

type Pair = (Arc<str>, Arc<str>);

/// Why there is no permit. Nothing was taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PermitError {
    /// The worker's own limit is used up and its mode is to reject.
    #[error("more than {calls} calls in {per:?}; try again in {retry_after:?}")]
    WorkerLimit {
        /// The limit.
        calls: u32,
        /// Its window.
        per: Duration,
        /// When it may call again.
        retry_after: Duration,
    },
    /// No permit came within `max_wait` or before the deadline.
    #[error("no permit for {scope} after {waited:?}; raise the limits or wait longer")]
    WaitExceeded {
        /// The model.
        scope: String,
        /// How long it waited.
        waited: Duration,
    },
    /// The account cannot be used until then.
    #[error("account {account} is out of service until {until}")]
    OutOfService {
        /// The account.
        account: Arc<str>,
        /// When it can be used again.
        until: Timestamp,
    },
    /// Too many wait already, or the limiter has stopped.
    #[error("the queue for permits is full or closed; submit less at once")]
    QueueFull,
}

/// Asks for one request and its tokens.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Permit, PermitError>")]
pub struct Acquire {
    /// The key's name.
    pub account: Arc<str>,
    /// The model.
    pub model: Arc<str>,
    /// The worker that calls.
    pub worker: Arc<str>,
    /// That worker's own limit.
    pub worker_limit: AgentRateLimit,
    /// Who goes first.
    pub priority: Priority,
    /// Estimated input tokens, cache reads left out.
    pub input_tokens: u64,
    /// Most output tokens.
    pub output_tokens: u64,
    /// No wait goes beyond it.
    pub deadline: Timestamp,
}

struct Waiting {
    wish: Acquire,
    since: Timestamp,
    give_up: Timestamp,
    reply: oneshot::Sender<Result<Permit, PermitError>>,
}

/// Holds the limits of every key and model and every worker's own window.
#[expect(missing_debug_implementations, reason = "reply channels have nothing to show")]
pub struct RateLimiter {
    limits: ProviderLimits,
    clock: Clock,
    pairs: BTreeMap<Pair, (PairPermits, VecDeque<Waiting>)>,
    workers: WorkerWindows,
    closed: BTreeMap<Arc<str>, Timestamp>,
    timer: Option<SpawnHandle>,
}

impl RateLimiter {
    /// Nothing taken; `limits` hold for each key and model.
    pub fn new(limits: ProviderLimits, clock: Clock) -> RateLimiter {
        RateLimiter {
            limits,
            clock,
            pairs: BTreeMap::new(),
            workers: WorkerWindows::default(),
            closed: BTreeMap::new(),
            timer: None,
        }
    }

    fn serve(&mut self, ctx: &mut Context<Self>) {
        let now = self.clock.now();
        let mut wake = Timestamp::NEVER;
        for (pair, (permits, queue)) in &mut self.pairs {
            let closed = self.closed.get(&pair.0).copied().filter(|&until| until > now);
            let mut kept = VecDeque::new();
            let mut blocked = false;
            for waiting in queue.drain(..).filter(|waiting| !waiting.reply.is_closed()) {
                let Waiting { wish, since, give_up, .. } = &waiting;
                let free = self.workers.free_at(&wish.worker, &wish.worker_limit, now);
                let refusal = if let Some(until) = closed {
                    Some(PermitError::OutOfService { account: Arc::clone(&pair.0), until })
                } else if free > now && wish.worker_limit.mode == LimitMode::Reject {
                    Some(PermitError::WorkerLimit {
                        calls: wish.worker_limit.calls.get(),
                        per: wish.worker_limit.per,
                        retry_after: free.since(now),
                    })
                } else if *give_up <= now {
                    let scope = pair.1.to_string();
                    Some(PermitError::WaitExceeded { scope, waited: now.since(*since) })
                } else {
                    None
                };
                if let Some(refusal) = refusal {
                    let _gone = waiting.reply.send(Err(refusal));
                    continue;
                }
                let mut until = *give_up;
                if free > now {
                    until = until.min(free);
                } else if !blocked {
                    match permits.acquire(now, wish.input_tokens, wish.output_tokens) {
                        Admission::Granted(id) => {
                            let _free = self.workers.take(&wish.worker, &wish.worker_limit, now);
                            let free = self.workers.free_at(&wish.worker, &wish.worker_limit, now);
                            let permit =
                                Permit::new(ctx.address(), wish, id, now, now.since(*since), free);
                            // A caller that is gone drops the permit, which gives it back.
                            let _gone = waiting.reply.send(Ok(permit));
                            continue;
                        }
                        Admission::NotBefore(at) => {
                            blocked = true;
                            until = until.min(at);
                        }
                    }
                }
                wake = wake.min(until);
                kept.push_back(waiting);
            }
            *queue = kept;
        }
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if wake != Timestamp::NEVER {
            let clock = self.clock.clone();
            let alarm = async move { clock.sleep_until(wake).await }.into_actor(self);
            self.timer = Some(ctx.spawn(alarm.map(|(), limiter, ctx| limiter.serve(ctx))));
        }
    }
}

impl Actor for RateLimiter {
    type Context = Context<Self>;
}

impl Handler<Acquire> for RateLimiter {
    type Result = ResponseFuture<Result<Permit, PermitError>>;

    fn handle(&mut self, wish: Acquire, ctx: &mut Self::Context) -> Self::Result {
        let (reply, answer) = oneshot::channel();
        let since = self.clock.now();
        let give_up = wish.deadline.min(since + self.limits.max_wait);
        let pair = (Arc::clone(&wish.account), Arc::clone(&wish.model));
        let fresh = || (PairPermits::new(self.limits.clone()), VecDeque::new());
        let (_, queue) = self.pairs.entry(pair).or_insert_with(fresh);
        if queue.len() < QUEUE {
            let ahead = |other: &Waiting| {
                other.wish.priority >= wish.priority || since.since(other.since) >= AGED
            };
            let place = queue.iter().rposition(ahead).map_or(0, |last| last + 1);
            queue.insert(place, Waiting { wish, since, give_up, reply });
            self.serve(ctx);
        }
        Box::pin(async move { answer.await.unwrap_or(Err(PermitError::QueueFull)) })
    }
}

impl Handler<Returned> for RateLimiter {
    type Result = ();

    fn handle(&mut self, back: Returned, ctx: &mut Self::Context) {
        let now = self.clock.now();
        let Some((permits, _)) = self.pairs.get_mut(&back.pair) else { return };
        match back.fate {
            Fate::GivenBack => {
                permits.give_back(back.id);
                self.workers.give_back(&back.worker, back.at);
            }
            Fate::Ended => permits.end(back.id, now),
            Fate::Settled(feedback) => {
                match (feedback.input_tokens, feedback.output_tokens) {
                    (Some(input), Some(output)) => permits.settle(back.id, now, input, output),
                    _ => permits.end(back.id, now),
                }
                if feedback.congested {
                    permits.congested(now);
                }
                if let Some(pause) = feedback.pause {
                    permits.pause(now + pause);
                }
                if let Some(until) = feedback.out_of_service {
                    self.closed.insert(back.pair.0, until);
                }
            }
        }
        self.serve(ctx);
    }
}

#[cfg(test)]
mod tests;
