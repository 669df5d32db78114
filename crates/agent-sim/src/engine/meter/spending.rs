//! What is spent of each budget: in its fullest window, and in all.

use std::collections::BTreeMap;

use agent_core::ledger::{BudgetSpec, Ledger, Scope, ScopeKind, ScopePattern, Window};
use agent_core::money::NanoUsd;
use agent_core::record::UsageRecord;

/// What was spent of one budget of one scope, what is presumed included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// Whose budget.
    pub scope: Scope,
    /// Over what time.
    pub window: Window,
    /// At most so much in each window.
    pub limit: NanoUsd,
    /// The most that one window has spent.
    pub fullest: NanoUsd,
    /// What all windows have spent together.
    pub total: NanoUsd,
}

/// The budgets of a run, booked once more for the report: the run's own forget what has left its
/// window.
#[derive(Debug)]
pub(crate) struct Spending {
    ledger: Ledger,
    spent: BTreeMap<(Scope, Window, NanoUsd), (NanoUsd, NanoUsd)>,
    any: bool,
}

impl Spending {
    /// Those of single tasks are left out: there is no end to them.
    pub(super) fn new(budgets: &[BudgetSpec]) -> Spending {
        let told = |budget: &&BudgetSpec| budget.scope != ScopePattern::Each(ScopeKind::Task);
        let mut budgets: Vec<BudgetSpec> = budgets.iter().filter(told).cloned().collect();
        // What is written twice counts once.
        budgets.dedup_by_key(|it| (it.scope.clone(), it.window, it.limit));
        let named = budgets.iter().filter_map(|budget| match &budget.scope {
            ScopePattern::One(scope) => {
                Some(((scope.clone(), budget.window, budget.limit), Default::default()))
            }
            ScopePattern::Each(_) => None,
        });
        Spending { any: !budgets.is_empty(), spent: named.collect(), ledger: Ledger::new(budgets) }
    }

    pub(super) fn charged(&mut self, record: &UsageRecord) {
        let charged = record.cost.saturating_add(record.presumed);
        if !self.any || charged.is_zero() {
            return;
        }
        let scopes = record.subject.scopes(&record.account);
        self.ledger.restore(record.opened_at, &scopes, record.cost, record.presumed);
        for balance in self.ledger.balances_in(record.opened_at, &scopes) {
            let key = (balance.scope, balance.window, balance.limit);
            let (fullest, total) = self.spent.entry(key).or_default();
            *fullest = (*fullest).max(balance.spent.saturating_add(balance.presumed));
            *total = total.saturating_add(charged);
        }
    }

    /// What was spent of each, by scope.
    pub(crate) fn spent(&self) -> Vec<Spent> {
        let spent = self.spent.iter().map(|((scope, window, limit), (fullest, total))| Spent {
            scope: scope.clone(),
            window: *window,
            limit: *limit,
            fullest: *fullest,
            total: *total,
        });
        spent.collect()
    }
}
