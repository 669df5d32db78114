//! Tests of the crate from outside: one binary, so that it links once.

mod anthropic;
