//! The binary `impresario`: reads the arguments, runs a command, ends with its exit code.

mod args;
mod check;
mod output;

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};

/// Nothing was started: bad arguments, configuration, key or store.
const NOT_STARTED: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    let result: Result<(), Box<dyn Error>> = match &args.command {
        Command::Check(check) => check::run(check, &args.common).map_err(Into::into),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(error.as_ref());
            ExitCode::from(NOT_STARTED)
        }
    }
}

/// Writes an error and its causes to stderr; where that is closed there is nobody to tell.
fn report(error: &dyn Error) {
    let mut text = format!("error: {error}\n");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("  caused by: {error}\n"));
        cause = error.source();
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
}
