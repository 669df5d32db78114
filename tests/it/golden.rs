//! What a scenario came to on the machine where it was written down: every machine must come to the
//! same, to the last byte.
//!
//! A change that gives other draws or another order of events changes these on purpose, and says so.

use std::path::Path;

use agent_core::hash::Digest;
use agent_sim::report::Report;
use agent_sim::scenario::{Change, Scenario};

/// An example, its hash of events, and that of its JSON.
const GOLDEN: [(&str, &str, &str); 3] = [
    ("keys.toml", "9beccee631f0ad5e", "a7cf3413280a2f44"),
    ("outage.toml", "c0ce6627c8343530", "fb25588c5bfe9751"),
    ("sessions.toml", "130c0aa74bdbd486", "68e56cb4c8013e57"),
];

/// The JSON of one run of an example.
fn json(name: &str) -> serde_json::Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/scenarios").join(name);
    let changes: [Change; 2] =
        ["run.replicas=1", "run.sensitivity=false"].map(|change| change.parse().unwrap());
    Report::of(&Scenario::load(&path, &changes).unwrap()).unwrap().json()
}

#[test]
fn every_machine_comes_to_the_same_events_and_the_same_bytes() {
    let found = GOLDEN.map(|(name, ..)| {
        let json = json(name);
        let bytes = serde_json::to_string(&json).unwrap();
        let hash = json["event_hash"].as_str().unwrap().to_owned();
        (name, hash, format!("{:016x}", Digest::of(bytes.as_bytes())))
    });
    let known = GOLDEN.map(|(name, hash, bytes)| (name, hash.to_owned(), bytes.to_owned()));
    assert_eq!(found, known);
}
