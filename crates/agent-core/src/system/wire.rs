//! Putting a system together: every actor, with what it needs of the others.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext};
use tokio::sync::Semaphore;

use super::builder::{AgentSystemBuilder, Keeping};
use super::durable::source;
use super::handle::{AgentSystem, Life, Resumed};
use super::start::{Thread, Warnings, random};
use crate::agent::AgentSpec;
use crate::budget::Budget;
use crate::clock::Clock;
use crate::coordinator::{
    AgentNames, Coordinator, Inbox, Left, Lifecycle, LifecycleEvent, LifecycleSource, Plan,
    Restore, SharedWatch,
};
use crate::guard;
use crate::ledger::{Ledger, ScopeKind, ScopePattern};
use crate::panics::log;
use crate::prompt::PromptPolicy;
use crate::rate_limiter::RateLimiter;
use crate::store::{CallStats, LeftTask, Store, UnfinishedRun, Watch};
use crate::supervision::Tree;
use crate::task::Outcome;
use crate::watchdog::{Blocked, Watchdog};
use crate::worker::job::Tally;
use crate::worker::services::{Records, Rules, Services};

pub(super) fn wire(
    builder: AgentSystemBuilder,
    tree: Tree,
    store: Store,
    ledger: Ledger,
    run_id: &Arc<str>,
    unfinished: Option<(UnfinishedRun, Warnings)>,
    thread: Option<Arc<Thread>>,
) -> AgentSystem {
    let seed = random(&builder).u64(..);
    let AgentSystemBuilder { client, agents, budgets, limits, guards, clock, .. } = builder;
    let names: AgentNames = agents.iter().map(|agent| agent.name.clone()).zip(0..).collect();
    let names = Arc::new(names);
    let inbox = Arc::new(Inbox::open(builder.max_open_tasks));
    let lifecycle = LifecycleSource::new();
    let agents: Vec<Arc<AgentSpec>> = agents.into_iter().map(Arc::new).collect();
    let watchdog = watchdog(&clock, builder.blocked_after, &agents, &lifecycle);
    let plan = Plan {
        run_id: Arc::clone(run_id),
        tree,
        agents,
        names: Arc::clone(&names),
        supervision: builder.supervision,
        project_required: budgets.iter().any(|it| it.scope.kind() == ScopeKind::Project),
        tasks_have_budgets: budgets
            .iter()
            .any(|budget| budget.scope == ScopePattern::Each(ScopeKind::Task)),
        grace: builder.grace,
        store_grace: builder.store_grace,
        age: builder.age,
        lazy: builder.lazy,
        arbiters: builder.arbiters,
        open: Arc::new(Semaphore::new(0)),
        watchdog,
    };
    let rules = Rules {
        retry: builder.retry,
        timeout: builder.timeouts,
        max_wait: limits.max_wait,
        max_cost_per_task: guards.max_cost_per_task,
        prompt: PromptPolicy {
            max_field_chars: usize::try_from(guards.max_field_chars.get()).unwrap_or(usize::MAX),
            injection: guards.injection,
        },
        children: builder.children,
        supervision: plan.supervision.clone(),
    };
    let (catalogue, now) = (builder.catalogue, clock.clone());
    let budgets = (budgets.into(), Arc::clone(&catalogue));
    let keeps = !matches!(builder.keeping, Keeping::Nothing);
    let mut addresses = None;
    let coordinator = Coordinator::create(|ctx| {
        let open = Arc::clone(&plan.open);
        let watch = |name, policy| {
            let coordinator = ctx.address().recipient();
            SharedWatch::new(name, policy, clock.clone(), Arc::clone(&open), coordinator)
        };
        let desk = store.desk();
        let store = guard::start(store, watch("store", plan.supervision.clone()));
        store.do_send(Watch(ctx.address().recipient()));
        let records = keeps.then(|| Records::new(store.clone(), desk));
        let mut budget = Budget::new(ledger, clock.clone(), ctx.address().recipient());
        if records.is_some() {
            let source = source(store.downgrade(), budgets, clock.clone());
            budget = budget.rebuilt_from(source);
        }
        let desk = budget.desk();
        let budget = (guard::start(budget, watch("budget", plan.supervision.clone())), desk);
        let limiter = RateLimiter::new(limits, clock.clone());
        let watch = watch("rate limiter", plan.supervision.clone());
        let desk = limiter.desk();
        let limiter = (guard::start(limiter, watch), desk);
        addresses = Some((store, budget.0.clone(), limiter.0.clone()));
        let services =
            Services::new(clock, client, catalogue, budget, limiter, records, rules, seed);
        if let Some((_, warnings)) = &unfinished {
            services.restore_warnings(warnings);
        }
        Coordinator::new(
            plan,
            Arc::new(services),
            &ctx.address(),
            lifecycle.clone(),
            Arc::clone(&inbox),
        )
    });
    let (store, budget, limiter) = addresses.expect("the context is built before `create` returns");
    let resumed = resume(unfinished, &coordinator, &inbox);
    AgentSystem {
        run_id: Arc::clone(run_id),
        clock: now,
        grace: builder.grace,
        resumed: Arc::new(resumed),
        agents: names,
        store,
        inbox,
        lifecycle: lifecycle.desk(),
        budget,
        limiter,
        life: Arc::new(Life { coordinator: coordinator.clone(), _thread: thread }),
        coordinator,
    }
}

/// Reports threads that are held up; where it cannot be started, nothing is reported.
fn watchdog(
    clock: &Clock,
    limit: Duration,
    agents: &[Arc<AgentSpec>],
    lifecycle: &LifecycleSource,
) -> Option<Watchdog> {
    if clock.is_virtual() {
        return None;
    }
    let (agents, lifecycle, now) = (agents.to_vec(), lifecycle.clone(), clock.clone());
    let name = move |worker: u32| {
        let mut first = 0;
        let agent = agents.iter().find(|agent| {
            first += agent.count.get();
            worker < first
        })?;
        let number = worker + agent.count.get() - first + 1;
        Some(Arc::from(format!("{}-{number}", agent.name)))
    };
    let report = move |Blocked { worker, tool, since }: Blocked| {
        let worker: Option<Arc<str>> = worker.and_then(&name);
        let (by, with) =
            (worker.as_deref().unwrap_or("unknown"), tool.as_deref().unwrap_or("none"));
        log!(
            error,
            worker = by,
            tool = with,
            ?since,
            "a thread is held up by code that does not yield"
        );
        lifecycle.tell(|| {
            let what = Lifecycle::ThreadBlocked { worker, tool, since };
            LifecycleEvent { at: now.now(), what }
        });
    };
    let started = Watchdog::start(clock.clone(), limit, report);
    started.inspect_err(|error| log!(error, %error, "no watchdog")).ok()
}

/// Hands the coordinator what an earlier part of the run left.
fn resume(
    run: Option<(UnfinishedRun, Warnings)>,
    coordinator: &Addr<Coordinator>,
    inbox: &Inbox,
) -> Resumed {
    let Some((run, warnings)) = run else { return Resumed::default() };
    let open = run.tasks.iter().map(|left| left.task.id.clone()).collect();
    let ended: Vec<Outcome> = run.ended.into_values().map(Arc::unwrap_or_clone).collect();
    let mut of_open = Tally::default();
    for left in &run.tasks {
        of_open.add(&tally(&left.spent, None));
    }
    coordinator.do_send(Restore {
        open: run
            .tasks
            .into_iter()
            .map(|LeftTask { seq, accepted_at, task, spent }| Left {
                number: seq,
                task: Arc::unwrap_or_clone(task),
                tally: tally(&spent, None),
                submitted: accepted_at,
                place: inbox.place_now().ok(),
            })
            .collect(),
        ended: ended.clone(),
        calls: tally(&run.calls, Some(&of_open)),
        restarts: warnings.get("worker_restarted").copied().unwrap_or_default(),
    });
    Resumed { started_at: run.started_at, took: run.took, ended, open }
}

/// What was taken, less what is counted elsewhere.
fn tally(stats: &CallStats, less: Option<&Tally>) -> Tally {
    let none = Tally::default();
    let less = less.unwrap_or(&none);
    let count = |n: u64, less: u32| u32::try_from(n).unwrap_or(u32::MAX).saturating_sub(less);
    let mut usage = stats.usage;
    usage.subtract(&less.usage);
    Tally {
        attempts: count(stats.attempts, less.attempts),
        succeeded: count(stats.succeeded, less.succeeded),
        failed: count(stats.failed, less.failed),
        retried: count(stats.retried, less.retried),
        usage,
        cost: stats.cost.saturating_sub(less.cost),
        presumed: stats.presumed.saturating_sub(less.presumed),
        ..Tally::default()
    }
}
