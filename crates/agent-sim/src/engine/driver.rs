//! Brings the tasks of a scenario to a system, each at its time.

use std::cell::Cell;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_core::clock::{Clock, Timestamp};
use agent_core::store::Entry;
use agent_core::system::AgentSystem;
use agent_core::task::TaskError;
use futures_util::future::{Either, select, try_join_all};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::meter::Meter;
use super::script::{Place, Script};
use super::{End, SimulationError};
use crate::draws::{Distribution, Draw, Stream};
use crate::scenario::{Arrival, Workload};

pub(super) const THINK: Stream = Stream::named("think");

/// Brings tasks, and sees them end.
#[derive(Clone)]
pub(crate) struct Driver {
    script: Arc<Script>,
    meter: Arc<Mutex<Meter>>,
    clock: Clock,
    start: Timestamp,
    /// The last task that was open has ended.
    ended: Arc<Notify>,
}

impl Driver {
    pub(crate) fn new(script: Arc<Script>, meter: Arc<Mutex<Meter>>, clock: Clock) -> Driver {
        let (start, ended) = (clock.now(), Arc::new(Notify::new()));
        Driver { script, meter, clock, start, ended }
    }

    /// What the system is to show its entries to.
    pub(crate) fn observer(&self) -> impl FnMut(&[Entry]) + Send + 'static {
        let (script, meter) = (Arc::clone(&self.script), Arc::clone(&self.meter));
        let ended = Arc::clone(&self.ended);
        move |entries| {
            let mut meter = lock(&meter);
            for entry in entries {
                meter.see(entry, |id| script.place(id));
                if matches!(entry, Entry::TaskEnded { .. }) && meter.open() == 0 {
                    ended.notify_one();
                }
            }
        }
    }

    /// Brings all tasks, and waits until they have ended, `until` is over or the run stops itself.
    ///
    /// # Errors
    ///
    /// [`SimulationError::NoTime`] where users send one task after the other in no time.
    pub(crate) async fn drive(
        &self,
        system: &AgentSystem,
        until: Option<Duration>,
    ) -> Result<End, SimulationError> {
        let over = until.map_or(Timestamp::NEVER, |until| self.start + until);
        let work = std::pin::pin!(self.all(system));
        let time = std::pin::pin!(self.clock.sleep_until(over));
        let stopped = std::pin::pin!(system.stopped());
        let early = std::pin::pin!(async {
            match select(stopped, time).await {
                Either::Left(_) => End::Stopped,
                Either::Right(_) => End::TimeOver,
            }
        });
        match select(work, early).await {
            Either::Left((done, _)) => done.map(|()| End::AllDone),
            Either::Right((end, _)) => Ok(end),
        }
    }

    async fn all(&self, system: &AgentSystem) -> Result<(), SimulationError> {
        let workloads = self.script.workloads().iter().zip(0..);
        try_join_all(workloads.map(|(workload, number)| self.bring(workload, number, system)))
            .await?;
        while lock(&self.meter).open() > 0 {
            self.ended.notified().await;
        }
        Ok(())
    }

    async fn bring(
        &self,
        workload: &Workload,
        number: u32,
        system: &AgentSystem,
    ) -> Result<(), SimulationError> {
        let count = workload.count.unwrap_or(u64::MAX);
        let lasts = workload.lasts.map_or(Timestamp::NEVER, |lasts| self.start + lasts);
        let places = (0..count).map(|task| Place { workload: number, task });
        match &workload.arrival {
            Arrival::Open(process) => {
                let times = process.arrivals(self.script.seed(), u64::from(number));
                self.at_times(places.zip(times), lasts, system).await;
            }
            Arrival::Trace(tasks) => {
                let times = tasks.iter().map(|task| task.at_ns);
                self.at_times(places.zip(times), lasts, system).await;
            }
            Arrival::Closed { users, think } => {
                let users = Users {
                    driver: self.clone(),
                    system: system.clone(),
                    name: workload.name.clone(),
                    number,
                    count: workload.count,
                    lasts,
                    think: think.clone(),
                    users: *users,
                    next: Cell::new(0),
                    idle: Idle { since: Cell::new(Timestamp::NEVER), tasks: Cell::new(0) },
                };
                Rc::new(users).take_turns().await?;
            }
        }
        Ok(())
    }

    async fn at_times(
        &self,
        tasks: impl Iterator<Item = (Place, u64)>,
        lasts: Timestamp,
        system: &AgentSystem,
    ) {
        for (place, at) in tasks {
            let at = self.start + Duration::from_nanos(at);
            if at >= lasts {
                return;
            }
            self.clock.sleep_until(at).await;
            if !self.submit(place, at, system).await {
                return;
            }
        }
    }

    /// Submits a task that arrived at `at`, which may be a while ago where others were submitted
    /// first; `false` where the system takes no more.
    async fn submit(&self, place: Place, at: Timestamp, system: &AgentSystem) -> bool {
        lock(&self.meter).arrives(place, at);
        system.submit(self.script.task(place)).await.is_ok()
    }
}

/// A closed loop of users: each sends the next task when the last has ended and was thought about.
struct Users {
    driver: Driver,
    system: AgentSystem,
    /// The workload.
    name: String,
    number: u32,
    count: Option<u64>,
    lasts: Timestamp,
    think: Distribution,
    users: u64,
    /// The task to be sent next.
    next: Cell<u64>,
    idle: Idle,
}

impl Users {
    /// Until the last task was sent, and each user has the answer to his.
    async fn take_turns(self: Rc<Users>) -> Result<(), SimulationError> {
        // Each a task of its own: who is woken is polled alone.
        let mut users = JoinSet::new();
        for _ in 0..self.users.min(self.count.unwrap_or(u64::MAX)) {
            users.spawn_local(Rc::clone(&self).take_turn_after_turn());
        }
        while let Some(ended) = users.join_next().await {
            ended.unwrap_or_else(|error| resume_unwind(error.into_panic()))?;
        }
        Ok(())
    }

    async fn take_turn_after_turn(self: Rc<Users>) -> Result<(), SimulationError> {
        let Users { driver, lasts, next, .. } = &*self;
        while self.count.is_none_or(|count| next.get() < count) && driver.clock.now() < *lasts {
            let place = Place { workload: self.number, task: next.replace(next.get() + 1) };
            lock(&driver.meter).arrives(place, driver.clock.now());
            let answer = self.system.run(driver.script.task(place)).await;
            let Ok(error) = answer.map(|outcome| outcome.error.clone()) else { break };
            let key = [u64::from(self.number), place.task, 0];
            let mut draw = Draw::new(driver.script.seed(), THINK, key);
            let ns = self.think.sample_nanos(&mut draw);
            driver.clock.sleep(Duration::from_nanos(ns)).await;
            if self.idle.another(driver.clock.now()) > self.most_at_once() {
                return Err(self.no_time(error.as_ref()));
            }
        }
        Ok(())
    }

    /// How many tasks may end at one moment: far more than one a user, and any number where they
    /// are counted, since those come to an end.
    fn most_at_once(&self) -> u64 {
        match self.count {
            Some(_) => u64::MAX,
            None => self.users.saturating_mul(100).saturating_add(1_000),
        }
    }

    fn no_time(&self, last: Option<&TaskError>) -> SimulationError {
        let ended = match last {
            Some(error) => format!("{}: {}", error.code, error.message),
            None => "an answer that took no time".to_owned(),
        };
        let Driver { clock, start, .. } = &self.driver;
        let at_ms = clock.now().since(*start).as_millis() as u64;
        SimulationError::NoTime { at_ms, workload: self.name.clone(), ended }
    }
}

/// How many tasks in a row ended while no time passed.
struct Idle {
    since: Cell<Timestamp>,
    tasks: Cell<u64>,
}

impl Idle {
    /// One more ended `now`; how many have at this moment.
    fn another(&self, now: Timestamp) -> u64 {
        let before = if self.since.replace(now) == now { self.tasks.get() } else { 0 };
        self.tasks.set(before + 1);
        before + 1
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
