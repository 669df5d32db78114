//! Logs: to stderr, warnings by default, more with `-v`.

use tracing_subscriber::filter::{EnvFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::args::{Command, Common};
use crate::audit::Live;
use crate::exit::Refused;

/// Starts the logs. `IMPRESARIO_LOG` overrides what the flags say, in the usual form
/// (`agent_core=debug,audit=info`). Of a run the audit events are also written to the live file.
/// What befalls a fleet that is only simulated stands in the report, and is logged where more is
/// asked for; what befalls the user's own store is not simulated.
///
/// # Errors
///
/// Where the variable cannot be read.
pub(crate) fn start(common: &Common, command: &Command) -> Result<(), Refused> {
    let runs = matches!(command, Command::Run(_));
    let simulates = matches!(command, Command::Simulate(_) | Command::Plan(_) | Command::Verify(_));
    let by_flags = match (common.quiet, common.verbose) {
        (true, _) if simulates => "error,agent_core=off,agent_core::store=error,audit=off",
        (true, _) => "error,audit=off",
        (false, 0) if simulates => "warn,agent_core=off,agent_core::store=warn,audit=off",
        (false, 0) => "warn,audit=off",
        (false, 1) => "info,audit=info",
        (false, 2) => "debug,audit=info",
        (false, _) => "trace",
    };
    let filter = match std::env::var_os("IMPRESARIO_LOG") {
        None => EnvFilter::new(by_flags),
        Some(stated) => EnvFilter::try_new(stated.to_string_lossy()).map_err(|_| {
            let right = "set it to levels such as agent_core=debug,audit=info, or unset it";
            Refused(format!("environment variable IMPRESARIO_LOG cannot be read; {right}"))
        })?,
    };
    let stderr = fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_filter(filter);
    let live = runs.then(|| Live::new(&common.store));
    let live = live
        .map(|live| live.with_filter(Targets::new().with_target("audit", tracing::Level::INFO)));
    tracing_subscriber::registry().with(stderr).with(live).init();
    Ok(())
}
