//! The arguments of `audit`.

use agent_core::audit::AuditKind;
use clap::builder::PossibleValuesParser;

/// The arguments of `audit`.
#[derive(Debug, clap::Args)]
pub(crate) struct Audit {
    /// Only this task
    #[arg(long, value_name = "ID")]
    pub(crate) task: Option<String>,
    /// Only this agent, or this worker of it
    #[arg(long)]
    pub(crate) agent: Option<String>,
    /// Only events of this name
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(AuditKind::NAMES))]
    pub(crate) event: Option<String>,
    /// Only events at this time or later: a date, a time, or a duration before now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) since: Option<String>,
    /// Go on with the events of a run under way as they come
    #[arg(long)]
    pub(crate) follow: bool,
}
