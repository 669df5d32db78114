//! The binary from outside: commands, exit codes, files, kills.
#![expect(clippy::unwrap_used, reason = "a test may unwrap")]

mod calibrate;
mod contract;
mod disk;
mod exits;
mod follow;
mod kill;
mod mock;
mod out;
mod page;
mod parts;
mod python;
mod resume;
mod secrets;
mod simulate;
mod store;
mod support;
mod tables;
mod told;
mod usage;
mod verify;
