//! A simulated run and a real one of the same scenario: the same provider, in process and in
//! virtual time, over HTTP and in real time. How long they took is compared by a benchmark.

use agent_core::clock::Clock;
use agent_core::llm::anthropic::{Anthropic, AnthropicConfig};
use agent_core::llm::{KeyRing, KeySource};
use agent_sim::engine::{rehearse, simulate};
use agent_sim::mock::{LOCAL, MockProvider};
use agent_sim::scenario::Scenario;

const SCENARIO: &str = r#"
[simulated]
latency = { base = "20ms", per_output_token = "100us", sigma = 0.2 }
[[fault]]
first_calls = 1
effect = "status"
status = 529
[retry]
initial_backoff = "10ms"
max_backoff = "20ms"
[[agent]]
name = "clerk"
model = "claude-haiku-4-5"
count = 10
rate_limit = { calls = 1000 }
[[workload]]
name = "letter"
count = 60
turns = { kind = "uniform", min = 1, max = 3 }
growth = 200
cached_share = 0.5
"#;

#[actix::test]
async fn a_real_run_over_http_asks_and_pays_for_what_the_simulation_said() {
    let scenario = Scenario::parse(SCENARIO).unwrap();
    // On a thread of its own: it has an actix system of its own.
    let on_its_own = || std::thread::scope(|it| it.spawn(|| simulate(&scenario, 3)).join());
    let virtual_run = on_its_own().unwrap().unwrap();
    let mock = MockProvider::start_scripted(LOCAL, &scenario, 3).await.unwrap();
    let keys = |_: &str| Some("sk-ant-api03-fidelity".to_owned());
    let keys = KeyRing::load(KeySource::default(), keys).unwrap();
    let mut config = AnthropicConfig::new(keys, Clock::real());
    config.base_url = mock.url();
    let client = Anthropic::new(config).unwrap();
    let real = rehearse(&scenario, 3, Clock::real(), client).await.unwrap();
    assert_eq!((real.completed, real.failed), (60, 0));
    assert_eq!(real.usage, virtual_run.usage);
    assert_eq!(real.cost, virtual_run.cost);
    // Which worker meets its first call with which task is a matter of moments; each does once.
    assert_eq!((real.attempts, real.retried), (virtual_run.attempts, virtual_run.retried));
}
