//! A hash that is the same on every machine and in every version, for what must be repeatable: draws
//! that follow from a name, a run's events, a word that follows from a text. No secret hangs on it.

use std::hash::Hasher;

/// Odd, and its bits look random: 2⁶⁴ divided by the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Hashes what is written to it, eight bytes at a time: each is added by exclusive or, the whole
/// multiplied and, since a product carries upwards alone, turned half round.
///
/// What is written in one piece and in two differs. Of whole numbers only bytes and `u64` are the
/// same on every machine.
#[derive(Debug, Clone, Copy)]
pub struct Digest(u64);

impl Digest {
    /// A hash that begins elsewhere for each seed.
    pub fn seeded(seed: u64) -> Digest {
        Digest(seed ^ FACTOR)
    }

    /// That of some bytes.
    pub fn of(bytes: &[u8]) -> u64 {
        let mut digest = Digest::default();
        digest.write(bytes);
        digest.finish()
    }

    fn mixed(self, word: u64) -> u64 {
        (self.0 ^ word).wrapping_mul(FACTOR).rotate_left(32)
    }
}

impl Default for Digest {
    /// With the seed 0.
    fn default() -> Digest {
        Digest::seeded(0)
    }
}

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        // What came last has been multiplied once so far.
        Digest(self.mixed(0)).mixed(0)
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        // At most seven bytes, and how many they are.
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        last[7] = rest.len() as u8 + 1;
        self.write_u64(u64::from_le_bytes(last));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = self.mixed(word);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_hash_is_what_it_was_in_earlier_versions() {
        assert_eq!(Digest::of(b""), 0x4e27_90ec_fd6e_ce8f);
        assert_eq!(Digest::of(b"an agent's name"), 0x53ee_9795_b6aa_4a30);
        assert_eq!(Digest::seeded(7).finish(), 0x5107_e72e_3ce6_83d9);
    }

    #[test]
    fn texts_that_differ_in_one_letter_or_in_how_they_are_parted_have_other_hashes() {
        let with_an_a = |at: usize| format!("{}a{}", "b".repeat(at), "b".repeat(99 - at));
        let of = |parts: &[&str]| {
            let mut digest = Digest::default();
            parts.iter().for_each(|part| digest.write(part.as_bytes()));
            digest.finish()
        };
        let mut all: BTreeSet<u64> = (0..100).map(|at| of(&[&with_an_a(at)])).collect();
        let parted: [&[&str]; 8] =
            [&[], &[""], &["ab"], &["a", "b"], &["ab", ""], &["", "ab"], &["ab\0"], &["b", "a"]];
        all.extend(parted.map(of));
        assert_eq!(all.len(), 108);
    }

    #[test]
    fn a_change_of_any_bit_changes_about_half_of_the_bits() {
        for bit in 0..64 {
            let of = |word: u64| Digest::of(&word.to_le_bytes());
            let changed: u32 =
                (0..64).map(|word| (of(word) ^ of(word ^ 1 << bit)).count_ones()).sum();
            assert!((24 * 64..40 * 64).contains(&changed), "bit {bit}: {changed} of {}", 64 * 64);
        }
    }
}
