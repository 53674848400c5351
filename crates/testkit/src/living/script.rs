//! What the processes say: it follows from the life of the source in which a word was said, and from its offset.

use serde::{Deserialize, Serialize};

/// Who is heard.
pub const SOURCE: &str = "living@source";
/// Those who hear it, but for `procession tail`.
pub const LISTENERS: [&str; 3] = ["living@plain", "living@keyed", "living@model"];
/// Topic of the source's words.
pub const WORD: &str = "word";
/// Topic of what listeners have heard, or been told not to hear.
pub const TOLD: &str = "told";
/// Topic of the model's conclusions.
pub const SUM: &str = "sum";
/// Keys of the words.
const KEYS: u64 = 7;

/// What the source says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// The how-many-th life of the source said it,
    pub life: u64,
    /// at this offset.
    pub n: u64,
    /// Something to carry: long now and then, so that batches lie across pages.
    pub text: String,
}

impl Word {
    /// The word of a life at an offset.
    #[must_use]
    pub fn new(life: u64, n: u64) -> Self {
        let mixed = mix(life << 32 ^ n);
        let length = if mixed.is_multiple_of(5) { 3000 } else { mixed / 5 % 300 };
        let letter = |place: u64| char::from(b'a' + mix(mixed ^ place).to_le_bytes()[0] % 26);
        Self { life, n, text: (0..length).map(letter).collect() }
    }

    /// Whether it arrived as it was said.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        *self == Self::new(self.life, self.n)
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        format!("k{}", self.n % KEYS).into_bytes()
    }

    /// When it happened, in microseconds since 1970.
    ///
    /// # Panics
    /// Beyond the year 200,000.
    #[must_use]
    pub fn at_micros(&self) -> i64 {
        1_700_000_000_000_000 + i64::try_from(self.n).expect("an offset") * 1000
    }
}

/// What a listener says of what came to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// A word.
    Heard {
        /// Of that life,
        life: u64,
        /// at that offset.
        n: u64,
    },
    /// A gap.
    Missed {
        /// From here,
        from: u64,
        /// up to here,
        to: u64,
        /// for this reason.
        reason: String,
    },
}

/// What the model concludes of each word.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sum {
    /// The word,
    pub n: u64,
    /// and its life.
    pub life: u64,
    /// What came of all words of its key up to this one.
    pub state: u64,
}

impl Sum {
    /// What a word makes of a state.
    #[must_use]
    pub fn after(state: u64, word: &Word) -> Self {
        Self { n: word.n, life: word.life, state: mix(state ^ word.n << 20 ^ word.life) % 1_000_000 }
    }
}

/// splitmix64.
fn mix(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ state >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ state >> 31
}
