//! The worker: plays an agent, one task at a time, from prompt to outcome.

mod admission;
mod attempt;
mod call;
pub(crate) mod job;
mod opening;
mod refusal;
pub(crate) mod services;

use std::sync::Arc;

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, Recipient, Supervised,
    WrapFuture,
};
use futures_util::future::{AbortHandle, Abortable};

use crate::agent::AgentSpec;
use crate::audit::AuditKind;
use crate::clock::Timestamp;
use crate::estimate::{self, Bounding};
use crate::llm::{self, Answer, Request};
use crate::prompt::{self, InjectionPolicy, Rendered};
use crate::task::{ErrorCode, Outcome, TaskError};
use crate::worker::call::{Call, Ending};
use crate::worker::job::{Assignment, Job, Text};
use crate::worker::services::Services;

/// Names a worker within its coordinator.
pub(crate) type WorkerIndex = u32;

/// The actor that plays an agent.
///
/// It stays open for `Cancel` while it works. Under its guard a panic costs it the task at hand,
/// which its coordinator queues again.
#[derive(Debug)]
pub struct WorkerAgent {
    index: WorkerIndex,
    name: Arc<str>,
    spec: Arc<AgentSpec>,
    run_id: Arc<str>,
    services: Arc<Services>,
    coordinator: Recipient<Finished>,
    /// Ends the task at hand.
    at_hand: Option<AbortHandle>,
}

impl WorkerAgent {
    pub(crate) fn new(
        index: WorkerIndex,
        name: Arc<str>,
        spec: Arc<AgentSpec>,
        run_id: Arc<str>,
        services: Arc<Services>,
        coordinator: Recipient<Finished>,
    ) -> WorkerAgent {
        WorkerAgent { index, name, spec, run_id, services, coordinator, at_hand: None }
    }
}

impl Actor for WorkerAgent {
    type Context = Context<Self>;
}

impl Supervised for WorkerAgent {
    fn restarting(&mut self, _ctx: &mut Context<Self>) {
        self.at_hand = None;
    }
}

// === Perform ===

/// Works on a task. The coordinator sends one at a time and waits for [`Finished`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Perform(pub(crate) Assignment);

/// A worker is done with its task, and idle.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Finished {
    /// Which worker.
    pub(crate) worker: WorkerIndex,
    /// When it may call again, by its own limit.
    pub(crate) free_at: Timestamp,
    /// What became of the task.
    pub(crate) ending: Finish,
}

/// What became of a task in a worker's hands.
#[derive(Debug)]
pub(crate) enum Finish {
    /// It ended.
    Ended(Arc<Outcome>),
    /// It goes back to the queue untouched: the store is down, or the run stops.
    Returned,
    /// It was cancelled.
    Cancelled,
}

impl Handler<Perform> for WorkerAgent {
    type Result = ();

    fn handle(&mut self, Perform(assignment): Perform, ctx: &mut Context<Self>) {
        let (abort, registration) = AbortHandle::new_pair();
        self.at_hand = Some(abort);
        let account = self.services.client.account();
        let (spec, name) = (Arc::clone(&self.spec), Arc::clone(&self.name));
        let tally = Arc::clone(&assignment.tally);
        let job = Job::new(assignment, spec, name, &self.run_id, account);
        let work = Abortable::new(perform(Arc::clone(&self.services), job), registration);
        ctx.spawn(work.into_actor(self).map(move |ending, this, _ctx| {
            this.at_hand = None;
            let ending = ending.unwrap_or(Finish::Cancelled);
            let free_at = services::lock(&tally).worker_free_at;
            this.coordinator.do_send(Finished { worker: this.index, free_at, ending });
        }));
    }
}

// === Cancel ===

/// Ends the task at hand; what has left is charged at its bound.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Cancel;

impl Handler<Cancel> for WorkerAgent {
    type Result = ();

    fn handle(&mut self, _msg: Cancel, _ctx: &mut Context<Self>) {
        if let Some(at_hand) = &self.at_hand {
            at_hand.abort();
        }
    }
}

// === work ===

async fn perform(services: Arc<Services>, job: Job) -> Finish {
    let began = services.clock.now();
    job.tally(|tally| _ = tally.started.get_or_insert(began));
    let result = match answer(&services, &job).await {
        Ok(answer) => Ok(Text {
            text: answer.text(),
            stop_reason: answer.stop_reason.map(|reason| reason.as_str().to_owned()),
        }),
        Err(Ending::Failed(error)) => Err(error),
        Err(Ending::Returned) => return Finish::Returned,
    };
    Finish::Ended(Arc::new(job.outcome(services.clock.now(), result)))
}

async fn answer(services: &Services, job: &Job) -> Result<Answer, Ending> {
    let deadline = job.assignment.deadline;
    if deadline <= services.clock.now() {
        let message = format!("the task's deadline {deadline} passed before its work began");
        return Err(TaskError::new(ErrorCode::DeadlineExceeded, message).into());
    }
    let rendered = prompt::render(job.task(), &services.rules.prompt);
    note_prompt(services, job, &rendered)?;
    let mut request = request(services, job, rendered.text);
    let sent = request.text_bytes();
    let full = sent.max(rendered.full_bytes as u64 + system(job).len() as u64);
    let input = input_bound(services, job, &request).await;
    // What is cut away was not counted by anyone: the guard bounds it by its bytes.
    let full_input = input.saturating_add(full - sent);
    Call::new(services, job, &request, input, full_input).complete(&mut request).await
}

/// The bound on the input of a request, in tokens, as its agent wants it.
async fn input_bound(services: &Services, job: &Job, request: &Request) -> u64 {
    let bytes = request.text_bytes();
    let strict = estimate::strict(bytes, !request.tools.is_empty());
    match job.spec.bounding {
        Bounding::Strict => strict,
        Bounding::Calibrated => services.estimator().estimate(&job.model, None, bytes),
        Bounding::Counted => {
            let deadline = services.clock.now() + services.rules.timeout.of(0);
            let deadline = deadline.min(job.assignment.deadline);
            match services.clock.timeout(deadline, services.client.count_tokens(request)).await {
                Ok(Some(Ok(counted))) => counted,
                // It costs nothing to be wrong here: the strict bound holds whatever happens.
                Ok(Some(Err(_)) | None) | Err(_) => strict,
            }
        }
    }
}

fn system(job: &Job) -> &str {
    job.spec.system.as_deref().unwrap_or(prompt::DEFAULT_SYSTEM)
}

fn request(services: &Services, job: &Job, prompt: String) -> Request {
    // Newer models refuse a request that names a temperature.
    let samples = services.catalogue.resolve(&job.model).is_none_or(|m| m.sampling_params());
    Request {
        model: job.model.to_string(),
        max_tokens: job.max_tokens(),
        system: Some(system(job).to_owned()),
        messages: vec![llm::Message::user(prompt)],
        temperature: job.spec.temperature.filter(|_| samples),
        stop_sequences: job.spec.stop_sequences.clone(),
        ..Request::default()
    }
}

/// Audits what the prompt's rendering found, and refuses it where the policy says so.
fn note_prompt(services: &Services, job: &Job, rendered: &Rendered) -> Result<(), TaskError> {
    for cut in &rendered.truncated {
        let event = AuditKind::PromptTruncated {
            from_chars: cut.from_chars as u64,
            to_chars: cut.to_chars as u64,
        };
        services.audit(None, &job.subject, event);
    }
    let Some(injection) = &rendered.signals else { return Ok(()) };
    let policy = services.rules.prompt.injection;
    if policy == InjectionPolicy::Ignore {
        return Ok(());
    }
    let event = AuditKind::PromptInjection {
        signals: injection.signals.clone(),
        score: injection.score,
        action: policy.as_str().to_owned(),
    };
    services.audit(None, &job.subject, event);
    if policy == InjectionPolicy::Warn {
        return Ok(());
    }
    let message = format!(
        "the task's text tries to give orders ({}); change it, or set guards.injection to \"warn\"",
        injection.signals.join(", ")
    );
    Err(TaskError::new(ErrorCode::InvalidTask, message))
}
