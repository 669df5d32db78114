//! The simulated provider.

pub mod mock;
