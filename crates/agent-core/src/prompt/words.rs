//! The words of texts, as rules are matched with them: of a folded copy, or of plain texts as they
//! stand.

use crate::prompt::fold::LETTERS;

/// What each byte of a word spells; 0 for one that parts words.
const SPELLS: [u8; 256] = {
    let mut table = LETTERS;
    let mut byte = 0x80;
    while byte < 256 {
        table[byte] = byte as u8;
        byte += 1;
    }
    table[b'=' as usize] = b'=';
    table
};

/// The words that are still to come. Those of a text follow those of the text before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words<'a> {
    rest: &'a [u8],
    more: &'a [&'a str],
    /// Whether there was a letter with signs around it, rather than white space: with others it may
    /// make one word, which only a folded copy shows.
    pub(super) dotted: bool,
}

impl<'a> Words<'a> {
    /// Those of plain texts.
    pub(super) fn of(texts: &'a [&'a str]) -> Words<'a> {
        Words { rest: &[], more: texts, dotted: false }
    }

    /// Those of a folded copy.
    pub(super) fn folded(copy: &'a [u8]) -> Words<'a> {
        Words { rest: copy, more: &[], dotted: false }
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        let mut start = 0;
        loop {
            match self.rest.get(start) {
                Some(byte) if SPELLS[usize::from(*byte)] != 0 => break,
                Some(_) => start += 1,
                None => {
                    let (text, more) = self.more.split_first()?;
                    (self.rest, self.more, start) = (text.as_bytes(), more, 0);
                }
            }
        }
        let mut end = start + 1;
        while self.rest.get(end).is_some_and(|byte| SPELLS[usize::from(*byte)] != 0) {
            end += 1;
        }
        let (before, rest) = (&self.rest[..start], &self.rest[end..]);
        if end - start == 1 {
            let is_sign = |byte: Option<&u8>| byte.is_some_and(|byte| !byte.is_ascii_whitespace());
            self.dotted |= is_sign(before.last()) && is_sign(rest.first());
        }
        let word = Word::new(&self.rest[start..end]);
        self.rest = rest;
        Some(word)
    }
}

/// A word, as it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word<'a>(&'a [u8]);

impl<'a> Word<'a> {
    pub(super) fn new(word: &'a [u8]) -> Word<'a> {
        Word(word)
    }

    /// What it begins with, as few bits: the same for words that begin with the same two letters.
    pub(super) fn start(self) -> (u8, u32) {
        let spells = |at: usize| self.0.get(at).map_or(0, |byte| SPELLS[usize::from(*byte)]);
        (spells(0), 1 << (spells(1) % 32))
    }

    /// Whether it spells `wanted`.
    pub(super) fn is(self, wanted: &[u8]) -> bool {
        self.0.len() == wanted.len() && self.begins(wanted)
    }

    /// Whether what it spells begins with `wanted`.
    pub(super) fn begins(self, wanted: &[u8]) -> bool {
        let mut both = self.0.iter().zip(wanted);
        self.0.len() >= wanted.len()
            && both.all(|(byte, wanted)| SPELLS[usize::from(*byte)] == *wanted)
    }
}
