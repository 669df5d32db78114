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
        let budgets: Vec<BudgetSpec> = budgets.iter().filter(told).cloned().collect();
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
        let balances = self.ledger.balances_in(record.opened_at, &scopes).into_iter();
        // Two budgets of the same scope, window and limit are told as one.
        let balances: BTreeMap<_, _> = balances
            .map(|it| ((it.scope, it.window, it.limit), it.spent.saturating_add(it.presumed)))
            .collect();
        for (key, now) in balances {
            let (fullest, total) = self.spent.entry(key).or_default();
            *fullest = (*fullest).max(now);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use agent_core::clock::Timestamp;
    use agent_core::record::{CallId, OpenAttempt, Subject};

    use super::*;

    #[test]
    fn what_is_spent_of_a_budget_that_is_there_twice_is_told_once() {
        let dollars = |dollars: u64| NanoUsd::from_nanos(dollars * 1_000_000_000);
        let budgets = [("global", 10), ("project:*", 5), ("project:web", 5), ("global", 10)]
            .map(|(scope, limit)| BudgetSpec::new(scope.parse().unwrap(), dollars(limit)));
        let mut spending = Spending::new(&budgets);
        let open = OpenAttempt {
            call_id: CallId::new(Timestamp::EPOCH, 1),
            attempt: 1,
            at: Timestamp::EPOCH,
            bound: dollars(1),
            account: "key".into(),
            provider: "simulated".into(),
            subject: Arc::new(Subject { project_id: Some("web".into()), ..Subject::default() }),
        };
        for _ in 0..2 {
            let record = open.ended(Timestamp::EPOCH);
            spending.charged(&UsageRecord { cost: dollars(1), ..record });
        }
        let spent = spending.spent();
        let told = spent.iter().map(|it| (it.scope.to_string(), it.fullest, it.total));
        let two = |scope: &str| (scope.to_owned(), dollars(2), dollars(2));
        assert_eq!(told.collect::<Vec<_>>(), [two("global"), two("project:web")]);
    }
}
