//! The binary `impresario`: reads the arguments, runs a command, ends with its exit code.

mod args;
mod audit;
mod calibrate;
mod check;
mod exit;
mod logs;
mod mock;
mod output;
mod plan;
mod provider;
mod run;
mod signals;
mod simulate;
mod store;
mod usage;
mod verify;
mod when;

use std::error::Error;
use std::future::Future;
use std::io::Write as _;
use std::process::ExitCode;

use args::{Args, Command};
use exit::{Exit, Failure};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::read();
    let common = &args.common;
    if let Err(error) = started(&args) {
        report(&error);
        return ExitCode::from(Exit::NotStarted.code());
    }
    let result = match &args.command {
        Command::Run(args) => block_on(run::run(args, common)),
        Command::Check(args) => check::run(args, common).map(|()| Exit::Done).map_err(Into::into),
        Command::MockProvider(args) => block_on(mock::run(args)),
        Command::Plan(args) => plan::run(args, common),
        Command::Simulate(args) => simulate::run(args, common),
        Command::Calibrate(args) => calibrate::run(args, common),
        Command::Verify(args) => verify::run(args, common),
        Command::Usage(args) => usage::run(args, common),
        Command::Audit(args) => block_on(audit::run(args, common)),
        Command::Store(args) => store::run(&args.command, common),
    };
    let exit = result.unwrap_or_else(|error| {
        if output::nobody_reads(error.as_ref()) {
            return Exit::Done;
        }
        report(error.as_ref());
        Exit::NotStarted
    });
    ExitCode::from(exit.code())
}

/// Checks what clap cannot, and starts the logs.
fn started(args: &Args) -> Result<(), exit::Refused> {
    args.check_format()?;
    args.check_files()?;
    logs::start(&args.common, &args.command)
}

/// Runs a command in an actix system on this thread.
fn block_on(command: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    actix::System::new().block_on(command)
}

/// Writes an error and its causes to stderr; where that is closed there is nobody to tell.
pub(crate) fn report(error: &dyn Error) {
    let mut text = format!("error: {}\n", output::visible(&error.to_string()));
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("  caused by: {}\n", output::visible(&error.to_string())));
        cause = error.source();
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
}
