//! The default performance: the task as a prompt, one call, its answer.

use crate::agent::Output;
use crate::audit::AuditKind;
use crate::clock::Timestamp;
use crate::estimate::{self, Bounding};
use crate::llm::{Message, Request};
use crate::panics::Contained;
use crate::prompt::{self, InjectionPolicy, Rendered};
use crate::task::{ErrorCode, Task, TaskError};
use crate::worker::call::{Call, Ending};
use crate::worker::job::Job;
use crate::worker::progress::Step;
use crate::worker::refusal;
use crate::worker::services::Services;

/// The answer to the task of `job`, begun at `now`.
pub(super) async fn answer(
    services: &Services,
    job: &Job,
    now: Timestamp,
) -> Result<Output, Ending> {
    check_deadline(job, now)?;
    let (mut request, cut) = opening(services, job, job.task())?;
    let input = input_bound(services, job, &request).await;
    let full_input = input.saturating_add(cut);
    // A long text, or the provider's own count, may have taken a while.
    let now = services.clock.now();
    let mut call = Call::new(services, job, now, &request, input, full_input);
    call.complete(now, &mut request, Output::from).await
}

/// Refuses to begin when it is too late.
pub(super) fn check_deadline(job: &Job, now: Timestamp) -> Result<(), TaskError> {
    if job.assignment.deadline > now {
        return Ok(());
    }
    Err(refusal::deadline(job))
}

/// The request that sends `task` as data, and how many bytes were cut from it. Those were not
/// counted by anyone: the cost guard bounds them too.
pub(super) fn opening(
    services: &Services,
    job: &Job,
    task: &Task,
) -> Result<(Request, u64), TaskError> {
    let rendered = prompt::render(task, &services.rules.prompt);
    note_prompt(services, job, &rendered)?;
    let request = request(services, job, rendered.text);
    let sent = request.text_bytes();
    let full = sent.max(rendered.full_bytes as u64 + system(job).len() as u64);
    Ok((request, full - sent))
}

/// The bound on the input of a request, in tokens, as its agent wants it.
pub(super) async fn input_bound(services: &Services, job: &Job, request: &Request) -> u64 {
    let bytes = request.text_bytes();
    let strict = estimate::strict(bytes, !request.tools.is_empty());
    match job.spec.bounding {
        Bounding::Strict => strict,
        Bounding::Calibrated => services.estimator().estimate(&job.model, None, bytes),
        // It makes no call any more.
        Bounding::Counted if !job.is_at_hand() => strict,
        Bounding::Counted => {
            let deadline = services.clock.now() + services.rules.timeout.of(0);
            let deadline = deadline.min(job.assignment.deadline);
            let _step = Step::new(&*job.assignment.standing, deadline);
            let count = Contained::new(services.client.count_tokens(request));
            match services.clock.timeout(deadline, count).await {
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
    let samples =
        |_: &_| services.catalogue.resolve(&job.model).is_none_or(|m| m.sampling_params());
    Request {
        model: (*job.model).to_owned(),
        max_tokens: job.max_tokens(),
        system: Some(system(job).to_owned()),
        messages: vec![Message::user(prompt)],
        temperature: job.spec.temperature.filter(samples),
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
