//! The file of outcomes: one a line, appended as tasks end, repaired when a run is resumed.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use agent_core::clock::Timestamp;
use agent_core::task::{Outcome, TaskId};
use rustix::fs::Access;
use serde::Deserialize;
use thiserror::Error;

/// The file cannot be used, or could not be read, repaired or written.
#[derive(Debug, Error)]
pub(crate) enum OutError {
    #[error("outcome file {}: failed to {what}", .path.display())]
    Io {
        path: PathBuf,
        what: &'static str,
        #[source]
        source: io::Error,
    },
    #[error(
        "outcome file {} is a pipe or a device, which cannot be repaired as --resume would have it; \
         name a regular file with --out, or leave it out",
        .0.display()
    )]
    NotRepairable(PathBuf),
    #[error(
        "outcome file {}: the thread that writes it has ended; what it has not written stays in the \
         store",
        .0.display()
    )]
    Ended(PathBuf),
}

/// A file of outcomes that can be opened, as far as can be seen before the store is ours.
///
/// Until then nothing is changed in it: another process may have the store, and be writing to it.
#[derive(Debug)]
pub(crate) struct Wanted {
    path: PathBuf,
    /// `None` where there is no such file yet.
    file: Option<File>,
    is_regular: bool,
}

/// Appends outcomes to a file, a pipe or a device.
#[derive(Debug)]
pub(crate) struct OutFile {
    path: PathBuf,
    file: BufWriter<File>,
    is_regular: bool,
    /// Each outcome that has a line: other runs may have had tasks of the same ids.
    present: BTreeSet<(TaskId, Timestamp)>,
}

impl Wanted {
    /// Opens what is there, and sees whether a file can be made where nothing is; `resume` says
    /// whether it will have to be repaired.
    pub(crate) fn see(path: &Path, resume: bool) -> Result<Wanted, OutError> {
        let path = path.to_owned();
        let seen = match std::fs::metadata(&path) {
            Ok(meta) if !meta.is_file() && resume => return Err(OutError::NotRepairable(path)),
            Ok(meta) => {
                let is_regular = meta.is_file();
                let opened = OpenOptions::new().read(is_regular).write(true).open(&path);
                opened.map(|file| (Some(file), is_regular))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                let may = Access::WRITE_OK | Access::EXEC_OK;
                let may = rustix::fs::access(folder.unwrap_or_else(|| Path::new(".")), may);
                may.map(|()| (None, true)).map_err(io::Error::from)
            }
            Err(error) => Err(error),
        };
        match seen {
            Ok((file, is_regular)) => Ok(Wanted { path, file, is_regular }),
            Err(source) => Err(OutError::Io { path, what: "open it for appending", source }),
        }
    }

    /// Makes it where it is absent, and goes to its end: where `resume`, after a repair.
    pub(crate) fn begin(self, resume: bool) -> Result<OutFile, OutError> {
        let Wanted { path, file, is_regular } = self;
        let file = file.map_or_else(
            || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path),
            Ok,
        );
        let file = match file {
            Ok(file) => BufWriter::new(file),
            Err(source) => return Err(OutError::Io { path, what: "make it", source }),
        };
        let mut out = OutFile { path, file, is_regular, present: BTreeSet::new() };
        if resume {
            out.repair()?;
        } else if is_regular {
            out.go_to_end()?;
        }
        Ok(out)
    }
}

impl OutFile {
    /// Goes to its end, and to a new line where its last one is torn.
    fn go_to_end(&mut self) -> Result<(), OutError> {
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

    /// Cuts a torn last line and lines that are there again, and remembers the outcomes that have
    /// a line, so that none is written twice.
    fn repair(&mut self) -> Result<(), OutError> {
        let read = read(self.file.get_mut());
        let Lines { whole, present } = read.map_err(|source| self.failed("read it", source))?;
        let cut = match &*whole {
            [] => self.file.get_mut().set_len(0),
            [only] => self.file.get_mut().set_len(only.end),
            pieces => self.keep(pieces),
        };
        let cut = cut.and_then(|()| self.file.get_mut().seek(SeekFrom::End(0)));
        cut.map_err(|source| self.failed("cut what is torn or there twice", source))?;
        self.present = present;
        Ok(())
    }

    /// Keeps these pieces alone, in a file beside it that then takes its place: of the lines of
    /// other runs there is no second copy.
    fn keep(&mut self, pieces: &[Range<u64>]) -> io::Result<()> {
        let path = std::fs::canonicalize(&self.path)?;
        let mut beside = path.clone().into_os_string();
        beside.push(".repair");
        let old = self.file.get_mut();
        let mut kept = File::create(&beside)?;
        kept.set_permissions(old.metadata()?.permissions())?;
        for Range { start, end } in pieces {
            old.seek(SeekFrom::Start(*start))?;
            io::copy(&mut (&mut *old).take(end - start), &mut kept)?;
        }
        kept.sync_all()?;
        std::fs::rename(&beside, &path)?;
        self.file = BufWriter::new(kept);
        Ok(())
    }

    /// Appends an outcome, unless the file had it when it was repaired.
    pub(crate) fn append(&mut self, outcome: &Outcome) -> Result<(), OutError> {
        // As precise as a line is.
        let finished_at = Timestamp::from_millis(outcome.finished_at.millis());
        if self.present.contains(&(outcome.task_id.clone(), finished_at)) {
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

    /// Makes what was appended durable, where there is a disk under it.
    pub(crate) fn sync(&mut self) -> Result<(), OutError> {
        self.flush()?;
        if !self.is_regular {
            return Ok(());
        }
        self.file.get_ref().sync_all().map_err(|source| self.failed("make it durable", source))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, what: &'static str, source: io::Error) -> OutError {
        OutError::Io { path: self.path.clone(), what, source }
    }
}

/// What a file of outcomes holds.
#[derive(Default)]
struct Lines {
    /// Where its whole lines are, in bytes, without outcomes that have one before.
    whole: Vec<Range<u64>>,
    present: BTreeSet<(TaskId, Timestamp)>,
}

fn read(file: &mut File) -> io::Result<Lines> {
    #[derive(Deserialize)]
    struct Line {
        task_id: TaskId,
        finished_at: Timestamp,
    }
    let mut reader = BufReader::new(file);
    let (mut lines, mut at, mut line) = (Lines::default(), 0, Vec::new());
    loop {
        line.clear();
        let end = at + reader.read_until(b'\n', &mut line)? as u64;
        if !line.ends_with(b"\n") {
            return Ok(lines);
        }
        let is_new = serde_json::from_slice(&line).map_or(true, |Line { task_id, finished_at }| {
            lines.present.insert((task_id, Timestamp::from_millis(finished_at.millis())))
        });
        match lines.whole.last_mut() {
            _ if !is_new => {}
            Some(last) if last.end == at => last.end = end,
            _ => lines.whole.push(at..end),
        }
        at = end;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;

    use agent_core::money::NanoUsd;
    use agent_core::task::Status;
    use agent_core::usage::TokenCounts;

    use super::*;

    pub(crate) fn outcome(id: &str) -> Outcome {
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

    /// The file, begun.
    fn out(path: &Path, resume: bool) -> OutFile {
        Wanted::see(path, resume).unwrap().begin(resume).unwrap()
    }

    /// Two outcomes, the second without its last bytes.
    fn torn(path: &Path) {
        let mut out = out(path, false);
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

        let mut out = out(&path, true);
        for id in ["1", "2", "3"] {
            out.append(&outcome(id)).unwrap();
        }
        out.sync().unwrap();
        assert_eq!(ids(&path), ["1", "2", "3"]);
    }

    #[test]
    fn an_outcome_that_is_there_twice_is_there_once_after_a_repair() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        torn(&path);
        let text = fs::read_to_string(&path).unwrap();
        let (first, rest) = text.split_once('\n').unwrap();
        fs::write(&path, format!("{first}\nno JSON\n{first}\n{first}\n{rest}")).unwrap();

        let mut out = out(&path, true);
        for id in ["1", "2"] {
            out.append(&outcome(id)).unwrap();
        }
        out.sync().unwrap();
        assert_eq!(ids(&path), ["1", "no outcome: no JSON", "2"]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn without_a_repair_no_line_is_glued_to_a_torn_one_and_nothing_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        torn(&path);
        let before = fs::read_to_string(&path).unwrap();

        let mut out = out(&path, false);
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
        let mut first = out(&path, false);
        first.append(&outcome("1")).unwrap();
        first.sync().unwrap();

        let later = Outcome { finished_at: Timestamp::from_millis(86_400_000), ..outcome("1") };
        for _ in 0..2 {
            let mut out = out(&path, true);
            out.append(&later).unwrap();
            out.sync().unwrap();
        }
        assert_eq!(ids(&path), ["1", "1"], "one of the earlier run, and one of this");
    }

    #[test]
    fn a_file_that_is_only_wanted_is_not_made_nor_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        for resume in [false, true] {
            drop(Wanted::see(&path, resume).unwrap());
            assert!(!path.exists());
        }
        torn(&path);
        let before = fs::read_to_string(&path).unwrap();
        for resume in [false, true] {
            drop(Wanted::see(&path, resume).unwrap());
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
        assert!(Wanted::see(&folder.path().join("no/such/file"), false).is_err());
    }
}
