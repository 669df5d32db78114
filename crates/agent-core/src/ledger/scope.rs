//! What a budget is for: scopes, patterns of scopes, and the budgets of a fleet file.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::Window;
use crate::money::NanoUsd;

/// What kind of thing can have a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScopeKind {
    /// Everything; it has no name.
    Global,
    /// `project:web`.
    Project,
    /// `agent:backend`.
    Agent,
    /// `user:ann`.
    User,
    /// `task:42`. What a task has spent counts in its own run: the next run begins anew.
    Task,
    /// `model:claude-sonnet-4-5`.
    Model,
    /// `key:sk-ant-***abcd`; a fleet file may write `key:abcd`.
    Key,
}

impl ScopeKind {
    pub(super) const ALL: [ScopeKind; ScopeKind::COUNT] = [
        ScopeKind::Global,
        ScopeKind::Project,
        ScopeKind::Agent,
        ScopeKind::User,
        ScopeKind::Task,
        ScopeKind::Model,
        ScopeKind::Key,
    ];
    pub(super) const COUNT: usize = 7;

    const NAMED: [(&'static str, ScopeKind); 6] = [
        ("project", ScopeKind::Project),
        ("agent", ScopeKind::Agent),
        ("user", ScopeKind::User),
        ("task", ScopeKind::Task),
        ("model", ScopeKind::Model),
        ("key", ScopeKind::Key),
    ];

    /// The word before the colon: `project`.
    pub fn as_str(self) -> &'static str {
        Self::NAMED.iter().find(|(_, kind)| *kind == self).map_or("global", |(word, _)| word)
    }
}

/// A thing that can have a budget: `global`, `project:web`, `task:42`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// What kind of thing.
    pub kind: ScopeKind,
    /// Its name; empty for `global`.
    pub name: Arc<str>,
}

impl Scope {
    /// Everything.
    pub fn global() -> Scope {
        Scope { kind: ScopeKind::Global, name: Arc::clone(&NAMELESS) }
    }

    /// The thing of this kind and name.
    pub fn new(kind: ScopeKind, name: impl Into<Arc<str>>) -> Scope {
        Scope { kind, name: name.into() }
    }
}

/// What an amount is booked in: scopes as they are, or such as follow from what is at hand, which
/// need not be made for it.
pub(crate) trait Scopes {
    /// Calls `each` with the kind and the name of every scope.
    fn each(&self, each: impl FnMut(ScopeKind, &Arc<str>));
}

impl Scopes for [Scope] {
    fn each(&self, mut each: impl FnMut(ScopeKind, &Arc<str>)) {
        for Scope { kind, name } in self {
            each(*kind, name);
        }
    }
}

/// The name of `global`.
pub(crate) static NAMELESS: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(""));

/// Calls `each` with the agents of an agent as records name it: those that it is under, and itself.
pub(crate) fn agents_of(path: &Arc<str>, mut each: impl FnMut(&Arc<str>)) {
    if !path.contains(AGENT_SEPARATOR) {
        return each(path);
    }
    let mut seen = BTreeSet::new();
    for name in path.split(AGENT_SEPARATOR) {
        // An agent under one of its own name is charged once.
        if seen.insert(name) {
            each(&name.into());
        }
    }
}

/// Stands between an agent and its sub-agent in records: `lead>researcher`.
pub(crate) const AGENT_SEPARATOR: char = '>';

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ScopeKind::Global => f.write_str("global"),
            kind => write!(f, "{}:{}", kind.as_str(), self.name),
        }
    }
}

/// The scopes that a budget is for: one, or with `x:*` each thing of a kind by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScopePattern {
    /// `project:web`.
    One(Scope),
    /// `task:*`: each has its own balance.
    Each(ScopeKind),
}

/// A text that names no scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "not a scope; write \"global\", or project, agent, user, task, model or key with a name: \
     \"project:web\", or \"project:*\" for each by itself"
)]
pub struct ScopeError;

impl FromStr for ScopePattern {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<ScopePattern, ScopeError> {
        if text == "global" {
            return Ok(ScopePattern::One(Scope::global()));
        }
        let (word, name) = text.split_once(':').ok_or(ScopeError)?;
        let &(_, kind) =
            ScopeKind::NAMED.iter().find(|(named, _)| *named == word).ok_or(ScopeError)?;
        match name {
            "" => Err(ScopeError),
            "*" => Ok(ScopePattern::Each(kind)),
            name => Ok(ScopePattern::One(Scope::new(kind, name))),
        }
    }
}

impl fmt::Display for ScopePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScopePattern::One(scope) => scope.fmt(f),
            ScopePattern::Each(kind) => write!(f, "{}:*", kind.as_str()),
        }
    }
}

impl Serialize for ScopePattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ScopePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ScopePattern, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// What happens to a call for which a budget has no room, all money in flight counted as back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExhausted {
    /// It is refused.
    #[default]
    Reject,
    /// It waits until the window turns, within its deadline.
    Wait,
    /// It is refused, and the run stops: what was accepted is kept for `--resume`.
    StopRun,
}

/// One limit on spending; a `[[budget]]` of the fleet file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetSpec {
    /// Whose spending.
    pub scope: ScopePattern,
    /// At most so much in each window.
    pub limit: NanoUsd,
    /// Over what time. Default: without end.
    #[serde(default)]
    pub window: Window,
    /// What happens to a call that does not fit. Default: it is refused.
    #[serde(default)]
    pub on_exhausted: OnExhausted,
    /// Percentages of the limit that raise `budget_threshold`, once each in a window.
    #[serde(default = "default_thresholds")]
    pub thresholds: Vec<u8>,
}

fn default_thresholds() -> Vec<u8> {
    vec![50, 80, 100]
}

impl ScopePattern {
    /// What kind of thing it is for.
    pub fn kind(&self) -> ScopeKind {
        match self {
            ScopePattern::One(scope) => scope.kind,
            ScopePattern::Each(kind) => *kind,
        }
    }

    /// Everything.
    pub fn global() -> ScopePattern {
        ScopePattern::One(Scope::global())
    }
}

impl BudgetSpec {
    /// A limit without end that refuses what does not fit.
    pub fn new(scope: ScopePattern, limit: NanoUsd) -> BudgetSpec {
        let thresholds = default_thresholds();
        let (window, on_exhausted) = (Window::default(), OnExhausted::default());
        BudgetSpec { scope, limit, window, on_exhausted, thresholds }
    }
}
