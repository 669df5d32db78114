//! Virtual against real: 100 workers and 1,500 tasks, simulated, and played in real time against
//! the same provider over HTTP, with the same draws.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use agent_core::clock::Clock;
use agent_sim::engine::{Replica, rehearse, simulate};
use agent_sim::mock::MockProvider;
use agent_sim::scenario::Scenario;

use crate::Failure;
use crate::http::client;

const SEED: u64 = 7;
const ROUNDS: usize = 5;

/// A provider that is stricter than the fleet keeps to, so that there are 429s.
const SCENARIO: &str = r#"
[simulated]
latency = { base = "300ms", per_output_token = "2ms", sigma = 0.3 }
limits = { requests_per_minute = 6000, output_tokens_per_minute = 400000 }
[limits]
max_concurrent = 1000
[retry]
max_attempts = 8
initial_backoff = "1s"
max_backoff = "4s"
[[agent]]
name = "worker"
model = "claude-haiku-4-5"
count = 100
max_tokens = 1000
rate_limit = { calls = 100000 }
[[workload]]
name = "task"
count = 1500
input = { kind = "lognormal", median = 500, sigma = 0.5 }
output = { kind = "lognormal", median = 150, sigma = 0.8, max = 1000 }
"#;

/// Serves the scenario's provider until the process is killed; prints its address first.
pub(crate) fn serve() -> Result<(), Failure> {
    actix::System::new().block_on(async {
        let scenario = Scenario::parse(SCENARIO)?;
        let mock = MockProvider::start_scripted("127.0.0.1:0".parse()?, &scenario, SEED).await?;
        println!("{}", mock.url());
        std::future::pending::<()>().await;
        Ok(())
    })
}

struct Server(Child, String);

impl Server {
    fn start() -> Result<Server, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("serve-scripted")
            .stdout(Stdio::piped())
            .spawn()?;
        let mut url = String::new();
        BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut url)?;
        Ok(Server(child, url.trim().to_owned()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn figures(run: &Replica) -> [f64; 5] {
    let percentile = |percent: f64| run.latency_at(percent).as_nanos() as f64 / 1e6;
    let mean = run.latency_sum_ns as f64 / 1e6 / run.latency.len().max(1) as f64;
    let makespan = run.makespan.as_secs_f64() * 1e3;
    [makespan, mean, percentile(50.0), percentile(95.0), run.rate_limited as f64]
}

/// Measures and prints the table.
pub(crate) fn run() -> Result<(), Failure> {
    let scenario = Scenario::parse(SCENARIO)?;
    let virtual_run = figures(&simulate(&scenario, SEED)?);
    let mut real = Vec::new();
    for _ in 0..ROUNDS {
        let server = Server::start()?;
        let run = actix::System::new().block_on(async {
            rehearse(&scenario, SEED, Clock::real(), client(&server.1)?)
                .await
                .map_err(Failure::from)
        })?;
        real.push(figures(&run));
    }
    println!("100 workers, 1500 tasks, median of {ROUNDS} real runs against one in virtual time");
    println!("{:<16}{:>12}{:>12}{:>10}", "", "virtual", "real", "differ");
    let names = ["makespan ms", "mean ms", "p50 ms", "p95 ms", "429s"];
    for (place, name) in names.into_iter().enumerate() {
        let mut of: Vec<f64> = real.iter().map(|run| run[place]).collect();
        of.sort_by(f64::total_cmp);
        let (simulated, median) = (virtual_run[place], of[ROUNDS / 2]);
        let differ = (simulated / median - 1.0) * 100.0;
        println!("{name:<16}{simulated:>12.1}{median:>12.1}{differ:>9.2}%");
    }
    Ok(())
}
