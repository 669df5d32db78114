//! How far a task is: what it has taken, and by when what is done for it now must have ended.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::clock::Timestamp;
use crate::worker::WorkerIndex;
use crate::worker::job::Tally;
use crate::worker::services::lock;

/// A task in the hands of whoever works on it, seen by all of them and by the coordinator.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    tally: Mutex<Tally>,
    progress: Progress,
    /// Whom it was given to, and whether that one has begun.
    hands: AtomicU64,
    /// Calls of it that wait for a permit now.
    at_limiter: AtomicU32,
    /// When the worker at hand may call again by its own limit, in nanoseconds.
    free_at: AtomicU64,
}

/// A call that waits for a permit, as long as this is held.
pub(super) struct AtLimiter<'a>(&'a Standing);

impl Drop for AtLimiter<'_> {
    fn drop(&mut self) {
        self.0.at_limiter.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One of the actors of a worker, as it was given a task.
fn given(worker: WorkerIndex, life: u32) -> u64 {
    u64::from(worker) << 32 | u64::from(life) << 1 | GIVEN
}

/// One of the actors of a worker, as it works on a task. The lives of a worker are numbered from 1, so
/// the default is nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Hand(u64);

impl Hand {
    pub(crate) fn of(worker: WorkerIndex, life: u32) -> Hand {
        Hand(given(worker, life) & !GIVEN)
    }
}

/// Given, and not begun.
const GIVEN: u64 = 1;

impl Standing {
    pub(crate) fn new(tally: Tally) -> Standing {
        Standing {
            tally: Mutex::new(tally),
            progress: Progress::default(),
            hands: AtomicU64::new(0),
            at_limiter: AtomicU32::new(0),
            free_at: AtomicU64::new(0),
        }
    }

    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        lock(&self.tally)
    }

    /// One of its calls waits for a permit.
    pub(super) fn wait_for_permit(&self) -> AtLimiter<'_> {
        self.at_limiter.fetch_add(1, Ordering::Relaxed);
        AtLimiter(self)
    }

    /// Whether one of its calls waits for a permit now.
    pub(super) fn waits_for_permit(&self) -> bool {
        self.at_limiter.load(Ordering::Relaxed) > 0
    }

    /// The worker at hand may call again at `at`, by its own limit; of another's that is nothing.
    pub(super) fn note_free_at(&self, hand: Hand, at: Timestamp) {
        if self.is_in(hand) {
            self.free_at.store(at.nanos(), Ordering::Relaxed);
        }
    }

    /// When the worker at hand may call again, by its own limit.
    pub(super) fn free_at(&self) -> Timestamp {
        Timestamp::from_nanos(self.free_at.load(Ordering::Relaxed))
    }

    /// It is given to one of the actors of a worker.
    pub(crate) fn give(&self, worker: WorkerIndex, life: u32) {
        self.progress.begin_anew();
        self.free_at.store(0, Ordering::Relaxed);
        self.hands.store(given(worker, life), Ordering::Release);
    }

    /// Whoever it was given to begins; `false` where it is in other hands by now.
    #[must_use]
    pub(crate) fn begin(&self, worker: WorkerIndex, life: u32) -> bool {
        let given = given(worker, life);
        self.becomes(given, given & !GIVEN)
    }

    /// Takes it back from whoever it was given to; `false` where that one has begun.
    #[must_use]
    pub(crate) fn take_back(&self, worker: WorkerIndex, life: u32) -> bool {
        self.becomes(given(worker, life), 0)
    }

    /// Takes it away from whoever has it, begun or not: that one may be told much later, and makes no
    /// call for it any more.
    pub(crate) fn take_away(&self) {
        self.hands.store(Hand::default().0, Ordering::Release);
    }

    /// Whether it is this one that works on it.
    pub(crate) fn is_in(&self, hand: Hand) -> bool {
        self.hands.load(Ordering::Acquire) == hand.0
    }

    fn becomes(&self, from: u64, to: u64) -> bool {
        self.hands.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }
}

/// The steps that are under way for a task: its calls, sleeps, and pauses of its sub-agents.
///
/// Each figure by itself is right at any moment; who reads them all may see a step that has just
/// begun without its end. That is later than any that has passed, so nothing is taken for late that
/// is not.
///
/// They count from when the task was last given out: one that was replaced on a thread that is held
/// up cannot end its steps, and they are nothing to the next.
#[derive(Default)]
pub(crate) struct Progress {
    /// By when they must have ended, in nanoseconds; where there are none, when something moved last.
    due: AtomicU64,
    /// How many there are, how many of them may take as long as the task may, which is as long as
    /// it takes, and how often the task was given out.
    under_way: AtomicU64,
}

/// Units of [`Progress::under_way`].
const STEP: u64 = 1;
const ENDLESS: u64 = 1 << 20;
const HAND: u64 = 1 << 40;

impl Progress {
    /// By when something must have moved.
    pub(crate) fn due(&self) -> Timestamp {
        match self.under_way() % HAND / ENDLESS {
            0 => Timestamp::from_nanos(self.due.load(Ordering::Relaxed)),
            _ => Timestamp::NEVER,
        }
    }

    /// User code moved at `now`: it was polled.
    pub(crate) fn moved(&self, now: Timestamp) {
        self.set(now, 0);
    }

    fn under_way(&self) -> u64 {
        self.under_way.load(Ordering::Relaxed)
    }

    /// It is in other hands: none of the steps that are under way counts any more.
    fn begin_anew(&self) {
        self.change(|under_way| Some((under_way / HAND).wrapping_add(1).wrapping_mul(HAND)));
        self.due.store(0, Ordering::Relaxed);
    }

    fn change(&self, change: impl Fn(u64) -> Option<u64>) {
        // An error means that there is nothing to be changed.
        _ = self.under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
    }

    /// Sets when steps must have ended, where no more than `mine` are under way; others may need
    /// longer.
    fn set(&self, until: Timestamp, mine: u64) {
        if self.under_way() % ENDLESS <= mine {
            self.due.store(until.nanos(), Ordering::Relaxed);
        } else {
            self.due.fetch_max(until.nanos(), Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("due", &self.due()).finish_non_exhaustive()
    }
}

/// A step that is under way, until it is dropped.
#[derive(Debug)]
#[must_use = "a step ends where it is dropped"]
pub(crate) struct Step<S: Deref<Target = Standing>> {
    standing: S,
    /// The hand that the task was in when it began.
    hand: u64,
    is_endless: bool,
}

impl<S: Deref<Target = Standing>> Step<S> {
    /// Begins a step that must have ended at `until`.
    pub(crate) fn new(standing: S, until: Timestamp) -> Step<S> {
        let hand = standing.progress.under_way.fetch_add(STEP, Ordering::Relaxed) / HAND;
        let mut step = Step { standing, hand, is_endless: false };
        step.until(until);
        step
    }

    /// From now on it must have ended at `until`.
    pub(crate) fn until(&mut self, until: Timestamp) {
        let is_endless = until == Timestamp::NEVER;
        if is_endless && !self.is_endless {
            self.count(|under_way| under_way + ENDLESS);
        }
        if !is_endless {
            if self.counts(self.standing.progress.under_way()) {
                self.standing.progress.set(until, 1);
            }
            self.end_endless();
        }
        self.is_endless = is_endless;
    }

    /// Whether the task is in the same hand still.
    fn counts(&self, under_way: u64) -> bool {
        under_way / HAND == self.hand
    }

    fn count(&self, change: impl Fn(u64) -> u64) {
        let progress = &self.standing.progress;
        progress.change(|under_way| self.counts(under_way).then(|| change(under_way)));
    }

    fn end_endless(&self) {
        if self.is_endless {
            self.count(|under_way| under_way - ENDLESS);
        }
    }
}

impl<S: Deref<Target = Standing>> Drop for Step<S> {
    fn drop(&mut self) {
        self.end_endless();
        self.count(|under_way| under_way - STEP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn when_a_worker_may_call_again_is_said_by_the_one_that_has_the_task() {
        let standing = Standing::default();
        let begins = |worker| {
            standing.give(worker, 1);
            assert!(standing.begin(worker, 1));
            Hand::of(worker, 1)
        };
        let first = begins(0);
        standing.note_free_at(first, at(60));
        assert_eq!(standing.free_at(), at(60));
        let second = begins(1);
        assert_eq!(standing.free_at(), Timestamp::EPOCH, "of the first");
        standing.note_free_at(first, at(90));
        assert_eq!(standing.free_at(), Timestamp::EPOCH, "by the first");
        standing.note_free_at(second, at(30));
        assert_eq!(standing.free_at(), at(30));
    }

    #[test]
    fn something_must_have_moved_when_the_last_of_the_steps_must_have_ended() {
        let standing = Standing::default();
        let due = || standing.progress().due();
        standing.progress().moved(at(1));
        assert_eq!(due(), at(1));
        let mut first = Step::new(&standing, at(60));
        let second = Step::new(&standing, at(30));
        assert_eq!(due(), at(60));
        // What moves meanwhile takes nothing from those that are under way.
        standing.progress().moved(at(2));
        assert_eq!(due(), at(60));
        drop(second);
        first.until(at(20));
        assert_eq!(due(), at(20));
        drop(first);
        standing.progress().moved(at(3));
        assert_eq!(due(), at(3));
    }

    #[test]
    fn a_task_is_begun_by_whom_it_was_given_to_or_taken_back_and_never_both() {
        let standing = Standing::default();
        standing.give(7, 1);
        assert!(!standing.begin(7, 2) && !standing.begin(6, 1) && !standing.take_back(7, 2));
        assert!(standing.begin(7, 1));
        assert!(!standing.begin(7, 1) && !standing.take_back(7, 1));
        standing.give(7, 2);
        assert!(standing.take_back(7, 2));
        assert!(!standing.begin(7, 2));
        standing.give(8, 1);
        assert!(!standing.begin(7, 2) && standing.begin(8, 1));
    }

    #[test]
    fn what_a_worker_that_was_replaced_still_holds_is_nothing_to_the_next() {
        let standing = Standing::default();
        let due = || standing.progress().due();
        standing.give(0, 1);
        let mut left = Step::new(&standing, Timestamp::NEVER);
        let also = Step::new(&standing, at(99));
        standing.give(1, 1);
        assert_eq!(due(), Timestamp::EPOCH);
        standing.progress().moved(at(1));
        assert_eq!(due(), at(1));
        let mut step = Step::new(&standing, at(60));
        // Its thread goes on, for as long as it takes to be told that it is over.
        left.until(at(90));
        left.until(Timestamp::NEVER);
        assert_eq!(due(), at(60));
        step.until(Timestamp::NEVER);
        drop(left);
        assert_eq!(due(), Timestamp::NEVER);
        step.until(at(20));
        drop(also);
        assert_eq!(due(), at(20));
        drop(step);
        standing.progress().moved(at(21));
        assert_eq!(due(), at(21));
    }

    #[test]
    fn as_long_as_one_step_may_take_for_ever_nothing_is_late() {
        let standing = Standing::default();
        let mut endless = Step::new(&standing, Timestamp::NEVER);
        endless.until(Timestamp::NEVER);
        let other = Step::new(&standing, at(5));
        assert_eq!(standing.progress().due(), Timestamp::NEVER);
        drop(other);
        assert_eq!(standing.progress().due(), Timestamp::NEVER);
        endless.until(at(7));
        assert_eq!(standing.progress().due(), at(7));
        endless.until(Timestamp::NEVER);
        drop(endless);
        assert_eq!(standing.progress().due(), at(7));
    }
}
