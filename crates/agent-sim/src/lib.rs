//! The simulated provider, and what a simulation is fed with.

pub mod draws;
pub mod latency;
pub mod mock;
pub mod simulated;
pub mod trace;
