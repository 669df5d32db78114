//! Logs: to stderr, warnings by default, more with `-v`.

use tracing_subscriber::EnvFilter;

use crate::args::Common;

/// Starts the logs. `IMPRESARIO_LOG` overrides what the flags say, in the usual form
/// (`agent_core=debug,audit=info`).
pub(crate) fn start(common: &Common) {
    let by_flags = match (common.quiet, common.verbose) {
        (true, _) => "error,audit=off",
        (false, 0) => "warn,audit=off",
        (false, 1) => "info,audit=info",
        (false, 2) => "debug,audit=info",
        (false, _) => "trace",
    };
    let filter =
        EnvFilter::try_from_env("IMPRESARIO_LOG").unwrap_or_else(|_| EnvFilter::new(by_flags));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
}
