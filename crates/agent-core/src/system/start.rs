//! Starting a system: check, open the store, rebuild what was spent, start the actors.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use thiserror::Error;
use tokio::sync::oneshot;

use super::wire::wire;
use crate::config::MAX_WORKERS;
use crate::ledger::{AGENT_SEPARATOR, Scope, ScopeKind, ScopePattern};
use crate::pricing::PricingError;
use crate::record::CallId;
use crate::store::{
    Entry, OpenTask, Recovered, RunStatus, Store, StoreError, StoreOptions, UnfinishedRun,
};
use crate::supervision::{Tree, TreeError};
use crate::system::builder::{AgentSystemBuilder, Keeping, Unfinished};
use crate::system::durable::ledger;
use crate::system::handle::AgentSystem;
use crate::worker::services::lock;

/// Why a system could not be started. Nothing was started then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is nobody to play.
    #[error("no agent; add one with `agent`")]
    NoAgent,
    /// The agents have more workers in all than a system may have.
    #[error("{workers} workers are more than the {limit} that a system may have; lower the counts")]
    TooManyWorkers {
        /// Workers of all agents.
        workers: u64,
        /// The limit.
        limit: u64,
    },
    /// Two agents have one name.
    #[error("two agents are named {0:?}; give each a name of its own")]
    SameName(String),
    /// An agent's name would be read as that of a sub-agent.
    #[error(
        "agent {0:?} has a \">\" in its name, which stands between an agent and its sub-agents"
    )]
    Name(String),
    /// An agent's model has no known price, so that its calls cannot be bounded.
    #[error("agent {agent:?}")]
    Price {
        /// Which agent.
        agent: String,
        /// What is wrong with its model.
        #[source]
        source: PricingError,
    },
    /// The groups of agents make no tree.
    #[error("the groups of agents")]
    Groups(#[from] TreeError),
    /// A virtual clock tells the time of one thread only.
    #[error("a virtual clock goes with one arbiter; leave `arbiters` out")]
    VirtualArbiters,
    /// The store cannot be used.
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
    /// The store's last run did not finish.
    #[error(
        "run {run_id} did not finish, open tasks: {open}; go on with --resume, or give them up \
         with --discard-unfinished"
    )]
    Unfinished {
        /// Which run.
        run_id: String,
        /// Tasks that have not ended.
        open: usize,
    },
    /// Open tasks of the run to be resumed are for an agent that is not there.
    #[error(
        "agent {agent:?} is not there, but open tasks of run {run_id} are for it: {tasks}; put it \
         back to go on, or give them up with --discard-unfinished"
    )]
    AgentGone {
        /// The agent.
        agent: String,
        /// Which run.
        run_id: String,
        /// Its tasks, ten at most.
        tasks: String,
    },
    /// There is no run that could go on.
    #[error(
        "the store {dir} has no run, so there is nothing to resume; name that of the run with \
         --store, or start one without --resume"
    )]
    NothingToResume {
        /// The folder of the store.
        dir: PathBuf,
    },
    /// The thread for the actors could not be started.
    #[error("the thread for the actors could not be started")]
    Thread(#[source] std::io::Error),
    /// The thread for the actors ended at once.
    #[error("the thread for the actors ended before the system had started")]
    ThreadEnded,
}

/// Events that a person should look at, by name.
pub(super) type Warnings = BTreeMap<&'static str, u64>;

/// The actors' own thread; ends when the last handle is dropped.
#[derive(Debug)]
pub(super) struct Thread {
    stop: Mutex<Option<oneshot::Sender<()>>>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(stop) = lock(&self.stop).take() {
            // It may have ended by itself.
            _ = stop.send(());
        }
    }
}

pub(super) async fn start(mut builder: AgentSystemBuilder) -> Result<AgentSystem, StartError> {
    check(&builder)?;
    name_models(&mut builder);
    // A system that has ended is still the current one of the thread that it was on.
    if actix::Arbiter::try_current().is_some_and(|arbiter| arbiter.alive()) {
        return start_here(builder, None);
    }
    let (stop, stopped) = oneshot::channel();
    let (tell, told) = oneshot::channel();
    let thread = Arc::new(Thread { stop: Mutex::new(Some(stop)) });
    let run = move || {
        actix::System::new().block_on(async move {
            let started = start_here(builder, Some(thread));
            if tell.send(started).is_ok() {
                // An error means that the last handle is gone, which is what is waited for.
                _ = stopped.await;
            }
        });
    };
    std::thread::Builder::new()
        .name("impresario".to_owned())
        .spawn(run)
        .map_err(StartError::Thread)?;
    told.await.map_err(|_| StartError::ThreadEnded)?
}

fn check(builder: &AgentSystemBuilder) -> Result<(), StartError> {
    if builder.agents.is_empty() {
        return Err(StartError::NoAgent);
    }
    if builder.arbiters.get() > 1 && builder.clock.is_virtual() {
        return Err(StartError::VirtualArbiters);
    }
    let workers = builder.agents.iter().map(|agent| u64::from(agent.count.get())).sum();
    if workers > MAX_WORKERS {
        return Err(StartError::TooManyWorkers { workers, limit: MAX_WORKERS });
    }
    tree(builder)?;
    let mut names = BTreeSet::new();
    for agent in &builder.agents {
        if !names.insert(&agent.name) {
            return Err(StartError::SameName(agent.name.clone()));
        }
        if agent.name.contains(AGENT_SEPARATOR) {
            return Err(StartError::Name(agent.name.clone()));
        }
        let bound = builder.catalogue.bound(&agent.model, &crate::pricing::BoundInput::default());
        bound.map_err(|source| StartError::Price { agent: agent.name.clone(), source })?;
    }
    Ok(())
}

/// Has the budgets of models go by the one name of each, whatever alias or date they name it by.
fn name_models(builder: &mut AgentSystemBuilder) {
    for budget in &mut builder.budgets {
        if let ScopePattern::One(Scope { kind: ScopeKind::Model, name }) = &mut budget.scope
            && let Some(model) = builder.catalogue.resolve(name)
        {
            *name = model.name().into();
        }
    }
}

/// The groups, with the workers in them.
fn tree(builder: &AgentSystemBuilder) -> Result<Tree, TreeError> {
    let mut first = 0;
    let members = builder.agents.iter().map(|agent| {
        let workers = first..first + agent.count.get();
        first = workers.end;
        (agent.name.as_str(), agent.group.as_deref(), workers)
    });
    Tree::new(&builder.groups, &members.collect::<Vec<_>>(), &builder.supervision)
}

/// Opens the store, with what it left, unless its last run forbids it: nothing was written then.
fn open(builder: &AgentSystemBuilder) -> Result<(Store, Recovered), StartError> {
    let folder = match &builder.keeping {
        Keeping::Folder(folder) => folder,
        Keeping::Memory | Keeping::Nothing => return Ok((Store::memory(), Recovered::default())),
        Keeping::Observed(observer) => {
            let observer = lock(observer).take();
            return Ok((
                observer.map_or_else(Store::memory, Store::observed),
                Recovered::default(),
            ));
        }
    };
    let nothing = || StartError::NothingToResume { dir: folder.clone() };
    if builder.unfinished == Unfinished::Resume && !Store::is_there(folder) {
        return Err(nothing());
    }
    let (store, recovered) =
        Store::sled_with(folder, &StoreOptions::default(), builder.sync.clone())?;
    match (&recovered.run, builder.unfinished) {
        (Some(run), Unfinished::Refuse) => {
            let (run_id, open) = (run.run_id.to_string(), run.tasks.len());
            Err(StartError::Unfinished { run_id, open })
        }
        (Some(run), Unfinished::Resume) => {
            check_agents(builder, run)?;
            Ok((store, recovered))
        }
        (None, Unfinished::Resume) if recovered.finished.is_none() => Err(nothing()),
        _ => Ok((store, recovered)),
    }
}

fn start_here(
    builder: AgentSystemBuilder,
    thread: Option<Arc<Thread>>,
) -> Result<AgentSystem, StartError> {
    let clock = builder.clock.clone();
    let (mut store, mut recovered) = open(&builder)?;
    let resumes = builder.unfinished == Unfinished::Resume;
    store.settle_left_open(&mut recovered, clock.now())?;
    let finished = recovered.finished.take().filter(|run| {
        let given = builder.already_given.as_ref();
        let all_ended = given.is_some_and(|ids| ids.iter().all(|id| run.ended.contains_key(id)));
        resumes && all_ended
    });
    let unfinished = recovered.run.take().or(finished);
    let (mut goes_on, given_up) = if resumes { (unfinished, None) } else { (None, unfinished) };
    let tasks = goes_on.iter().flat_map(|run| &run.tasks).map(OpenTask::from);
    let budgets = (&*builder.budgets, &*builder.catalogue);
    let ledger = store.charges(|charges| ledger(budgets, &charges, tasks, clock.now()))?;
    let run_id: Arc<str> = match &goes_on {
        Some(run) => Arc::clone(&run.run_id),
        None => CallId::new(clock.now(), random(&builder).u128(..)).to_string().into(),
    };
    let mut warnings = Warnings::default();
    let mut cut_off = None;
    if let Some(run) = &mut goes_on {
        let trail = store.trail(&run.run_id, run.started_at)?;
        warnings = trail.warnings;
        if run.status.is_none() {
            // It was killed: its last part ended with its last sign of life.
            let at = run.seen_at.max(trail.last);
            run.took += at.since(run.seen_at);
            let run_id = Arc::clone(&run.run_id);
            cut_off = Some(Entry::RunFinished { run_id, at, status: RunStatus::Interrupted });
        }
    }
    let at = clock.now();
    let discarded = given_up.map(|run| Entry::RunFinished {
        run_id: run.run_id,
        at,
        status: RunStatus::Discarded,
    });
    let fleet = builder.fleet_file.clone();
    let started = Entry::RunStarted { run_id: Arc::clone(&run_id), at, fleet };
    let entries = discarded.into_iter().chain(cut_off).chain([started]).collect();
    store.begin(entries)?;
    let tree = tree(&builder)?;
    let goes_on = goes_on.map(|run| (run, warnings));
    Ok(wire(builder, tree, store, ledger, &run_id, goes_on, thread))
}

/// Tasks of an agent that is gone would end as invalid, although they were accepted.
fn check_agents(builder: &AgentSystemBuilder, run: &UnfinishedRun) -> Result<(), StartError> {
    let is_there = |name: &str| builder.agents.iter().any(|agent| agent.name == name);
    let mut names = run.tasks.iter().filter_map(|left| left.task.agent.as_deref());
    let Some(gone) = names.find(|name| !is_there(name)) else { return Ok(()) };
    let its = run.tasks.iter().filter(|left| left.task.agent.as_deref() == Some(gone));
    let mut tasks: Vec<&str> = its.map(|left| left.task.id.as_str()).collect();
    let more = tasks.len().saturating_sub(10);
    tasks.truncate(10);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let (agent, run_id) = (gone.to_owned(), run.run_id.to_string());
    Err(StartError::AgentGone { agent, run_id, tasks: tasks.join(", ") + &more })
}

pub(super) fn random(builder: &AgentSystemBuilder) -> fastrand::Rng {
    builder.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed)
}
