//! The tasks of a run: the fleet's, then those of a file or stdin.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use agent_core::config::Fleet;
use agent_core::task::{Task, TaskId};
use agent_core::tasks::{LineError, Lines};
use thiserror::Error;

use crate::args::Run;
use crate::output;

/// Why the tasks could not be read. Nothing was started.
#[derive(Debug, Error)]
pub(crate) enum TasksError {
    #[error("task file {} cannot be read; name a file of one JSON object a line", .0.display())]
    Open(PathBuf, #[source] io::Error),
    #[error("task file {}, line {line}: {error}", .file.display())]
    Line { file: PathBuf, line: usize, error: LineError },
    #[error("{0}; mend it, or pass --skip-bad-tasks")]
    OfRun(Box<TasksError>),
    #[error("no tasks: add [[task]] to {}, or pass --tasks FILE", .0.display())]
    None(PathBuf),
}

/// Reads all tasks: each has an id of its own.
pub(crate) fn load(args: &Run, fleet: &Fleet, quiet: bool) -> Result<Vec<Task>, TasksError> {
    let mut tasks = fleet.task.clone();
    let Some(path) = &args.tasks else {
        if tasks.is_empty() && !args.resume {
            return Err(TasksError::None(args.fleet.clone()));
        }
        return Ok(tasks);
    };
    let skipped = |line: usize, error: &LineError| {
        if !quiet {
            let file = path.display();
            output::note(&format!("skipped: task file {file}, line {line}: {error}"));
        }
    };
    let skip = args.skip_bad_tasks.then_some(&skipped as &Skip<'_>);
    read(path, &mut tasks, skip).map_err(|error| match error {
        TasksError::Line { .. } => TasksError::OfRun(Box::new(error)),
        error => error,
    })?;
    if tasks.is_empty() && !quiet && !args.resume {
        output::note(&format!("task file {} has no task: nothing is done", path.display()));
    }
    Ok(tasks)
}

/// Is told a bad line and what is wrong with it.
pub(crate) type Skip<'a> = dyn Fn(usize, &LineError) + 'a;

/// Adds the tasks of a file to `tasks`; a bad line is told to `skip`, and an error without it.
pub(crate) fn read(
    path: &Path,
    tasks: &mut Vec<Task>,
    skip: Option<&Skip<'_>>,
) -> Result<(), TasksError> {
    let mut ids: BTreeSet<TaskId> = tasks.iter().map(|task| task.id.clone()).collect();
    for (line, task) in Lines::new(open(path)?) {
        let task = task.and_then(|task| {
            let is_new = ids.insert(task.id.clone());
            if is_new { Ok(task) } else { Err(LineError::id_twice(&task)) }
        });
        match (task, skip) {
            (Ok(task), _) => tasks.push(task),
            (Err(error), Some(skip)) => skip(line, &error),
            (Err(error), None) => {
                return Err(TasksError::Line { file: path.to_owned(), line, error });
            }
        }
    }
    Ok(())
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, TasksError> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let fail = |error| TasksError::Open(path.to_owned(), error);
    let opened = File::open(path).map_err(fail)?;
    if opened.metadata().map_err(fail)?.is_dir() {
        return Err(fail(io::ErrorKind::IsADirectory.into()));
    }
    Ok(Box::new(BufReader::new(opened)))
}
