//! The file of outcomes: one a line, appended as tasks end, repaired when a run is resumed.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use agent_core::clock::Timestamp;
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
    lines: Lines,
}

/// What a file of outcomes holds.
#[derive(Debug, Default)]
struct Lines {
    /// The length of the whole lines, in bytes.
    length: u64,
    /// Each outcome: other runs may have had tasks of the same ids.
    present: BTreeSet<(TaskId, Timestamp)>,
    /// Lines of tasks whose id was used before, by id and error.
    rejected: BTreeSet<(TaskId, Option<String>)>,
}

impl OutFile {
    /// Opens the file, creating it where it is absent. What it holds is left alone.
    pub(crate) fn open(path: &Path) -> Result<OutFile, OutError> {
        let path = path.to_owned();
        let opened =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        match opened {
            Ok(file) => Ok(OutFile { path, file: BufWriter::new(file), lines: Lines::default() }),
            Err(source) => Err(OutError { path, what: "open it for appending", source }),
        }
    }

    /// Goes to its end, and to a new line where its last one is torn.
    pub(crate) fn append_to_end(&mut self) -> Result<(), OutError> {
        let file = self.file.get_mut();
        let torn = (|| {
            let mut last = [b'\n'];
            if file.seek(SeekFrom::End(0))? > 0 {
                file.seek(SeekFrom::End(-1))?;
                file.read_exact(&mut last)?;
            }
            Ok(last != [b'\n'])
        })();
        if torn.map_err(|source| self.failed("find its end", source))? {
            let begun = self.file.write_all(b"\n");
            begun.map_err(|source| self.failed("append to it", source))?;
        }
        Ok(())
    }

    /// Cuts a torn last line, and remembers the outcomes that have a line, and of this run, which
    /// started at `since`, the tasks whose id was used before, so that none is written twice.
    pub(crate) fn repair(&mut self, since: Timestamp) -> Result<(), OutError> {
        let file = self.file.get_mut();
        let lines = read(file, since).map_err(|source| self.failed("read it", source))?;
        let file = self.file.get_mut();
        let cut = file.set_len(lines.length).and_then(|()| file.seek(SeekFrom::End(0)));
        cut.map_err(|source| self.failed("cut its torn last line", source))?;
        self.lines = lines;
        Ok(())
    }

    /// Appends an outcome, unless the file had it when it was repaired.
    pub(crate) fn append(&mut self, outcome: &Outcome) -> Result<(), OutError> {
        // As precise as a line is.
        let finished_at = Timestamp::from_millis(outcome.finished_at.millis());
        if self.lines.present.contains(&(outcome.task_id.clone(), finished_at)) {
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
        if !self.lines.rejected.insert((outcome.task_id.clone(), error)) {
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

fn read(file: &mut File, since: Timestamp) -> io::Result<Lines> {
    #[derive(Deserialize)]
    struct Line {
        task_id: TaskId,
        error: Option<TaskError>,
        finished_at: Timestamp,
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
        if let Ok(Line { task_id, error, finished_at }) = serde_json::from_slice(&line) {
            if finished_at >= since {
                lines.rejected.insert((task_id.clone(), error.map(|error| error.message)));
            }
            let finished_at = Timestamp::from_millis(finished_at.millis());
            lines.present.insert((task_id, finished_at));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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

    /// The ids in a file, one a line; a line that is no outcome is named by its text.
    fn ids(path: &Path) -> Vec<String> {
        let id = |line: &str| {
            let outcome = serde_json::from_str::<Outcome>(line);
            outcome.map_or_else(|_| format!("no outcome: {line}"), |it| it.task_id.to_string())
        };
        fs::read_to_string(path).unwrap().lines().map(id).collect()
    }

    /// Two outcomes, the second without its last bytes.
    fn torn(path: &Path) {
        let mut out = OutFile::open(path).unwrap();
        out.append(&outcome("1")).unwrap();
        out.append(&outcome("2")).unwrap();
        out.sync().unwrap();
        let text = fs::read_to_string(path).unwrap();
        fs::write(path, &text[..text.len() - 5]).unwrap();
    }

    #[test]
    fn a_torn_line_is_cut_and_no_outcome_is_written_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        torn(&path);

        let mut out = OutFile::open(&path).unwrap();
        out.repair(Timestamp::EPOCH).unwrap();
        for id in ["1", "2", "3"] {
            out.append(&outcome(id)).unwrap();
        }
        out.sync().unwrap();
        assert_eq!(ids(&path), ["1", "2", "3"]);
    }

    #[test]
    fn without_a_repair_no_line_is_glued_to_a_torn_one_and_nothing_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        torn(&path);
        let before = fs::read_to_string(&path).unwrap();

        let mut out = OutFile::open(&path).unwrap();
        out.append_to_end().unwrap();
        out.append(&outcome("3")).unwrap();
        out.sync().unwrap();
        assert!(fs::read_to_string(&path).unwrap().starts_with(&before));
        let ids = ids(&path);
        assert!(ids.len() == 3 && ids[1].starts_with("no outcome") && ids[2] == "3", "{ids:?}");
    }

    #[test]
    fn an_outcome_of_an_earlier_run_does_not_stand_in_for_one_of_the_same_id() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let mut out = OutFile::open(&path).unwrap();
        out.append(&outcome("1")).unwrap();
        out.sync().unwrap();

        let later = Outcome { finished_at: Timestamp::from_millis(86_400_000), ..outcome("1") };
        for _ in 0..2 {
            let mut out = OutFile::open(&path).unwrap();
            out.repair(Timestamp::from_millis(80_000_000)).unwrap();
            out.append(&later).unwrap();
            out.append_again(&later).unwrap();
            out.sync().unwrap();
        }
        assert_eq!(ids(&path), ["1", "1", "1"][..ids(&path).len()]);
        assert_eq!(ids(&path).len(), 3, "one of the earlier run, and two of this one");
    }
}
