//! How a run ends: intake closes, what is in flight gets a grace period, then is cancelled.

use std::sync::Arc;
use std::time::Duration;

use actix::{ActorContext, Context, Handler, Message, ResponseFuture};
use tokio::sync::oneshot;

use super::{Coordinator, FeedAll, Intake};
use crate::audit::AuditKind;
use crate::budget::BudgetNotice;
use crate::panics::log;
use crate::record::Subject;
use crate::store::StoreNotice;

/// How long the disk has, at the end of a run, for what it was given.
pub(crate) const LAST_WRITES: Duration = Duration::from_secs(5);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// Every task ended.
    Finished,
    /// It was told to end before that; what was accepted is kept.
    Interrupted,
    /// It stopped itself: for a budget with `stop_run`, a group or a shared actor that failed, or the
    /// store; what was accepted is kept.
    Stopped,
}

// === Shutdown ===

/// Closes the intake and waits for what is in flight: until `grace` is over, then it is cancelled.
#[derive(Debug, Message)]
#[rtype(result = "Ended")]
pub(crate) struct Shutdown {
    pub(crate) how: Ended,
    pub(crate) grace: Duration,
}

impl Handler<Shutdown> for Coordinator {
    type Result = ResponseFuture<Ended>;

    fn handle(&mut self, msg: Shutdown, ctx: &mut Context<Self>) -> Self::Result {
        let Shutdown { how, grace } = msg;
        self.close(how);
        let (tell, told) = oneshot::channel();
        self.waiting_for_end.push(tell);
        let at = self.services.clock.now() + grace;
        self.notify_at(at, CancelAll, ctx);
        self.tell_if_idle();
        Box::pin(async move { told.await.unwrap_or(Ended::Stopped) })
    }
}

/// The grace period is over.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct CancelAll;

impl Handler<CancelAll> for Coordinator {
    type Result = ();

    fn handle(&mut self, _msg: CancelAll, ctx: &mut Context<Self>) {
        for worker in self.roster.all_busy() {
            self.troupe.cancel(worker);
        }
        // No wait is without a bound: that for a store that is down ends here too, and one that
        // hangs has a little longer.
        self.store_given_up |= self.store_down;
        self.tell_if_idle();
        self.notify_at(self.services.clock.now() + LAST_WRITES, GiveUpOnOutcomes, ctx);
    }
}

/// What was in flight is cancelled, and what became of it must be durable by now.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct GiveUpOnOutcomes;

impl Handler<GiveUpOnOutcomes> for Coordinator {
    type Result = ();

    fn handle(&mut self, _msg: GiveUpOnOutcomes, _ctx: &mut Context<Self>) {
        self.store_given_up = true;
        let busy = self.roster.counts().busy;
        if busy > 0 {
            log!(error, workers = busy, "workers do not yield: the run ends without them");
            self.given_up = true;
            self.take_away_all();
        }
        self.tell_if_idle();
    }
}

impl Coordinator {
    /// Nobody who is at work makes a call any more.
    fn take_away_all(&self) {
        for worker in self.roster.all_busy() {
            self.take_away(worker);
        }
    }

    /// The run stops itself: what is in flight gets the grace period, and is then cancelled.
    pub(super) fn stop_run(&mut self, ctx: &mut Context<Self>) {
        if self.intake == Intake::Open {
            self.close(Ended::Stopped);
            self.notify_at(self.services.clock.now() + self.plan.grace, CancelAll, ctx);
        }
    }
}

// === Stop ===

/// Nobody holds a handle any more: the workers and the coordinator end.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Stop;

impl Handler<Stop> for Coordinator {
    type Result = ();

    fn handle(&mut self, _msg: Stop, ctx: &mut Context<Self>) {
        self.take_away_all();
        self.troupe.end();
        ctx.stop();
    }
}

// === WaitForStop ===

/// Answers when the run has stopped itself or was told to, and nothing is in flight any more.
#[derive(Debug, Message)]
#[rtype(result = "Ended")]
pub(crate) struct WaitForStop;

impl Handler<WaitForStop> for Coordinator {
    type Result = ResponseFuture<Ended>;

    fn handle(&mut self, _msg: WaitForStop, _ctx: &mut Context<Self>) -> Self::Result {
        let (tell, told) = oneshot::channel();
        self.waiting_for_end.push(tell);
        self.tell_if_idle();
        Box::pin(async move { told.await.unwrap_or(Ended::Stopped) })
    }
}

// === notices ===

impl Handler<BudgetNotice> for Coordinator {
    type Result = ();

    fn handle(&mut self, notice: BudgetNotice, ctx: &mut Context<Self>) {
        match notice {
            BudgetNotice::Threshold(threshold) => {
                let event = AuditKind::BudgetThreshold {
                    scope: threshold.scope.to_string(),
                    limit: threshold.limit,
                    spent: threshold.spent,
                    reserved: threshold.reserved,
                    percent: threshold.percent,
                };
                self.audit(event);
            }
            BudgetNotice::Overrun(overrun) => {
                let event = AuditKind::BudgetOverrun {
                    scope: overrun.scope.to_string(),
                    limit: overrun.limit,
                    spent: overrun.spent,
                    by: overrun.by,
                };
                self.audit(event);
            }
            BudgetNotice::StopRun(no_room) => {
                // Each worker that is refused says so; the run stops once.
                if matches!(self.intake, Intake::Open) {
                    log!(error, scope = %no_room.scope, limit = %no_room.limit, "budget used up");
                }
                self.stop_run(ctx);
                self.tell_if_idle();
            }
            // The worker that was refused has audited it, with its task.
            BudgetNotice::Exceeded(_) => {}
        }
    }
}

impl Coordinator {
    fn audit(&self, event: AuditKind) {
        let run_id = Arc::clone(&self.plan.run_id);
        let subject = Arc::new(Subject { run_id, ..Subject::default() });
        self.services.audit(None, &subject, event);
    }
}

impl Handler<StoreNotice> for Coordinator {
    type Result = ();

    fn handle(&mut self, notice: StoreNotice, ctx: &mut Context<Self>) {
        match notice {
            StoreNotice::Down { reason } => {
                log!(error, %reason, "the store is down: no new attempt starts");
                self.store_down = true;
                self.store_outages += 1;
                let at = self.services.clock.now() + self.plan.store_grace;
                self.notify_at(at, GiveUpOnStore { outage: self.store_outages }, ctx);
            }
            StoreNotice::Back => {
                log!(warn, "the store is back, and has what was kept for it");
                self.store_down = false;
                self.store_given_up = false;
                self.notify_at(self.services.clock.now(), FeedAll, ctx);
            }
            StoreNotice::Slow { .. } => {}
        }
    }
}

/// The store has been down for long, unless it came back.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct GiveUpOnStore {
    outage: u64,
}

impl Handler<GiveUpOnStore> for Coordinator {
    type Result = ();

    fn handle(&mut self, GiveUpOnStore { outage }: GiveUpOnStore, ctx: &mut Context<Self>) {
        if self.store_down && self.store_outages == outage {
            log!(error, "the store stayed down: the run stops");
            self.store_given_up = true;
            self.stop_run(ctx);
            self.tell_if_idle();
        }
    }
}
