//! What a system is built from.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::agent::{AgentSpec, ChildLimits};
use crate::clock::Clock;
use crate::config::{Fleet, Guards};
use crate::coordinator::Lazy;
use crate::ledger::BudgetSpec;
use crate::llm::LlmClient;
use crate::permits::ProviderLimits;
use crate::pricing::Catalogue;
use crate::queue::AGE;
use crate::retry::{AttemptTimeout, RetryPolicy};
use crate::store::{Entry, Observer, SyncFile};
use crate::supervision::{GroupSpec, Supervision};
use crate::system::handle::AgentSystem;
use crate::system::start::{StartError, start};
use crate::task::TaskId;

/// What happens where the store's last run did not finish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unfinished {
    /// The system does not start: [`StartError::Unfinished`].
    #[default]
    Refuse,
    /// That run goes on; where the store has no run at all, the system does not start:
    /// [`StartError::NothingToResume`].
    Resume,
    /// Its open tasks are given up; what they spent stays on the books.
    Discard,
}

/// Where entries go.
#[derive(Debug, Clone)]
pub(super) enum Keeping {
    Memory,
    Folder(PathBuf),
    /// Taken by the first system that is started.
    Observed(Arc<Mutex<Option<Observer>>>),
    /// Nowhere.
    Nothing,
}

/// Collects the parts of an [`AgentSystem`]. Each part has a default but the provider and the
/// agents.
#[must_use = "a builder does nothing until `start` is called"]
#[derive(Debug, Clone)]
pub struct AgentSystemBuilder {
    pub(super) client: Arc<dyn LlmClient>,
    pub(super) agents: Vec<AgentSpec>,
    pub(super) budgets: Vec<BudgetSpec>,
    pub(super) limits: ProviderLimits,
    pub(super) retry: RetryPolicy,
    pub(super) timeouts: AttemptTimeout,
    pub(super) guards: Guards,
    pub(super) supervision: Supervision,
    pub(super) groups: Vec<GroupSpec>,
    pub(super) children: ChildLimits,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) keeping: Keeping,
    pub(super) fleet_file: Option<String>,
    pub(super) unfinished: Unfinished,
    pub(super) already_given: Option<BTreeSet<TaskId>>,
    pub(super) clock: Clock,
    pub(super) seed: Option<u64>,
    pub(super) max_open_tasks: usize,
    pub(super) age: Duration,
    pub(super) lazy: Lazy,
    pub(super) arbiters: NonZeroUsize,
    pub(super) blocked_after: Duration,
    pub(super) grace: Duration,
    pub(super) store_grace: Duration,
    pub(super) sync: SyncFile,
}

impl AgentSystemBuilder {
    pub(super) fn new(client: Arc<dyn LlmClient>) -> AgentSystemBuilder {
        AgentSystemBuilder {
            client,
            agents: Vec::new(),
            budgets: Vec::new(),
            limits: ProviderLimits::default(),
            retry: RetryPolicy::default(),
            timeouts: AttemptTimeout::default(),
            guards: Guards::default(),
            supervision: Supervision::default(),
            groups: Vec::new(),
            children: ChildLimits::default(),
            catalogue: Catalogue::builtin(),
            keeping: Keeping::Memory,
            fleet_file: None,
            unfinished: Unfinished::default(),
            already_given: None,
            clock: Clock::real(),
            seed: None,
            max_open_tasks: 100_000,
            age: AGE,
            lazy: Lazy { eager: 10_000, idle_for: Duration::from_secs(300) },
            arbiters: NonZeroUsize::MIN,
            blocked_after: Duration::from_secs(1),
            grace: Duration::from_secs(30),
            store_grace: Duration::from_secs(30),
            sync: SyncFile::real(),
        }
    }

    /// Takes everything that a fleet file says, but the provider and the tasks.
    pub fn fleet(mut self, fleet: &Fleet) -> AgentSystemBuilder {
        self.agents.extend(fleet.agent.iter().cloned());
        self.budgets.extend(fleet.budget.iter().cloned());
        self.limits = fleet.limits.clone();
        self.retry = fleet.retry.clone();
        self.timeouts = fleet.timeouts.clone();
        self.guards = fleet.guards.clone();
        self.supervision = fleet.supervision.clone();
        self.groups.extend(fleet.group.iter().cloned());
        self
    }

    /// Keeps the text of the fleet file with the run, so that the run can be looked into later. Not
    /// where it has what might be a key in it. Default: none.
    pub fn fleet_file(mut self, text: Option<String>) -> AgentSystemBuilder {
        self.fleet_file = text.filter(|text| !text.contains("sk-"));
        self
    }

    /// Adds an agent, played by as many workers as its `count` says.
    pub fn agent(mut self, agent: AgentSpec) -> AgentSystemBuilder {
        self.agents.push(agent);
        self
    }

    /// Adds a budget. Default: none.
    pub fn budget(mut self, budget: BudgetSpec) -> AgentSystemBuilder {
        self.budgets.push(budget);
        self
    }

    /// Replaces the provider's limits. Default: 64 attempts at once, no other limit.
    pub fn limits(mut self, limits: ProviderLimits) -> AgentSystemBuilder {
        self.limits = limits;
        self
    }

    /// Replaces the retry policy. Default: 3 attempts.
    pub fn retry(mut self, retry: RetryPolicy) -> AgentSystemBuilder {
        self.retry = retry;
        self
    }

    /// Replaces the timeout of an attempt. Default: 30 s and 15 s for each 1,000 of `max_tokens`.
    pub fn timeouts(mut self, timeouts: AttemptTimeout) -> AgentSystemBuilder {
        self.timeouts = timeouts;
        self
    }

    /// Replaces the guards. Default: $1.00 a task, a warning at injection signals.
    pub fn guards(mut self, guards: Guards) -> AgentSystemBuilder {
        self.guards = guards;
        self
    }

    /// Replaces the supervision of workers. Default: 5 restarts a minute.
    pub fn supervision(mut self, supervision: Supervision) -> AgentSystemBuilder {
        self.supervision = supervision;
        self
    }

    /// Replaces how many sub-agents a task may have. Default: 256 workers, 8 generations deep.
    pub fn children(mut self, children: ChildLimits) -> AgentSystemBuilder {
        self.children = children;
        self
    }

    /// Adds a group of agents that are restarted together. Default: none.
    pub fn group(mut self, group: GroupSpec) -> AgentSystemBuilder {
        self.groups.push(group);
        self
    }

    /// Replaces the prices. Default: those that come with this crate.
    pub fn catalogue(mut self, catalogue: Arc<Catalogue>) -> AgentSystemBuilder {
        self.catalogue = catalogue;
        self
    }

    /// Keeps records, tasks and the audit trail in this folder. Default: in memory, gone with the
    /// process.
    pub fn store(mut self, folder: impl Into<PathBuf>) -> AgentSystemBuilder {
        self.keeping = Keeping::Folder(folder.into());
        self
    }

    /// Keeps nothing: each entry that would be written is shown to `observer` in the order of their
    /// writing, on the thread of whoever writes it, who waits for it; but not the audit events of calls
    /// that go their way, which say what the entries of the attempts say. There is no usage to be asked
    /// for, and a budget that panics comes back empty; so it is for simulations, not for money.
    /// Default: as with [`store`](AgentSystemBuilder::store).
    pub fn observe(
        mut self,
        observer: impl FnMut(&[Entry]) + Send + 'static,
    ) -> AgentSystemBuilder {
        let observer = Observer::new(observer);
        self.keeping = Keeping::Observed(Arc::new(Mutex::new(Some(observer))));
        self
    }

    /// Keeps nothing: no usage records, no audit trail, no journal, nothing to resume.
    ///
    /// Budgets, limits, prices and outcomes are as exact as ever as long as the process lives, and
    /// audit events still go to `tracing` where somebody listens there. But
    /// [`usage`](AgentSystem::usage) knows of nothing, and a panic of the budget ends the run, since
    /// there is nothing that it could be rebuilt from. For tests, benchmarks and programs that have
    /// books of their own. Default: all of it is kept.
    pub fn without_records(mut self) -> AgentSystemBuilder {
        self.keeping = Keeping::Nothing;
        self
    }

    /// What happens where the store's last run did not finish. Default: the system does not start.
    pub fn unfinished(mut self, unfinished: Unfinished) -> AgentSystemBuilder {
        self.unfinished = unfinished;
        self
    }

    /// With [`Unfinished::Resume`]: a last run that has finished goes on too, with nothing left to
    /// do, where each of these tasks ended in it. Else a process that was killed just after its end
    /// would do them again. Default: only a run that has not finished goes on.
    pub fn already_given(mut self, tasks: BTreeSet<TaskId>) -> AgentSystemBuilder {
        self.already_given = Some(tasks);
        self
    }

    /// Replaces the clock. Default: the real one.
    pub fn clock(mut self, clock: Clock) -> AgentSystemBuilder {
        self.clock = clock;
        self
    }

    /// Makes ids and jitter a function of `seed`. Default: of the operating system's randomness.
    pub fn seed(mut self, seed: u64) -> AgentSystemBuilder {
        self.seed = Some(seed);
        self
    }

    /// Tasks that may be open at once, at least 1; `submit` waits beyond it. Default: 100,000.
    pub fn max_open_tasks(mut self, limit: usize) -> AgentSystemBuilder {
        self.max_open_tasks = limit.max(1);
        self
    }

    /// How long a task waits until it comes before those of the next priority that are submitted
    /// then; so nothing starves. Default: 1 minute.
    pub fn priority_age(mut self, age: Duration) -> AgentSystemBuilder {
        self.age = age;
        self
    }

    /// So many workers have their actors from the start, and keep them. The actor of any other is
    /// made at its first task, and given up when it has been idle for `idle_for`; the worker keeps
    /// its name, its limits and its place, but not what its behaviour held. Default: 10,000 workers,
    /// 5 minutes.
    pub fn eager_workers(mut self, workers: usize, idle_for: Duration) -> AgentSystemBuilder {
        self.lazy = Lazy { eager: workers, idle_for };
        self
    }

    /// Places the workers on so many threads of their own, round about. Default, and with 1: they
    /// share one thread with the coordinator and all else.
    ///
    /// Agents that wait for a provider need no more; behaviours whose own code computes for long,
    /// or blocks, do.
    pub fn arbiters(mut self, arbiters: NonZeroUsize) -> AgentSystemBuilder {
        self.arbiters = arbiters;
        self
    }

    /// How long code on a thread of the system may go without yielding before it is reported, by a
    /// log line and as [`Lifecycle::ThreadBlocked`](crate::coordinator::Lifecycle), with the worker
    /// and the tool that holds the thread. Default: 1 s. In virtual time nothing is reported.
    pub fn blocked_after(mut self, limit: Duration) -> AgentSystemBuilder {
        self.blocked_after = limit;
        self
    }

    /// How long what is in flight may go on at a shutdown, and where the run stops itself. Default:
    /// 30 s.
    pub fn grace(mut self, grace: Duration) -> AgentSystemBuilder {
        self.grace = grace;
        self
    }

    /// How long the store may be down before the run stops. Default: 30 s.
    pub fn store_grace(mut self, grace: Duration) -> AgentSystemBuilder {
        self.store_grace = grace;
        self
    }

    /// Replaces what makes the store's file durable.
    #[cfg(test)]
    pub(super) fn sync(mut self, sync: SyncFile) -> AgentSystemBuilder {
        self.sync = sync;
        self
    }

    /// Checks every part, opens the store, and starts the actors, dependencies first.
    ///
    /// Inside an actix system they run on its thread; elsewhere (a plain tokio program, say) on a
    /// thread of their own.
    ///
    /// # Errors
    ///
    /// [`StartError`] names the first part that cannot be used; nothing has been started then.
    pub async fn start(self) -> Result<AgentSystem, StartError> {
        start(self).await
    }
}
