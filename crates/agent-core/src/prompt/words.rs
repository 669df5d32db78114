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
        self.next_of(|_, _| true)
    }
}

impl<'a> Words<'a> {
    /// The next word of which `wanted` holds, by what its first two bytes spell; 0 where it has one
    /// only. Those before it are passed over.
    pub(super) fn next_of(&mut self, wanted: impl Fn(u8, u8) -> bool) -> Option<Word<'a>> {
        loop {
            // It begins between words.
            let (text, mut before) = (self.rest, 0);
            for (at, byte) in text.iter().enumerate() {
                let spelled = SPELLS[usize::from(*byte)];
                if spelled != 0 && before == 0 {
                    let (past, word) = text.split_at(at);
                    let second = word.get(1).map_or(0, |byte| SPELLS[usize::from(*byte)]);
                    if second == 0 {
                        self.dotted |= is_sign(past.last()) && is_sign(word.get(1));
                    }
                    if wanted(spelled, second) {
                        return Some(self.cut(word));
                    }
                }
                before = spelled;
            }
            self.rest = &[];
            let (text, more) = self.more.split_first()?;
            (self.rest, self.more) = (text.as_bytes(), more);
        }
    }

    /// The word that `text` begins with; what follows it is still to come.
    fn cut(&mut self, text: &'a [u8]) -> Word<'a> {
        let end = text.iter().position(|byte| SPELLS[usize::from(*byte)] == 0);
        let (word, rest) = text.split_at(end.unwrap_or(text.len()));
        self.rest = rest;
        Word(word)
    }
}

fn is_sign(byte: Option<&u8>) -> bool {
    byte.is_some_and(|byte| !byte.is_ascii_whitespace())
}

/// A word, as it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word<'a>(&'a [u8]);

impl Word<'_> {
    /// What its first byte spells.
    pub(super) fn first(self) -> u8 {
        self.0.first().map_or(0, |byte| SPELLS[usize::from(*byte)])
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
