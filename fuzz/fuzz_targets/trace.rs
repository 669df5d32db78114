//! Whatever bytes come, a reader gives a trace that makes sense or an error.
#![no_main]

use agent_sim::trace::{Format, Replay, Trace};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The first byte chooses the format; past the last, the first line tells it.
    let Some((&which, bytes)) = data.split_first() else { return };
    let format = Format::ALL.get(usize::from(which)).copied();
    let Ok(trace) = Trace::read("fuzz", bytes, format) else { return };
    assert!(trace.requests.is_sorted_by_key(|request| request.at_ns));
    assert!(trace.requests.first().is_some_and(|request| request.at_ns == 0));
    assert!(trace.requests.iter().all(|request| request.cached <= request.input));
    let replay = Replay { speed: 1e-3, scale: 1e3, ..Replay::default() };
    assert!(replay.apply(trace).is_ok());
});
