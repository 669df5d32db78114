//! What is spent of each budget: in its fullest window, and in all.

use std::collections::BTreeMap;

use agent_core::ledger::{BudgetSpec, Ledger, Scope, ScopeKind, ScopePattern, Window};
use agent_core::lookup::Lookup;
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
    budgets: Vec<BudgetSpec>,
    /// The kinds of things that have budgets, and whether each of the kind has.
    kinds: BTreeMap<ScopeKind, bool>,
    lines: Lookup<Scope, Vec<Line>>,
}

/// One budget of one scope.
#[derive(Debug)]
struct Line {
    /// Told even where nothing was spent: the fleet names its scope.
    named: bool,
    spent: Spent,
    /// What the present window has, where there is more than one.
    present: Option<Ledger>,
}

impl Line {
    fn new(budget: &BudgetSpec, scope: &Scope) -> Line {
        let (window, limit) = (budget.window, budget.limit);
        let (fullest, total) = Default::default();
        let of_scope = || BudgetSpec {
            scope: ScopePattern::One(scope.clone()),
            thresholds: Vec::new(),
            ..budget.clone()
        };
        Line {
            named: matches!(budget.scope, ScopePattern::One(_)),
            spent: Spent { scope: scope.clone(), window, limit, fullest, total },
            present: (window != Window::Total).then(|| Ledger::new(vec![of_scope()])),
        }
    }

    fn charged(&mut self, scope: &Scope, record: &UsageRecord, charged: NanoUsd) {
        let Line { spent: Spent { fullest, total, .. }, present, .. } = self;
        *total = total.saturating_add(charged);
        let now = match present {
            None => *total,
            Some(ledger) => {
                let (at, scopes) = (record.opened_at, std::slice::from_ref(scope));
                ledger.restore(at, scopes, record.cost, record.presumed);
                let balances = ledger.balances_in(at, scopes).into_iter();
                balances.map(|it| it.spent.saturating_add(it.presumed)).max().unwrap_or_default()
            }
        };
        *fullest = now.max(*fullest);
    }
}

impl Spending {
    /// Those of single tasks are left out: there is no end to them.
    pub(super) fn new(budgets: &[BudgetSpec]) -> Spending {
        let told = |budget: &&BudgetSpec| budget.scope != ScopePattern::Each(ScopeKind::Task);
        let mut budgets: Vec<BudgetSpec> = budgets.iter().filter(told).cloned().collect();
        // Two budgets of the same scope, window and limit are told as one.
        budgets.sort_by(|one, other| key(one).cmp(&key(other)));
        budgets.dedup_by(|one, other| key(one) == key(other));
        let mut kinds = BTreeMap::new();
        for budget in &budgets {
            match &budget.scope {
                ScopePattern::One(scope) => _ = kinds.entry(scope.kind).or_insert(false),
                ScopePattern::Each(kind) => _ = kinds.insert(*kind, true),
            }
        }
        let mut spending = Spending { budgets, kinds, lines: Lookup::default() };
        let named: Vec<Scope> = spending.budgets.iter().filter_map(named).cloned().collect();
        for scope in named {
            spending.open(&scope);
        }
        spending
    }

    pub(super) fn charged(&mut self, record: &UsageRecord) {
        let charged = record.cost.saturating_add(record.presumed);
        if self.budgets.is_empty() || charged.is_zero() {
            return;
        }
        for scope in record.subject.scopes(&record.account) {
            let Some(&each_has) = self.kinds.get(&scope.kind) else { continue };
            if each_has && !self.lines.contains_key(&scope) {
                self.open(&scope);
            }
            for line in self.lines.get_mut(&scope).into_iter().flatten() {
                line.charged(&scope, record, charged);
            }
        }
    }

    /// The lines of a scope of which nothing was spent before: its own budgets, and those for each
    /// of its kind that are not the same again.
    fn open(&mut self, scope: &Scope) {
        let Spending { budgets, lines, .. } = self;
        let own = budgets.iter().filter(|budget| named(budget) == Some(scope));
        let of_kind = ScopePattern::Each(scope.kind);
        let each = budgets.iter().filter(|budget| budget.scope == of_kind);
        let lines = lines.entry(scope.clone()).or_default();
        lines.clear();
        for budget in own.chain(each) {
            let line = Line::new(budget, scope);
            let is_there = |it: &Line| {
                (it.spent.window, it.spent.limit) == (line.spent.window, line.spent.limit)
            };
            if !lines.iter().any(is_there) {
                lines.push(line);
            }
        }
    }

    /// What was spent of each, by scope.
    pub(crate) fn spent(&self) -> Vec<Spent> {
        let told = |line: &&Line| line.named || !line.spent.total.is_zero();
        let lines = self.lines.values().flatten().filter(told);
        let mut spent: Vec<Spent> = lines.map(|line| line.spent.clone()).collect();
        let key = |it: &Spent| (it.scope.clone(), it.window, it.limit);
        spent.sort_by_key(key);
        spent
    }
}

fn key(budget: &BudgetSpec) -> (&ScopePattern, Window, NanoUsd) {
    (&budget.scope, budget.window, budget.limit)
}

/// The scope that a budget names, if it names one.
fn named(budget: &BudgetSpec) -> Option<&Scope> {
    match &budget.scope {
        ScopePattern::One(scope) => Some(scope),
        ScopePattern::Each(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use agent_core::clock::Timestamp;
    use agent_core::record::{CallId, OpenAttempt, Subject};

    use super::*;

    #[test]
    fn each_budget_of_the_fleet_is_told_once_though_it_is_there_twice_or_nothing_was_spent() {
        let dollars = |dollars: u64| NanoUsd::from_nanos(dollars * 1_000_000_000);
        let budgets = [
            ("global", 10),
            ("project:*", 5),
            ("project:web", 5),
            ("global", 10),
            ("user:ann", 1),
            ("user:*", 2),
        ]
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
        // A budget that the fleet names is told, whether or not anything was spent of it.
        let none = ("user:ann".to_owned(), NanoUsd::ZERO, NanoUsd::ZERO);
        assert_eq!(told.collect::<Vec<_>>(), [two("global"), two("project:web"), none]);
    }
}
