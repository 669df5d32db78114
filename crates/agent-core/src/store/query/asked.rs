//! What a query asks for: an agent or a worker, a model under any of its names.

use super::{Dimension, UsageQuery};
use crate::pricing::Catalogue;
use crate::record::UsageRecord;
use crate::store::backend::Backend;
use crate::store::error::StoreError;
use crate::store::rollup::{self, ALL_DAYS, Names};

/// A query, with what the names in it turned out to name.
pub(super) struct Asked<'q> {
    pub(super) query: &'q UsageQuery,
    /// What `agent` names where that is no agent.
    pub(super) worker: Option<&'q str>,
    /// The one name of the model.
    model: Option<String>,
}

impl<'q> Asked<'q> {
    pub(super) fn of(
        backend: &dyn Backend,
        query: &'q UsageQuery,
    ) -> Result<Asked<'q>, StoreError> {
        let mut worker = query.agent.as_deref();
        if let (Some(name), Some(index)) = (worker, Dimension::Agent.index()) {
            let mut names = Names::default();
            names[index] = Some(name.into());
            if backend.get(&rollup::key(1 << index, ALL_DAYS, &names)?)?.is_some() {
                worker = None;
            }
        }
        Ok(Asked { query, worker, model: query.model.as_deref().map(one_name) })
    }

    /// Whether the names of a row are those that are asked for, the worker's aside.
    pub(super) fn matches(&self, names: &Names) -> bool {
        let [project, agent, model, user] = self.query.filters();
        let agent = agent.filter(|_| self.worker.is_none());
        let is = |wanted: Option<&str>, dimension: Dimension| {
            let name = dimension.index().and_then(|index| names[index].as_deref());
            wanted.is_none() || wanted == name
        };
        let is_model = is(model, Dimension::Model)
            || names[Dimension::Model as usize].as_deref().map(one_name) == self.model;
        is(project, Dimension::Project)
            && is(agent, Dimension::Agent)
            && is(user, Dimension::User)
            && is_model
    }

    pub(super) fn wants(&self, record: &UsageRecord) -> bool {
        let is_its = self.worker.is_none() || self.worker == record.subject.agent_id.as_deref();
        is_its && self.matches(&rollup::names(record))
    }
}

/// The name that a model is kept under now; records of old may have any other.
fn one_name(model: &str) -> String {
    Catalogue::builtin().resolve(model).map_or(model, |known| known.name()).to_owned()
}
