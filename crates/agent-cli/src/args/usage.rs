//! The arguments of `usage`.

use clap::Subcommand;

/// The arguments of `usage`.
#[derive(Debug, clap::Args)]
pub(crate) struct Usage {
    #[command(subcommand)]
    pub(crate) export: Option<UsageCommand>,
    /// What rows are grouped by, several with commas [default: project]
    #[arg(long, value_delimiter = ',', value_name = "project|agent|model|user|day")]
    pub(crate) by: Vec<String>,
    /// Only this project
    #[arg(long, global = true)]
    pub(crate) project: Option<String>,
    /// Only this agent (backend), or this worker of it (backend-3)
    #[arg(long, global = true)]
    pub(crate) agent: Option<String>,
    /// Only this model, under any of its names: an alias, or one with a date
    #[arg(long, global = true)]
    pub(crate) model: Option<String>,
    /// Only calls at this time or later: a date, a time, or a duration before now
    #[arg(long, global = true, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) since: Option<String>,
    /// Only calls before this time
    #[arg(long, global = true, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) until: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UsageCommand {
    /// Writes every record
    #[command(after_help = "Example:\n  impresario usage export --format csv > records.csv")]
    Export,
}
