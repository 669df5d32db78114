//! What a task attempted: its calls one after the other, and which of their attempts failed.

use std::collections::BTreeMap;
use std::time::Duration;

use agent_core::clock::Timestamp;
use agent_core::record::{CallId, Subject, UsageRecord};
use agent_core::usage::TokenCounts;

use crate::calibrate::Failed;
use crate::scenario::{Effect, Failure, Recorded, Turn};

/// The attempts of one task.
#[derive(Debug, Default)]
pub(super) struct Attempts<'a> {
    of_calls: BTreeMap<(Option<CallId>, u32), Attempt<'a>>,
}

/// An attempt: of one that failed and cost nothing there is no record.
#[derive(Debug, Clone, Copy, Default)]
struct Attempt<'a> {
    record: Option<&'a UsageRecord>,
    failed: Option<&'a Failed>,
}

/// Input and output of a call that was never answered: as long as the others are on average.
#[derive(Debug, Clone, Copy)]
pub(super) struct Typical {
    input: u64,
    output: u64,
}

impl Typical {
    /// Of the calls that were answered.
    pub(super) fn of(records: &[&UsageRecord]) -> Typical {
        let answered = || records.iter().filter(|record| record.error.is_none());
        let count = (answered().count() as u64).max(1);
        let average = |of: fn(&UsageRecord) -> u64| {
            answered().map(|record| of(record)).fold(0, u64::saturating_add) / count
        };
        Typical {
            input: average(|record| record.usage.all_input()),
            output: average(|record| record.usage.output_tokens),
        }
    }
}

impl<'a> Attempts<'a> {
    /// Adds one of which there is a record, whether or not it failed.
    pub(super) fn answered(&mut self, record: &'a UsageRecord) {
        let key = (Some(record.call_id), record.attempt);
        self.of_calls.entry(key).or_default().record = Some(record);
    }

    /// Adds what is known of one that failed.
    pub(super) fn failed(&mut self, failed: &'a Failed) {
        self.of_calls.entry((failed.call, failed.attempt)).or_default().failed = Some(failed);
    }

    /// How many there were.
    pub(super) fn count(&self) -> usize {
        self.of_calls.len()
    }

    /// How many of them failed.
    pub(super) fn failures(&self) -> usize {
        self.of_calls.values().filter(|attempt| attempt.failed.is_some()).count()
    }

    /// The records that there are.
    pub(super) fn records(&self) -> impl Iterator<Item = &'a UsageRecord> {
        self.of_calls.values().filter_map(|attempt| attempt.record)
    }

    /// Whom the last of them is about.
    pub(super) fn subject(&self) -> Option<&'a Subject> {
        let last = self.of_calls.values().max_by_key(|attempt| attempt.opened());
        last.and_then(Attempt::subject)
    }

    /// The task, as it is played again: it comes at `at_ns`, and its calls one after the other.
    pub(super) fn replayed(&self, at_ns: u64, typical: Typical) -> Recorded {
        let mut attempts: Vec<_> = self.of_calls.iter().collect();
        attempts.sort_by_key(|(key, attempt)| (attempt.opened(), **key));
        let (mut turns, mut failures): (Vec<Turn>, _) = (Vec::new(), Vec::new());
        let mut places: BTreeMap<Option<CallId>, usize> = BTreeMap::new();
        let mut ended: Option<Timestamp> = None;
        for ((call, number), attempt) in attempts {
            let turn = *places.entry(*call).or_insert_with(|| {
                turns.push(attempt.asked(typical, ended));
                turns.len() - 1
            });
            if let Some(answered) = attempt.tokens() {
                // What a call needs is known when it is answered.
                turns[turn] = Turn { gap_ns: turns[turn].gap_ns, ..answered };
            }
            if let Some(failed) = attempt.failed {
                let turn = u32::try_from(turn).unwrap_or(u32::MAX);
                let (effect, after) = (effect(failed), failed.after);
                failures.push(Failure { turn, attempt: *number, effect, after });
            }
            ended = ended.max(attempt.ended());
        }
        Recorded { at_ns, turns, failures }
    }
}

impl<'a> Attempt<'a> {
    fn opened(&self) -> Option<Timestamp> {
        let failed = || self.failed.map(|failed| failed.at.saturating_sub(failed.after));
        self.record.map(|record| record.opened_at).or_else(failed)
    }

    fn ended(&self) -> Option<Timestamp> {
        self.record.map(|record| record.at).or_else(|| Some(self.failed?.at))
    }

    fn subject(&self) -> Option<&'a Subject> {
        let failed = || self.failed.map(|failed| &*failed.subject);
        self.record.map(|record| &*record.subject).or_else(failed)
    }

    /// The call that it begins, as far as it shows it, where the one before had `ended`.
    fn asked(&self, typical: Typical, ended: Option<Timestamp>) -> Turn {
        // Of one without a record it is not known how long it had waited for a permit.
        let gap = self.record.zip(ended).map(|(record, ended)| {
            let waited = record.permit_wait_ms.saturating_add(record.money_wait_ms);
            let waited = Duration::from_millis(waited);
            record.opened_at.saturating_sub(waited).since(ended).as_nanos()
        });
        Turn {
            input: Some(typical.input),
            cached: Some(0),
            written: Some(0),
            output: typical.output,
            gap_ns: gap.map(|gap| u64::try_from(gap).unwrap_or(u64::MAX)),
        }
    }

    /// What an answer shows of its call.
    fn tokens(&self) -> Option<Turn> {
        let record = self.record.filter(|record| record.error.is_none())?;
        let TokenCounts { cache_creation_input_tokens, cache_read_input_tokens, .. } = record.usage;
        Some(Turn {
            input: Some(record.usage.all_input()),
            cached: Some(cache_read_input_tokens),
            written: Some(cache_creation_input_tokens),
            output: record.usage.output_tokens,
            gap_ns: None,
        })
    }
}

/// What an attempt met that failed so.
fn effect(failed: &Failed) -> Effect {
    match (failed.status, failed.kind.as_str()) {
        (Some(status @ 400..=599), _) => Effect::Status { status, retry_after: failed.retry_after },
        (_, "timeout") => Effect::Hang,
        (_, "not_sent") => Effect::Outage,
        _ => Effect::Reset,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use agent_core::money::NanoUsd;
    use agent_core::record::OpenAttempt;

    use super::*;

    fn open() -> OpenAttempt {
        OpenAttempt {
            call_id: CallId::new(Timestamp::EPOCH, 1),
            attempt: 1,
            at: Timestamp::EPOCH,
            bound: NanoUsd::ZERO,
            account: "key".into(),
            provider: "simulated".into(),
            subject: Arc::new(Subject::default()),
        }
    }

    #[test]
    fn what_a_call_waited_for_is_no_part_of_the_pause_before_it() {
        let record = |number: u128, [from, to]: [u64; 2]| {
            let at = |seconds| Timestamp::from_millis(seconds * 1_000);
            // The last six bytes of the number are no part of an id.
            let call_id = CallId::new(Timestamp::EPOCH, number << 64);
            OpenAttempt { call_id, at: at(from), ..open() }.ended(at(to))
        };
        let first = record(1, [0, 2]);
        let (permit_wait_ms, money_wait_ms) = (1_000, 3_000);
        let second = UsageRecord { permit_wait_ms, money_wait_ms, ..record(2, [10, 11]) };
        let gaps = |records: &[&UsageRecord]| {
            let mut attempts = Attempts::default();
            records.iter().for_each(|record| attempts.answered(record));
            let turns = attempts.replayed(0, Typical { input: 1, output: 1 }).turns;
            turns.iter().map(|turn| turn.gap_ns).collect::<Vec<_>>()
        };
        assert_eq!(gaps(&[&first, &second]), [None, Some(4_000_000_000)]);
        // Of calls at once the pause begins when the last of them has ended.
        let within = record(3, [1, 1]);
        assert_eq!(gaps(&[&first, &within, &second]), [None, Some(0), Some(4_000_000_000)]);
    }

    #[test]
    fn what_failed_fails_again_in_the_same_way() {
        let failed = |kind: &str, status| Failed {
            call: None,
            attempt: 1,
            at: Timestamp::EPOCH,
            after: Duration::ZERO,
            subject: Arc::new(Subject::default()),
            status,
            retry_after: Some(Duration::from_secs(3)),
            kind: kind.to_owned(),
        };
        let limited = Effect::Status { status: 429, retry_after: Some(Duration::from_secs(3)) };
        for (kind, status, met) in [
            ("rate_limited", Some(429), limited),
            ("timeout", None, Effect::Hang),
            ("not_sent", None, Effect::Outage),
            ("broken", None, Effect::Reset),
            ("invalid", Some(200), Effect::Reset),
        ] {
            assert_eq!(effect(&failed(kind, status)), met, "{kind}");
        }
    }

    #[test]
    fn records_of_counts_that_no_run_reaches_are_played_again_all_the_same() {
        let usage = TokenCounts {
            input_tokens: u64::MAX,
            output_tokens: u64::MAX,
            ..TokenCounts::default()
        };
        let waits = UsageRecord {
            usage,
            permit_wait_ms: u64::MAX,
            money_wait_ms: u64::MAX,
            ..open().ended(Timestamp::EPOCH)
        };
        let other =
            UsageRecord { call_id: CallId::new(Timestamp::EPOCH, u128::MAX), ..waits.clone() };
        let typical = Typical::of(&[&waits, &other]);
        assert_eq!((typical.input, typical.output), (u64::MAX / 2, u64::MAX / 2));
        let mut attempts = Attempts::default();
        [&waits, &other].into_iter().for_each(|record| attempts.answered(record));
        let turns = attempts.replayed(0, typical).turns;
        assert_eq!(turns.iter().map(|turn| turn.output).collect::<Vec<_>>(), [u64::MAX; 2]);
    }
}
