//! Values and a system to try a store with.

use std::future::Future;
use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::audit::{AuditEvent, AuditKind};
use crate::clock::Timestamp;
use crate::money::NanoUsd;
use crate::record::{CallId, OpenAttempt, Subject, UsageRecord};
use crate::store::{Entry, Store, StoreNotice, Watch};
use crate::task::{Outcome, Status, Task, TaskId};
use crate::usage::TokenCounts;

pub(crate) const DAY: u64 = 86_400_000;

pub(crate) fn on_a_system<T>(test: impl Future<Output = T>) -> T {
    System::new().block_on(test)
}

pub(crate) fn call(n: u64) -> CallId {
    CallId::new(Timestamp::from_millis(n), u128::from(n) << 48)
}

pub(crate) fn subject(n: u64) -> Arc<Subject> {
    Arc::new(Subject {
        run_id: "run".into(),
        agent_id: Some(format!("backend-{}", n % 7).into()),
        agent: Some(["backend", "tests", "docs"][(n % 3) as usize].into()),
        agent_type: Some("backend".into()),
        task_id: Some(n.to_string().into()),
        project_id: (!n.is_multiple_of(5)).then(|| format!("p{}", n % 5).into()),
        user_id: None,
        model: Some("claude-sonnet-4-5".into()),
    })
}

pub(crate) fn open(n: u64, at: Timestamp) -> Arc<OpenAttempt> {
    Arc::new(OpenAttempt {
        call_id: call(n),
        attempt: 1,
        at,
        bound: NanoUsd::from_nanos(1_000),
        account: "sk-ant-***abcd".into(),
        provider: "anthropic".into(),
        subject: subject(n),
    })
}

pub(crate) fn record(n: u64, opened_at: Timestamp) -> UsageRecord {
    let usage = TokenCounts { input_tokens: 10, output_tokens: n, ..TokenCounts::default() };
    let ended = open(n, opened_at).ended(opened_at + std::time::Duration::from_secs(2));
    UsageRecord { cost: NanoUsd::from_nanos(n + 1), usage, ..ended }
}

pub(crate) fn event(n: u64, timestamp: Timestamp) -> AuditEvent {
    let kind = AuditKind::PromptTruncated { from_chars: n, to_chars: 1 };
    AuditEvent { timestamp, call_id: Some(call(n)), subject: subject(n), kind }
}

pub(crate) fn started(at: Timestamp) -> Entry {
    Entry::RunStarted { run_id: "run".into(), at, fleet: Some("fleet.toml".into()) }
}

pub(crate) fn accepted(n: u64, at: Timestamp) -> Entry {
    let task = Arc::new(Task::new(n.to_string(), "a task"));
    Entry::TaskAccepted { run_id: "run".into(), at, seq: n, task }
}

pub(crate) fn outcome(n: u64) -> Arc<Outcome> {
    Arc::new(Outcome {
        task_id: TaskId::from(n.to_string()),
        status: Status::Completed,
        output: Some("x".repeat(200)),
        error: None,
        agent_id: None,
        project_id: None,
        model: None,
        attempts: 1,
        usage: TokenCounts::default(),
        cost_usd: NanoUsd::from_nanos(n + 1),
        presumed_cost_usd: NanoUsd::ZERO,
        duration_ms: 1,
        finished_at: Timestamp::from_millis(n),
        stop_reason: None,
    })
}

pub(crate) fn ended(n: u64) -> Entry {
    Entry::TaskEnded { run_id: "run".into(), outcome: outcome(n) }
}

/// All that is written of one task with one call.
pub(crate) fn whole_task(n: u64, at: Timestamp) -> Vec<Entry> {
    vec![
        accepted(n, at),
        Entry::AttemptOpened(open(n, at)),
        Entry::Audit(event(n, at)),
        Entry::AttemptClosed(record(n, at)),
        Entry::Audit(event(n, at)),
        ended(n),
    ]
}

/// Passes on what a store says about itself.
struct Listener(UnboundedSender<StoreNotice>);

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<StoreNotice> for Listener {
    type Result = ();

    fn handle(&mut self, notice: StoreNotice, _: &mut Context<Self>) {
        // A test that has seen enough has dropped its end.
        _ = self.0.send(notice);
    }
}

/// What the store says about itself from now on.
pub(crate) fn notices(store: &Addr<Store>) -> UnboundedReceiver<StoreNotice> {
    let (sender, notices) = unbounded_channel();
    store.do_send(Watch(Listener(sender).start().recipient()));
    notices
}
