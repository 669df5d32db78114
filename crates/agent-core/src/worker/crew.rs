//! The workers of a sub-agent: fed and supervised on their parent's behalf, on its thread.

mod feed;
mod handle;
mod watch;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use actix::Addr;
use tokio::sync::oneshot;

use crate::agent::{AgentSpec, ChildEnd, ChildError, Output, SpawnError};
use crate::guard;
use crate::record::Subject;
use crate::supervision::{RestartHistory, Supervision};
use crate::worker::halts::Halts;
use crate::worker::job::{Assignment, Job};
use crate::worker::leash::Leash;
use crate::worker::progress::{Standing, Step};
use crate::worker::services::Services;
use crate::worker::tree::{Family, below};
use crate::worker::{Role, Superior, WorkerAgent, WorkerIndex};
use watch::CrewWatch;

/// The workers of one sub-agent, and the sub-tasks in their hands.
pub(crate) struct Crew {
    role: Arc<Role>,
    policy: Supervision,
    family: Arc<Family>,
    /// Its name after its parents': `lead>researcher`.
    name: Arc<str>,
    /// The parent's task: who is in a hurry, until when, and what it has taken.
    whole: Assignment,
    /// The number of its first worker, and how many it has.
    numbers: (u32, u32),
    halts: Rc<Halts>,
    linked: Cell<bool>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    members: Vec<Member>,
    tasks: BTreeMap<u64, SubTask>,
    /// Sub-tasks that wait for a worker, in order.
    queue: VecDeque<u64>,
    next: u64,
    restarts: u32,
    /// What the last crash said.
    last_reason: String,
    watchers: Vec<oneshot::Sender<ChildEnd>>,
    ended: Option<ChildEnd>,
}

/// One worker.
struct Member {
    name: Arc<str>,
    address: Addr<WorkerAgent>,
    leash: Option<Leash>,
    at: At,
    history: RestartHistory,
    /// It pauses after a crash: something moves when that is over.
    pause: Option<Step<Arc<Standing>>>,
}

/// What a worker is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Idle,
    Work(u64),
    /// It pauses after a crash.
    Pause,
    Gone,
}

struct SubTask {
    assignment: Assignment,
    crashes: u32,
    tell: oneshot::Sender<Result<Output, ChildError>>,
}

impl fmt::Debug for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Crew {
    /// Starts the workers of a sub-agent of whoever has `job`; the first is number `before` + 1.
    pub(super) fn start(
        services: &Arc<Services>,
        job: &Job,
        spec: AgentSpec,
        policy: Supervision,
        before: u32,
        halts: Rc<Halts>,
    ) -> Result<Rc<Crew>, SpawnError> {
        let parent = job.family.as_ref().ok_or(SpawnError::TooDeep { limit: 0 })?;
        let family = parent.child(&job.subject)?;
        let size = spec.count.get();
        family.tree().enter(size)?;
        let name = below(job.subject.agent.as_deref(), &spec.name);
        let run_id = Arc::clone(&job.subject.run_id);
        let crew = Rc::new(Crew {
            role: Arc::new(Role::new(Arc::new(spec), run_id, Arc::clone(services))),
            name,
            policy,
            family,
            whole: job.assignment.clone(),
            numbers: (before + 1, size),
            halts,
            linked: Cell::new(false),
            state: RefCell::default(),
        });
        for index in 0..size {
            let member = crew.member(index, job);
            crew.state.borrow_mut().members.push(member);
        }
        Ok(crew)
    }

    fn member(self: &Rc<Self>, index: WorkerIndex, job: &Job) -> Member {
        let own = format!("{}-{}", self.role.agent, self.numbers.0 + index);
        let name = below(Some(&*job.worker), &own);
        let (role, superior) = (Arc::clone(&self.role), Superior::Crew(Rc::clone(self)));
        let worker = WorkerAgent::new(index, 0, Arc::clone(&name), role, superior);
        let watch = CrewWatch::new(Rc::clone(self), index);
        let (address, guarded) = guard::guarded(worker, watch);
        let leash = Some(Leash::new(Box::pin(guarded)));
        Member {
            name,
            address,
            leash,
            at: At::Idle,
            history: RestartHistory::default(),
            pause: None,
        }
    }

    pub(super) fn family(&self) -> Arc<Family> {
        Arc::clone(&self.family)
    }

    /// The sub-agent's own name.
    pub(super) fn agent(&self) -> &str {
        &self.role.agent
    }

    /// The number of its last worker.
    pub(super) fn last_number(&self) -> u32 {
        self.numbers.0 + self.numbers.1 - 1
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state.borrow().ended.is_some()
    }

    /// Whom events about a worker are about.
    fn subject(&self, worker: &Arc<str>) -> Subject {
        self.family.subject(Subject {
            run_id: Arc::clone(&self.role.run_id),
            agent: Some(Arc::clone(&self.role.agent)),
            agent_id: Some(Arc::clone(worker)),
            agent_type: Some(Arc::clone(&self.role.agent_type)),
            ..Subject::default()
        })
    }
}
