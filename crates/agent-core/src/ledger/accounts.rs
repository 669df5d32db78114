//! The accounts of all budgets, found by scope; those of `x:*` open on first use.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::account::Account;
use super::{BudgetSpec, Scope, ScopeKind, ScopePattern};
use crate::clock::Timestamp;
use crate::lookup::Lookup;

/// Blank accounts looked for at each new one: more than one, so that they cannot pile up.
const SWEPT_PER_NEW: usize = 2;

/// What there is for the scopes of one kind.
#[derive(Debug, Default)]
struct Kind {
    /// The budgets for `kind:*`.
    each: Vec<usize>,
    /// The accounts, by the names of their scopes.
    names: Lookup<Arc<str>, Vec<AccountId>>,
}

/// Names an account as long as a reservation holds it, or a call is being decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AccountId(u32);

#[derive(Debug)]
pub(super) struct Accounts {
    specs: Vec<BudgetSpec>,
    kinds: [Kind; ScopeKind::COUNT],
    slots: Vec<Option<Account>>,
    free: Vec<AccountId>,
    /// Where the search for blank accounts goes on, and how far it may go.
    cursor: usize,
    to_sweep: usize,
}

impl Accounts {
    pub(super) fn new(mut specs: Vec<BudgetSpec>) -> Accounts {
        let mut kinds: [Kind; ScopeKind::COUNT] = Default::default();
        for (place, spec) in specs.iter_mut().enumerate() {
            spec.thresholds.sort_unstable();
            spec.thresholds.dedup();
            if let ScopePattern::Each(kind) = spec.scope {
                kinds[kind as usize].each.push(place);
            }
        }
        let mut accounts =
            Accounts { specs, kinds, slots: Vec::new(), free: Vec::new(), cursor: 0, to_sweep: 0 };
        for place in 0..accounts.specs.len() {
            if let ScopePattern::One(scope) = accounts.specs[place].scope.clone() {
                accounts.open(&scope, place);
            }
        }
        // A scope with a budget of its own is under those for each of its kind, too.
        let mut named: Vec<Scope> = accounts.scopes().map(|(scope, _)| scope).collect();
        named.sort_unstable();
        for scope in named {
            for place in accounts.kinds[scope.kind as usize].each.clone() {
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
        let names = &mut self.kinds[scope.kind as usize].names;
        match names.get_mut(&scope.name) {
            Some(ids) => ids.push(id),
            None => drop(names.insert(Arc::clone(&scope.name), vec![id])),
        }
    }

    /// The accounts of a scope, as far as they are open.
    fn get(&self, scope: &Scope) -> &[AccountId] {
        self.kinds[scope.kind as usize].names.get(&scope.name).map_or(&[], Vec::as_slice)
    }

    /// All scopes that have accounts, in no particular order.
    fn scopes(&self) -> impl Iterator<Item = (Scope, &[AccountId])> {
        ScopeKind::ALL.into_iter().zip(&self.kinds).flat_map(|(kind, Kind { names, .. })| {
            let scope = move |name: &Arc<str>| Scope { kind, name: Arc::clone(name) };
            names.iter().map(move |(name, ids)| (scope(name), ids.as_slice()))
        })
    }

    /// Calls `found` with every account of a scope; opens those that it has by its kind.
    pub(super) fn find(
        &mut self,
        kind: ScopeKind,
        name: &Arc<str>,
        mut found: impl FnMut(AccountId),
    ) {
        let Kind { each, names } = &self.kinds[kind as usize];
        if let Some(ids) = names.get(name) {
            return ids.iter().copied().for_each(found);
        }
        if each.is_empty() {
            return;
        }
        let scope = Scope::new(kind, Arc::clone(name));
        for spec in each.clone() {
            self.open(&scope, spec);
            self.to_sweep += SWEPT_PER_NEW;
        }
        self.get(&scope).iter().copied().for_each(&mut found);
    }

    /// The account and its budget; `None` for one that was dropped.
    pub(super) fn get_mut(&mut self, id: AccountId) -> Option<(&mut Account, &BudgetSpec)> {
        let account = self.slots.get_mut(id.0 as usize)?.as_mut()?;
        let spec = self.specs.get(account.spec)?;
        Some((account, spec))
    }

    /// All accounts in the order of their scopes.
    pub(super) fn ids(&self) -> Vec<AccountId> {
        let mut accounts: Vec<_> = self.scopes().collect();
        accounts.sort_unstable();
        accounts.into_iter().flat_map(|(_, ids)| ids).copied().collect()
    }

    /// The accounts of the scopes that the fleet names.
    pub(super) fn named(&self) -> Vec<AccountId> {
        let scopes = self.specs.iter().filter_map(|spec| match &spec.scope {
            ScopePattern::One(scope) => Some(scope),
            ScopePattern::Each(_) => None,
        });
        let ids: BTreeSet<_> = scopes.flat_map(|scope| self.get(scope)).copied().collect();
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
        let Accounts { kinds, slots, .. } = self;
        let Some(ids) = kinds[scope.kind as usize].names.get(&scope.name) else { return };
        let mut held = false;
        for id in ids {
            if let Some(account) = &mut slots[id.0 as usize] {
                account.forgotten = true;
                held |= account.is_held();
            }
        }
        if !held {
            self.remove(scope);
        }
    }

    fn remove(&mut self, scope: &Scope) {
        let names = &mut self.kinds[scope.kind as usize].names;
        for id in names.remove(&scope.name).into_iter().flatten() {
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
        let Accounts { kinds, slots, specs, .. } = self;
        let ids = kinds[scope.kind as usize].names.get(&scope.name);
        ids.into_iter().flatten().all(|id| {
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
