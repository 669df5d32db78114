//! The simulated provider.

pub mod mock;
pub mod simulated;
