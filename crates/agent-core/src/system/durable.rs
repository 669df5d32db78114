//! The budgets as what is durable tells them: at the start, and after a panic of their actor.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::WeakAddr;
use tokio::sync::oneshot;

use crate::budget::{Durable, Source};
use crate::clock::{Clock, Timestamp};
use crate::ledger::{BudgetSpec, Ledger, Scope, ScopeKind, Window};
use crate::panics::log;
use crate::pricing::Catalogue;
use crate::store::{Charges, OpenTask, ReadCharges, Store, StoreError};

/// The budgets, and what knows the models by name.
pub(super) type Budgets = (Arc<[BudgetSpec]>, Arc<Catalogue>);

/// Between two questions to a store that is down.
const PAUSE: Duration = Duration::from_millis(100);

/// The budgets, with what was spent before, by `tasks` too. Models go by the name that the
/// catalogue has for them: records of earlier versions may have any.
pub(super) fn ledger(
    (budgets, catalogue): (&[BudgetSpec], &Catalogue),
    charges: &Charges<'_>,
    tasks: impl IntoIterator<Item = OpenTask>,
    now: Timestamp,
) -> Result<Ledger, StoreError> {
    let mut ledger = Ledger::new(budgets.to_vec());
    let fine = budgets.iter().filter_map(|budget| match budget.window {
        Window::Hour => Some(Duration::from_secs(3_600)),
        Window::Rolling(length) => Some(length),
        Window::Total | Window::Day | Window::Month => None,
    });
    let since = now.saturating_sub(fine.max().unwrap_or_default());
    charges.spending(since, &mut |mut was| {
        for scope in was.scopes.iter_mut().filter(|scope| scope.kind == ScopeKind::Model) {
            if let Some(model) = catalogue.resolve(&scope.name)
                && model.name() != &*scope.name
            {
                scope.name = model.name().into();
            }
        }
        ledger.restore(was.at, &was.scopes, was.spent, was.presumed);
    })?;
    restore_tasks(&mut ledger, budgets, charges, tasks)?;
    Ok(ledger)
}

/// Books what the tasks of the run that goes on have spent: totals are not kept for each task.
///
/// Each call at its own moment where that matters; what no record tells of (it may have been
/// dropped since) at the acceptance of its task.
fn restore_tasks(
    ledger: &mut Ledger,
    budgets: &[BudgetSpec],
    charges: &Charges<'_>,
    tasks: impl IntoIterator<Item = OpenTask>,
) -> Result<(), StoreError> {
    let of = |task: &OpenTask| Scope::new(ScopeKind::Task, task.id.as_str());
    // What no record has told of yet.
    let mut rest: BTreeMap<Arc<str>, OpenTask> =
        tasks.into_iter().map(|task| (task.id.shared(), task)).collect();
    let has_turns = |budget: &BudgetSpec| {
        budget.window != Window::Total && budget.scope.kind() == ScopeKind::Task
    };
    let first = rest.values().map(|task| task.accepted_at).min();
    if let Some(first) = first.filter(|_| budgets.iter().any(has_turns)) {
        charges.records(first, &mut |record| {
            let task = record.subject.task_id.as_deref().and_then(|id| rest.get_mut(id));
            // An earlier run may have had a task of the same name.
            let Some(task) = task.filter(|task| task.accepted_at <= record.opened_at) else {
                return;
            };
            ledger.restore(record.opened_at, &[of(task)], record.cost, record.presumed);
            task.cost = task.cost.saturating_sub(record.cost);
            task.presumed = task.presumed.saturating_sub(record.presumed);
        })?;
    }
    for task in rest.into_values() {
        ledger.restore(task.accepted_at, &[of(&task)], task.cost, task.presumed);
    }
    Ok(())
}

/// Rebuilds the budgets from the store, for which it waits while that is down.
pub(super) fn source(store: WeakAddr<Store>, budgets: Budgets, clock: Clock) -> Source {
    Box::new(move || {
        let (store, budgets, clock) = (store.clone(), budgets.clone(), clock.clone());
        Box::pin(async move {
            loop {
                match ask(&store, &budgets, clock.now()).await? {
                    Ok(durable) => return Some(durable),
                    Err(error @ StoreError::Down { .. }) => {
                        log!(warn, %error, "the budget waits for the store");
                    }
                    Err(error) => {
                        log!(error, %error, "the budget cannot be rebuilt");
                        return None;
                    }
                }
                clock.sleep(PAUSE).await;
            }
        })
    })
}

/// `None` where the store has ended.
async fn ask(
    store: &WeakAddr<Store>,
    budgets: &Budgets,
    now: Timestamp,
) -> Option<Result<Durable, StoreError>> {
    let (reply, answer) = oneshot::channel();
    let budgets = budgets.clone();
    store.upgrade()?.do_send(ReadCharges::new(move |charges| {
        // Where nobody listens any more, the system ends.
        _ = reply.send(charges.and_then(|charges| durable(&budgets, &charges, now)));
    }));
    answer.await.ok()
}

fn durable(
    (budgets, catalogue): &Budgets,
    charges: &Charges<'_>,
    now: Timestamp,
) -> Result<Durable, StoreError> {
    let tasks = charges.open_tasks().cloned();
    let ledger = ledger((budgets, catalogue), charges, tasks, now)?;
    Ok(Durable { ledger, open: charges.open_attempts() })
}
