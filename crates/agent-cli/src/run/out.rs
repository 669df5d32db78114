//! The file of outcomes: one a line, appended as tasks end, repaired when a run is resumed.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use agent_core::task::{Outcome, TaskId};
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
        let (whole, present) = read(&mut file).map_err(fail("read it"))?;
        if repair {
            file.set_len(whole).map_err(fail("cut its torn last line"))?;
        }
        file.seek(SeekFrom::End(0)).map_err(fail("find its end"))?;
        let present = if repair { present } else { BTreeSet::new() };
        Ok(OutFile { path: path.to_owned(), file: BufWriter::new(file), present })
    }

    /// Appends an outcome, unless the file had it when it was repaired.
    pub(crate) fn append(&mut self, outcome: &Outcome) -> Result<(), OutError> {
        if self.present.contains(&outcome.task_id) {
            return Ok(());
        }
        serde_json::to_writer(&mut self.file, outcome)
            .map_err(io::Error::from)
            .and_then(|()| self.file.write_all(b"\n"))
            .map_err(|source| self.failed("append to it", source))
    }

    /// Hands what was appended to the operating system.
    pub(crate) fn flush(&mut self) -> Result<(), OutError> {
        self.file.flush().map_err(|source| self.failed("append to it", source))
    }

    /// Makes what was appended durable.
    pub(crate) fn sync(mut self) -> Result<(), OutError> {
        self.flush()?;
        self.file.get_ref().sync_all().map_err(|source| self.failed("make it durable", source))
    }

    fn failed(&self, what: &'static str, source: io::Error) -> OutError {
        OutError { path: self.path.clone(), what, source }
    }
}

/// The length of the whole lines, and the tasks that they are about.
fn read(file: &mut File) -> io::Result<(u64, BTreeSet<TaskId>)> {
    #[derive(Deserialize)]
    struct Line {
        task_id: TaskId,
    }
    let mut reader = BufReader::new(file);
    let (mut whole, mut present, mut line) = (0, BTreeSet::new(), Vec::new());
    loop {
        line.clear();
        let bytes = reader.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            return Ok((whole, present));
        }
        whole += bytes as u64;
        if let Ok(Line { task_id }) = serde_json::from_slice(&line) {
            present.insert(task_id);
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
