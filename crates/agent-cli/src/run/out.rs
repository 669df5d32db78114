//! The file of outcomes: one a line, appended as tasks end, repaired when a run is resumed.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use agent_core::task::{Outcome, TaskError, TaskId};
use serde::Deserialize;
use thiserror::Error;

/// The file could not be read, repaired or written.
#[derive(Debug, Error)]
#[error("outcome file {}: failed to {what}", .path.display())]
pub(crate) struct OutError {
    path: PathBuf,
    what: &'static str,
    #[source]
    source: io::Error,
}

/// Appends outcomes to a file.
#[derive(Debug)]
pub(crate) struct OutFile {
    path: PathBuf,
    file: BufWriter<File>,
    present: BTreeSet<TaskId>,
    /// Lines of tasks whose id was used before, by id and error.
    rejected: BTreeSet<(TaskId, Option<String>)>,
}

/// What a file of outcomes holds.
#[derive(Debug, Default)]
struct Lines {
    /// The length of the whole lines, in bytes.
    length: u64,
    present: BTreeSet<TaskId>,
    rejected: BTreeSet<(TaskId, Option<String>)>,
}

impl OutFile {
    /// Opens the file at its end, creating it where it is absent.
    ///
    /// With `repair`, a torn last line is cut, and the tasks that have a line are remembered so
    /// that none is written twice.
    pub(crate) fn open(path: &Path, repair: bool) -> Result<OutFile, OutError> {
        let fail = |what| move |source| OutError { path: path.to_owned(), what, source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(fail("open it for appending"))?;
        let lines = if repair {
            let lines = read(&mut file).map_err(fail("read it"))?;
            file.set_len(lines.length).map_err(fail("cut its torn last line"))?;
            lines
        } else {
            Lines::default()
        };
        file.seek(SeekFrom::End(0)).map_err(fail("find its end"))?;
        let Lines { present, rejected, .. } = lines;
        Ok(OutFile { path: path.to_owned(), file: BufWriter::new(file), present, rejected })
    }

    /// Appends an outcome, unless the file had it when it was repaired.
    pub(crate) fn append(&mut self, outcome: &Outcome) -> Result<(), OutError> {
        if self.present.contains(&outcome.task_id) {
            return Ok(());
        }
        self.write(outcome)
    }

    fn write(&mut self, outcome: &Outcome) -> Result<(), OutError> {
        serde_json::to_writer(&mut self.file, outcome)
            .map_err(io::Error::from)
            .and_then(|()| self.file.write_all(b"\n"))
            .map_err(|source| self.failed("append to it", source))
    }

    /// Appends the outcome of a task whose id was used before, unless the file has the same line.
    pub(crate) fn append_again(&mut self, outcome: &Outcome) -> Result<(), OutError> {
        let error = outcome.error.as_ref().map(|error| error.message.clone());
        if !self.rejected.insert((outcome.task_id.clone(), error)) {
            return Ok(());
        }
        self.write(outcome)
    }

    /// Hands what was appended to the operating system.
    pub(crate) fn flush(&mut self) -> Result<(), OutError> {
        self.file.flush().map_err(|source| self.failed("append to it", source))
    }

    /// Makes what was appended durable.
    pub(crate) fn sync(&mut self) -> Result<(), OutError> {
        self.flush()?;
        self.file.get_ref().sync_all().map_err(|source| self.failed("make it durable", source))
    }

    fn failed(&self, what: &'static str, source: io::Error) -> OutError {
        OutError { path: self.path.clone(), what, source }
    }
}

fn read(file: &mut File) -> io::Result<Lines> {
    #[derive(Deserialize)]
    struct Line {
        task_id: TaskId,
        error: Option<TaskError>,
    }
    let mut reader = BufReader::new(file);
    let (mut lines, mut line) = (Lines::default(), Vec::new());
    loop {
        line.clear();
        let bytes = reader.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            return Ok(lines);
        }
        lines.length += bytes as u64;
        if let Ok(Line { task_id, error }) = serde_json::from_slice(&line) {
            lines.rejected.insert((task_id.clone(), error.map(|error| error.message)));
            lines.present.insert(task_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use agent_core::clock::Timestamp;
    use agent_core::money::NanoUsd;
    use agent_core::task::Status;
    use agent_core::usage::TokenCounts;

    use super::*;

    fn outcome(id: &str) -> Outcome {
        Outcome {
            task_id: id.into(),
            status: Status::Completed,
            output: Some("done".into()),
            error: None,
            agent_id: None,
            project_id: None,
            model: None,
            attempts: 1,
            usage: TokenCounts::default(),
            cost_usd: NanoUsd::ZERO,
            presumed_cost_usd: NanoUsd::ZERO,
            duration_ms: 1,
            finished_at: Timestamp::EPOCH,
            stop_reason: None,
        }
    }

    #[test]
    fn a_torn_line_is_cut_and_no_outcome_is_written_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let mut out = OutFile::open(&path, false).unwrap();
        out.append(&outcome("1")).unwrap();
        out.append(&outcome("2")).unwrap();
        out.sync().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() - 5]).unwrap();

        let mut out = OutFile::open(&path, true).unwrap();
        for id in ["1", "2", "3"] {
            out.append(&outcome(id)).unwrap();
        }
        out.sync().unwrap();

        let text = fs::read_to_string(&path).unwrap();
        let ids: Vec<_> = text
            .lines()
            .map(|line| serde_json::from_str::<Outcome>(line).unwrap().task_id.to_string())
            .collect();
        assert_eq!(ids, ["1", "2", "3"]);
    }
}
