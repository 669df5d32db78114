//! The simulated provider, and what a simulation is fed with.

pub mod calibrate;
pub mod draws;
pub mod engine;
pub mod latency;
pub mod mock;
pub mod plan;
pub mod report;
pub mod scenario;
pub mod simulated;
pub mod sweep;
pub mod trace;
pub mod verify;
