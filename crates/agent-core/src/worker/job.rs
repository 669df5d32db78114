//! A task on its way through the workers, and what it has taken so far.

use std::sync::Arc;

use crate::agent::{AgentSpec, Output};
use crate::clock::Timestamp;
use crate::money::NanoUsd;
use crate::permits::LimitMode;
use crate::record::Subject;
use crate::task::{Outcome, Status, Task, TaskError};
use crate::usage::TokenCounts;
use crate::worker::Role;
use crate::worker::progress::{Hand, Standing};
use crate::worker::services::Services;
use crate::worker::tree::Family;

/// What a task has taken so far; it outlives the workers that it crashes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// When work on it first began.
    pub(crate) started: Option<Timestamp>,
    pub(crate) attempts: u32,
    pub(crate) succeeded: u32,
    pub(crate) failed: u32,
    pub(crate) retried: u32,
    pub(crate) usage: TokenCounts,
    pub(crate) cost: NanoUsd,
    pub(crate) presumed: NanoUsd,
    /// What attempts that have left, and of which nothing is settled yet, may cost.
    pub(crate) in_flight: NanoUsd,
}

impl Tally {
    /// Adds what another task has taken.
    pub(crate) fn add(&mut self, other: &Tally) {
        self.attempts += other.attempts;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.retried += other.retried;
        self.usage += other.usage;
        self.cost = self.cost.saturating_add(other.cost);
        self.presumed = self.presumed.saturating_add(other.presumed);
    }

    /// What counts towards `max_cost_per_task`.
    pub(crate) fn charged(&self) -> NanoUsd {
        self.cost.saturating_add(self.presumed)
    }
}

/// A task as the coordinator hands it to a worker, and takes it back if the worker crashes.
#[derive(Debug, Clone)]
pub(crate) struct Assignment {
    pub(crate) task: Arc<Task>,
    pub(crate) standing: Arc<Standing>,
    /// When it must have ended.
    pub(crate) deadline: Timestamp,
    /// What happens where the worker's own limit does not admit a call.
    pub(crate) mode: LimitMode,
    /// Whom the task was given to; a part of it is done in the same hand.
    pub(crate) hand: Hand,
}

/// An assignment in the hands of one worker.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) assignment: Assignment,
    pub(crate) spec: Arc<AgentSpec>,
    pub(crate) worker: Arc<str>,
    pub(crate) subject: Arc<Subject>,
    /// The model as it is asked for.
    pub(crate) model: Arc<str>,
    /// Its one name.
    pub(crate) model_name: Arc<str>,
    /// Where several calls of the task may be made at once: what they share.
    pub(crate) family: Option<Arc<Family>>,
}

impl Job {
    pub(crate) fn new(
        assignment: Assignment,
        role: &Role,
        worker: Arc<str>,
        family: Option<Arc<Family>>,
    ) -> Job {
        let task = &assignment.task;
        let (model, model_name) = match task.model.as_deref() {
            None => (Arc::clone(&role.model), Arc::clone(&role.model_name)),
            Some(model) => {
                let model = model.into();
                let name = role.services.model_name(&model);
                (model, name)
            }
        };
        let own = Subject {
            run_id: Arc::clone(&role.run_id),
            agent_id: Some(Arc::clone(&worker)),
            agent: Some(Arc::clone(&role.agent)),
            agent_type: Some(Arc::clone(&role.agent_type)),
            task_id: Some(task.id.shared()),
            project_id: task.project_id.as_deref().map(Into::into),
            user_id: task.user_id.as_deref().map(Into::into),
            model: Some(Arc::clone(&model_name)),
        };
        let subject = match &family {
            Some(family) => family.subject(own),
            None => own,
        };
        let (subject, spec) = (Arc::new(subject), Arc::clone(&role.spec));
        Job { subject, model, model_name, family, assignment, spec, worker }
    }

    /// The same job for a call of another model.
    pub(crate) fn with_model(&self, services: &Services, model: &str) -> Job {
        let model: Arc<str> = model.into();
        let model_name = services.model_name(&model);
        let mut subject = Subject::clone(&self.subject);
        subject.model = Some(Arc::clone(&model_name));
        Job { model, model_name, subject: Arc::new(subject), ..self.clone() }
    }

    pub(crate) fn task(&self) -> &Task {
        &self.assignment.task
    }

    pub(crate) fn max_tokens(&self) -> u32 {
        self.task().max_tokens.unwrap_or_else(|| self.spec.max_tokens.get())
    }

    pub(crate) fn tally<T>(&self, change: impl FnOnce(&mut Tally) -> T) -> T {
        change(&mut self.assignment.standing.tally())
    }

    /// Adds to what the whole run has taken, and to what the task has: what `add` says of that.
    pub(crate) fn add<T>(&self, services: &Services, add: impl Fn(&mut Tally) -> T) -> T {
        services.add(|taken| _ = add(taken));
        self.tally(add)
    }

    /// Counts an attempt that may cost `bound` where it leaves, and says which of its task's it is. It
    /// does not where the task is in other hands by now, and what it takes may have been told.
    pub(crate) fn leave(&self, services: &Services, again: bool, bound: NanoUsd) -> Option<u32> {
        let count = |tally: &mut Tally| {
            tally.attempts += 1;
            tally.retried += u32::from(again);
            tally.in_flight = tally.in_flight.saturating_add(bound);
            tally.attempts
        };
        self.tally(|tally| {
            self.is_at_hand().then(|| {
                services.add(|taken| _ = count(taken));
                count(tally)
            })
        })
    }

    /// Whether the task has not been taken away from who works on it here.
    pub(crate) fn is_at_hand(&self) -> bool {
        let Assignment { standing, hand, .. } = &self.assignment;
        standing.is_in(*hand)
    }

    /// Notes when its worker may call again by its own limit; that of a sub-agent's worker is
    /// nothing to the task's.
    pub(crate) fn note_free_at(&self, at: Timestamp) {
        if self.family.as_ref().is_none_or(|family| family.depth() == 0) {
            let Assignment { standing, hand, .. } = &self.assignment;
            standing.note_free_at(*hand, at);
        }
    }

    pub(crate) fn outcome(&self, now: Timestamp, result: Result<Output, TaskError>) -> Outcome {
        let mut outcome = ended(&self.assignment, now, result);
        outcome.agent_id = Some((*self.worker).to_owned());
        outcome.model = Some((*self.model).to_owned());
        outcome
    }
}

/// The outcome of a task that ended at `now`, no worker named. Where it was taken from a worker that
/// has not ended yet, what that one has in flight will be presumed, and is so here.
pub(crate) fn ended(
    assignment: &Assignment,
    now: Timestamp,
    result: Result<Output, TaskError>,
) -> Outcome {
    let task = &assignment.task;
    let tally = assignment.standing.tally().clone();
    let (status, output, error, stop_reason) = match result {
        Ok(Output { text, stop_reason }) => (Status::Completed, Some(text), None, stop_reason),
        Err(error) => (Status::Failed, None, Some(error), None),
    };
    Outcome {
        task_id: task.id.clone(),
        status,
        output,
        error,
        agent_id: None,
        project_id: task.project_id.clone(),
        model: task.model.clone(),
        attempts: tally.attempts,
        usage: tally.usage,
        cost_usd: tally.cost,
        presumed_cost_usd: tally.presumed.saturating_add(tally.in_flight),
        duration_ms: tally.started.map_or(0, |started| millis(now.since(started))),
        finished_at: now,
        stop_reason: stop_reason.map(|reason| reason.as_str().to_owned()),
    }
}

/// A duration in whole milliseconds, saturating.
pub(crate) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
