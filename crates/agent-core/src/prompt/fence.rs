//! A delimiter that the text between it cannot forge.

use std::hash::Hasher as _;

use crate::hash::Digest;

/// A word of 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tag([u8; 16]);

impl Tag {
    fn new(mut number: u64) -> Tag {
        let mut digits = [0; 16];
        for digit in &mut digits {
            number = number.rotate_left(4);
            *digit = b"0123456789abcdef"[number as usize & 0xf];
        }
        Tag(digits)
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// A word that occurs in none of `texts`, whatever its case.
///
/// It follows from the texts alone, so that the same task gives the same prompt. A text that holds
/// the word that follows from it gets the next one; each text holds finitely many.
pub(super) fn tag(texts: &[&str]) -> Tag {
    let mut digest = Digest::default();
    texts.iter().for_each(|text| digest.write(text.as_bytes()));
    let words = std::iter::repeat_with(|| {
        digest.write_u64(0);
        Tag::new(digest.finish())
    });
    first_absent(words, texts)
}

fn first_absent(words: impl IntoIterator<Item = Tag>, texts: &[&str]) -> Tag {
    let is_absent = |word: &Tag| !texts.iter().any(|text| occurs(&word.0, text.as_bytes()));
    words.into_iter().find(is_absent).unwrap_or_default()
}

/// Whether `text` has `word`, which is of hexadecimal digits, whatever its case.
fn occurs(word: &[u8], text: &[u8]) -> bool {
    let len = word.len();
    // Wherever it stands, it covers one byte of each so many: most of those are no such digits.
    let mut covered = (len - 1..text.len()).step_by(len).filter(|at| text[*at].is_ascii_hexdigit());
    covered.any(|at| {
        let around = &text[at + 1 - len..text.len().min(at + len)];
        around.windows(len).any(|part| part.eq_ignore_ascii_case(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_occurs_is_passed_over() {
        let words = [0xaa, 0xbb, 0xcc].map(Tag::new);
        let texts = ["x00000000000000Aay", "00000000000000bb"];
        assert_eq!(first_absent(words, &texts).as_str(), "00000000000000cc");
    }

    #[test]
    fn a_word_is_found_wherever_it_stands() {
        let word = b"0123456789abcdef";
        for before in 0..40 {
            for after in 0..20 {
                let text =
                    ["0".repeat(before), "0123456789ABCDEF".to_owned(), "f".repeat(after)].concat();
                assert!(occurs(word, text.as_bytes()), "{text}");
                assert!(!occurs(word, &text.as_bytes()[..before + 15]), "{text}");
            }
        }
    }

    #[test]
    fn the_same_texts_give_the_same_word_and_others_another() {
        // In every version and on every machine.
        assert_eq!(tag(&["a", "b"]).as_str(), "b7f60a097e790730");
        assert_ne!(tag(&["a", "b"]), tag(&["ab", ""]));
        assert_eq!(Tag::new(0x0123_4567_89ab_cdef).as_str(), "0123456789abcdef");
    }
}
