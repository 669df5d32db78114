//! Tests of the store as a whole: both backends, faults, and crashes.

mod crash;
mod fault;
mod laws;
mod outage;
mod support;
