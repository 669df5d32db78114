//! Virtual time: timers in a total order, advanced when the runtime is idle.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use futures_util::stream::FuturesUnordered;
use slab::Slab;

use super::wheel::Wheel;
use super::{Clock, Timestamp};

/// Timers that were dropped are not looked for among fewer than so many.
const FEW: usize = 64;

/// A clock that stands still while anything can run, and then jumps to the next timer.
///
/// Timers fire one at a time, by (time, order of arming), to the nanosecond. It belongs to one
/// thread: other threads are not waited for. Tokio's own timers, sockets, signals and processes
/// panic in it; a behaviour that pauses does so by its [`Clock`] or its scene.
#[derive(Debug, Clone)]
pub struct VirtualClock(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// In nanoseconds; changed by whoever holds the timers.
    now: AtomicU64,
    timers: Mutex<Timers>,
}

#[derive(Debug)]
struct Timers {
    next: u64,
    order: Wheel<Name>,
    /// The timers not yet fired and not dropped, each at its place; what is missing here is skipped
    /// in `order`, of which it is never much less than half.
    waiting: Slab<(u64, Waker)>,
    /// The task of `main`, woken to be told that nothing can move.
    main: Option<Waker>,
    stuck: bool,
    stuck_polls: u32,
}

/// Which timer: of those that have waited at one place, how many timers were armed before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Name {
    number: u64,
    /// Where it waits.
    place: u32,
}

impl VirtualClock {
    /// A clock that shows `start`.
    pub fn starting_at(start: Timestamp) -> VirtualClock {
        let now = AtomicU64::new(start.nanos());
        let timers = Mutex::new(Timers {
            next: 0,
            order: Wheel::starting_at(start.nanos()),
            waiting: Slab::new(),
            main: None,
            stuck: false,
            stuck_polls: 0,
        });
        VirtualClock(Arc::new(Shared { now, timers }))
    }

    /// Runs `main` in an actix system of its own on this thread, in virtual time.
    ///
    /// # Panics
    ///
    /// If nothing can move any more while `main` is not done: no task is ready and no timer is
    /// armed. Also if it is called from inside an async runtime; and what uses tokio's own timers or
    /// sockets panics in it.
    pub fn run<F, T>(start: Timestamp, main: impl FnOnce(Clock) -> F) -> T
    where
        F: Future<Output = T>,
    {
        VirtualClock::run_or(start, main, || async {
            panic!("nothing can move any more: no task is ready and no timer is armed")
        })
    }

    /// The same; but where nothing can move any more, `stuck` is asked what to return. It can still
    /// talk to actors, since they answer whoever asks.
    ///
    /// # Panics
    ///
    /// If nothing can move any more while `stuck` is not done, or it is called from inside an async
    /// runtime.
    pub fn run_or<F, S, T>(
        start: Timestamp,
        main: impl FnOnce(Clock) -> F,
        stuck: impl FnOnce() -> S,
    ) -> T
    where
        F: Future<Output = T>,
        S: Future<Output = T>,
    {
        let clock = VirtualClock::starting_at(start);
        let parked = clock.clone();
        let system = actix::System::with_tokio_rt(move || {
            // Without the drivers of real time and of sockets: nothing here waits for them.
            tokio::runtime::Builder::new_current_thread()
                .on_thread_park(move || {
                    if !parked.fire_next() {
                        parked.report_stuck();
                    }
                })
                .build()
                .expect("a runtime on this thread")
        });
        let watch = clock.clone();
        system.block_on(async move {
            let main = main(clock.into());
            // Polled where it is woken itself, while this block is whenever anything moves; and what
            // it returns, which may be large, is moved once.
            let mut main = FuturesUnordered::from_iter([async { Box::new(main.await) }]);
            let nothing_moves = || std::future::poll_fn(|cx| watch.poll_stuck(cx));
            if let Either::Left((output, _)) = select(main.next(), nothing_moves()).await {
                return *output.expect("it is there until it has ended");
            }
            // `main` is kept until it is told: what it holds may be asked about.
            let stuck = std::pin::pin!(stuck());
            match select(stuck, nothing_moves()).await {
                Either::Left((output, _)) => output,
                Either::Right(((), _)) => panic!("nothing can move any more, not even the report"),
            }
        })
    }

    fn report_stuck(&self) {
        let mut timers = self.timers();
        timers.stuck = true;
        let main = timers.main.take();
        drop(timers);
        if let Some(main) = main {
            main.wake();
        }
    }

    fn poll_stuck(&self, cx: &Context<'_>) -> Poll<()> {
        let mut timers = self.timers();
        match &mut timers.main {
            Some(main) => main.clone_from(cx.waker()),
            None => timers.main = Some(cx.waker().clone()),
        }
        // A thread outside may have moved something since: ask twice before giving up.
        if std::mem::take(&mut timers.stuck) {
            timers.stuck_polls += 1;
        } else {
            timers.stuck_polls = 0;
        }
        if timers.stuck_polls > 1 {
            timers.stuck_polls = 0;
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// The time it shows.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.now.load(Ordering::Relaxed))
    }

    /// Timers armed and not yet fired.
    pub fn armed(&self) -> usize {
        self.timers().waiting.len()
    }

    /// Advances to the next timer and wakes its task; `false` where no timer is armed.
    pub fn fire_next(&self) -> bool {
        let mut timers = self.timers();
        let now = self.now().nanos();
        while let Some((at, timer)) = timers.order.pop(now) {
            if let Some(waker) = timers.disarm(timer) {
                self.0.now.fetch_max(at, Ordering::Relaxed);
                drop(timers);
                waker.wake();
                return true;
            }
        }
        false
    }

    pub(super) fn sleep_until(&self, at: Timestamp) -> Timer {
        Timer { clock: self.clone(), at, name: None }
    }

    fn timers(&self) -> MutexGuard<'_, Timers> {
        self.0.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Timers {
    fn arm(&mut self, at: Timestamp, waker: Waker) -> Name {
        let number = self.next;
        self.next += 1;
        if self.order.len() >= FEW + 2 * self.waiting.len() {
            // Most timers are deadlines that are kept: they would be carried until they pass.
            let Timers { order, waiting, .. } = self;
            order.retain(|timer| waiter(waiting, *timer).is_some());
        }
        let place = self.waiting.insert((number, waker)) as u32;
        let name = Name { number, place };
        self.order.push(at.nanos(), name);
        name
    }

    fn disarm(&mut self, timer: Name) -> Option<Waker> {
        waiter(&mut self.waiting, timer)?;
        Some(self.waiting.remove(timer.place as usize).1)
    }
}

/// Whom `timer` wakes, where it is still armed.
fn waiter(waiting: &mut Slab<(u64, Waker)>, timer: Name) -> Option<&mut Waker> {
    let (number, waker) = waiting.get_mut(timer.place as usize)?;
    (*number == timer.number).then_some(waker)
}

/// A timer; armed when it is first polled, and disarmed when dropped.
#[derive(Debug)]
pub(super) struct Timer {
    clock: VirtualClock,
    at: Timestamp,
    name: Option<Name>,
}

impl Timer {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Timer { clock, at, name } = self;
        let mut timers = clock.timers();
        match *name {
            Some(name) => match waiter(&mut timers.waiting, name) {
                Some(waker) => waker.clone_from(cx.waker()),
                None => return Poll::Ready(()),
            },
            None if *at <= clock.now() => return Poll::Ready(()),
            None => *name = Some(timers.arm(*at, cx.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(name) = self.name {
            self.clock.timers().disarm(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_day_of_sleep_takes_no_time_and_is_exact() {
        VirtualClock::run(Timestamp::EPOCH, |clock| async move {
            clock.sleep(Duration::from_secs(86_400)).await;
            clock.sleep(Duration::from_nanos(1)).await;
            assert_eq!(clock.now().nanos(), 86_400_000_000_001);
        });
    }

    #[test]
    fn timers_of_one_moment_fire_in_the_order_they_were_armed() {
        let fired = VirtualClock::run(Timestamp::EPOCH, |clock| async move {
            let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
            for name in 0..100 {
                let (clock, tell) = (clock.clone(), tell.clone());
                actix::spawn(async move {
                    clock.sleep(Duration::from_millis(5)).await;
                    tell.send(name).expect("told is alive");
                });
            }
            drop(tell);
            let mut fired = Vec::new();
            while let Some(name) = told.recv().await {
                fired.push(name);
            }
            fired
        });
        assert_eq!(fired, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn timers_that_are_dropped_take_no_room() {
        VirtualClock::run(Timestamp::EPOCH, |clock| async move {
            let Clock(super::super::Kind::Virtual(shown)) = &clock else { unreachable!() };
            for _ in 0..10_000 {
                let later = clock.now() + Duration::from_secs(3_600);
                let soon = clock.sleep(Duration::from_nanos(1));
                assert_eq!(clock.timeout(later, std::pin::pin!(soon)).await, Ok(()));
            }
            let timers = shown.timers();
            assert_eq!(timers.waiting.len(), 0);
            assert!(timers.order.len() <= FEW, "{}", timers.order.len());
        });
    }

    #[test]
    fn a_timer_that_fired_and_is_dropped_late_disarms_no_other() {
        VirtualClock::run(Timestamp::EPOCH, |clock| async move {
            let second = Duration::from_secs(1);
            let mut first = Box::pin(clock.sleep(second));
            first.as_mut().await;
            let mut next = Box::pin(clock.sleep(second));
            let is_armed = std::future::poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx)));
            assert!(is_armed.await.is_pending());
            // It waits where the first one did.
            drop(first);
            next.await;
            assert_eq!(clock.now(), Timestamp::EPOCH + 2 * second);
        });
    }

    #[test]
    #[should_panic(expected = "nothing can move")]
    fn a_run_that_can_never_end_is_reported_instead_of_hanging() {
        VirtualClock::run(Timestamp::EPOCH, |_clock| std::future::pending::<()>());
    }

    #[test]
    fn who_is_asked_why_nothing_moves_can_still_talk_and_wait() {
        let (ask, mut asked) =
            tokio::sync::mpsc::unbounded_channel::<tokio::sync::oneshot::Sender<_>>();
        let why = VirtualClock::run_or(
            Timestamp::EPOCH,
            |_clock| async move {
                actix::spawn(async move {
                    while let Some(answer) = asked.recv().await {
                        answer.send("all wait").expect("it is waited for");
                    }
                });
                std::future::pending().await
            },
            || async move {
                let (answer, answered) = tokio::sync::oneshot::channel();
                ask.send(answer).expect("asked is alive");
                answered.await.expect("it is answered")
            },
        );
        assert_eq!(why, "all wait");
    }

    #[test]
    fn a_timeout_drops_what_is_late_and_lets_pass_what_is_ready() {
        VirtualClock::run(Timestamp::EPOCH, |clock| async move {
            let deadline = clock.now() + Duration::from_secs(1);
            assert!(clock.timeout(deadline, std::future::pending::<()>()).await.is_err());
            assert_eq!(clock.now(), deadline);
            assert_eq!(clock.timeout(deadline, std::pin::pin!(async { 7 })).await, Ok(7));
        });
    }
}
