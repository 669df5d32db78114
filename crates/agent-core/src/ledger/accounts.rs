//! The accounts of all budgets, found by scope; those of `x:*` open on first use.

use std::collections::{BTreeMap, BTreeSet};

use super::account::Account;
use super::{BudgetSpec, Scope, ScopeKind, ScopePattern};
use crate::clock::Timestamp;
use crate::lookup::Lookup;

/// Blank accounts looked for at each new one: more than one, so that they cannot pile up.
const SWEPT_PER_NEW: usize = 2;

/// Names an account as long as a reservation holds it, or a call is being decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AccountId(u32);

#[derive(Debug)]
pub(super) struct Accounts {
    specs: Vec<BudgetSpec>,
    /// For each kind, the budgets for `kind:*`.
    each: BTreeMap<ScopeKind, Vec<usize>>,
    index: Lookup<Scope, Vec<AccountId>>,
    slots: Vec<Option<Account>>,
    free: Vec<AccountId>,
    /// Where the search for blank accounts goes on, and how far it may go.
    cursor: usize,
    to_sweep: usize,
}

impl Accounts {
    pub(super) fn new(mut specs: Vec<BudgetSpec>) -> Accounts {
        let mut each: BTreeMap<ScopeKind, Vec<usize>> = BTreeMap::new();
        for (place, spec) in specs.iter_mut().enumerate() {
            spec.thresholds.sort_unstable();
            spec.thresholds.dedup();
            if let ScopePattern::Each(kind) = spec.scope {
                each.entry(kind).or_default().push(place);
            }
        }
        let mut accounts = Accounts {
            specs,
            each,
            index: Lookup::default(),
            slots: Vec::new(),
            free: Vec::new(),
            cursor: 0,
            to_sweep: 0,
        };
        for place in 0..accounts.specs.len() {
            if let ScopePattern::One(scope) = accounts.specs[place].scope.clone() {
                accounts.open(&scope, place);
            }
        }
        // A scope with a budget of its own is under those for each of its kind, too.
        let mut named: Vec<Scope> = accounts.index.keys().cloned().collect();
        named.sort_unstable();
        for scope in named {
            for place in accounts.each.get(&scope.kind).cloned().unwrap_or_default() {
                accounts.open(&scope, place);
            }
        }
        accounts
    }

    fn open(&mut self, scope: &Scope, spec: usize) {
        let account = Some(Account::new(spec, scope.clone()));
        let id = match self.free.pop() {
            Some(id) => {
                self.slots[id.0 as usize] = account;
                id
            }
            None => {
                self.slots.push(account);
                AccountId(u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX))
            }
        };
        match self.index.get_mut(scope) {
            Some(ids) => ids.push(id),
            None => drop(self.index.insert(scope.clone(), vec![id])),
        }
    }

    /// Calls `found` with every account of `scope`; opens those that it has by its kind.
    pub(super) fn find(&mut self, scope: &Scope, mut found: impl FnMut(AccountId)) {
        if let Some(ids) = self.index.get(scope) {
            return ids.iter().copied().for_each(found);
        }
        let Some(specs) = self.each.get(&scope.kind).cloned() else { return };
        for spec in specs {
            self.open(scope, spec);
            self.to_sweep += SWEPT_PER_NEW;
        }
        self.index.get(scope).into_iter().flatten().copied().for_each(&mut found);
    }

    /// The account and its budget; `None` for one that was dropped.
    pub(super) fn get_mut(&mut self, id: AccountId) -> Option<(&mut Account, &BudgetSpec)> {
        let account = self.slots.get_mut(id.0 as usize)?.as_mut()?;
        let spec = self.specs.get(account.spec)?;
        Some((account, spec))
    }

    /// All accounts in the order of their scopes.
    pub(super) fn ids(&self) -> Vec<AccountId> {
        let mut accounts: Vec<_> = self.index.iter().collect();
        accounts.sort_unstable_by_key(|(scope, _)| *scope);
        accounts.into_iter().flat_map(|(_, ids)| ids).copied().collect()
    }

    /// The accounts of the scopes that the fleet names.
    pub(super) fn named(&self) -> Vec<AccountId> {
        let scopes = self.specs.iter().filter_map(|spec| match &spec.scope {
            ScopePattern::One(scope) => Some(scope),
            ScopePattern::Each(_) => None,
        });
        let ids: BTreeSet<_> =
            scopes.filter_map(|scope| self.index.get(scope)).flatten().copied().collect();
        ids.into_iter().collect()
    }

    /// Whether the fleet names the scope, so that its account is always there.
    pub(super) fn is_named(&self, scope: &Scope) -> bool {
        self.specs.iter().any(|spec| matches!(&spec.scope, ScopePattern::One(one) if one == scope))
    }

    /// Drops the accounts of `scope`, or marks them to be dropped when nothing holds them.
    pub(super) fn forget(&mut self, scope: &Scope) {
        if self.is_named(scope) {
            return;
        }
        let Some(ids) = self.index.get(scope) else { return };
        let mut held = false;
        for id in ids {
            if let Some(account) = &mut self.slots[id.0 as usize] {
                account.forgotten = true;
                held |= account.is_held();
            }
        }
        if !held {
            self.remove(scope);
        }
    }

    fn remove(&mut self, scope: &Scope) {
        for id in self.index.remove(scope).into_iter().flatten() {
            self.slots[id.0 as usize] = None;
            self.free.push(id);
        }
    }

    /// Looks at a few accounts and drops those that know nothing; bounded by the new ones since.
    pub(super) fn sweep(&mut self, now: Timestamp) {
        for _ in 0..std::mem::take(&mut self.to_sweep) {
            self.cursor = (self.cursor + 1) % self.slots.len().max(1);
            let Some(Some(account)) = self.slots.get(self.cursor) else { continue };
            let scope = account.scope.clone();
            if !self.is_named(&scope) && self.is_blank(&scope, now) {
                self.remove(&scope);
            }
        }
    }

    fn is_blank(&mut self, scope: &Scope, now: Timestamp) -> bool {
        let Accounts { index, slots, specs, .. } = self;
        index.get(scope).into_iter().flatten().all(|id| {
            let Some(account) = &mut slots[id.0 as usize] else { return true };
            account.turn(&specs[account.spec], now);
            account.is_blank()
        })
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}
