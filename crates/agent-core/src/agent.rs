//! What an agent is: a configured role that workers play.

mod behaviour;
mod child;
mod scene;

use std::num::NonZeroU32;

use crate::estimate::Bounding;
use crate::permits::AgentRateLimit;
use crate::supervision::Restart;

pub(crate) use behaviour::Play;
pub use behaviour::{Behaviour, Factory, Output};
pub use child::{Child, ChildEnd, ChildError, ChildLimits, Execution, SpawnError};
pub(crate) use child::{Children, Submitted};
pub(crate) use scene::Backstage;
pub use scene::Scene;

/// A role; an `[[agent]]` of the fleet file.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentSpec {
    /// Its name, unique in a fleet: the scope `agent:…`.
    pub name: String,
    /// What kind of agent it is, for the audit. Default: its name.
    pub agent_type: String,
    /// Workers that play it; those of all agents of a system are 1,000,000 at most. Default: 1.
    pub count: NonZeroU32,
    /// The model that it calls.
    pub model: String,
    /// Most output tokens of one call. Default: 4096.
    pub max_tokens: NonZeroU32,
    /// The system prompt. Absent: the default prompt.
    pub system: Option<String>,
    /// Sampling temperature, 0 to 2; Anthropic refuses more than 1, and a model that takes none is
    /// sent none. Absent: the provider's.
    pub temperature: Option<f64>,
    /// Texts at which the answer ends.
    pub stop_sequences: Vec<String>,
    /// Limit on the calls of each worker. Absent: the default of the place it is used in.
    pub rate_limit: Option<AgentRateLimit>,
    /// When a worker that ended is started again. Default: transient.
    pub restart: Restart,
    /// The group of agents that its workers are restarted with. Absent: each by itself. Of no effect
    /// for a sub-agent, whose workers stand under their parent's task.
    pub group: Option<String>,
    /// Whether a budget may lower `max_tokens` to what fits. Default: no.
    pub clamp_max_tokens: bool,
    /// How input tokens are bounded. Default: strict.
    pub bounding: Bounding,
    /// What its workers do with a task. Absent: one call, and its answer.
    pub behaviour: Option<Factory>,
}

impl AgentSpec {
    /// An agent with one worker and 4096 output tokens a call; all else is the default.
    ///
    /// ```
    /// use agent_core::agent::AgentSpec;
    ///
    /// let spec = AgentSpec::new("backend", "claude-sonnet-4-5").system("Be brief.");
    /// assert_eq!((spec.agent_type.as_str(), spec.count.get()), ("backend", 1));
    /// ```
    pub fn new(name: impl Into<String>, model: impl Into<String>) -> AgentSpec {
        let name = name.into();
        AgentSpec {
            agent_type: name.clone(),
            name,
            count: NonZeroU32::MIN,
            model: model.into(),
            max_tokens: const { NonZeroU32::new(4096).expect("4096 is not zero") },
            system: None,
            temperature: None,
            stop_sequences: Vec::new(),
            rate_limit: None,
            restart: Restart::default(),
            group: None,
            clamp_max_tokens: false,
            bounding: Bounding::default(),
            behaviour: None,
        }
    }

    /// Replaces the one worker; at least 1.
    pub fn count(mut self, count: u32) -> AgentSpec {
        self.count = NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        self
    }

    /// Replaces the 4096 output tokens; at least 1.
    pub fn max_tokens(mut self, max_tokens: u32) -> AgentSpec {
        self.max_tokens = NonZeroU32::new(max_tokens).unwrap_or(NonZeroU32::MIN);
        self
    }

    /// Replaces the default system prompt.
    pub fn system(mut self, system: impl Into<String>) -> AgentSpec {
        self.system = Some(system.into());
        self
    }

    /// Replaces the default limit on calls.
    pub fn rate_limit(mut self, limit: AgentRateLimit) -> AgentSpec {
        self.rate_limit = Some(limit);
        self
    }

    /// Replaces the restart rule.
    pub fn restart(mut self, restart: Restart) -> AgentSpec {
        self.restart = restart;
        self
    }

    /// Puts its workers into a group.
    pub fn group(mut self, group: impl Into<String>) -> AgentSpec {
        self.group = Some(group.into());
        self
    }

    /// Has its workers do what a [`Behaviour`] says, each with one of its own that `make` makes.
    pub fn behaviour<B: Behaviour>(
        mut self,
        make: impl Fn() -> B + Send + Sync + 'static,
    ) -> AgentSpec {
        self.behaviour = Some(Factory::new(make));
        self
    }
}
