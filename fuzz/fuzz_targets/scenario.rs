//! Whatever text comes, a scenario that makes sense or an error.
#![no_main]

use agent_sim::scenario::{Change, Scenario};
use agent_sim::sweep::Axis;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for line in text.lines().take(3) {
        drop(line.parse::<Change>());
        drop(line.parse::<Axis>());
    }
    match Scenario::parse(text) {
        Ok(scenario) => assert!(!scenario.workload.is_empty() && !scenario.fleet.agent.is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
