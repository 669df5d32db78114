//! What a scenario took: CPU, time on the clock, memory.

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub enum Scenario {
    /// Make N supervised actors that do nothing.
    Idle,
    /// N small tasks through a coordinator to its workers and back.
    Tasks,
    /// N panics, each followed by a restart.
    Crash,
}

impl FromStr for Scenario {
    type Err = Box<dyn Error>;

    fn from_str(name: &str) -> Result<Scenario, Self::Err> {
        match name {
            "idle" => Ok(Scenario::Idle),
            "tasks" => Ok(Scenario::Tasks),
            "crash" => Ok(Scenario::Crash),
            _ => Err(format!("no scenario {name:?}; known: idle, tasks, crash").into()),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scenario::Idle => "idle",
            Scenario::Tasks => "tasks",
            Scenario::Crash => "crash",
        })
    }
}

/// From [`Took::begin`] to [`Took::end`].
#[derive(Debug)]
pub struct Began {
    at: Instant,
    cpu: Duration,
    bytes: u64,
}

/// What it took.
#[derive(Debug)]
pub struct Took {
    wall: Duration,
    cpu: Duration,
    bytes: u64,
}

impl Took {
    pub fn begin() -> Began {
        Began { bytes: resident(), cpu: cpu(), at: Instant::now() }
    }

    pub fn line(&self, peer: &str, scenario: Scenario, n: u64) -> String {
        let each = |took: Duration| took.as_nanos() / u128::from(n.max(1));
        format!(
            r#"{{"peer":"{peer}","scenario":"{scenario}","n":{n},"cpu_ns":{},"wall_ns":{},"bytes":{}}}"#,
            each(self.cpu),
            each(self.wall),
            self.bytes / n.max(1),
        )
    }
}

impl Began {
    pub fn end(self) -> Took {
        let (wall, cpu) = (self.at.elapsed(), cpu().saturating_sub(self.cpu));
        Took { wall, cpu, bytes: resident().saturating_sub(self.bytes) }
    }
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
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 =
        statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    // A page is 4 KiB on every machine that this runs on (`getconf PAGESIZE`).
    pages * 4_096
}
