//! The life of a task: it comes, waits for a worker, calls again and again, and ends.

use std::sync::Arc;
use std::time::Duration;

use agent_core::clock::Timestamp;
use agent_core::hash::Digest;
use agent_core::ledger::{ReservationId, Scope};
use agent_core::money::NanoUsd;
use agent_core::permits::Grant;
use agent_core::queue::Claim;
use agent_core::record::Subject;
use agent_core::task::{ErrorCode, Task};

use super::agenda::Due;
use super::{Heap, What};
use crate::draws::Draw;
use crate::engine::ask::Ask;
use crate::engine::driver::THINK;
use crate::engine::script::{Place, Plan, Step};
use crate::scenario::Arrival;

/// A task that has come.
#[derive(Debug)]
pub(super) struct Play {
    pub(super) task: Task,
    place: Place,
    /// The workload of the user who waits for its end.
    user: Option<u32>,
    agent: Option<u32>,
    accepted_at: Timestamp,
    worker: u32,
    pub(super) worker_name: Arc<str>,
    pub(super) scopes: Arc<[Scope]>,
    pub(super) model: Arc<str>,
    pub(super) model_name: Arc<str>,
    pub(super) max_tokens: u32,
    plan: Option<Plan>,
    next: Option<Step>,
    turn: u32,
    pub(super) attempts: u32,
    pub(super) charged: NanoUsd,
    /// When its worker may call again.
    pub(super) free_at: Timestamp,
    pub(super) call: Call,
}

/// The call that a task makes.
#[derive(Debug, Default)]
pub(super) struct Call {
    pub(super) ask: Option<Ask>,
    pub(super) bytes: u64,
    pub(super) input_bound: u64,
    /// Which attempt, from 1.
    pub(super) attempt: u32,
    pub(super) grant: Option<Grant>,
    pub(super) money: Option<(ReservationId, NanoUsd)>,
    pub(super) ticket: Option<u64>,
}

impl Heap<'_> {
    pub(super) fn happens(&mut self, due: Due) {
        match due {
            Due::Source(workload) => self.source(workload),
            Due::Arrival(workload) => self.arrival(workload),
            Due::User(workload) => self.user(workload),
            Due::Placed(task) => self.placed(task),
            Due::Begun(task) => self.begun(task),
            Due::Called(task) => self.called(task),
            Due::Asks(task) => self.asks(task),
            Due::Ring(at) => self.ring(at),
            Due::GivenBack(grant) => self.given_back(grant),
            Due::Pays(task) => self.pays(task),
            Due::Leaves(task) => self.leaves(task),
            Due::Returns(task, back) => self.returns(task, *back),
            Due::Settled(grant, feedback) => self.settled(grant, &feedback),
            Due::Resolved(task, id, cost, presumed) => self.resolved(task, id, (cost, presumed)),
            Due::Retries(task) => self.attempt(task),
            Due::Finished(task, error) => self.finished(task, error),
            Due::Told(task) => self.told(task),
            Due::Wake(at) => self.wake(at),
        }
    }

    pub(super) fn play(&mut self, task: u64) -> &mut Play {
        &mut self.plays[task as usize]
    }

    // === arrival ===

    pub(super) fn bring_all(&mut self) {
        for (number, workload) in (0..).zip(&self.scenario.workload) {
            match workload.arrival {
                Arrival::Closed { users, .. } => {
                    (0..users).for_each(|_| self.agenda.soon(Due::User(number)));
                }
                Arrival::Open(_) | Arrival::Trace(_) => self.agenda.soon(Due::Source(number)),
            }
        }
    }

    fn source(&mut self, workload: u32) {
        let source = &mut self.sources[workload as usize];
        if source.next == source.count {
            return;
        }
        let Some(at) = source.times.next() else { return };
        let at = self.start + Duration::from_nanos(at);
        if at < source.lasts {
            self.agenda.at(at, Due::Arrival(workload));
        }
    }

    fn arrival(&mut self, workload: u32) {
        self.submit(workload, None);
        self.agenda.soon(Due::Source(workload));
    }

    fn user(&mut self, workload: u32) {
        let source = &self.sources[workload as usize];
        if source.next < source.count && self.agenda.now() < source.lasts {
            self.submit(workload, Some(workload));
        }
    }

    fn submit(&mut self, workload: u32, user: Option<u32>) {
        let source = &mut self.sources[workload as usize];
        let place = Place { workload, task: source.next };
        source.next += 1;
        let task = self.script.task(place);
        let agents = &self.scenario.fleet.agent;
        let named = |name| agents.iter().position(|agent| Some(&agent.name) == name);
        let number = self.plays.len() as u64;
        self.plays.push(Play {
            agent: named(task.agent.as_ref()).map(|agent| agent as u32),
            task,
            place,
            user,
            accepted_at: self.agenda.now(),
            worker: 0,
            worker_name: "".into(),
            scopes: Arc::new([]),
            model: "".into(),
            model_name: "".into(),
            max_tokens: 0,
            plan: None,
            next: None,
            turn: 0,
            attempts: 0,
            charged: NanoUsd::ZERO,
            free_at: Timestamp::EPOCH,
            call: Call::default(),
        });
        self.agenda.soon(Due::Placed(number));
    }

    // === workers ===

    fn placed(&mut self, task: u64) {
        let play = &self.plays[task as usize];
        let claim = Claim { priority: play.task.priority, since: play.accepted_at, task };
        match self.crowd.place(play.agent, claim) {
            Some(worker) => self.give(worker, task),
            None => self.arm(),
        }
    }

    fn give(&mut self, worker: u32, task: u64) {
        self.play(task).worker = worker;
        self.agenda.soon(Due::Begun(task));
    }

    fn arm(&mut self) {
        if let Some(at) = self.crowd.arm() {
            self.agenda.at(at, Due::Wake(at));
        }
    }

    fn wake(&mut self, at: Timestamp) {
        if self.crowd.wake_at != Some(at) {
            return;
        }
        self.crowd.wake_at = None;
        for (worker, task) in self.crowd.wake(self.agenda.now()) {
            self.give(worker, task);
        }
        self.arm();
    }

    fn begun(&mut self, task: u64) {
        let worker = self.plays[task as usize].worker;
        let spec = &self.scenario.fleet.agent[self.crowd.agent(worker)];
        let worker_name: Arc<str> = format!("{}-{}", spec.name, self.crowd.number(worker)).into();
        let plan = self.script.plan(self.plays[task as usize].place);
        let play = &mut self.plays[task as usize];
        play.model = play.task.model.as_deref().unwrap_or(&spec.model).into();
        let known = self.scenario.prices.resolve(&play.model);
        play.model_name = known.map_or(&*play.model, |known| known.name()).into();
        play.max_tokens = play.task.max_tokens.unwrap_or_else(|| spec.max_tokens.get());
        let subject = Subject {
            agent: Some(spec.name.as_str().into()),
            task_id: Some(play.task.id.as_str().into()),
            project_id: play.task.project_id.as_deref().map(Into::into),
            user_id: play.task.user_id.as_deref().map(Into::into),
            model: Some(Arc::clone(&play.model_name)),
            ..Subject::default()
        };
        play.scopes = subject.scopes(&super::attempt::account()).into();
        (play.worker_name, play.plan) = (worker_name, Some(plan));
        self.step(task);
    }

    // === calls ===

    /// A task's next call, or its end.
    pub(super) fn step(&mut self, task: u64) {
        let play = &mut self.plays[task as usize];
        play.next = play.plan.as_mut().and_then(|plan| self.script.next(plan));
        match play.next {
            None => self.end(task, None),
            Some(step) if step.gap.is_zero() => self.called(task),
            Some(step) => self.agenda.at(self.agenda.now() + step.gap, Due::Called(task)),
        }
    }

    fn called(&mut self, task: u64) {
        let play = self.play(task);
        let Some(step) = play.next.take() else { return };
        let ask = step.ask(play.place, play.turn, Digest::of(play.worker_name.as_bytes()));
        play.turn += 1;
        let bytes = ask.request().text_bytes();
        let input_bound = agent_core::estimate::strict(bytes, false);
        play.call = Call { ask: Some(ask), bytes, input_bound, attempt: 1, ..Call::default() };
        self.attempt(task);
    }

    // === end ===

    pub(super) fn end(&mut self, task: u64, error: Option<ErrorCode>) {
        self.agenda.soon(Due::Finished(task, error));
    }

    fn finished(&mut self, task: u64, error: Option<ErrorCode>) {
        let Play { worker, free_at, charged, .. } = self.plays[task as usize];
        self.note(task, What::Ended(error), charged);
        self.agenda.soon(Due::Told(task));
        if let Some(next) = self.crowd.frees(worker, free_at, self.agenda.now()) {
            self.give(worker, next);
        }
        self.arm();
    }

    fn told(&mut self, task: u64) {
        let Play { user, place, .. } = self.plays[task as usize];
        let Some(workload) = user else { return };
        let Arrival::Closed { think, .. } = &self.scenario.workload[workload as usize].arrival
        else {
            return;
        };
        let key = [u64::from(workload), place.task, 0];
        let ns = think.sample_nanos(&mut Draw::new(self.script.seed(), THINK, key));
        self.agenda.at(self.agenda.now() + Duration::from_nanos(ns), Due::User(workload));
    }
}
