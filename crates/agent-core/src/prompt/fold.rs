//! A copy of a text in which spelling tricks are undone, for matching only; it is never sent.

use unicode_normalization::char::{decompose_compatible, is_combining_mark};

use crate::prompt::clean::is_hidden;
use crate::prompt::kinds::Kinds;

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

    /// The readings that could differ for these texts, which have such bytes; the plain one first.
    pub(super) fn of(texts: &[&str], kinds: Kinds) -> impl Iterator<Item = Reading> + use<> {
        let any = |is: fn(char) -> bool| texts.iter().any(|text| text.chars().any(is));
        let turns = |c| matches!(c, '\u{202E}' | '\u{202B}' | '\u{2067}');
        let differs = [
            kinds.may_hide() && any(is_invisible),
            kinds.has_signs(),
            kinds.is_wide() && any(turns),
        ];
        let same = (0..).zip(differs).map(|(bit, differs)| u8::from(!differs) << bit);
        let same = same.fold(0, |all, bit| all | bit);
        (0..8u8).filter(move |number| number & same == 0).map(|number| Reading {
            hidden_parts: number & 1 != 0,
            signs_spell: number & 2 != 0,
            reversed: number & 4 != 0,
        })
    }
}

/// The words of `texts`, parted by single spaces, in UTF-8: compatibility forms decomposed, marks
/// dropped, lower case, look-alikes and digits that spell letters replaced, invisible tags decoded.
/// Single letters with dots (or other signs, no spaces) between them make one word; so does a lone
/// `=`, which keeps `instead = output` apart from a sentence.
pub(super) fn fold(texts: &[&str], reading: Reading) -> Vec<u8> {
    let room = texts.iter().map(|text| text.len() + 1).sum();
    let mut folded = Folded { out: Vec::with_capacity(room), ..Folded::default() };
    let mut each = |text: &&str| {
        if reading.reversed {
            text.chars().rev().for_each(|c| folded.read(c, reading));
        } else {
            folded.read_all(text, reading);
        }
        folded.end_chunk();
    };
    if reading.reversed {
        texts.iter().rev().for_each(&mut each);
    } else {
        texts.iter().for_each(&mut each);
    }
    folded.out
}

fn is_invisible(c: char) -> bool {
    is_hidden(c) && !c.is_whitespace()
}

#[derive(Debug, Default)]
struct Folded {
    out: Vec<u8>,
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
    /// From its beginning to its end: ASCII words, which most texts are made of, as a whole.
    fn read_all(&mut self, text: &str, reading: Reading) {
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let letters = rest.bytes().take_while(|byte| LETTERS[usize::from(*byte)] != 0).count();
            let (word, others) = rest.split_at(letters.max(first.len_utf8()));
            if letters > 0 {
                self.begin_letters(letters);
                self.out.extend(word.bytes().map(|byte| LETTERS[usize::from(byte)]));
            } else if first == ' ' {
                self.end_chunk();
            } else {
                self.read(first, reading);
            }
            rest = others;
        }
    }

    fn read(&mut self, c: char, reading: Reading) {
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
            c => u8::try_from(c).map_or(c, |byte| char::from(spelled(byte))),
        };
        if c.is_whitespace() {
            self.end_chunk();
        } else if c.is_alphanumeric() {
            self.begin_letters(1);
            self.out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        } else if c != '\'' && c != '’' {
            self.equals |= c == '=';
            self.end_word();
        }
    }

    fn begin_letters(&mut self, letters: usize) {
        if self.letters == 0 {
            self.begin_word();
        }
        self.letters += letters;
    }

    fn begin_word(&mut self) {
        if self.words == 0 {
            self.chunk = self.out.len();
            self.all_single = true;
        }
        self.words += 1;
        if !self.out.is_empty() {
            self.out.push(b' ');
        }
    }

    fn end_word(&mut self) {
        self.all_single &= self.letters <= 1;
        self.letters = 0;
    }

    /// Ends the run; one of three or more single letters becomes one word.
    fn end_chunk(&mut self) {
        self.end_word();
        if self.all_single && self.words >= 3 {
            let parted = self.out.split_off(self.chunk);
            if !self.out.is_empty() {
                self.out.push(b' ');
            }
            self.out.extend(parted.into_iter().filter(|byte| *byte != b' '));
        }
        if self.equals && self.words == 0 {
            self.out.extend_from_slice(if self.out.is_empty() { b"=" } else { b" =" });
        }
        self.equals = false;
        self.words = 0;
    }
}

fn letter(at: u32) -> char {
    u8::try_from(at).map_or('a', |at| char::from(b'a'.saturating_add(at)))
}

/// Leetspeak undone, in lower case. `l` becomes `i` too, since `1` stands for either.
pub(super) const fn spelled(byte: u8) -> u8 {
    match byte.to_ascii_lowercase() {
        b'0' => b'o',
        b'1' | b'l' => b'i',
        b'3' => b'e',
        b'4' => b'a',
        b'5' => b's',
        b'7' => b't',
        b'8' => b'b',
        b'9' => b'g',
        byte => byte,
    }
}

/// What each ASCII letter or digit spells; 0 for any other byte.
pub(super) const LETTERS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte: u8 = 0;
    while byte < 128 {
        if byte.is_ascii_alphanumeric() {
            table[byte as usize] = spelled(byte);
        }
        byte += 1;
    }
    table
};

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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_copy_for_matching_has_words_and_single_spaces_only() {
        let plain = |text| String::from_utf8(fold(&[text], Reading::PLAIN)).unwrap();
        assert_eq!(plain("  Don't\n\n\tPANIC, (now)!  "), "dont panic now");
        assert_eq!(plain("snake_case i.g.n.o.r.e a.b e.g. x"), "snake case ignore a b e g x");
        assert_eq!(plain("ＦＵＬＬ ①② ﬁne"), plain("full 12 fine"));
        assert_eq!(plain("a := b=c"), "a = b c");
        assert_eq!(plain(""), "");
    }

    proptest! {
        #[test]
        fn texts_are_folded_as_if_they_were_one_and_each_read_a_character_at_a_time(
            texts in proptest::collection::vec("[ -~éаﬁ\0\n①=.'\u{200B}\u{1F170}]{0,30}", 0..4),
            (hidden_parts, signs_spell, reversed) in any::<(bool, bool, bool)>(),
        ) {
            let reading = Reading { hidden_parts, signs_spell, reversed };
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let one = texts.join("\n");
            let mut plain = Folded::default();
            let turned: String = one.chars().rev().collect();
            let one = if reversed { turned } else { one };
            one.chars().for_each(|c| plain.read(c, reading));
            plain.end_chunk();
            prop_assert_eq!(String::from_utf8(fold(&texts, reading)), String::from_utf8(plain.out));
        }
    }

    #[test]
    fn a_text_without_tricks_has_one_reading() {
        let readings =
            |texts: &[&str]| Vec::from_iter(Reading::of(texts, Kinds::of(&texts.concat())));
        assert_eq!(readings(&["naïve\r\ncode, \t(x)"]), [Reading::PLAIN]);
        let all = readings(&["a@b", "\u{200B}\u{202E}"]);
        assert_eq!((all.len(), all[0]), (8, Reading::PLAIN));
    }
}
