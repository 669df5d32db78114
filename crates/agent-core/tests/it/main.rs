//! Tests of the crate from outside: one binary, so that it links once.

#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod billing;
mod faults;
mod headers;
mod odd_answers;
mod pool;
mod recordings;
mod retry;
mod rotation;
mod wire;
