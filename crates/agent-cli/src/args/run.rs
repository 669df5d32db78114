//! The arguments of `run` and `check`.

use std::path::PathBuf;

/// The arguments of `run`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Run {
    /// The fleet file
    #[arg(value_name = "FLEET.toml")]
    pub(crate) fleet: PathBuf,
    /// More tasks, one JSON object a line; - reads stdin
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) tasks: Option<PathBuf>,
    /// Append each outcome to this file, one JSON object a line; stdout has the summary
    #[arg(long, value_name = "FILE.jsonl", value_parser = super::beside())]
    pub(crate) out: Option<PathBuf>,
    /// Go on with the store's unfinished run
    #[arg(long, conflicts_with = "discard_unfinished")]
    pub(crate) resume: bool,
    /// Give up the store's unfinished run; what it spent stays on the books
    #[arg(long)]
    pub(crate) discard_unfinished: bool,
    /// Run the good tasks of a file that has bad lines
    #[arg(long)]
    pub(crate) skip_bad_tasks: bool,
    /// Speak to the provider at this address instead of the fleet's; plain http only on loopback
    #[arg(long, value_name = "URL")]
    pub(crate) provider_url: Option<String>,
}

/// The arguments of `check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The fleet file
    #[arg(value_name = "FLEET.toml")]
    pub(crate) fleet: PathBuf,
}
