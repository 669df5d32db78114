//! The lines of a file, plain or in gzip, with bounds on all of it.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;

use super::error::TraceError;
use super::field::Here;
use super::{MAX_BYTES, MAX_LINE, MAX_LINES};

/// The bytes with which a gzip stream begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// How much is read at once, and all that is held of a file but for one line.
const BUFFER: usize = 64 << 10;

/// How many times its packed size a gzip stream may have, past the first mebibyte. Recorded
/// workloads have three to ten times, what was made to fill a memory a thousand.
const MAX_RATIO: u64 = 100;

/// Counts what is read.
struct Counted<R> {
    input: R,
    bytes: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(into)?;
        self.bytes.set(self.bytes.get() + read as u64);
        Ok(read)
    }
}

/// A file's lines, one at a time. Empty ones are left out, but counted.
pub(super) struct Lines<'a> {
    file: String,
    source: Box<dyn BufRead + 'a>,
    line: Vec<u8>,
    number: u64,
    /// Read of the file, and of what it unpacks to.
    packed: Rc<Cell<u64>>,
    bytes: u64,
    again: bool,
}

impl<'a> Lines<'a> {
    pub(super) fn new(file: &str, input: impl Read + 'a) -> Result<Lines<'a>, TraceError> {
        let file = file.to_owned();
        let packed = Rc::new(Cell::new(0));
        let counted = Counted { input, bytes: Rc::clone(&packed) };
        let mut plain = BufReader::with_capacity(BUFFER, counted);
        let source: Box<dyn BufRead + 'a> = match plain.fill_buf() {
            Err(source) => return Err(TraceError::Unreadable { file, line: 0, source }),
            Ok(start) if start.starts_with(&GZIP) => {
                Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(plain)))
            }
            Ok(_) => Box::new(plain),
        };
        Ok(Lines { file, source, line: Vec::new(), number: 0, packed, bytes: 0, again: false })
    }

    /// Goes to the next line that is not empty; `false` where there is none.
    pub(super) fn next(&mut self) -> Result<bool, TraceError> {
        if std::mem::take(&mut self.again) {
            return Ok(true);
        }
        loop {
            self.line.clear();
            let most = (MAX_LINE as u64 + 2).min(MAX_BYTES - self.bytes + 1);
            let read = self.source.by_ref().take(most).read_until(b'\n', &mut self.line);
            let read = read.map_err(|source| self.unreadable(source))?;
            if read == 0 {
                return Ok(false);
            }
            self.number += 1;
            self.bytes += read as u64;
            if self.number > MAX_LINES {
                return Err(self.too_large("20 million lines"));
            }
            if self.bytes > MAX_LINE as u64 + self.packed.get().saturating_mul(MAX_RATIO) {
                return Err(self.too_large("100 times the bytes of the packed file"));
            }
            if self.bytes > MAX_BYTES {
                return Err(self.too_large("1 GiB"));
            }
            while self.line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                self.line.pop();
            }
            if self.line.len() > MAX_LINE {
                return Err(TraceError::LongLine { file: self.file.clone(), line: self.number });
            }
            if !self.line.is_empty() {
                return Ok(true);
            }
        }
    }

    /// The current line is the next one too.
    pub(super) fn again(&mut self) {
        self.again = true;
    }

    fn unreadable(&self, source: io::Error) -> TraceError {
        TraceError::Unreadable { file: self.file.clone(), line: self.number, source }
    }

    pub(super) fn too_large(&self, most: &'static str) -> TraceError {
        self.here().too_large(most)
    }

    /// The line that is current.
    pub(super) fn here(&self) -> Here<'_> {
        Here { file: &self.file, number: self.number }
    }

    /// The line's text, a byte order mark left out.
    pub(super) fn text(&self) -> Result<&str, TraceError> {
        let bytes = match self.number {
            1 => self.line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.line),
            _ => &self.line,
        };
        str::from_utf8(bytes).map_err(|_| self.here().line("it is not text", "UTF-8"))
    }
}
