//! The order of inputs, which is the same whenever they come.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::hash::Hash;
use super::time::EventTime;

/// Names a conclusion of a model: the same one has the same id in every run. The low 16 bits say the how-many-th
/// output of its input it is. 32 hexadecimal digits in JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Derivation(pub u128);

impl Derivation {
    /// Of an event that no model has concluded.
    pub const NONE: Self = Self(0);

    /// The same input's output number `ordinal`.
    pub(super) const fn nth(self, ordinal: u16) -> Self {
        Self(self.0 & !0xffff | ordinal as u128)
    }
}

impl fmt::Display for Derivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Derivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Derivation({self})")
    }
}

impl FromStr for Derivation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = digits.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        id.map(Self).ok_or_else(|| "an id has 32 hexadecimal digits".to_owned())
    }
}

impl Serialize for Derivation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Derivation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An input's place among all others: by event time, journal, turn and id. It also names the input.
///
/// For an event that a source says, `turn` is its offset and `id` is [`Derivation::NONE`]. What a model says has the
/// turn of the input that it follows from, so that conclusions of the same event time keep the order of the
/// events at their root, however late these came.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Order {
    /// When it happened.
    pub at: EventTime,
    /// The journal that it was said in.
    pub journal: Arc<str>,
    /// Among those of the same journal and event time.
    pub turn: u64,
    /// If it is a model's conclusion, which one.
    pub id: Derivation,
}

impl Order {
    /// An event that a source says.
    #[must_use]
    pub const fn of_event(at: EventTime, journal: Arc<str>, offset: u64) -> Self {
        Self { at, journal, turn: offset, id: Derivation::NONE }
    }

    /// The id of what a model concludes from this input: the first output.
    pub(super) fn derive(&self, key: Hash) -> Derivation {
        derive(key, &self.journal, self.at, self.turn, self.id)
    }
}

/// The id of what a model concludes for a key from the input of this [`Order`]: the first output.
#[inline]
pub(super) fn derive(key: Hash, journal: &str, at: EventTime, turn: u64, id: Derivation) -> Derivation {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    let (low, high) = (id.0 as u64, (id.0 >> 64) as u64);
    let hash = key.bytes(journal.as_bytes()).word(at.0.cast_unsigned()).word(turn);
    let hash = if id == Derivation::NONE { hash } else { hash.word(low).word(high) };
    Derivation(hash.value()).nth(0)
}

impl PartialOrd for Order {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Order {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at).then_with(|| self.cmp_at_same_time(other))
    }
}

impl Order {
    fn cmp_at_same_time(&self, other: &Self) -> Ordering {
        let journals = if Arc::ptr_eq(&self.journal, &other.journal) {
            Ordering::Equal
        } else {
            self.journal.cmp(&other.journal)
        };
        journals.then_with(|| (self.turn, self.id).cmp(&(other.turn, other.id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_of_one_input_are_ordered_and_its_own() {
        let input = Order::of_event(EventTime(5), "scale".into(), 7);
        let key = Hash::new().bytes(b"model").bytes(b"key");
        let first = input.derive(key);
        assert!(first < first.nth(1) && first.nth(1) < first.nth(u16::MAX));
        assert_eq!(first.nth(u16::MAX).nth(0), first);
        for other in [
            Order { at: EventTime(6), ..input.clone() },
            Order { journal: "scales".into(), ..input.clone() },
            Order { turn: 8, ..input.clone() },
            Order { id: Derivation(1 << 100), ..input.clone() },
        ] {
            assert_ne!(other.derive(key), first, "{other:?}");
        }
        assert_ne!(input.derive(Hash::new().bytes(b"model").bytes(b"other")), first);
    }

    #[test]
    fn the_text_of_an_id_is_strict() {
        let id = Derivation(0xab << 100 | 3);
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "0", "+0000000000000000000000000000001", "0000000000000000000000000000000g"] {
            assert!(bad.parse::<Derivation>().is_err(), "{bad}");
        }
    }
}
