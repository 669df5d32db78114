//! The arguments of `simulate` and `plan`.

use std::path::PathBuf;

/// The arguments of `simulate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Simulate {
    /// The scenario file, or a fleet file with tasks
    #[arg(value_name = "SCENARIO.toml")]
    pub(crate) scenario: PathBuf,
    /// More tasks, one JSON object a line, as `run` takes them
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) tasks: Option<PathBuf>,
    /// The seed, instead of the scenario's
    #[arg(long, value_name = "N", value_parser = super::seed, allow_negative_numbers = true)]
    pub(crate) seed: Option<u64>,
    /// Change one value, such as agent.0.count=50; may be given several times
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<agent_sim::scenario::Change>,
    /// Simulate each value, and each combination where given several times
    #[arg(long, value_name = "PATH=V1,V2,…")]
    pub(crate) sweep: Vec<agent_sim::sweep::Axis>,
    /// Write report.html and report.json into this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
}

/// The arguments of `plan`.
#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    /// The scenario file; its goal is what is planned for
    #[arg(value_name = "SCENARIO.toml")]
    pub(crate) scenario: PathBuf,
    /// The seed, instead of the scenario's
    #[arg(long, value_name = "N", value_parser = super::seed, allow_negative_numbers = true)]
    pub(crate) seed: Option<u64>,
    /// Change one value, such as goal.deadline=30m; may be given several times
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<agent_sim::scenario::Change>,
}
