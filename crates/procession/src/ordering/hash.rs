//! A hash that is the same in every run and every version: ids of conclusions are made of it.
//!
//! Two lanes of multiply-and-fold over words. Good against accidents, not against somebody who looks for
//! collisions on purpose; whoever can publish inputs can say worse things than that.

const FIRST: u64 = 0x9e37_79b9_7f4a_7c15;
const SECOND: u64 = 0xd6e8_feb8_6659_fd93;

/// 128 bits over what was fed so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hash(u64, u64);

impl Hash {
    pub(super) const fn new() -> Self {
        Self(FIRST, SECOND)
    }

    /// Another hash for each seed: for tables, never for ids.
    pub(super) const fn seeded(first: u64, second: u64) -> Self {
        Self(first, second)
    }

    #[inline]
    pub(super) const fn word(self, word: u64) -> Self {
        Self(fold(self.0 ^ word, FIRST), fold(self.1 ^ word.rotate_left(32), SECOND))
    }

    /// The bytes and their number.
    #[inline]
    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut hash = self;
        for word in words {
            hash = hash.word(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash.word(u64::from_le_bytes(last)).word(bytes.len() as u64)
    }

    #[inline]
    pub(super) const fn value(self) -> u128 {
        let mixed = self.word(0);
        (mixed.0 as u128) << 64 | mixed.1 as u128
    }

    /// 64 bits of it, never 0.
    #[inline]
    pub(super) fn short(self) -> u64 {
        let mixed = self.word(0);
        (mixed.0 ^ mixed.1).max(1)
    }
}

/// Both halves of the product: every bit of the factors has its say.
#[inline]
const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    let (low, high) = (product as u64, (product >> 64) as u64);
    // A product can be 0; the sum keeps a trace of what was there.
    low ^ high ^ a.rotate_left(23)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn it_stays_what_it_is() {
        // Ids in journals depend on it: this must never change.
        let hash = Hash::new().bytes(b"weight-check").word(7).value();
        assert_eq!(format!("{hash:032x}"), "d17a4708c46ddd3b9e3ecce8011286b2");
    }

    #[test]
    fn near_inputs_lie_far_apart() {
        let mut seen = HashSet::new();
        for length in 0..64 {
            for last in 0..=255 {
                let mut bytes = vec![0_u8; length];
                if let Some(byte) = bytes.last_mut() {
                    *byte = last;
                }
                seen.insert(Hash::new().bytes(&bytes).value() >> 16);
            }
        }
        // The empty one, and 256 of each other length.
        assert_eq!(seen.len(), 1 + 63 * 256);
    }
}
