//! The units of a journal: offsets, epochs, times, identities.

use std::fmt;

/// A record's number in its journal: contiguous from 0, never a byte position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(pub u64);

impl Offset {
    /// The first offset of every journal.
    pub const ZERO: Self = Self(0);

    /// The offset `count` records later.
    ///
    /// # Panics
    /// Past 2^64 records.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Grows by one each time a writer takes a journal over; the first writer has epoch 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u32);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Hybrid logical time: nanoseconds since the Unix epoch, strictly growing within a journal.
///
/// The wall clock gives it; where the wall clock stands still, steps back or lags behind a time
/// that was received, it goes on one nanosecond at a time (Kulkarni et al., "Logical Physical
/// Clocks", 2014, with the counter folded into the low bits).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

/// Names a journal for good: random, made with its first segment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct JournalId(pub u128);

impl JournalId {
    /// The half that cursors keep: enough to notice that a journal was replaced.
    pub(crate) const fn low_half(self) -> u64 {
        #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
        let half = self.0 as u64;
        half
    }
}

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JournalId({self})")
    }
}

/// How a payload is encoded. The journal carries it and never looks inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    /// Bytes that only the application understands.
    #[default]
    Raw,
    /// UTF-8 JSON: any language reads it.
    Json,
    /// bincode 2: compact, for Rust on both sides.
    Bincode,
}

impl Codec {
    pub(crate) const fn to_byte(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::Json => 1,
            Self::Bincode => 2,
        }
    }

    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Raw),
            1 => Some(Self::Json),
            2 => Some(Self::Bincode),
            _ => None,
        }
    }
}

/// The record that led to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cause<'a> {
    /// Name of the journal that holds it.
    pub journal: &'a str,
    /// Its offset there.
    pub offset: Offset,
}

/// What is to be appended: the journal adds offset, epoch and time.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Topic within this journal, 1 to [`TOPIC_BYTES_MAX`] bytes.
    pub topic: &'a str,
    /// Key for per-key order, at most [`KEY_BYTES_MAX`] bytes.
    pub key: Option<&'a [u8]>,
    /// The record that led to this one.
    pub cause: Option<Cause<'a>>,
    /// How `payload` is encoded.
    pub codec: Codec,
    /// At most [`PAYLOAD_BYTES_MAX`] bytes; pass larger things by path.
    pub payload: &'a [u8],
}

/// One immutable record, borrowed from the reader's mapping.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its number in the journal.
    pub offset: Offset,
    /// The writer's epoch.
    pub epoch: Epoch,
    /// When it was said.
    pub time: Time,
    /// Topic within the journal.
    pub topic: &'a str,
    /// Key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The record that led to it, if any.
    pub cause: Option<Cause<'a>>,
    /// How `payload` is encoded.
    pub codec: Codec,
    /// The bytes that were said.
    pub payload: &'a [u8],
    /// CRC32C of the whole record: what a [`Position`] remembers of it.
    pub checksum: u32,
    /// Equal for two records of one reader only if their topics are equal: spares comparing names.
    pub topic_key: u64,
}

/// A range of offsets that a reader does not get, and why. Never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first missing offset.
    pub from: Offset,
    /// The first offset after the gap; for [`GapReason::Diverged`] the end of what was read
    /// before it was lost, so reading goes on at `from`.
    pub to: Offset,
    /// Why.
    pub reason: GapReason,
}

/// Why a reader does not get a range of offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapReason {
    /// Dropped by retention.
    Trimmed,
    /// The bytes are damaged.
    Corrupt,
    /// What was read there before was lost with the machine's power and has been said anew,
    /// or the journal was replaced by another.
    Diverged,
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trimmed => "trimmed",
            Self::Corrupt => "corrupt",
            Self::Diverged => "diverged",
        })
    }
}

/// What a reader takes out of a journal.
#[derive(Debug, Clone, Copy)]
pub enum Item<'a> {
    /// The next record.
    Record(Record<'a>),
    /// Offsets that cannot be had.
    Gap(Gap),
}

/// A place between two records, with enough of the one before it to notice that history changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The offset to read next.
    pub next: Offset,
    /// Epoch of the record before `next`; 0 if unknown.
    pub epoch: Epoch,
    /// Checksum of the record before `next`; 0 if unknown.
    pub checksum: u32,
    /// Low half of the journal's identity; 0 if unknown.
    pub journal: u64,
}

impl Position {
    /// The place before `next` about which nothing more is known.
    #[must_use]
    pub const fn at(next: Offset) -> Self {
        Self { next, epoch: Epoch(0), checksum: 0, journal: 0 }
    }

    /// Whether `self` is the later of two positions of the same subscription.
    ///
    /// A position after a divergence has a smaller offset and a larger epoch.
    #[must_use]
    pub fn is_later_than(&self, other: &Self) -> bool {
        (self.epoch, self.next) > (other.epoch, other.next)
    }
}

/// Marks keep offsets in 56 bits; at a million records a second that is two thousand years.
pub(crate) const OFFSET_MAX: u64 = (1 << 56) - 1;
/// Longest topic name in bytes.
pub const TOPIC_BYTES_MAX: usize = 200;
/// Longest key in bytes.
pub const KEY_BYTES_MAX: usize = 65_534;
/// Largest payload in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;
/// Longest journal, subscription or checkpoint name in bytes.
pub const NAME_BYTES_MAX: usize = 120;
