//! The arguments of all commands.

mod audit;
mod calibrate;
mod mock;
mod run;
mod simulate;
mod store;
mod usage;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

pub(crate) use audit::Audit;
pub(crate) use calibrate::{Calibrate, Verify};
use clap::builder::{PathBufValueParser, PossibleValuesParser, TypedValueParser as _};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
pub(crate) use mock::MockProvider;
pub(crate) use run::{Check, Run};
pub(crate) use simulate::{Plan, Simulate};
pub(crate) use store::{Store, StoreCommand};
pub(crate) use usage::{Usage, UsageCommand};

use crate::exit::Refused;

/// Runs fleets of LLM agents within budgets and limits.
#[derive(Debug, Parser)]
#[command(
    name = "impresario",
    version,
    after_help = "Example:\n  impresario run fleet.toml --tasks tasks.jsonl --out outcomes.jsonl"
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// Reads the process's arguments; ends it where they are wrong, or ask for help.
    pub(crate) fn read() -> Args {
        Args::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit())
    }

    /// Whether what is written is another file than all that are read.
    ///
    /// # Errors
    ///
    /// Where it is not; names the flag and the file.
    pub(crate) fn check_files(&self) -> Result<(), Refused> {
        let (flag, written, read) = match &self.command {
            Command::Run(Run { out, fleet, tasks, .. }) => {
                ("--out", out, [Some(fleet), tasks.as_ref()])
            }
            Command::Calibrate(Calibrate { out, trace, against, .. }) => {
                ("--out", out, [trace.as_ref(), against.as_ref()])
            }
            Command::MockProvider(MockProvider { ledger, scenario, .. }) => {
                ("--ledger", ledger, [scenario.as_ref(), None])
            }
            _ => return Ok(()),
        };
        let Some(written) = written else { return Ok(()) };
        let Some(own) = identity(written) else { return Ok(()) };
        if read.into_iter().flatten().all(|read| identity(read) != Some(own)) {
            return Ok(());
        }
        let file = written.display();
        Err(Refused(format!("{flag}: {file} is read by the same command; name another file")))
    }

    /// Whether the command writes the format that is asked for: before the command, any is read.
    ///
    /// # Errors
    ///
    /// Where it does not; names those that it writes.
    pub(crate) fn check_format(&self) -> Result<(), Refused> {
        let (command, written) = self.command.formats();
        let Some(asked) = self.common.format.filter(|asked| !written.contains(asked)) else {
            return Ok(());
        };
        let word = |format: &Format| format!("{format:?}").to_lowercase();
        let words: Vec<String> = written.iter().map(word).collect();
        let (asked, words) = (word(&asked), words.join(", "));
        Err(Refused(format!("`{command}` does not write {asked}; it writes {words}")))
    }
}

/// The number of a file's disk and its own there; none where there is no such file.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let meta = path.metadata().ok()?;
    meta.is_file().then(|| (meta.dev(), meta.ino()))
}

/// All commands; behind its name each offers the formats that it writes, and no other.
fn command() -> clap::Command {
    let all = Args::command();
    let format = all.get_arguments().find(|arg| arg.get_id() == "format").cloned();
    let offers = |command: clap::Command, written: &[Format]| {
        let words = written.iter().filter_map(Format::to_possible_value);
        let read = PossibleValuesParser::new(words).try_map(|word| Format::from_str(&word, false));
        command.args(format.clone().map(|arg| arg.value_parser(read)))
    };
    all.mut_subcommand("run", |run| offers(run, SUMMARY))
        .mut_subcommand("check", |check| offers(check, SUMMARY))
        .mut_subcommand("audit", |audit| offers(audit, EVENTS))
        .mut_subcommand("store", |store| offers(store, SUMMARY))
        .mut_subcommand("simulate", |simulate| offers(simulate, SUMMARY))
        .mut_subcommand("plan", |plan| offers(plan, SUMMARY))
        .mut_subcommand("calibrate", |calibrate| offers(calibrate, SUMMARY))
        .mut_subcommand("verify", |verify| offers(verify, SUMMARY))
        .mut_subcommand("usage", |usage| {
            offers(usage, TOTALS).mut_subcommand("export", |export| offers(export, RECORDS))
        })
        .mut_subcommand("mock-provider", |mock| mock.args(format.clone().map(|arg| arg.hide(true))))
}

/// Reads the path of a file that is written beside the result: stdout, which `-` would be, is the
/// result's own.
fn beside() -> impl clap::builder::TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match path.as_os_str() == "-" {
        true => Err("stdout is the result's; name a file, or write ./- for one of that name"),
        false => Ok(path),
    })
}

/// Reads a seed, as a scenario file can hold it too.
fn seed(text: &str) -> Result<u64, String> {
    let seed = text.parse::<i64>().ok().and_then(|seed| u64::try_from(seed).ok());
    seed.ok_or_else(|| format!("write a whole number from 0 to {}", i64::MAX))
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
    /// For spreadsheets, where there are rows
    Csv,
    /// One JSON object a line
    Jsonl,
}

const SUMMARY: &[Format] = &[Format::Table, Format::Json];
const EVENTS: &[Format] = &[Format::Table, Format::Json, Format::Jsonl];
const TOTALS: &[Format] = &[Format::Table, Format::Json, Format::Csv];
const RECORDS: &[Format] = &[Format::Csv, Format::Jsonl, Format::Json];

impl Command {
    /// Its name, and the formats that it writes.
    fn formats(&self) -> (&'static str, &'static [Format]) {
        match self {
            Command::Run(_) => ("run", SUMMARY),
            Command::Check(_) => ("check", SUMMARY),
            Command::Audit(_) => ("audit", EVENTS),
            Command::Usage(Usage { export: Some(_), .. }) => ("usage export", RECORDS),
            Command::Usage(_) => ("usage", TOTALS),
            Command::Store(_) => ("store", SUMMARY),
            Command::Simulate(_) => ("simulate", SUMMARY),
            Command::Plan(_) => ("plan", SUMMARY),
            Command::Calibrate(_) => ("calibrate", SUMMARY),
            Command::Verify(_) => ("verify", SUMMARY),
            Command::MockProvider(_) => ("mock-provider", Format::value_variants()),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a fleet's tasks to the end and prints a summary
    #[command(
        after_help = "Example:\n  impresario run fleet.toml --tasks tasks.jsonl --out outcomes.jsonl\n\n\
                      Exit codes: 0 all tasks completed, 1 some failed, 2 nothing was started, \
                      3 interrupted: --resume goes on."
    )]
    Run(Run),
    /// Rehearses a workload in virtual time: how long it takes, what it costs, what is in the way
    #[command(after_help = "Example:\n  impresario simulate examples/scenarios/batch.toml\n  \
                      impresario simulate examples/scenarios/batch.toml --set agent.0.count=50 \
                      --report report\n  \
                      impresario simulate examples/scenarios/batch.toml \
                      --sweep agent.0.count=25,50,100\n\n\
                      Exit codes: 0 the goal is met, 1 it is not, 2 nothing was simulated.")]
    Simulate(Simulate),
    /// Finds the smallest fleet that meets a scenario's goal: workers, usage tier, budget
    #[command(
        after_help = "Example:\n  impresario plan examples/scenarios/batch.toml --set goal.deadline=30m\n\n\
                      Exit codes: 0 there is a plan, 1 there is none, 2 nothing was simulated."
    )]
    Plan(Plan),
    /// Fits how long calls take on those that were recorded, and says how good the fit is
    #[command(after_help = "Example:\n  impresario calibrate --out latency.toml\n  \
                      impresario calibrate --trace sessions.csv.gz --format json")]
    Calibrate(Calibrate),
    /// Simulates a past run again and shows what would have been predicted beside what it was
    #[command(after_help = "Example:\n  impresario verify --run last --format json")]
    Verify(Verify),
    /// Shows what was spent: by project, agent, model, user, day
    #[command(after_help = "Example:\n  impresario usage --by project,day --since 2026-11-01")]
    Usage(Usage),
    /// Shows the audit trail of calls
    #[command(after_help = "Example:\n  impresario audit --task 42 --format json")]
    Audit(Audit),
    /// Checks, copies, thins out and restores a store
    #[command(after_help = "Example:\n  impresario store verify")]
    Store(Store),
    /// Serves the Messages API on loopback, with limits, latency, faults and a billing ledger
    #[command(after_help = "Example:\n  impresario mock-provider --listen 127.0.0.1:8080 \
                      --scenario examples/mock.toml --ledger bill.jsonl\n\n\
                      examples/mock.toml shows every key of a scenario.")]
    MockProvider(MockProvider),
    /// Validates a fleet file without calling anybody
    #[command(after_help = "Example:\n  impresario check fleet.toml --format json")]
    Check(Check),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent_and_every_command_shows_an_example() {
        command().debug_assert();
        for command in command().get_subcommands() {
            for command in [command].into_iter().chain(command.get_subcommands()) {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example:"), "{}", command.get_name());
            }
        }
    }

    #[test]
    fn each_command_offers_only_what_it_writes() {
        let read = |line: &str| command().try_get_matches_from(line.split(' '));
        for line in [
            "impresario run f.toml --format csv",
            "impresario check f.toml --format jsonl",
            "impresario audit --format csv",
            "impresario usage --format jsonl",
            "impresario usage export --format table",
            "impresario store verify --format csv",
        ] {
            let error = read(line).unwrap_err().to_string();
            assert!(error.contains("[possible values: "), "{line}: {error}");
        }
        for line in ["usage export --format jsonl", "usage --format csv", "audit --format jsonl"] {
            assert!(read(&format!("impresario {line}")).is_ok(), "{line}");
        }
    }

    #[test]
    fn a_seed_is_one_that_a_file_can_hold() {
        let read = |seed: &str| {
            let line = ["impresario", "simulate", "s.toml", "--seed", seed];
            command().try_get_matches_from(line).map_err(|error| error.to_string())
        };
        for wrong in ["-1", "1.5", "x", "9223372036854775808", "18446744073709551616"] {
            let said = read(wrong).unwrap_err();
            let right = "write a whole number from 0 to 9223372036854775807";
            assert!(said.contains(wrong) && said.contains(right), "{said}");
        }
        assert!(read("0").is_ok() && read("9223372036854775807").is_ok());
    }

    #[test]
    fn common_flags_stand_before_or_after_the_command() {
        for line in [
            ["impresario", "--format", "json", "check", "f.toml"],
            ["impresario", "check", "f.toml", "--format", "json"],
        ] {
            let args = Args::from_arg_matches(&command().get_matches_from(line)).unwrap();
            assert_eq!(args.common.format, Some(Format::Json));
            assert!(args.check_format().is_ok());
        }
    }
}
