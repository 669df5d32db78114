//! The cost guard: what could cost its task more than it may is refused before it takes anything.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use crate::audit::AuditKind;
use crate::llm::{LlmError, Request};
use crate::money::NanoUsd;
use crate::task::TaskError;
use crate::worker::attempt::Attempt;
use crate::worker::call::Call;
use crate::worker::job::Tally;
use crate::worker::refusal;
use crate::worker::tree::{Held, Tree};

impl Call<'_> {
    /// Refuses a call that could cost the task more than it may.
    pub(super) fn guard_cost(&self, request: &Request) -> Result<(), TaskError> {
        self.guard(self.bound(self.full_input_bound, request.max_tokens)?)
    }

    /// Whether another attempt passes the guard, once `attempt` has ended with `error`.
    pub(super) fn may_try_again(
        &self,
        request: &Request,
        attempt: &Attempt<'_>,
        error: &LlmError,
    ) -> bool {
        let taken = self.taken(attempt.bound()).saturating_add(attempt.takes(error));
        self.bound(self.full_input_bound, request.max_tokens)
            .is_ok_and(|bound| bound.saturating_add(taken) <= self.services.rules.max_cost_per_task)
    }

    fn guard(&self, bound: NanoUsd) -> Result<(), TaskError> {
        let estimated = bound.saturating_add(self.taken(NanoUsd::ZERO));
        if estimated <= self.services.rules.max_cost_per_task {
            return Ok(());
        }
        Err(self.refuse(estimated))
    }

    /// The same where other calls of the task may be under way: what they could cost counts until
    /// they have ended. Waits for that, and holds what this one could cost.
    pub(super) async fn hold_cost(
        &mut self,
        request: &Request,
        tree: &Arc<Tree>,
    ) -> Result<Held, TaskError> {
        let bound = self.bound(self.full_input_bound, request.max_tokens)?;
        let limit = self.services.rules.max_cost_per_task;
        let deadline = self.wait_deadline(self.services.clock.now());
        self.step.until(deadline);
        let mut turn = tree.turn();
        let held = poll_fn(|cx| {
            if let Err(refused) = self.guard(bound) {
                return Poll::Ready(Err(refused));
            }
            turn.poll_hold(bound, limit.saturating_sub(self.taken(NanoUsd::ZERO)), cx).map(Ok)
        });
        match self.services.clock.timeout(deadline, held).await {
            Ok(held) => held,
            Err(_) if self.job.assignment.deadline <= self.services.clock.now() => {
                Err(refusal::deadline(self.job))
            }
            Err(_) => Err(self.refuse(
                self.taken(NanoUsd::ZERO).saturating_add(tree.held()).saturating_add(bound),
            )),
        }
    }

    /// What the task has been charged so far, and what a worker that was replaced still has in
    /// flight for it: that is all that is in flight but this one's own. `alone` is that where calls
    /// are made one by one.
    fn taken(&self, alone: NanoUsd) -> NanoUsd {
        let own = self.job.family.as_ref().map_or(alone, |family| family.tree().in_flight());
        let taken =
            |tally: &mut Tally| tally.charged().saturating_add(tally.in_flight.saturating_sub(own));
        self.job.tally(taken)
    }

    fn refuse(&self, estimated: NanoUsd) -> TaskError {
        let limit = self.services.rules.max_cost_per_task;
        let event = AuditKind::CostLimitExceeded { estimated, limit };
        self.services.audit(Some(self.id), &self.job.subject, event);
        refusal::cost(estimated, limit)
    }
}
