//! The arguments of all commands.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Runs fleets of LLM agents within budgets and limits.
#[derive(Debug, Parser)]
#[command(
    name = "impresario",
    version,
    after_help = "Example:\n  impresario check fleet.toml --format json"
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// The folder of the store
    #[arg(long, global = true, value_name = "DIR", default_value = "./impresario-data")]
    pub(crate) store: PathBuf,
    /// How results are written [default: table on a terminal, json otherwise]
    #[arg(long, global = true, value_enum)]
    pub(crate) format: Option<Format>,
    /// Say nothing but the result and errors
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
    /// Say more on stderr; twice for still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Validates a fleet file without calling anybody
    #[command(after_help = "Example:\n  impresario check fleet.toml --format json")]
    Check(Check),
}

/// The arguments of `check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The fleet file
    #[arg(value_name = "FLEET.toml")]
    pub(crate) fleet: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_consistent_and_every_command_shows_an_example() {
        Args::command().debug_assert();
        for command in Args::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example:"), "{}", command.get_name());
        }
    }

    #[test]
    fn common_flags_stand_before_or_after_the_command() {
        for line in [
            ["impresario", "--format", "json", "check", "f.toml"],
            ["impresario", "check", "f.toml", "--format", "json"],
        ] {
            let args = Args::try_parse_from(line).unwrap();
            assert_eq!(args.common.format, Some(Format::Json));
        }
    }
}
