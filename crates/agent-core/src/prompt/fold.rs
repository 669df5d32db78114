//! A copy of a text in which spelling tricks are undone, for matching only; it is never sent.

use unicode_normalization::char::{decompose_compatible, is_combining_mark};

use crate::prompt::clean::is_hidden;

/// One way to read a text. A trick that hides a phrase from one shows it to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    /// What cannot be seen parts words; otherwise it is as if it were not there.
    pub(super) hidden_parts: bool,
    /// `@`, `$`, `!` and `|` are letters; otherwise they part words.
    pub(super) signs_spell: bool,
    /// From its end to its beginning, as an override shows it.
    pub(super) reversed: bool,
}

impl Reading {
    pub(super) const PLAIN: Reading =
        Reading { hidden_parts: false, signs_spell: false, reversed: false };

    /// The readings that could differ for this text, the plain one first.
    pub(super) fn of(text: &str) -> Vec<Reading> {
        let mut readings = vec![Reading::PLAIN];
        let mut add = |differs: bool, change: fn(&mut Reading)| {
            for at in 0..readings.len() {
                if differs {
                    let mut reading = readings[at];
                    change(&mut reading);
                    readings.push(reading);
                }
            }
        };
        let is_ascii = text.is_ascii();
        let has_signs = text.bytes().any(|byte| matches!(byte, b'@' | b'$' | b'!' | b'|'));
        let turns = |c| matches!(c, '\u{202E}' | '\u{202B}' | '\u{2067}');
        add(!is_ascii && text.chars().any(is_invisible), |r| r.hidden_parts = true);
        add(has_signs, |r| r.signs_spell = true);
        add(!is_ascii && text.chars().any(turns), |r| r.reversed = true);
        readings
    }
}

/// The words of `text`, parted by single spaces: compatibility forms decomposed, marks dropped,
/// lower case, look-alikes and digits that spell letters replaced, invisible tags decoded. Single
/// letters with dots (or other signs, no spaces) between them make one word; so does a lone `=`,
/// which keeps `instead = output` apart from a sentence.
pub(super) fn fold(text: &str, reading: Reading) -> String {
    let mut folded = Folded { out: String::with_capacity(text.len()), ..Folded::default() };
    if reading.reversed {
        text.chars().rev().for_each(|c| folded.read(c, reading));
    } else {
        text.chars().for_each(|c| folded.read(c, reading));
    }
    folded.end_chunk();
    folded.out
}

fn is_invisible(c: char) -> bool {
    is_hidden(c) && !c.is_whitespace()
}

#[derive(Debug, Default)]
struct Folded {
    out: String,
    /// Where the run of characters without white space began.
    chunk: usize,
    /// Words in this run, and whether each is a single letter so far.
    words: usize,
    all_single: bool,
    /// Letters of the current word.
    letters: usize,
    /// Whether this run has a `=`.
    equals: bool,
}

impl Folded {
    fn read(&mut self, c: char, reading: Reading) {
        // Most texts are nothing else.
        if c.is_ascii_alphanumeric() {
            self.begin_letter();
            return self.out.push(spelled(c.to_ascii_lowercase()));
        }
        if c == ' ' {
            return self.end_chunk();
        }
        let c = match u32::from(c) {
            tag @ 0xE0020..=0xE007E => char::from_u32(tag - 0xE0000).unwrap_or(c),
            square @ 0x1F130..=0x1F149 => letter(square - 0x1F130),
            circle @ 0x1F150..=0x1F169 => letter(circle - 0x1F150),
            square @ 0x1F170..=0x1F189 => letter(square - 0x1F170),
            flag @ 0x1F1E6..=0x1F1FF => letter(flag - 0x1F1E6),
            _ => c,
        };
        if c.is_ascii() && !c.is_ascii_control() {
            self.push(c, reading);
        } else if c.is_whitespace() {
            self.end_chunk();
        } else if is_hidden(c) {
            if reading.hidden_parts {
                self.end_chunk();
            }
        } else {
            decompose_compatible(c, |part| {
                if !is_combining_mark(part) {
                    let seen = look_alike(part);
                    seen.to_lowercase().for_each(|lower| self.push(look_alike(lower), reading));
                }
            });
        }
    }

    fn push(&mut self, c: char, reading: Reading) {
        let c = match c {
            '@' if reading.signs_spell => 'a',
            '$' if reading.signs_spell => 's',
            '!' | '|' if reading.signs_spell => 'i',
            c => spelled(c.to_ascii_lowercase()),
        };
        if c.is_whitespace() {
            self.end_chunk();
        } else if c.is_alphanumeric() {
            self.begin_letter();
            self.out.push(c);
        } else if c != '\'' && c != '’' {
            self.equals |= c == '=';
            self.end_word();
        }
    }

    fn begin_letter(&mut self) {
        if self.letters == 0 {
            if self.words == 0 {
                self.chunk = self.out.len();
                self.all_single = true;
            }
            self.words += 1;
            if !self.out.is_empty() {
                self.out.push(' ');
            }
        }
        self.letters += 1;
        self.all_single &= self.letters == 1;
    }

    fn end_word(&mut self) {
        self.letters = 0;
    }

    /// Ends the run; one of three or more single letters becomes one word.
    fn end_chunk(&mut self) {
        self.end_word();
        if self.all_single && self.words >= 3 {
            let joined = self.out.split_off(self.chunk).replace(' ', "");
            if !self.out.is_empty() {
                self.out.push(' ');
            }
            self.out.push_str(&joined);
        }
        if self.equals && self.words == 0 {
            self.out.push_str(if self.out.is_empty() { "=" } else { " =" });
        }
        self.equals = false;
        self.words = 0;
    }
}

fn letter(at: u32) -> char {
    u8::try_from(at).map_or('a', |at| char::from(b'a'.saturating_add(at)))
}

/// Leetspeak undone. `l` becomes `i` too, since `1` stands for either.
pub(super) fn spelled(c: char) -> char {
    match c {
        '0' => 'o',
        '1' | 'l' => 'i',
        '3' => 'e',
        '4' => 'a',
        '5' => 's',
        '7' => 't',
        '8' => 'b',
        '9' => 'g',
        c => c,
    }
}

/// The Latin letter that `c` looks like: Cyrillic, Greek, Armenian, small capitals, strokes.
fn look_alike(c: char) -> char {
    match c {
        'а' | 'α' | 'Α' | 'ɑ' | 'ᴀ' | 'ӕ' => 'a',
        'в' | 'В' | 'β' | 'Β' | 'ʙ' | 'ь' => 'b',
        'с' | 'ϲ' | 'ᴄ' => 'c',
        'ԁ' | 'đ' | 'ᴅ' => 'd',
        'е' | 'ε' | 'Ε' | 'ҽ' | 'є' | 'ᴇ' => 'e',
        'ƒ' => 'f',
        'ɡ' | 'ց' | 'ɢ' => 'g',
        'һ' | 'н' | 'Н' | 'Η' | 'հ' | 'ħ' | 'ʜ' => 'h',
        'і' | 'ι' | 'Ι' | 'ı' | 'ɩ' | 'ɪ' => 'i',
        'ј' | 'ϳ' | 'ᴊ' => 'j',
        'к' | 'κ' | 'Κ' | 'ᴋ' => 'k',
        'ӏ' | 'Ӏ' | 'ł' | 'ʟ' | 'ǀ' => 'l',
        'м' | 'М' | 'Μ' | 'ᴍ' => 'm',
        'п' | 'η' | 'Ν' | 'ո' | 'ɴ' => 'n',
        'о' | 'ο' | 'Ο' | 'օ' | 'ø' | 'σ' | 'ᴏ' => 'o',
        'р' | 'ρ' | 'Ρ' | 'ᴘ' => 'p',
        'ԛ' => 'q',
        'г' | 'ʀ' => 'r',
        'ѕ' | 'ꜱ' => 's',
        'т' | 'Т' | 'τ' | 'Τ' | 'ᴛ' => 't',
        'υ' | 'ս' | 'ᴜ' => 'u',
        'ѵ' | 'ν' | 'ᴠ' => 'v',
        'ԝ' | 'ω' | 'ᴡ' => 'w',
        'х' | 'χ' | 'Χ' => 'x',
        'у' | 'Υ' | 'γ' | 'ү' | 'ʏ' => 'y',
        'Ζ' | 'ᴢ' => 'z',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_for_matching_has_words_and_single_spaces_only() {
        let plain = |text| fold(text, Reading::PLAIN);
        assert_eq!(plain("  Don't\n\n\tPANIC, (now)!  "), "dont panic now");
        assert_eq!(plain("snake_case i.g.n.o.r.e a.b e.g. x"), "snake case ignore a b e g x");
        assert_eq!(plain("ＦＵＬＬ ①② ﬁne"), fold("full 12 fine", Reading::PLAIN));
        assert_eq!(plain("a := b=c"), "a = b c");
        assert_eq!(plain(""), "");
    }

    #[test]
    fn a_text_without_tricks_has_one_reading() {
        assert_eq!(Reading::of("naïve\r\ncode, \t(x)"), [Reading::PLAIN]);
        assert_eq!(Reading::of("a@b \u{200B}\u{202E}").len(), 8);
    }
}
