//! Tests of the store as a whole: both backends, faults, and crashes.

mod crash;
mod desk;
mod fault;
mod laws;
mod log;
mod logged;
mod outage;
mod support;
