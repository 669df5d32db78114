//! The arguments of `mock-provider`.

use std::path::PathBuf;

/// The arguments of `mock-provider`.
#[derive(Debug, clap::Args)]
pub(crate) struct MockProvider {
    /// Where to listen; port 0 is any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) listen: std::net::SocketAddr,
    /// Latency, answers, limits and faults
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) scenario: Option<PathBuf>,
    /// Answer as the provider of a simulated scenario does, in real time
    #[arg(long, value_name = "SCENARIO.toml", conflicts_with_all = ["scenario", "ledger"])]
    pub(crate) simulated: Option<PathBuf>,
    /// Append one line a billed answer to this file
    #[arg(long, value_name = "FILE.jsonl", value_parser = super::beside())]
    pub(crate) ledger: Option<PathBuf>,
}
