//! Brings the tasks of a scenario to a system, each at its time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_core::clock::{Clock, Timestamp};
use agent_core::store::Entry;
use agent_core::system::AgentSystem;
use futures_util::future::{join_all, select};
use tokio::sync::Notify;

use super::End;
use super::meter::Meter;
use super::script::{Place, Script};
use crate::draws::{Draw, Stream};
use crate::scenario::{Arrival, Workload};

pub(super) const THINK: Stream = Stream::named("think");

/// Brings tasks, and sees them end.
pub(crate) struct Driver {
    script: Arc<Script>,
    meter: Arc<Mutex<Meter>>,
    clock: Clock,
    start: Timestamp,
    /// A task has ended.
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
                meter.see(entry, |id| script.place(&id.into()));
                if matches!(entry, Entry::TaskEnded { .. }) {
                    ended.notify_one();
                }
            }
        }
    }

    /// Brings all tasks, and waits until they have ended, `until` is over or the run stops itself.
    pub(crate) async fn drive(&self, system: &AgentSystem, until: Option<Duration>) -> End {
        let over = until.map_or(Timestamp::NEVER, |until| self.start + until);
        let work = std::pin::pin!(self.all(system));
        let time = std::pin::pin!(self.clock.sleep_until(over));
        let stopped = std::pin::pin!(system.stopped());
        let early = std::pin::pin!(async {
            match select(stopped, time).await {
                futures_util::future::Either::Left(_) => End::Stopped,
                futures_util::future::Either::Right(_) => End::TimeOver,
            }
        });
        match select(work, early).await {
            futures_util::future::Either::Left(_) => End::AllDone,
            futures_util::future::Either::Right((end, _)) => end,
        }
    }

    async fn all(&self, system: &AgentSystem) {
        let workloads = self.script.workloads().iter().zip(0..);
        join_all(workloads.map(|(workload, number)| self.bring(workload, number, system))).await;
        while lock(&self.meter).open() > 0 {
            self.ended.notified().await;
        }
    }

    async fn bring(&self, workload: &Workload, number: u32, system: &AgentSystem) {
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
                let next = std::cell::Cell::new(0);
                let user = || async {
                    while next.get() < count && self.clock.now() < lasts {
                        let place = Place { workload: number, task: next.replace(next.get() + 1) };
                        let handle = self.submit(place, self.clock.now(), system).await;
                        let Some(Ok(_)) = (match handle {
                            Some(handle) => Some(handle.outcome().await),
                            None => None,
                        }) else {
                            return;
                        };
                        let key = [u64::from(number), place.task, 0];
                        let ns = think.sample_nanos(&mut Draw::new(self.script.seed(), THINK, key));
                        self.clock.sleep(Duration::from_nanos(ns)).await;
                    }
                };
                join_all((0..(*users).min(count)).map(|_| user())).await;
            }
        }
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
            if self.submit(place, at, system).await.is_none() {
                return;
            }
        }
    }

    /// Submits a task that arrived at `at`, which may be a while ago where others were submitted
    /// first; `None` where the system takes no more.
    async fn submit(
        &self,
        place: Place,
        at: Timestamp,
        system: &AgentSystem,
    ) -> Option<agent_core::system::TaskHandle> {
        lock(&self.meter).arrives(place, at);
        system.submit(self.script.task(place)).await.ok()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
