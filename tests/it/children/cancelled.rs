//! Money, permits and outcomes of a whole tree, cancelled at every point and torn by every crash.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use agent_core::agent::{AgentSpec, Scene};
use agent_core::llm::{Answer, LlmClient, LlmError, Request};
use agent_core::money::NanoUsd;
use agent_core::supervision::Supervision;
use agent_core::system::{AgentSystem, AgentSystemBuilder};
use agent_core::task::{Deadline, ErrorCode, Outcome, Task};
use futures_util::future::{LocalBoxFuture, join, join_all};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::{named, part};
use crate::behaviour::{Does, ask};
use crate::support::{Act, Scripted, budget, expect_panics, run, system, task};

const SCOPES: [&str; 5] = ["global", "agent:lead", "agent:child", "agent:grandchild", "task:*"];

/// Calls, and has a part of its work done below.
fn child() -> AgentSpec {
    named("child", 2).behaviour(|| {
        Does(async |scene: &Scene, task: &Task| {
            let grandchild = scene.spawn(named("grandchild", 1))?;
            let (own, below) = join(scene.answer(task), grandchild.execute(part("below"))).await;
            below?;
            own
        })
    })
}

/// Three generations, of which each calls. The first tells of its steps, and lets in whoever comes
/// between two of them.
fn lead(events: UnboundedSender<()>) -> AgentSpec {
    named("lead", 1).behaviour(move || {
        let events = events.clone();
        let step = async move || {
            _ = events.send(());
            for _ in 0..8 {
                turn().await;
            }
        };
        Does(async move |scene: &Scene, _: &Task| {
            step().await;
            scene.complete(ask("plan")).await?;
            step().await;
            let child = scene.spawn(child())?;
            let parts = ["1", "2", "3"].map(|name| child.execute(part(name)));
            let done = join_all(parts).await.into_iter().filter(Result::is_ok).count();
            scene.complete(ask("sum up")).await?;
            Ok(done.to_string().into())
        })
    })
}

/// The same, doing anything that a parent may do.
fn wild_lead(seed: u64) -> AgentSpec {
    let made = AtomicU64::new(0);
    named("lead", 2).behaviour(move || {
        let nth = made.fetch_add(1, Ordering::SeqCst);
        let mut random = fastrand::Rng::with_seed(seed * 1_000 + nth);
        assert!(random.u8(..10) > 0, "scripted panic");
        Does(async move |scene: &Scene, _: &Task| {
            scene.complete(ask("plan")).await?;
            let child = scene.spawn(child())?;
            let mut parts: Vec<_> =
                ["1", "2", "3", "4"].iter().map(|name| child.execute(part(name))).collect();
            scene.clock().sleep(Duration::from_millis(random.u64(1..4_000))).await;
            match random.u8(..6) {
                0 => child.stop(),
                1 => child.link(),
                2 => parts.truncate(1),
                3 => scene.tool("sort", || assert!(random.bool(), "scripted panic")),
                4 => return Ok("left early".into()),
                _ => {}
            }
            let done = join_all(parts).await.into_iter().filter(Result::is_ok).count();
            Ok(done.to_string().into())
        })
    })
}

async fn started(mut builder: AgentSystemBuilder) -> AgentSystem {
    for scope in SCOPES {
        builder = builder.budget(budget(scope, "1.00"));
    }
    builder.start().await.unwrap()
}

/// What the parent has in its outcome is what every scope of it was charged, and no less than what
/// was billed; nothing is held any more.
async fn conserved(system: &AgentSystem, client: &Scripted, outcomes: &[&Outcome], place: &str) {
    let charged = outcomes
        .iter()
        .map(|outcome| outcome.cost_usd.nanos() + outcome.presumed_cost_usd.nanos())
        .sum::<u64>();
    assert!(client.billed_nanos() <= charged, "{place}");
    for balance in system.balances().await.unwrap() {
        let spent = balance.spent.saturating_add(balance.presumed).nanos();
        assert_eq!(balance.reserved, NanoUsd::ZERO, "{place}: {balance:?}");
        let scope = balance.scope.to_string();
        if ["global", "agent:lead"].contains(&&*scope) {
            assert_eq!(spent, charged, "{place}: {balance:?}");
        }
        assert!(spent <= charged, "{place}: {balance:?}");
    }
    let headroom = system.headroom().await.unwrap();
    assert!(headroom.iter().all(|pair| pair.in_flight == 0 && pair.waiting == 0), "{place}");
    let summary = system.snapshot().await.unwrap().summary;
    let all = summary.cost_usd.nanos() + summary.presumed_cost_usd.nanos();
    assert_eq!(all, charged, "{place}");
    let attempts: u32 = outcomes.iter().map(|outcome| outcome.attempts).sum();
    assert_eq!(summary.calls.attempts, u64::from(attempts), "{place}");
    assert_eq!(summary.calls.succeeded + summary.calls.failed, u64::from(attempts), "{place}");
    let report = system.usage(Default::default()).await.unwrap().total.totals;
    assert_eq!(report.cost.nanos() + report.presumed.nanos(), charged, "{place}");
}

/// A provider whose every request and answer is told at once, so that what follows from it can be
/// met half-way: on a virtual clock it takes no time.
#[derive(Debug)]
struct Told {
    client: Scripted,
    events: UnboundedSender<()>,
}

impl LlmClient for Told {
    fn complete<'a>(
        &'a self,
        request: &'a Request,
    ) -> LocalBoxFuture<'a, Result<Answer, LlmError>> {
        Box::pin(async move {
            _ = self.events.send(());
            let answer = self.client.complete(request).await;
            _ = self.events.send(());
            answer
        })
    }

    fn provider(&self) -> &str {
        "told"
    }
}

/// Lets everything else that is ready run once.
async fn turn() {
    let mut turned = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut turned, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Eight calls are eight requests and eight answers, and there are two steps of the parent's own.
/// After each of them, and before the start, the task is cancelled at every turn of the runtime
/// until nothing is left to be done at that moment.
#[test]
fn spend_is_conserved_wherever_a_parent_is_cancelled() {
    let mut reached = BTreeSet::new();
    for (event, turns) in (0..=18).flat_map(|event| (0..24).map(move |turns| (event, turns))) {
        let place = format!("{turns} turns after event {event}");
        reached.insert(run(|clock| async move {
            let after = Duration::from_millis(100);
            let answer = Act::Answer { input: 40, output: 20, after };
            let client = Scripted::new(&clock, Vec::new(), answer);
            let (events, mut told) = unbounded_channel();
            let lead = lead(events.clone());
            let builder = AgentSystem::builder(Told { client: client.clone(), events });
            let system = started(builder.clock(clock).seed(7).agent(lead)).await;
            let mut outcomes = system.outcomes();
            let cancels = system.clone();
            // In a task of its own: the main one is run only when all others wait.
            let cancelled = actix::spawn(async move {
                for _ in 0..event {
                    told.recv().await;
                }
                for _ in 0..turns {
                    turn().await;
                }
                cancels.cancel("1".into()).await.unwrap()
            });
            let handle = system.submit(task(1)).await.unwrap();
            let open = cancelled.await.unwrap();
            let outcome = handle.outcome().await.unwrap();
            let code = outcome.error.as_ref().map(|error| error.code);
            assert!(open || code.is_none(), "{place}: {outcome:?}");
            conserved(&system, &client, &[&outcome], &place).await;
            assert!(outcomes.try_next().is_some() && outcomes.try_next().is_none(), "{place}");
            let presumed = outcome.presumed_cost_usd.nanos() > 0;
            (outcome.attempts, presumed, code.map(ErrorCode::as_str))
        }));
    }
    let cancelled = |attempts, presumed| (attempts, presumed, Some("CANCELLED"));
    // Before the first request, while it is under way, between it and the next, and too late.
    for state in [cancelled(0, false), cancelled(1, true), cancelled(1, false), (8, false, None)] {
        assert!(reached.contains(&state), "{state:?} is not among {reached:?}");
    }
}

#[test]
fn a_parent_has_exactly_one_outcome_whatever_it_and_its_children_do() {
    expect_panics();
    let only: Option<u64> = std::env::var("IMPRESARIO_SEED").ok().and_then(|s| s.parse().ok());
    for seed in only.map_or(0..20, |seed| seed..seed + 1) {
        run(|clock| async move {
            let place = format!("seed {seed}");
            let client = Scripted::wild(&clock, seed);
            let supervision = Supervision { max_restarts: 20, ..Supervision::default() };
            let builder = system(&clock, &client).agent(wild_lead(seed)).supervision(supervision);
            let system = started(builder).await;
            let mut outcomes = system.outcomes();
            let mut random = fastrand::Rng::with_seed(seed);
            let mut handles = Vec::new();
            for id in 0..12 {
                let after = Duration::from_millis(random.u64(1..60_000));
                let deadline = random.bool().then_some(Deadline::After(after));
                handles.push(system.submit(Task { deadline, ..task(id) }).await.unwrap());
            }
            for _ in 0..4 {
                clock.sleep(Duration::from_millis(random.u64(1..20_000))).await;
                let id = random.u32(0..12).to_string();
                system.cancel(id.into()).await.unwrap();
            }
            let mut ended = Vec::new();
            for handle in handles {
                ended.push(handle.outcome().await.unwrap());
            }
            let all: Vec<&Outcome> = ended.iter().map(|outcome| &**outcome).collect();
            conserved(&system, &client, &all, &place).await;
            let told: Vec<_> = std::iter::from_fn(|| outcomes.try_next()).collect();
            let ids: BTreeSet<_> = told.iter().map(|outcome| outcome.task_id.clone()).collect();
            assert_eq!((told.len(), ids.len()), (12, 12), "{place}");
        });
    }
}
