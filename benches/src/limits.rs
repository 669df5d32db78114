//! 1,000 workers against a provider that enforces 600 requests and 100,000 input tokens a minute.

use std::time::Duration;

use agent_core::clock::Clock;
use agent_core::permits::ProviderLimits;
use agent_core::system::AgentSystem;
use agent_core::task::Task;

use crate::Failure;
use crate::fleet::clerks;
use crate::http::{Mock, client};

const SCENARIO: &str = "[latency]\nbase = \"200ms\"\n[output]\ntokens = 20\ninput_tokens = 160\n\
                        [limits]\nrequests_per_minute = 600\ninput_tokens_per_minute = 100000\n";
const MINUTES: u32 = 3;

pub(crate) fn run() -> Result<(), Failure> {
    let mock = Mock::start(SCENARIO)?;
    actix::System::new().block_on(async {
        let limits = ProviderLimits {
            requests_per_minute: 600.try_into().ok(),
            input_tokens_per_minute: 100_000.try_into().ok(),
            max_concurrent: 1_000.try_into()?,
            max_wait: Duration::from_secs(3_600),
            ..ProviderLimits::default()
        };
        let builder = AgentSystem::builder(client(&mock.url)?).limits(limits);
        let system = builder.agent(clerks(1_000)?).start().await?;
        let mut outcomes = system.outcomes();
        for id in 0..600 * (MINUTES + 1) {
            system.submit(Task::new(id.to_string(), format!("File letter {id}"))).await?;
        }
        let clock = Clock::real();
        let end = clock.now() + Duration::from_secs(60) * MINUTES;
        let (mut answered, mut last, mut out_of_order) = (0u32, 0u32, 0u32);
        while let Ok(Some(outcome)) = clock.timeout(end, std::pin::pin!(outcomes.next())).await {
            answered += u32::from(outcome.error.is_none());
            let id: u32 = outcome.task_id.as_str().parse()?;
            // Answers of calls that were let go together come in any order.
            out_of_order += u32::from(id + 100 < last);
            last = last.max(id);
        }
        let calls = system.snapshot().await?.summary.calls;
        // The window of the run's last moments is not over yet: its calls count too.
        let used = f64::from(answered) / f64::from(600 * MINUTES);
        println!("{MINUTES} minutes at 600 requests and 100,000 input tokens a minute");
        println!(
            "answered {answered}, failed attempts {}, retried {}",
            calls.failed, calls.retried
        );
        println!("quota used {:.1} %, out of order {out_of_order}", used * 100.0);
        system.shutdown(agent_core::system::Ended::Interrupted, Duration::ZERO).await;
        Ok(())
    })
}
