//! The tasks of a run: the fleet's, then those of a file or stdin.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;

use agent_core::clock::Timestamp;
use agent_core::config::Fleet;
use agent_core::coordinator::Summary;
use agent_core::money::NanoUsd;
use agent_core::task::{ErrorCode, Outcome, Status, Task, TaskError};
use agent_core::tasks::{LineError, Lines};
use agent_core::usage::TokenCounts;
use thiserror::Error;

use crate::args::Run;
use crate::output;

/// Why the tasks could not be read. Nothing was started.
#[derive(Debug, Error)]
pub(crate) enum TasksError {
    #[error("task file {} cannot be read; name a file of one JSON object a line", .0.display())]
    Open(PathBuf, #[source] io::Error),
    #[error("task file {}, line {line}: {error}; mend it, or pass --skip-bad-tasks", .file.display())]
    Line { file: PathBuf, line: usize, error: LineError },
    #[error("no tasks: add [[task]] to {}, or pass --tasks FILE", .0.display())]
    None(PathBuf),
}

/// The tasks to run, and those whose id was used before, each with where it stands.
pub(crate) type Loaded = (Vec<Task>, Vec<(Task, String)>);

/// Reads all tasks. Those whose id was used before come apart, each with where it stands.
pub(crate) fn load(args: &Run, fleet: &Fleet, quiet: bool) -> Result<Loaded, TasksError> {
    let mut read = Read::default();
    for task in &fleet.task {
        read.add(task.clone(), || args.fleet.display().to_string());
    }
    if let Some(path) = &args.tasks {
        let from: Box<dyn BufRead> = if path.as_os_str() == "-" {
            Box::new(BufReader::new(io::stdin()))
        } else {
            let fail = |error| TasksError::Open(path.clone(), error);
            let opened = File::open(path).map_err(fail)?;
            if opened.metadata().map_err(fail)?.is_dir() {
                return Err(fail(io::ErrorKind::IsADirectory.into()));
            }
            Box::new(BufReader::new(opened))
        };
        for (line, task) in Lines::new(from) {
            match task {
                Ok(task) => read.add(task, || format!("line {line} of {}", path.display())),
                Err(error) if args.skip_bad_tasks => {
                    if !quiet {
                        let file = path.display();
                        output::note(&format!("skipped: task file {file}, line {line}: {error}"));
                    }
                }
                Err(error) => return Err(TasksError::Line { file: path.clone(), line, error }),
            }
        }
    }
    if read.tasks.is_empty() && args.tasks.is_none() && !args.resume {
        return Err(TasksError::None(args.fleet.clone()));
    }
    Ok((read.tasks, read.twice))
}

#[derive(Default)]
struct Read {
    tasks: Vec<Task>,
    twice: Vec<(Task, String)>,
    ids: BTreeSet<agent_core::task::TaskId>,
}

impl Read {
    fn add(&mut self, task: Task, place: impl FnOnce() -> String) {
        if self.ids.insert(task.id.clone()) {
            self.tasks.push(task);
        } else {
            self.twice.push((task, place()));
        }
    }
}

/// The outcome of a task whose id was used before.
pub(crate) fn rejected_twice((task, place): &(Task, String), now: Timestamp) -> Outcome {
    let message = format!("task {} was given before; the one in {place} has the same id", task.id);
    Outcome {
        task_id: task.id.clone(),
        status: Status::Failed,
        output: None,
        error: Some(TaskError::new(ErrorCode::InvalidTask, message)),
        agent_id: None,
        project_id: task.project_id.clone(),
        model: task.model.clone(),
        attempts: 0,
        usage: TokenCounts::default(),
        cost_usd: NanoUsd::ZERO,
        presumed_cost_usd: NanoUsd::ZERO,
        duration_ms: 0,
        finished_at: now,
        stop_reason: None,
    }
}

/// Counts tasks that never reached the runtime.
pub(crate) fn count_rejected(summary: &mut Summary, count: u64) {
    if count > 0 {
        summary.tasks.total += count;
        summary.tasks.failed += count;
        *summary.errors.entry(ErrorCode::InvalidTask).or_default() += count;
    }
}
