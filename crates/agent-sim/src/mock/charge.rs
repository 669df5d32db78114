//! The charge for a call under way: billed when it is done, and also when it is abandoned.

use std::io;
use std::sync::Arc;

use agent_core::clock::Timestamp;
use agent_core::money::NanoUsd;
use agent_core::pricing::Catalogue;
use agent_core::usage::Usage;

use super::State;
use super::bill::BilledAnswer;

/// What an admitted call will be billed for. Dropping it bills it: the provider does the work
/// whether or not the client still listens.
pub(super) struct Charge {
    state: Arc<State>,
    key: String,
    // The output tokens that the limits hold for it, and since when.
    held: (u64, Timestamp),
    is_billed: bool,
    // Absent once it is settled.
    answer: Option<BilledAnswer>,
}

impl Charge {
    /// A charge for `answer`; `held` output tokens were taken from the limits, and when.
    pub(super) fn new(
        state: Arc<State>,
        key: String,
        held: (u64, Timestamp),
        answer: BilledAnswer,
    ) -> Charge {
        Charge { state, key, held, is_billed: true, answer: Some(answer) }
    }

    /// Bills nothing.
    pub(super) fn waive(&mut self) {
        self.is_billed = false;
    }

    /// From now on it is for so many output tokens: those that were sent.
    pub(super) fn set_output(&mut self, tokens: u64) {
        if let Some(answer) = &mut self.answer {
            answer.output_tokens = tokens;
        }
    }

    /// Bills it now.
    ///
    /// # Errors
    ///
    /// Where the ledger cannot be written.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        let Some(mut answer) = self.answer.take() else { return Ok(()) };
        let used = if self.is_billed { answer.output_tokens } else { 0 };
        let (held, since) = self.held;
        if held > used {
            let mut limiter = self.state.limiter();
            limiter.give_back(&self.key, &answer.model, held - used, since);
        }
        if !self.is_billed {
            return Ok(());
        }
        let cost = match self.state.scenario.spend_limit_usd {
            Some(_) => cost(&answer),
            None => NanoUsd::ZERO,
        };
        answer.at = self.state.clock.now();
        self.state.bill().add(answer, cost).inspect_err(|error| {
            tracing::error!(%error, "the ledger cannot be written; an answer is missing in it");
        })
    }
}

fn cost(answer: &BilledAnswer) -> NanoUsd {
    let BilledAnswer { input_tokens, output_tokens, .. } = *answer;
    let usage = Usage { input_tokens, output_tokens, ..Usage::default() };
    // A model without a price was refused.
    Catalogue::builtin().cost(&answer.model, &usage).unwrap_or(NanoUsd::ZERO)
}

impl Drop for Charge {
    fn drop(&mut self) {
        // There is no client left to tell that the ledger cannot be written.
        let _ = self.settle();
    }
}
