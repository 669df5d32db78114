//! A rate limiter that panics at any moment, with its sums and queues in ruins.

use std::rc::Rc;

use super::*;
use crate::permits::{AgentRateLimit, ProviderLimits};
use crate::rate_limiter::Ruin;
use crate::supervision::Supervision;

const TASKS: u64 = 70;
const A_MINUTE: usize = 20;
const AT_ONCE: u32 = 3;

/// A provider that notes when it is called, and by how many at once.
#[derive(Debug, Clone)]
struct Noting(Arc<(Clock, Mutex<Noted>)>);

#[derive(Debug)]
struct Noted {
    random: fastrand::Rng,
    sent: Vec<Timestamp>,
    in_flight: u32,
    most: u32,
}

impl LlmClient for Noting {
    fn complete<'a>(&'a self, _: &'a Request) -> LocalBoxFuture<'a, Result<Answer, LlmError>> {
        let (clock, noted) = &*self.0;
        Box::pin(async move {
            let pause = {
                let noted = &mut *lock(noted);
                noted.sent.push(clock.now());
                noted.in_flight += 1;
                noted.most = noted.most.max(noted.in_flight);
                noted.random.u64(1..3_000)
            };
            clock.sleep(Duration::from_millis(pause)).await;
            lock(noted).in_flight -= 1;
            Ok(Answer {
                content: vec![Block::Text { text: "done".into() }],
                stop_reason: Some(StopReason::EndTurn),
                usage: Usage { input_tokens: 100, output_tokens: 50, ..Usage::default() },
                ..Answer::default()
            })
        })
    }

    fn provider(&self) -> &str {
        "noting"
    }
}

async fn storm(clock: Clock, seed: u64) {
    let random = fastrand::Rng::with_seed(seed);
    let noted = Noted { random: random.clone(), sent: Vec::new(), in_flight: 0, most: 0 };
    let client = Noting(Arc::new((clock.clone(), Mutex::new(noted))));
    let often = Supervision {
        max_restarts: 10_000,
        backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(1),
        ..Supervision::default()
    };
    let limits = ProviderLimits {
        requests_per_minute: u32::try_from(A_MINUTE).unwrap().try_into().ok(),
        max_concurrent: AT_ONCE.try_into().unwrap(),
        max_wait: Duration::from_secs(3_600),
        ..ProviderLimits::default()
    };
    let own = AgentRateLimit { calls: 5.try_into().unwrap(), ..AgentRateLimit::default() };
    let agent = AgentSpec::new("clerk", "claude-haiku-4-5").count(8).max_tokens(100);
    let builder = AgentSystem::builder(client.clone()).clock(clock.clone()).seed(7).limits(limits);
    let builder = builder.agent(agent.rate_limit(own)).supervision(often);
    let system = Rc::new(builder.start().await.unwrap());
    let mut outcomes = system.outcomes();
    let sabotage = {
        let (system, clock, mut random) = (Rc::clone(&system), clock.clone(), random);
        actix::spawn(async move {
            loop {
                for _ in 0..random.u32(0..30) {
                    tokio::task::yield_now().await;
                }
                system.limiter.do_send(Ruin);
                clock.sleep(Duration::from_millis(random.u64(1..2_000))).await;
            }
        })
    };
    for id in 0..TASKS {
        drop(system.submit(Task::new(id.to_string(), "a task")).await.unwrap());
    }
    let mut told = std::collections::BTreeSet::new();
    for _ in 0..TASKS {
        let outcome = outcomes.next().await.unwrap();
        assert!(outcome.error.is_none(), "seed {seed}: {outcome:?}");
        assert!(told.insert(outcome.task_id.clone()), "seed {seed}: twice");
    }
    sabotage.abort();
    let limits = system.headroom().await.unwrap();
    assert!(limits.iter().all(|pair| pair.in_flight == 0 && pair.waiting == 0), "{limits:?}");
    let Noted { sent, most, .. } = &*lock(&client.0.1);
    assert_eq!(sent.len() as u64, TASKS, "seed {seed}");
    assert!(*most <= AT_ONCE, "seed {seed}: {most} at once");
    for (index, at) in sent.iter().enumerate().skip(A_MINUTE) {
        let since = at.since(sent[index - A_MINUTE]);
        assert!(since >= Duration::from_secs(60), "seed {seed}: request {index} after {since:?}");
    }
    let took = sent[sent.len() - 1].since(sent[0]);
    assert!(took < Duration::from_secs(300), "seed {seed}: the limit is not used, {took:?}");
}

#[test]
fn a_rate_limiter_that_panics_at_any_moment_exceeds_no_limit_and_forgets_nobody() {
    for seed in 0..16 {
        VirtualClock::run(Timestamp::from_millis(0), |clock| storm(clock, seed));
    }
}
