//! A thread that watches the others: one that is held up by code that does not yield is reported.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::doing::Doing;

/// A thread that did not come to its heartbeat in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blocked {
    /// The worker whose code ran there last.
    pub(crate) worker: Option<u32>,
    /// The tool that it runs, where it is one.
    pub(crate) tool: Option<String>,
    /// For how long there has been no heartbeat.
    pub(crate) since: Duration,
}

type Hearts = Mutex<Vec<Arc<Heart>>>;

fn lock(hearts: &Hearts) -> MutexGuard<'_, Vec<Arc<Heart>>> {
    hearts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The heartbeat of one thread.
struct Heart {
    doing: Arc<Doing>,
    /// When it beat last, in nanoseconds.
    beat: AtomicU64,
    /// Whether this silence was reported.
    is_reported: AtomicBool,
    /// Is told when it falls silent, and when it beats again.
    tell: Box<dyn Fn(bool) + Send + Sync>,
}

impl fmt::Debug for Heart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heart").field("doing", &self.doing).finish_non_exhaustive()
    }
}

/// Watches threads as long as it lives.
#[derive(Debug, Clone)]
pub(crate) struct Watchdog {
    clock: Clock,
    limit: Duration,
    hearts: Arc<Hearts>,
}

impl Watchdog {
    /// Starts the thread. `report` is called on it, once for each silence of more than `limit`.
    ///
    /// # Errors
    ///
    /// Where the thread cannot be started.
    pub(crate) fn start(
        clock: Clock,
        limit: Duration,
        report: impl Fn(Blocked) + Send + 'static,
    ) -> std::io::Result<Watchdog> {
        let watchdog = Watchdog { clock, limit, hearts: Arc::default() };
        let (clock, hearts) = (watchdog.clock.clone(), Arc::downgrade(&watchdog.hearts));
        let pause = period(limit);
        std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
            while let Some(hearts) = Weak::upgrade(&hearts) {
                let now = clock.now();
                let hearts: Vec<_> = lock(&hearts).clone();
                for blocked in hearts.iter().filter_map(|heart| heart.check(now, limit)) {
                    report(blocked);
                }
                drop(hearts);
                #[expect(clippy::disallowed_methods, reason = "a thread of its own, in real time")]
                std::thread::sleep(pause);
            }
        })?;
        Ok(watchdog)
    }

    /// Watches this thread from now on, as long as the watchdog lives. `tell` is called on the
    /// watchdog's, with `true` when this one falls silent, and with `false` when it beats again.
    pub(crate) fn watch_here(&self, tell: impl Fn(bool) + Send + Sync + 'static) {
        let heart = Arc::new(Heart {
            doing: Doing::here(),
            beat: AtomicU64::new(self.clock.now().nanos()),
            is_reported: AtomicBool::new(false),
            tell: Box::new(tell),
        });
        lock(&self.hearts).push(Arc::clone(&heart));
        let (clock, hearts, pause) =
            (self.clock.clone(), Arc::downgrade(&self.hearts), period(self.limit));
        actix::spawn(async move {
            while hearts.strong_count() > 0 {
                heart.beat.store(clock.now().nanos(), Ordering::Relaxed);
                clock.sleep(pause).await;
            }
        });
    }
}

/// How often a heart beats, and is looked at.
fn period(limit: Duration) -> Duration {
    (limit / 4).max(Duration::from_millis(1))
}

impl Heart {
    fn check(&self, now: Timestamp, limit: Duration) -> Option<Blocked> {
        let beat = Timestamp::from_nanos(self.beat.load(Ordering::Relaxed));
        let since = now.since(beat);
        if since <= limit {
            if self.is_reported.swap(false, Ordering::Relaxed) {
                (self.tell)(false);
            }
            return None;
        }
        if self.is_reported.swap(true, Ordering::Relaxed) {
            return None;
        }
        (self.tell)(true);
        let tool = self.doing.tool();
        Some(Blocked { worker: self.doing.worker(), tool: tool.map(|tool| tool.name), since })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_of_more_than_the_limit_is_reported_once_and_its_end_is_told_once() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tells = Arc::clone(&told);
        let heart = Heart {
            doing: Arc::default(),
            beat: AtomicU64::new(0),
            is_reported: AtomicBool::new(false),
            tell: Box::new(move |is| tells.lock().unwrap().push(is)),
        };
        let check = |millis| {
            let blocked = heart.check(Timestamp::from_millis(millis), Duration::from_millis(10));
            let since = blocked.map(|blocked| blocked.since);
            (since, told.lock().unwrap().clone())
        };
        let silent = |millis| Some(Duration::from_millis(millis));
        assert_eq!(check(10), (None, vec![]));
        assert_eq!(check(11), (silent(11), vec![true]));
        assert_eq!(check(12), (None, vec![true]));
        heart.beat.store(Timestamp::from_millis(20).nanos(), Ordering::Relaxed);
        assert_eq!(check(21), (None, vec![true, false]));
        assert_eq!(check(22), (None, vec![true, false]));
        assert_eq!(check(31), (silent(11), vec![true, false, true]));
    }
}
