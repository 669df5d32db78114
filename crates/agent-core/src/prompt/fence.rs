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
    fnv(hash, bytes.iter().map(u8::to_ascii_lowercase).chain([0xff]))
}

fn first_absent(words: impl IntoIterator<Item = String>, texts: &[&str]) -> String {
    let occurs = |word: &String| {
        let is_word = |part: &[u8]| part.eq_ignore_ascii_case(word.as_bytes());
        texts.iter().any(|text| text.as_bytes().windows(word.len()).any(is_word))
    };
    words.into_iter().find(|word| !occurs(word)).unwrap_or_default()
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
    fn the_same_texts_give_the_same_word_and_others_another() {
        assert_eq!(tag(&["a", "b"]), tag(&["A", "b"]));
        assert_ne!(tag(&["a", "b"]), tag(&["ab", ""]));
        assert_eq!(tag(&[]).len(), 16);
    }
}
