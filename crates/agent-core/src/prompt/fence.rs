//! A delimiter that the text between it cannot forge.

use crate::hash::{OFFSET, fnv};

/// A word of 16 hexadecimal digits that occurs in none of `texts`, whatever its case.
///
/// It follows from the texts alone, so that the same task gives the same prompt. A text that holds
/// the word that follows from it gets the next one; each text holds finitely many.
pub(super) fn tag(texts: &[&str]) -> String {
    let seed = texts.iter().fold(OFFSET, |hash, text| hashed(hash, text.as_bytes()));
    let words = (0u64..).map(|turn| format!("{:016x}", hashed(seed, &turn.to_le_bytes())));
    first_absent(words, texts)
}

/// Of small letters, and a last byte so that joined texts differ from parted ones.
fn hashed(hash: u64, bytes: &[u8]) -> u64 {
    fnv(fnv(hash, bytes.iter().map(u8::to_ascii_lowercase)), [0xff])
}

fn first_absent(words: impl IntoIterator<Item = String>, texts: &[&str]) -> String {
    let is_in = |word: &String, text: &&str| occurs(word.as_bytes(), text.as_bytes());
    let is_absent = |word: &String| !texts.iter().any(|text| is_in(word, text));
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
        let words = ["aa".to_owned(), "bb".to_owned(), "cc".to_owned()];
        assert_eq!(first_absent(words, &["xAay", "bb"]), "cc");
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
        assert_eq!(tag(&["a", "b"]), tag(&["A", "b"]));
        assert_ne!(tag(&["a", "b"]), tag(&["ab", ""]));
        assert_eq!(tag(&[]).len(), 16);
    }
}
