//! Numbers that look random and are a pure function of what they are asked for (SplitMix64), so that
//! the same chain comes out on every run and with every version of a library.

/// A stream of numbers, keyed by what it is for.
#[derive(Debug, Clone)]
pub(crate) struct Draw(u64);

impl Draw {
    /// The stream for these keys, such as a seed, a block number and a purpose.
    pub(crate) fn keyed(keys: &[u64]) -> Self {
        Self(keys.iter().fold(0x9e37_79b9_7f4a_7c15, |state, key| mix(state ^ mix(*key))))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("the high half of a product of two u64 fits")
    }

    /// An index below `length`; 0 for a length of 0.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("it is below a usize")
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.index(choices.len())]
    }

    /// True `percent` times in a hundred.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A number in `0.0..1.0`.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// `digits` hex digits, as signatures and ids have.
    pub(crate) fn hex(&mut self, digits: usize) -> String {
        let mut text = String::with_capacity(digits + 16);
        while text.len() < digits {
            text.push_str(&format!("{:016x}", self.next()));
        }
        text.truncate(digits);
        text
    }
}

/// The finaliser of SplitMix64: every bit of the input changes half of the output.
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// 64 bits that stand for these bytes (FNV-1a, mixed). Not cryptographic; stable for ever.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(fnv ^ bytes.len() as u64)
}

/// 128 bits that stand for these two numbers: the tail of a block id that something changed.
pub(crate) fn tail(a: u64, b: u64) -> u128 {
    let mut draw = Draw::keyed(&[a, b]);
    u128::from(draw.next()) << 64 | u128::from(draw.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_what_they_always_were() {
        let mut draw = Draw::keyed(&[1, 2, 3]);
        let first: Vec<u64> = (0..4).map(|_| draw.below(1000)).collect();
        let mut again = Draw::keyed(&[1, 2, 3]);
        assert_eq!(first, (0..4).map(|_| again.below(1000)).collect::<Vec<_>>());
        assert_ne!(Draw::keyed(&[1, 2, 3]).next(), Draw::keyed(&[3, 2, 1]).next());
        assert_eq!(Draw::keyed(&[7]).hex(130).len(), 130);
        // A changed constant would give every kept chain other blocks after an upgrade.
        assert_eq!(mix(1), 0x5692_161d_100b_05e5);
    }

    #[test]
    fn draws_are_spread_and_bounded() {
        let mut draw = Draw::keyed(&[42]);
        let mut seen = [0u32; 10];
        for _ in 0..10_000 {
            seen[draw.index(10)] += 1;
            let unit = draw.unit();
            assert!((0.0..1.0).contains(&unit));
        }
        assert!(seen.iter().all(|n| (800..1200).contains(n)), "{seen:?}");
        assert_eq!(draw.below(0), 0);
    }
}
