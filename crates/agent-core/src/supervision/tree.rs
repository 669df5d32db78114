//! Groups of workers that are restarted together, and what happens where that does not help.
//!
//! ```text
//! a worker dies ─► its group restarts whom its strategy says, after a pause
//!                  too often ─► the group has failed ─► its parent treats it as a child that died
//!                                                       no parent ─► the run ends in order
//! ```

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{RestartHistory, Supervision};
use crate::clock::Timestamp;

/// Whom a group restarts when one of its children dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The child alone.
    #[default]
    OneForOne,
    /// All children.
    OneForAll,
    /// The child and those that were started after it.
    RestForOne,
}

/// A group of agents; a `[[group]]` of the fleet file.
///
/// Its children are the workers of its agents, in the order of the agents, and after them the groups
/// that name it as their parent, in their order. They are stopped from the last to the first, and
/// started from the first to the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSpec {
    /// Its name, unique among groups.
    pub name: String,
    /// Whom it restarts.
    pub strategy: Strategy,
    /// The group that it belongs to; `None`: it stands at the top.
    pub parent: Option<String>,
    /// How often it may restart its children, and how fast. `None`: as the system's workers.
    pub policy: Option<Supervision>,
}

impl GroupSpec {
    /// A group at the top.
    pub fn new(name: impl Into<String>, strategy: Strategy) -> GroupSpec {
        GroupSpec { name: name.into(), strategy, parent: None, policy: None }
    }

    /// Puts it under another group.
    pub fn parent(mut self, parent: impl Into<String>) -> GroupSpec {
        self.parent = Some(parent.into());
        self
    }

    /// Replaces how often it may restart its children, and how fast.
    pub fn policy(mut self, policy: Supervision) -> GroupSpec {
        self.policy = Some(policy);
        self
    }
}

/// Why groups make no tree.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TreeError {
    /// Two groups have one name.
    #[error("two groups are named {0:?}; give each a name of its own")]
    SameName(String),
    /// A group or an agent names a group that there is not.
    #[error("{who} names the group {group:?}, and there is none of that name")]
    Unknown {
        /// Who names it.
        who: String,
        /// The name.
        group: String,
    },
    /// A group is above itself.
    #[error(
        "group {0:?} is its own parent, directly or through others; put one of them at the top"
    )]
    Cycle(String),
    /// Nobody belongs to a group.
    #[error("group {0:?} has no agent and no group in it; name it in one, or leave it out")]
    Empty(String),
}

/// What is done about a child that died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// These workers are stopped, from the last to the first, and after the pause started from the
    /// first to the last. Those of them that begin `anew` are under a group that is itself
    /// restarted: as for any that is started, nothing that happened before counts.
    Restart { group: String, workers: Vec<u32>, anew: Vec<u32>, pause: Duration },
    /// The group at the top has failed.
    End { group: String },
}

#[derive(Debug)]
struct Group {
    name: String,
    strategy: Strategy,
    policy: Supervision,
    parent: Option<usize>,
    /// In the order in which they are started.
    children: Vec<Child>,
    history: RestartHistory,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Child {
    Worker(u32),
    Group(usize),
}

/// The groups of a system.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    groups: Vec<Group>,
    /// The group of each worker that has one.
    of_worker: BTreeMap<u32, usize>,
}

impl Tree {
    /// The groups and their workers: for each agent its name, its group, and its workers.
    pub(crate) fn new(
        specs: &[GroupSpec],
        agents: &[(&str, Option<&str>, std::ops::Range<u32>)],
        default: &Supervision,
    ) -> Result<Tree, TreeError> {
        let index = |who: &str, group: &str| {
            let unknown = || TreeError::Unknown { who: who.to_owned(), group: group.to_owned() };
            specs.iter().position(|spec| spec.name == group).ok_or_else(unknown)
        };
        let mut tree = Tree::default();
        for (at, spec) in specs.iter().enumerate() {
            if specs[..at].iter().any(|other| other.name == spec.name) {
                return Err(TreeError::SameName(spec.name.clone()));
            }
            let who = format!("group {:?}", spec.name);
            let parent = spec.parent.as_deref().map(|parent| index(&who, parent)).transpose()?;
            tree.groups.push(Group {
                name: spec.name.clone(),
                strategy: spec.strategy,
                policy: spec.policy.clone().unwrap_or_else(|| default.clone()),
                parent,
                children: Vec::new(),
                history: RestartHistory::default(),
            });
        }
        for (name, group, workers) in agents {
            let Some(group) = group else { continue };
            let group = index(&format!("agent {name:?}"), group)?;
            tree.groups[group].children.extend(workers.clone().map(Child::Worker));
            tree.of_worker.extend(workers.clone().map(|worker| (worker, group)));
        }
        for group in 0..tree.groups.len() {
            if let Some(parent) = tree.groups[group].parent {
                tree.groups[parent].children.push(Child::Group(group));
            }
            let above =
                std::iter::successors(tree.groups[group].parent, |&at| tree.groups[at].parent);
            if above.take(tree.groups.len()).any(|at| at == group) {
                return Err(TreeError::Cycle(tree.groups[group].name.clone()));
            }
        }
        match tree.groups.iter().find(|group| group.children.is_empty()) {
            Some(empty) => Err(TreeError::Empty(empty.name.clone())),
            None => Ok(tree),
        }
    }

    /// The place of the topmost group of a worker: whoever shares it belongs on one thread.
    pub(crate) fn root(&self, worker: u32) -> Option<usize> {
        let group = *self.of_worker.get(&worker)?;
        std::iter::successors(Some(group), |&at| self.groups[at].parent).last()
    }

    /// Whether a worker is in a group.
    pub(crate) fn has(&self, worker: u32) -> bool {
        self.of_worker.contains_key(&worker)
    }

    /// What is done about a worker of a group that died; `None` where it is in no group.
    ///
    /// `too_often`: it has died more often than it may by itself, so its group has failed.
    pub(crate) fn died(
        &mut self,
        worker: u32,
        too_often: bool,
        now: Timestamp,
        jitter: f64,
    ) -> Option<Verdict> {
        let mut at = *self.of_worker.get(&worker)?;
        let mut child = Child::Worker(worker);
        let mut failed = too_often;
        loop {
            let group = &mut self.groups[at];
            let pause =
                if failed { None } else { group.history.restart(now, &group.policy, jitter) };
            if let Some(pause) = pause {
                let group = group.name.clone();
                let (workers, anew) = self.restart(at, child);
                return Some(Verdict::Restart { group, workers, anew, pause });
            }
            let Some(parent) = group.parent else {
                return Some(Verdict::End { group: group.name.clone() });
            };
            (child, at, failed) = (Child::Group(at), parent, false);
        }
    }

    /// The workers that a group restarts for the sake of `child`, in the order of their start; and
    /// those of them whose own group is restarted with them, and has counted nothing yet.
    fn restart(&mut self, group: usize, child: Child) -> (Vec<u32>, Vec<u32>) {
        let children = self.affected(group, child);
        let (mut workers, mut anew) = (Vec::new(), Vec::new());
        for child in children {
            if let Child::Group(group) = child {
                self.begin_anew(group);
                self.workers(child, &mut anew);
            }
            self.workers(child, &mut workers);
        }
        (workers, anew)
    }

    fn begin_anew(&mut self, group: usize) {
        self.groups[group].history = RestartHistory::default();
        for child in self.groups[group].children.clone() {
            if let Child::Group(below) = child {
                self.begin_anew(below);
            }
        }
    }

    /// The children that a group restarts for the sake of one of them.
    fn affected(&self, group: usize, child: Child) -> Vec<Child> {
        let Group { strategy, children, .. } = &self.groups[group];
        let from = children.iter().position(|other| *other == child).unwrap_or(0);
        let children = match strategy {
            Strategy::OneForOne => &children[from..=from],
            Strategy::OneForAll => &children[..],
            Strategy::RestForOne => &children[from..],
        };
        children.to_vec()
    }

    fn workers(&self, child: Child, workers: &mut Vec<u32>) {
        match child {
            Child::Worker(worker) => workers.push(worker),
            Child::Group(group) => {
                self.groups[group].children.iter().for_each(|child| self.workers(*child, workers));
            }
        }
    }
}
