//! 1,000 workers × 10 calls over HTTP against a provider of 200 ms, all accounting on and durable,
//! beside a bare loop of the same requests.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use agent_core::clock::Clock;
use agent_core::llm::anthropic::{Anthropic, AnthropicConfig};
use agent_core::llm::{KeyRing, KeySource};
use agent_core::permits::ProviderLimits;
use agent_sim::mock::{MockProvider, Scenario};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::Failure;
use crate::fleet::{MODEL, clerks, play_well, system};
use crate::measure::{Took, measure, median, ratio};

const WORKERS: u32 = 1_000;
const CALLS: u32 = 10;
const ROUNDS: usize = 5;
const KEY: &str = "sk-ant-api03-benchmark-0000";

/// Serves until the process is killed; prints its address first.
pub(crate) fn serve(scenario: &str) -> Result<(), Failure> {
    actix::System::new().block_on(async {
        let scenario = Scenario::from_toml(scenario)?;
        let mock = MockProvider::start("127.0.0.1:0".parse()?, scenario, None).await?;
        println!("{}", mock.url());
        std::future::pending::<()>().await;
        Ok(())
    })
}

/// A mock provider in a process of its own, so that its CPU is not ours.
pub(crate) struct Mock {
    child: Child,
    pub(crate) url: String,
}

impl Mock {
    pub(crate) fn start(scenario: &str) -> Result<Mock, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", scenario])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut url = String::new();
        let out = child.stdout.take().ok_or("no stdout")?;
        BufReader::new(out).read_line(&mut url)?;
        Ok(Mock { child, url: url.trim().to_owned() })
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A client of the mock.
pub(crate) fn client(url: &str) -> Result<Anthropic, Failure> {
    let keys = KeyRing::load(KeySource::default(), |_| Some(KEY.to_owned()))?;
    let mut config = AnthropicConfig::new(keys, Clock::real());
    config.base_url = url.to_owned();
    Ok(Anthropic::new(config)?)
}

async fn accounted(url: &str) -> Result<Took, Failure> {
    let folder = tempfile::tempdir()?;
    let limits = ProviderLimits {
        requests_per_minute: 100_000_000.try_into().ok(),
        max_concurrent: WORKERS.try_into()?,
        ..ProviderLimits::default()
    };
    let builder = system(client(url)?, clerks(WORKERS)?)?.limits(limits);
    let builder = builder.max_open_tasks(2 * WORKERS as usize).store(folder.path());
    let system = builder.start().await?;
    let (took, played) = measure(play_well(&system, WORKERS * CALLS)).await;
    played?;
    system.finish().await;
    Ok(took)
}

async fn bare(url: &str) -> Result<Took, Failure> {
    let client = reqwest::Client::builder()
        .pool_max_idle_per_host(4_096)
        .tcp_nodelay(true)
        .http1_only()
        .no_proxy()
        .build()?;
    let worker = |worker: u32| {
        let (client, url) = (client.clone(), format!("{url}/v1/messages"));
        async move {
            for call in 0..CALLS {
                let body = serde_json::json!({
                    "model": MODEL, "max_tokens": 100,
                    "messages": [{"role": "user", "content": format!("Task #{worker}-{call}")}],
                });
                let request = client.post(&url).header("x-api-key", KEY);
                let request = request.header("anthropic-version", "2023-06-01");
                let answer = request.body(body.to_string()).send().await?.bytes().await?;
                let answer: serde_json::Value = serde_json::from_slice(&answer)?;
                if answer["usage"]["output_tokens"].is_null() {
                    return Err(answer.to_string().into());
                }
            }
            Ok::<_, Failure>(())
        }
    };
    let mut workers: FuturesUnordered<_> = (0..WORKERS).map(worker).collect();
    let all = async {
        while let Some(worked) = workers.next().await {
            worked?;
        }
        Ok::<_, Failure>(())
    };
    let (took, worked) = measure(all).await;
    worked?;
    Ok(took)
}

pub(crate) fn run() -> Result<(), Failure> {
    let mock = Mock::start("[latency]\nbase = \"200ms\"\n[output]\ntokens = 40\n")?;
    actix::System::new().block_on(async {
        let (mut reference, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            reference.push(bare(&mock.url).await?);
            ours.push(accounted(&mock.url).await?);
        }
        println!("{WORKERS} workers × {CALLS} calls, 200 ms each, median of {ROUNDS} rounds");
        println!("{:<28} {:>8} {:>8}", "", "wall s", "CPU s");
        for (name, rounds) in [("bare loop (reference)", &reference), ("all accounting", &ours)] {
            let wall = median(rounds, |took| took.wall).as_secs_f64();
            let cpu = median(rounds, |took| took.cpu).as_secs_f64();
            println!("{name:<28} {wall:>8.2} {cpu:>8.2}");
        }
        let wall = ratio(median(&ours, |t| t.wall), median(&reference, |t| t.wall));
        let cpu = ratio(median(&ours, |t| t.cpu), median(&reference, |t| t.cpu));
        println!("{:<28} {wall:>8.2} {cpu:>8.2}", "ratio");
        Ok(())
    })
}
