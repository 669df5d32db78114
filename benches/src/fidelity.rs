//! Virtual against real: a crowd that a provider serves, and one that it refuses hundreds of times,
//! simulated, and played in real time against the same provider over HTTP, with the same draws.

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

/// A provider that serves all that the fleet asks for.
const SERVED: &str = r#"
[simulated]
latency = { base = "300ms", per_output_token = "2ms", sigma = 0.3 }
limits = { requests_per_minute = 6000, output_tokens_per_minute = 400000 }
[limits]
max_concurrent = 1000
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

/// A provider with a limit of which the fleet knows nothing and no header tells: 429s alone say so.
const REFUSED: &str = r#"
[simulated]
latency = { base = "300ms", per_output_token = "2ms", sigma = 0.3 }
limits = { requests_per_minute = 600 }
headers = false
[limits]
max_concurrent = 1000
[retry]
max_attempts = 20
initial_backoff = "1s"
max_backoff = "4s"
[[agent]]
name = "worker"
model = "claude-haiku-4-5"
count = 200
max_tokens = 1000
rate_limit = { calls = 100000 }
[[workload]]
name = "task"
count = 1000
input = { kind = "lognormal", median = 500, sigma = 0.5 }
output = { kind = "lognormal", median = 150, sigma = 0.8, max = 1000 }
"#;

/// Serves the scenario's provider until the process is killed; prints its address first.
pub(crate) fn serve(scenario: &str) -> Result<(), Failure> {
    actix::System::new().block_on(async {
        let scenario = Scenario::parse(scenario)?;
        let mock = MockProvider::start_scripted("127.0.0.1:0".parse()?, &scenario, SEED).await?;
        println!("{}", mock.url());
        std::future::pending::<()>().await;
        Ok(())
    })
}

struct Server(Child, String);

impl Server {
    fn start(scenario: &str) -> Result<Server, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve-scripted", scenario])
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

/// Measures and prints the tables.
pub(crate) fn run() -> Result<(), Failure> {
    compare("100 workers, 1,500 tasks", SERVED)?;
    compare("200 workers, 1,000 tasks, of which the provider refuses hundreds", REFUSED)
}

fn compare(what: &str, text: &str) -> Result<(), Failure> {
    let scenario = Scenario::parse(text)?;
    let virtual_run = figures(&simulate(&scenario, SEED)?);
    let mut real = Vec::new();
    for _ in 0..ROUNDS {
        let server = Server::start(text)?;
        let run = actix::System::new().block_on(async {
            rehearse(&scenario, SEED, Clock::real(), client(&server.1)?)
                .await
                .map_err(Failure::from)
        })?;
        real.push(figures(&run));
    }
    println!("{what}: {ROUNDS} real runs against one in virtual time");
    println!(
        "{:<16}{:>12}{:>14}{:>10}   real, least to most",
        "", "virtual", "real, median", "differ"
    );
    let names = ["makespan ms", "mean ms", "p50 ms", "p95 ms", "429s"];
    for (place, name) in names.into_iter().enumerate() {
        let mut of: Vec<f64> = real.iter().map(|run| run[place]).collect();
        of.sort_by(f64::total_cmp);
        let (simulated, median) = (virtual_run[place], of[ROUNDS / 2]);
        let differ = if simulated == median { 0.0 } else { (simulated / median - 1.0) * 100.0 };
        let (least, most) = (of[0], of[ROUNDS - 1]);
        println!(
            "{name:<16}{simulated:>12.1}{median:>14.1}{differ:>9.2}%   {least:.1} to {most:.1}"
        );
    }
    Ok(())
}
