//! Which kinds of bytes a text has: one look tells what need not be looked at closely.

/// Line feeds and tabs.
const LINE: u8 = 1;
/// White space of ASCII that stands in few texts.
const SPACE: u8 = 1 << 1;
/// What may stand for a letter: `@`, `$`, `!` and `|`.
const SIGN: u8 = 1 << 2;
/// Apostrophes and `=`, which are no letters and do not simply part words.
const JOINT: u8 = 1 << 3;
/// Controls other than white space.
const CONTROL: u8 = 1 << 4;
/// Of characters that are not ASCII.
const WIDE: u8 = 1 << 5;

const KINDS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'\n' | b'\t' => LINE,
            0x0B | 0x0C | b'\r' => SPACE,
            b'@' | b'$' | b'!' | b'|' => SIGN,
            b'\'' | b'=' => JOINT,
            b' '..=b'~' => 0,
            0..=0x7F => CONTROL,
            0x80.. => WIDE,
        };
        byte += 1;
    }
    table
};

/// The kinds of bytes that a text has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Kinds(u8);

impl Kinds {
    /// Those of `text`.
    pub(super) fn of(text: &str) -> Kinds {
        Kinds(text.bytes().fold(0, |kinds, byte| kinds | KINDS[usize::from(byte)]))
    }

    /// Those of several texts.
    pub(super) fn of_all(kinds: &[Kinds]) -> Kinds {
        Kinds(kinds.iter().fold(0, |all, kinds| all | kinds.0))
    }

    fn has(self, kinds: u8) -> bool {
        self.0 & kinds != 0
    }

    /// Whether there is nothing in it but what is shown: printable ASCII, with line feeds and tabs
    /// where they are `shown`.
    pub(super) fn is_clean(self, lines_shown: bool) -> bool {
        !self.has(SPACE | CONTROL | WIDE) && (lines_shown || !self.has(LINE))
    }

    /// Whether it has signs that may stand for letters.
    pub(super) fn has_signs(self) -> bool {
        self.has(SIGN)
    }

    /// Whether it has characters that are not ASCII.
    pub(super) fn is_wide(self) -> bool {
        self.has(WIDE)
    }

    /// Whether there may be something that cannot be seen.
    pub(super) fn may_hide(self) -> bool {
        self.has(CONTROL | WIDE)
    }

    /// Whether its words are the runs of its letters and digits, and all else parts them.
    pub(super) fn is_plain(self) -> bool {
        !self.has(JOINT | CONTROL | WIDE)
    }
}
