//! Which fault a call meets: exact times, random episodes, the first calls of each worker.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ask::Ask;
use crate::draws::{Draw, Stream, nanos};
use crate::scenario::{Effect, Fault, When};

const EPISODES: Stream = Stream::named("episodes");
const HITS: Stream = Stream::named("fault hits");

/// About how many episodes an epoch has: so few that a call that comes after years does not wait for
/// all of them to be drawn, so many that the end of an epoch cuts hardly one of them.
const EPISODES_OF_EPOCH: u64 = 4_096;

/// The faults of one run. Times never go back.
#[derive(Debug)]
pub(crate) struct Faults {
    seed: u64,
    faults: Vec<(Fault, State)>,
}

#[derive(Debug)]
enum State {
    None,
    /// The episode that is under way or comes next, in nanoseconds since the start. Each epoch has
    /// draws of its own.
    Episode {
        epoch: u64,
        number: u64,
        from: u64,
        until: u64,
    },
    /// Calls of each worker so far.
    Calls(BTreeMap<u64, u32>),
}

impl Faults {
    pub(crate) fn new(faults: &[Fault], seed: u64) -> Faults {
        let state = |fault: &Fault| match fault.when {
            When::At { .. } => State::None,
            When::Episodes { .. } => State::Episode { epoch: 0, number: 0, from: 0, until: 0 },
            When::FirstCalls(_) => State::Calls(BTreeMap::new()),
        };
        Faults { seed, faults: faults.iter().map(|fault| (fault.clone(), state(fault))).collect() }
    }

    /// What hits an attempt of a call at `at`; the effects on limits are in [`Faults::limits`].
    pub(crate) fn hit(&mut self, ask: &Ask, attempt: u32, at: Duration) -> Option<Effect> {
        let at = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        let seed = self.seed;
        let mut hit = None;
        for (place, (fault, state)) in self.faults.iter_mut().enumerate() {
            // Each counts every call, whether or not an earlier one hits it.
            let is_there = is_there(seed, place as u64, fault.when, state, at, Some(ask.worker));
            let is_limit = matches!(fault.effect, Effect::Limits(_));
            if hit.is_some() || is_limit || !is_there {
                continue;
            }
            let whom = [
                (place as u64) << 32 | u64::from(ask.workload),
                ask.task,
                u64::from(ask.turn) << 32 | u64::from(attempt),
            ];
            if fault.share >= 1.0 || Draw::new(seed, HITS, whom).happens(fault.share) {
                hit = Some(fault.effect);
            }
        }
        hit
    }

    /// The share of its limits that the provider admits at `at`.
    pub(crate) fn limits(&mut self, at: Duration) -> f64 {
        let at = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        let seed = self.seed;
        let mut share = 1.0;
        for (place, (fault, state)) in self.faults.iter_mut().enumerate() {
            if let Effect::Limits(factor) = fault.effect
                && is_there(seed, place as u64, fault.when, state, at, None)
            {
                share *= factor;
            }
        }
        share
    }
}

/// Whether a fault is there at `at`, for a call of `worker` where there is one.
fn is_there(
    seed: u64,
    place: u64,
    when: When,
    state: &mut State,
    at: u64,
    worker: Option<u64>,
) -> bool {
    match (when, state) {
        (When::At { from, length }, _) => {
            let at = Duration::from_nanos(at);
            at >= from && at < from.saturating_add(length)
        }
        (
            When::Episodes { mean_gap, mean_length },
            State::Episode { epoch, number, from, until },
        ) => {
            let length = epoch_ns(mean_gap, mean_length);
            let now = at / length;
            if now > *epoch {
                (*epoch, *number, *from, *until) = (now, 0, now * length, now * length);
            }
            while at >= *until {
                let mut draw = Draw::new(seed, EPISODES, [place, *number, *epoch]);
                let mut next = |mean: Duration| nanos(mean.as_secs_f64() * draw.exponential());
                *from = until.saturating_add(next(mean_gap));
                *until = from.saturating_add(next(mean_length).max(1));
                *number += 1;
            }
            at >= *from
        }
        (When::FirstCalls(first), State::Calls(calls)) => worker.is_some_and(|worker| {
            let calls = calls.entry(worker).or_default();
            *calls = calls.saturating_add(1);
            *calls <= first.get()
        }),
        _ => false,
    }
}

/// How long an epoch of episodes is: what comes after it is found without going through all of it.
fn epoch_ns(mean_gap: Duration, mean_length: Duration) -> u64 {
    let cycle = u64::try_from((mean_gap + mean_length).as_nanos()).unwrap_or(u64::MAX);
    cycle.saturating_mul(EPISODES_OF_EPOCH).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(when: When, effect: Effect) -> Fault {
        Fault { when, effect, share: 1.0 }
    }

    fn ask(worker: u64) -> Ask {
        Ask { workload: 0, task: 0, turn: 0, input: 1, cached: 0, written: 0, output: 1, worker }
    }

    #[test]
    fn a_script_hits_from_its_beginning_until_just_before_its_end() {
        let at = When::At { from: Duration::from_secs(10), length: Duration::from_secs(5) };
        let mut faults = Faults::new(&[fault(at, Effect::Hang)], 1);
        let hits = |faults: &mut Faults, ms| faults.hit(&ask(0), 1, Duration::from_millis(ms));
        assert_eq!(hits(&mut faults, 9_999), None);
        assert_eq!(hits(&mut faults, 10_000), Some(Effect::Hang));
        assert_eq!(hits(&mut faults, 14_999), Some(Effect::Hang));
        assert_eq!(hits(&mut faults, 15_000), None);
    }

    #[test]
    fn each_workers_first_calls_are_hit_and_no_later_one() {
        let first = When::FirstCalls(2.try_into().unwrap());
        let mut faults = Faults::new(&[fault(first, Effect::Outage)], 1);
        let hits = [1, 1, 2, 1, 2, 2].map(|w| faults.hit(&ask(w), 1, Duration::ZERO).is_some());
        assert_eq!(hits, [true, true, true, false, true, false]);
    }

    #[test]
    fn a_share_of_the_calls_is_hit() {
        let at = When::At { from: Duration::ZERO, length: Duration::from_secs(1) };
        let a_quarter = Fault { share: 0.25, ..fault(at, Effect::Hang) };
        let mut faults = Faults::new(&[a_quarter], 1);
        let mut hits = |task| faults.hit(&Ask { task, ..ask(0) }, 1, Duration::ZERO).is_some();
        let hit = (0..10_000).filter(|task| hits(*task)).count();
        assert!((2_370..2_630).contains(&hit), "{hit} of 10000");
    }

    #[test]
    fn a_call_that_comes_late_is_not_met_by_all_episodes_before_it() {
        let (mean_gap, mean_length) = (Duration::from_millis(1), Duration::from_millis(1));
        let when = When::Episodes { mean_gap, mean_length };
        let mut faults = Faults::new(&[fault(when, Effect::Hang)], 1);
        faults.hit(&ask(0), 1, Duration::from_secs(20_000));
        let State::Episode { number, .. } = faults.faults[0].1 else { panic!("it has episodes") };
        assert!(number < 3 * EPISODES_OF_EPOCH, "{number} episodes were drawn");
    }

    #[test]
    fn episodes_take_their_share_of_the_time() {
        let when = When::Episodes {
            mean_gap: Duration::from_secs(90),
            mean_length: Duration::from_secs(10),
        };
        let mut faults = Faults::new(&[fault(when, Effect::Limits(0.5))], 3);
        let low = (0..1_000_000).filter(|s| faults.limits(Duration::from_secs(*s)) < 1.0).count();
        assert!((90_000..110_000).contains(&low), "{low} of 1000000 seconds");
    }
}
