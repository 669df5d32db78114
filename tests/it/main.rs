//! One binary for every test across crates; a module per subject.
#![expect(clippy::unwrap_used, reason = "a test may unwrap")]

mod all_held_up;
mod behaviour;
mod chaos;
mod children;
mod clients;
mod dear;
mod embedding;
mod fate;
mod fidelity;
mod golden;
mod groups;
mod held_up;
mod host;
mod invariants;
mod lazy;
mod licences;
mod limits;
mod listeners;
mod money;
mod over;
mod readme;
mod replaced;
mod scenarios;
mod seen;
mod support;
mod temporary;
mod tidy;
mod watchdog;
mod wedged;
