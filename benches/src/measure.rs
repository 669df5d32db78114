//! Time on the clock and on the processor, and medians of rounds.

use std::time::Duration;

use agent_core::clock::Clock;

/// What a round took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

/// User and system time of this process, all threads.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: u64 =
        after_name.split(' ').skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
    // A tick is 10 ms on every Linux that this runs on (`getconf CLK_TCK`).
    Duration::from_millis(ticks * 10)
}

/// Memory of this process that is in use, in bytes.
pub(crate) fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 =
        statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    // A page is 4 KiB on every machine that this runs on (`getconf PAGESIZE`).
    pages * 4_096
}

/// Runs `work` and says what it took.
pub(crate) async fn measure<F: Future>(work: F) -> (Took, F::Output) {
    let clock = Clock::real();
    let (began, cpu_before) = (clock.now(), cpu());
    let output = work.await;
    (Took { wall: clock.now().since(began), cpu: cpu().saturating_sub(cpu_before) }, output)
}

/// The median of what `of` takes of each round.
pub(crate) fn median(rounds: &[Took], of: impl Fn(&Took) -> Duration) -> Duration {
    let mut sorted: Vec<Duration> = rounds.iter().map(of).collect();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// Microseconds of `took` for each of `count`.
pub(crate) fn each(took: Duration, count: u32) -> f64 {
    took.as_secs_f64() * 1e6 / f64::from(count)
}

/// The ratio of two durations.
pub(crate) fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64().max(1e-9)
}
