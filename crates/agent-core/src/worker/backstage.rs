//! What a worker does for its behaviour: calls, tools, sub-agents.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use crate::agent::{self, AgentSpec, Children, SpawnError};
use crate::clock::{Clock, Timestamp};
use crate::doing::{AtTool, Doing, Tool};
use crate::ledger::AGENT_SEPARATOR;
use crate::llm::{Answer, Request};
use crate::pricing::BoundInput;
use crate::supervision::Supervision;
use crate::task::{Task, TaskError};
use crate::worker::call::{Call, Ending};
use crate::worker::crew::Crew;
use crate::worker::halts::{Halt, Halts};
use crate::worker::job::Job;
use crate::worker::performance;
use crate::worker::progress::Step;
use crate::worker::services::Services;

/// One performance, seen from behind. Dropped, it ends the sub-agents.
#[derive(Debug)]
pub(super) struct Backstage {
    services: Arc<Services>,
    job: Job,
    /// Bytes that were cut from the longest opening.
    cut: Cell<u64>,
    halts: Rc<Halts>,
    /// The sub-agents, in the order of their start.
    crews: RefCell<Vec<Rc<Crew>>>,
}

impl Backstage {
    pub(super) fn new(services: Arc<Services>, job: Job) -> Backstage {
        let (cut, halts, crews) = (Cell::new(0), Rc::default(), RefCell::default());
        Backstage { services, job, cut, halts, crews }
    }

    pub(super) fn job(&self) -> &Job {
        &self.job
    }

    pub(super) fn halts(&self) -> &Halts {
        &self.halts
    }

    /// Ends the sub-agents, the youngest first.
    pub(super) fn end(&self) {
        loop {
            // One at a time: what ends is user code, and may look at the others.
            let youngest = self.crews.borrow_mut().pop();
            match youngest {
                Some(crew) => crew.stop(),
                None => return,
            }
        }
    }

    async fn call(&self, request: &mut Request) -> Result<Answer, Ending> {
        let services = &*self.services;
        if request.model.is_empty() {
            request.model = self.job.model.to_string();
        }
        if request.max_tokens == 0 {
            request.max_tokens = self.job.max_tokens();
        }
        let other = (*request.model != *self.job.model)
            .then(|| Box::new(self.job.with_model(&self.services, &request.model)));
        let job = other.as_deref().unwrap_or(&self.job);
        let input = performance::input_bound(services, job, request).await;
        let full_input = input.saturating_add(self.cut.get());
        let now = services.clock.now();
        let mut call = Call::new(services, job, now, request, input, full_input);
        call.complete(now, request, |answer| answer).await
    }

    /// Starts a sub-agent, where there may be one more.
    fn crew(&self, spec: AgentSpec, policy: Option<Supervision>) -> Result<Rc<Crew>, SpawnError> {
        if spec.name.contains(AGENT_SEPARATOR) {
            return Err(SpawnError::Name(spec.name));
        }
        self.services.catalogue.bound(&spec.model, &BoundInput::default())?;
        let policy = policy.unwrap_or_else(|| self.services.rules.supervision.clone());
        let mut crews = self.crews.borrow_mut();
        crews.retain(|crew| !crew.has_ended());
        let namesakes = crews.iter().filter(|crew| crew.agent() == spec.name);
        let before = namesakes.map(|crew| crew.last_number()).max().unwrap_or(0);
        drop(crews);
        let halts = Rc::clone(&self.halts);
        Crew::start(&self.services, &self.job, spec, policy, before, halts)
    }
}

impl agent::Backstage for Backstage {
    fn name(&self) -> &str {
        &self.job.worker
    }

    fn deadline(&self) -> Timestamp {
        self.job.assignment.deadline
    }

    fn clock(&self) -> &Clock {
        &self.services.clock
    }

    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'_, ()> {
        Box::pin(async move {
            let clock = &self.services.clock;
            let until = clock.now() + duration;
            let _step = Step::new(&*self.job.assignment.standing, until);
            clock.sleep_until(until).await;
        })
    }

    fn opening(&self, task: &Task) -> Result<Request, TaskError> {
        let (request, cut) = performance::opening(&self.services, &self.job, task)?;
        self.cut.set(self.cut.get().max(cut));
        Ok(request)
    }

    fn complete(&self, mut request: Request) -> LocalBoxFuture<'_, Result<Answer, TaskError>> {
        Box::pin(async move {
            match self.call(&mut request).await {
                Ok(answer) => return Ok(answer),
                Err(Ending::Failed(error)) => return Err(error),
                Err(Ending::Returned) => {}
            }
            self.halts.raise(Halt::Returned);
            std::future::pending().await
        })
    }

    fn at_tool(&self, name: &str) -> AtTool {
        let (worker, since) = (Arc::clone(&self.job.worker), self.services.clock.now());
        Doing::begin(Tool { worker, name: name.to_owned(), since })
    }

    fn spawn(
        &self,
        agent: AgentSpec,
        supervision: Option<Supervision>,
    ) -> Result<Rc<dyn Children>, SpawnError> {
        let crew = self.crew(agent, supervision)?;
        self.crews.borrow_mut().push(Rc::clone(&crew));
        Ok(crew)
    }
}

impl Drop for Backstage {
    fn drop(&mut self) {
        self.end();
    }
}
