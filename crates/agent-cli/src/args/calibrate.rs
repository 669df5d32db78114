//! The arguments of `calibrate` and `verify`.

use std::path::PathBuf;

/// The arguments of `calibrate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Calibrate {
    /// Write the latency models into this file, for a scenario's latency_file
    #[arg(long, value_name = "FILE.toml", value_parser = super::beside())]
    pub(crate) out: Option<PathBuf>,
    /// Calibrate on the calls of a recorded trace instead of the store's
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Predict the sessions of this trace from all calls, rather than half of the sessions from
    /// the other half
    #[arg(long, value_name = "FILE")]
    pub(crate) against: Option<PathBuf>,
    /// Only calls of the store at this time or later: a date, a time, or a duration before now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, conflicts_with = "trace")]
    pub(crate) since: Option<String>,
    /// How often the sessions are halved at random; each half is predicted from the other
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) halvings: u16,
    /// What the halvings are drawn from
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = super::seed, allow_negative_numbers = true)]
    pub(crate) seed: u64,
}

/// The arguments of `verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// The run; last is the one that started last
    #[arg(long, value_name = "ID", default_value = "last")]
    pub(crate) run: String,
    /// The fleet file, instead of the one that the run was started with
    #[arg(long, value_name = "FLEET.toml")]
    pub(crate) fleet: Option<PathBuf>,
    /// With how many seeds it is simulated
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) seeds: u32,
}
