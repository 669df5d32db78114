//! Logs: to stderr, warnings by default, more with `-v`.

use tracing_subscriber::filter::{EnvFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::args::Common;
use crate::audit::Live;

/// Starts the logs. `IMPRESARIO_LOG` overrides what the flags say, in the usual form
/// (`agent_core=debug,audit=info`). Of a run the audit events are also written to the live file.
pub(crate) fn start(common: &Common, runs: bool) {
    let by_flags = match (common.quiet, common.verbose) {
        (true, _) => "error,audit=off",
        (false, 0) => "warn,audit=off",
        (false, 1) => "info,audit=info",
        (false, 2) => "debug,audit=info",
        (false, _) => "trace",
    };
    let filter =
        EnvFilter::try_from_env("IMPRESARIO_LOG").unwrap_or_else(|_| EnvFilter::new(by_flags));
    let stderr = fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_filter(filter);
    let live = runs.then(|| Live::new(&common.store));
    let live = live
        .map(|live| live.with_filter(Targets::new().with_target("audit", tracing::Level::INFO)));
    tracing_subscriber::registry().with(stderr).with(live).init();
}
