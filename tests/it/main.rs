//! One binary for every test across crates; a module per subject.
