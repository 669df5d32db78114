//! A run as the journal tells it, long after it has ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::codec;
use super::error::StoreError;
use super::journal::{Line, parse};
use super::reader::Reader;
use crate::clock::Timestamp;
use crate::task::{Outcome, Task, TaskId};

/// A run, whether or not it has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct PastRun {
    /// Which run.
    pub run_id: Arc<str>,
    /// When it first started.
    pub started_at: Timestamp,
    /// How often it was started: more than once where it was resumed.
    pub parts: u32,
    /// The fleet file that it was started with, where there was one.
    pub fleet: Option<String>,
    /// Its tasks, in the order in which they were accepted.
    pub tasks: Vec<PastTask>,
}

/// A task of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct PastTask {
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The task.
    pub task: Arc<Task>,
    /// How it ended; `None` where it has not.
    pub outcome: Option<Arc<Outcome>>,
}

impl Reader {
    /// The ids of all runs in the journal, in the order in which they started. Retention drops
    /// those before the last.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it cannot be read.
    pub fn runs(&self) -> Result<Vec<Arc<str>>, StoreError> {
        let mut runs: Vec<Arc<str>> = Vec::new();
        self.journal(&mut |line| {
            if let Line::RunStarted { run_id, .. } = line
                && !runs.contains(&run_id)
            {
                runs.push(run_id);
            }
            Ok(())
        })?;
        Ok(runs)
    }

    /// What the journal has of a run; `None` where it has nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it cannot be read.
    pub fn run(&self, id: &str) -> Result<Option<PastRun>, StoreError> {
        let mut run: Option<PastRun> = None;
        let mut places: BTreeMap<TaskId, usize> = BTreeMap::new();
        self.journal(&mut |line| {
            match line {
                Line::RunStarted { run_id, at, fleet } if *run_id == *id => {
                    let new =
                        || PastRun { run_id, started_at: at, parts: 0, fleet, tasks: Vec::new() };
                    run.get_or_insert_with(new).parts += 1;
                }
                Line::TaskAccepted { run_id, at, json, .. } if *run_id == *id => {
                    let task: Arc<Task> = parse(&json)?;
                    let Some(run) = &mut run else { return Ok(()) };
                    places.insert(task.id.clone(), run.tasks.len());
                    run.tasks.push(PastTask { accepted_at: at, task, outcome: None });
                }
                Line::TaskEnded { run_id, json } if *run_id == *id => {
                    let outcome: Arc<Outcome> = parse(&json)?;
                    let place = places.get(&outcome.task_id);
                    let task = run.as_mut().zip(place).map(|(run, place)| &mut run.tasks[*place]);
                    if let Some(task) = task {
                        task.outcome = Some(outcome);
                    }
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(run)
    }

    fn journal(
        &self,
        each: &mut dyn FnMut(Line) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        codec::read_items(self.backend(), codec::JOURNAL, (0, u64::MAX), &mut |_, _, line| {
            each(line).map(|()| true)
        })
    }
}
