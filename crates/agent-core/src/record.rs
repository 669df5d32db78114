//! What is written down of every attempt: that it began, and what it cost.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::ledger::{NAMELESS, Scope, ScopeKind, Scopes, agents_of};
use crate::money::NanoUsd;
use crate::usage::TokenCounts;

/// Names one call: one completion wanted by a worker, over all its attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallId(pub Uuid);

impl CallId {
    /// A new id of the form UUIDv7: `now` first, so that ids sort by time, then `random`.
    pub fn new(now: Timestamp, random: u128) -> CallId {
        let [tail @ .., _, _, _, _, _, _] = random.to_be_bytes();
        CallId(uuid::Builder::from_unix_timestamp_millis(now.millis(), &tail).into_uuid())
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one attempt of a call, and the money that is set aside for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// Which call.
    pub call_id: CallId,
    /// Which attempt of it, from 1.
    pub attempt: u32,
}

/// Whom an event or a record is about; shared by all that is written of one task.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Subject {
    /// The run.
    pub run_id: Arc<str>,
    /// The worker, such as `backend-3`; that of a sub-agent's worker names its parents first:
    /// `lead-1>researcher-2`.
    pub agent_id: Option<Arc<str>>,
    /// The agent that it plays, such as `backend`, or `lead>researcher`.
    pub agent: Option<Arc<str>>,
    /// The agent's type.
    pub agent_type: Option<Arc<str>>,
    /// The task.
    pub task_id: Option<Arc<str>>,
    /// Who pays.
    pub project_id: Option<Arc<str>>,
    /// On whose behalf.
    pub user_id: Option<Arc<str>>,
    /// The model that was asked.
    pub model: Option<Arc<str>>,
}

impl Subject {
    /// The scopes of a call about this subject, paid with `account`. A sub-agent's calls count for
    /// the agents that it is under too.
    pub fn scopes(&self, account: &Arc<str>) -> Vec<Scope> {
        let mut scopes = Vec::with_capacity(7);
        let payer = Payer { subject: self, account };
        payer.each(|kind, name| scopes.push(Scope { kind, name: Arc::clone(name) }));
        scopes
    }
}

/// Who pays for a call: its scopes are those of a subject and an account.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payer<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) account: &'a Arc<str>,
}

impl Scopes for Payer<'_> {
    fn each(&self, mut each: impl FnMut(ScopeKind, &Arc<str>)) {
        let Payer { subject, account } = self;
        each(ScopeKind::Global, &NAMELESS);
        if let Some(path) = &subject.agent {
            agents_of(path, |agent| each(ScopeKind::Agent, agent));
        }
        let named = [
            (ScopeKind::Project, subject.project_id.as_ref()),
            (ScopeKind::User, subject.user_id.as_ref()),
            (ScopeKind::Task, subject.task_id.as_ref()),
            (ScopeKind::Model, subject.model.as_ref()),
            (ScopeKind::Key, Some(*account)),
        ];
        for (kind, name) in named {
            if let Some(name) = name {
                each(kind, name);
            }
        }
    }
}

/// An attempt that is about to leave; until it is closed, its bound counts as spent at recovery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenAttempt {
    /// Which call.
    pub call_id: CallId,
    /// Which attempt of it, from 1.
    pub attempt: u32,
    /// When it was opened.
    pub at: Timestamp,
    /// The money reserved for it.
    pub bound: NanoUsd,
    /// The masked key.
    pub account: Arc<str>,
    /// The provider: `anthropic`.
    pub provider: Arc<str>,
    /// Whom it is about.
    pub subject: Arc<Subject>,
}

impl OpenAttempt {
    /// Its name.
    pub fn id(&self) -> AttemptId {
        AttemptId { call_id: self.call_id, attempt: self.attempt }
    }

    /// The record of its end at `at`, as of an answer that used nothing, cost nothing and had waited
    /// for nothing.
    pub fn ended(&self, at: Timestamp) -> UsageRecord {
        let duration = at.since(self.at).as_millis();
        UsageRecord {
            call_id: self.call_id,
            attempt: self.attempt,
            at,
            opened_at: self.at,
            duration_ms: u64::try_from(duration).unwrap_or(u64::MAX),
            permit_wait_ms: 0,
            money_wait_ms: 0,
            usage: TokenCounts::default(),
            max_tokens: 0,
            cost: NanoUsd::ZERO,
            presumed: NanoUsd::ZERO,
            priced: true,
            error: None,
            status: None,
            stop_reason: None,
            request_id: None,
            answered_by: None,
            account: Arc::clone(&self.account),
            provider: Arc::clone(&self.provider),
            subject: Arc::clone(&self.subject),
        }
    }
}

/// How an attempt ended; closes an [`OpenAttempt`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRecord {
    /// Which call.
    pub call_id: CallId,
    /// Which attempt of it, from 1.
    pub attempt: u32,
    /// When it ended.
    pub at: Timestamp,
    /// When it was opened; budgets book it into the windows of this moment.
    pub opened_at: Timestamp,
    /// From its opening to its end, in milliseconds.
    pub duration_ms: u64,
    /// Waits before it left, in milliseconds: for a permit, and for money.
    pub permit_wait_ms: u64,
    /// See `permit_wait_ms`.
    pub money_wait_ms: u64,
    /// What was used, as far as it is known.
    pub usage: TokenCounts,
    /// Most output asked for, in tokens.
    pub max_tokens: u32,
    /// What is known to be billed.
    pub cost: NanoUsd,
    /// What is charged because it may have been billed.
    pub presumed: NanoUsd,
    /// `false` where the model has no known price: then `cost` is nothing, which is not a fact.
    pub priced: bool,
    /// `None` where there was an answer, else the kind of failure: `timeout`.
    pub error: Option<String>,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// Why the model stopped.
    pub stop_reason: Option<String>,
    /// The provider's name for the exchange.
    pub request_id: Option<String>,
    /// The model that answered, where it differs from the one that was asked.
    pub answered_by: Option<String>,
    /// The masked key.
    pub account: Arc<str>,
    /// The provider: `anthropic`.
    pub provider: Arc<str>,
    /// Whom it is about.
    pub subject: Arc<Subject>,
}

impl UsageRecord {
    /// Whether anything is to be accounted for: tokens, money, or an answer without a price.
    pub fn is_usage(&self) -> bool {
        self.usage.total() > 0 || !self.cost.is_zero() || !self.presumed.is_zero()
    }
}
