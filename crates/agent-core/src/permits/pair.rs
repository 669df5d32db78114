//! The limits of one key and model: windows, concurrency, pauses.

use std::num::NonZeroU64;
use std::time::Duration;

use super::peaks::Peaks;
use super::window::{Amounts, EntryKey, SlidingWindow};
use super::{Headroom, ProviderLimits, RateHeaders};
use crate::clock::Timestamp;

pub(super) const MINUTE: Duration = Duration::from_secs(60);
/// While no answer has shown how many tokens a request has, its input counts so many times: it is
/// estimated as a token for three bytes, and no tokenizer makes more of them than bytes.
const UNSURE: u64 = 3;
/// Least time between two decreases of concurrency: one congestion is one signal.
const DECREASE_EVERY: Duration = Duration::from_secs(1);

/// A provider that refuses an attempt does so within this time; later, the attempt counts as
/// accepted, so that a long answer holds up nobody.
const PROBE: Duration = Duration::from_secs(2);

/// Why a request must wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Blocked {
    /// The earliest moment at which it may be admitted; `None`: when an attempt ends.
    pub(super) until: Option<Timestamp>,
    pub(super) by: Limit,
}

/// Which limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Requests,
    Input,
    Output,
    Concurrency,
    Pause,
}

/// Whether the provider is asked, by one attempt alone, if it serves us again after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    /// It serves, as far as is known.
    Over,
    /// The next attempt goes alone.
    Due,
    /// The attempt of this entry has gone alone.
    Sent(EntryKey, Timestamp),
}

/// One key and model.
#[derive(Debug)]
pub(super) struct Pair {
    window: SlidingWindow,
    /// How much of the window was ours.
    peaks: Peaks,
    limit: Amounts,
    pub(super) in_flight: u32,
    /// How many attempts may be in flight; adapts.
    concurrency: f64,
    max_concurrency: f64,
    decreased: Option<Timestamp>,
    pub(super) paused_until: Timestamp,
    probe: Probe,
    /// Whether an answer has shown how many tokens a request has.
    learned: bool,
}

impl Pair {
    pub(super) fn new(limits: &ProviderLimits) -> Pair {
        let max_concurrency = f64::from(limits.max_concurrent.get());
        let tokens = |limit: Option<NonZeroU64>| limit.map_or(u64::MAX, NonZeroU64::get);
        Pair {
            window: SlidingWindow::new(MINUTE),
            peaks: Peaks::default(),
            // Where there is no limit, it is never reached.
            limit: Amounts {
                requests: limits.requests_per_minute.map_or(u64::MAX, |n| u64::from(n.get())),
                input: tokens(limits.input_tokens_per_minute),
                output: tokens(limits.output_tokens_per_minute),
            },
            in_flight: 0,
            concurrency: max_concurrency,
            max_concurrency,
            decreased: None,
            paused_until: Timestamp::EPOCH,
            probe: Probe::Over,
            learned: false,
        }
    }

    /// What is known after a panic: what was taken counts as it was taken, and of the attempts those
    /// that have not ended.
    pub(super) fn recount(&mut self, in_flight: u32) {
        self.window.recount();
        self.in_flight = in_flight;
        if !(1.0..=self.max_concurrency).contains(&self.concurrency) {
            self.concurrency = 1.0;
        }
    }

    /// Whether a request will fit when nothing else is in the window.
    pub(super) fn can_ever_admit(&self, amounts: Amounts) -> bool {
        amounts.fits(self.limit)
    }

    /// How many attempts may be in flight.
    pub(super) fn concurrency(&self) -> u32 {
        self.concurrency.max(1.0) as u32
    }

    /// What a request counts for, as long as its own answer has not told it.
    fn counted(&self, asked: Amounts) -> Amounts {
        if self.learned {
            return asked;
        }
        // One that could be too large for the whole limit goes all the same, alone.
        Amounts { input: asked.input.saturating_mul(UNSURE).min(self.limit.input), ..asked }
    }

    pub(super) fn admits(&mut self, now: Timestamp, asked: Amounts) -> Result<(), Blocked> {
        let amounts = self.counted(asked);
        if self.paused_until > now {
            return Err(Blocked { until: Some(self.paused_until), by: Limit::Pause });
        }
        if self.in_flight >= self.concurrency() {
            return Err(Blocked { until: None, by: Limit::Concurrency });
        }
        if let Probe::Sent(_, at) = self.probe
            && now < at + PROBE
        {
            return Err(Blocked { until: Some(at + PROBE), by: Limit::Pause });
        }
        let until = self.window.fits_at(now, amounts, self.limit);
        if until == Some(now) {
            return Ok(());
        }
        let wanted = self.window.used(now).plus(amounts);
        let by = if wanted.requests > self.limit.requests {
            Limit::Requests
        } else if wanted.input > self.limit.input {
            Limit::Input
        } else {
            Limit::Output
        };
        Err(Blocked { until, by })
    }

    /// Takes what `asked` counts for; answers what that is.
    pub(super) fn take(&mut self, now: Timestamp, asked: Amounts) -> (EntryKey, Amounts) {
        let amounts = self.counted(asked);
        self.in_flight += 1;
        let key = self.window.take(now, amounts);
        self.peaks.note(now, self.window.ours(now));
        self.probe = match self.probe {
            Probe::Due => Probe::Sent(key, now),
            // Any other attempt goes only when nothing is left to find out.
            Probe::Over | Probe::Sent(..) => Probe::Over,
        };
        (key, amounts)
    }

    /// What was taken under `key` counts from `now` on.
    pub(super) fn postpone(&mut self, now: Timestamp, key: EntryKey, taken: Amounts) -> EntryKey {
        // In this order: it is never left out.
        let later = self.window.take(now, taken);
        self.window.give_back(key);
        self.peaks.note(now, self.window.ours(now));
        if matches!(self.probe, Probe::Sent(probe, _) if probe == key) {
            self.probe = Probe::Sent(later, now);
        }
        later
    }

    pub(super) fn give_back(&mut self, key: EntryKey) {
        self.in_flight -= 1;
        self.window.give_back(key);
        self.probed(key, false);
    }

    /// Nobody calls until `duration` is over; then one attempt goes alone.
    pub(super) fn pause(&mut self, now: Timestamp, duration: Duration) {
        if duration > Duration::ZERO {
            self.paused_until = self.paused_until.max(now + duration);
            self.probe = Probe::Due;
        }
    }

    /// An attempt is over; if it was the probe, it has shown whether the provider serves.
    fn probed(&mut self, key: EntryKey, serves: bool) {
        if matches!(self.probe, Probe::Sent(probe, _) if probe == key) {
            self.probe = if serves { Probe::Over } else { Probe::Due };
        }
    }

    /// An attempt ended: its tokens are known, or stay as they were estimated.
    pub(super) fn settle(
        &mut self,
        now: Timestamp,
        key: EntryKey,
        estimated: Amounts,
        (input, output): (Option<u64>, Option<u64>),
        congested: bool,
    ) {
        let amounts = Amounts {
            requests: estimated.requests,
            input: input.unwrap_or(estimated.input),
            output: output.unwrap_or(estimated.output),
        };
        self.window.correct(key, now, amounts);
        self.peaks.note(now, self.window.ours(now));
        self.in_flight -= 1;
        self.probed(key, !congested);
        self.learned |= input.is_some();
        if !congested {
            let more = self.concurrency + 1.0 / self.concurrency;
            self.concurrency = more.min(self.max_concurrency);
        } else if self.decreased.is_none_or(|at| at + DECREASE_EVERY <= now) {
            self.decreased = Some(now);
            self.concurrency = (self.concurrency / 2.0).max(1.0);
        }
    }

    /// Corrects our idea by what the provider said to a request that left at `sent`. A smaller limit
    /// is taken over; what others surely have is held until the provider has it back.
    ///
    /// When the provider wrote its headers is not known, only that the request had left, and that its
    /// answer was not here yet. What was gone then was others' and ours; and ours, with all of
    /// `max_tokens` for a request under way, was at most what we had taken at some moment in between,
    /// since we count a request from before it arrives until after the provider has forgotten it. So
    ///
    /// ```text
    /// others ≥ (limit − remaining) − most of ours at any moment from `sent` to `now`
    /// ```
    ///
    /// Less the tenth of a limit that is left to rounding, that much is held and no more: what the
    /// provider has given back meanwhile holds up nobody. Only ever tightens, since headers come late
    /// and out of order. Returns whether a limit is smaller than before.
    pub(super) fn observe(
        &mut self,
        now: Timestamp,
        sent: Timestamp,
        headers: &RateHeaders,
    ) -> bool {
        let told = [headers.requests, headers.input_tokens, headers.output_tokens];
        if told == [None; 3] {
            return false;
        }
        let before = self.limit;
        let most = self.peaks.most(now, sent).map(Amounts::each);
        let held = self.window.others(now).each();
        let Amounts { requests, input, output } = &mut self.limit;
        let seen = [
            (requests, Amounts::requests as fn(u64) -> Amounts),
            (input, Amounts::input),
            (output, Amounts::output),
        ];
        for (place, (limit, amounts)) in seen.into_iter().enumerate() {
            let Some(headroom) = told[place].filter(|_| *limit != u64::MAX) else { continue };
            *limit = headroom.limit.clamp(1, *limit);
            let Some(most) = most else { continue };
            let beyond = beyond(headroom, *limit, most[place].saturating_add(held[place]));
            if beyond > 0 {
                self.window.hold(headroom.reset.min(now + MINUTE), amounts(beyond));
            }
        }
        self.limit != before
    }

    #[cfg(test)]
    pub(super) fn ruin(&mut self) {
        self.window.ruin();
        self.in_flight = 0;
        self.concurrency = f64::NAN;
    }

    pub(super) fn used(&mut self, now: Timestamp) -> Amounts {
        self.window.used(now)
    }

    pub(super) fn limit(&self) -> Amounts {
        self.limit
    }
}

impl Amounts {
    fn requests(requests: u64) -> Amounts {
        Amounts { requests, ..Amounts::default() }
    }

    fn input(input: u64) -> Amounts {
        Amounts { input, ..Amounts::default() }
    }

    fn output(output: u64) -> Amounts {
        Amounts { output, ..Amounts::default() }
    }
}

/// How much is gone at the provider beyond what is `known`, and beyond the tenth by which rounding may
/// mislead.
fn beyond(headroom: Headroom, limit: u64, known: u64) -> u64 {
    let beyond = limit.saturating_sub(headroom.remaining).saturating_sub(known);
    if beyond > headroom.limit / 10 { beyond } else { 0 }
}
