//! A hash that is the same on every machine and in every version (FNV-1a, 64 bits).

/// Where a hash begins.
pub(crate) const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
/// What it is multiplied by.
pub(crate) const PRIME: u64 = 0x0000_0100_0000_01b3;

/// `hash` with `bytes` after what it is of.
pub(crate) fn fnv(hash: u64, bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_that_of_its_authors() {
        // From the list of test vectors of the authors' page.
        assert_eq!(fnv(OFFSET, *b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv(OFFSET, *b"foobar"), 0x8594_4171_f739_67e8);
    }
}
