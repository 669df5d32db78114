//! The arguments of `store`.

use std::path::PathBuf;

use clap::Subcommand;

/// The arguments of `store`.
#[derive(Debug, clap::Args)]
pub(crate) struct Store {
    #[command(subcommand)]
    pub(crate) command: StoreCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Compares every total with the sum of its records; 1 where one differs
    #[command(after_help = "Example:\n  impresario store verify --store impresario-data")]
    Verify,
    /// Writes all of it to stdout as JSON Lines, without loss; the store stays as it is
    #[command(after_help = "Example:\n  impresario store export > store.jsonl")]
    Export,
    /// Reads an export into a store that is new or empty
    #[command(after_help = "Example:\n  impresario store import store.jsonl --store restored")]
    Import {
        /// What `store export` wrote; - reads stdin
        #[arg(value_name = "FILE.jsonl")]
        file: PathBuf,
    },
    /// Drops records, audit events and the journal of earlier runs; totals stay for ever
    #[command(after_help = "Example:\n  impresario store retain --since 90days\n\n\
                      Keep what a rolling budget looks back on: what is dropped counts there by \
                      whole days.")]
    Retain {
        /// Keep what is of this day (UTC) or later: a date, a time, or a duration before now
        #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
        since: String,
    },
}
