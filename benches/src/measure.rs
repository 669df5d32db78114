//! Time on the clock and on the processor, and medians of rounds.

use std::time::Duration;

use agent_core::clock::{Clock, Timestamp};

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

/// The most memory of this process that was ever in use, in bytes.
pub(crate) fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.trim().strip_suffix("kB"));
    number.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or_default() * 1_024
}

/// When something began.
struct Began {
    clock: Clock,
    wall: Timestamp,
    cpu: Duration,
}

impl Began {
    fn now() -> Began {
        let clock = Clock::real();
        Began { wall: clock.now(), clock, cpu: cpu() }
    }

    fn took(&self) -> Took {
        let wall = self.clock.now().since(self.wall);
        Took { wall, cpu: cpu().saturating_sub(self.cpu) }
    }
}

/// Runs `work` and says what it took.
pub(crate) async fn measure<F: Future>(work: F) -> (Took, F::Output) {
    let began = Began::now();
    let output = work.await;
    (began.took(), output)
}

/// The same for what must not run inside a runtime.
pub(crate) fn measure_here<T>(work: impl FnOnce() -> T) -> (Took, T) {
    let began = Began::now();
    let output = work();
    (began.took(), output)
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
