//! How a journal is kept.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::record;
use crate::segment;

/// When records are made safe from power loss. They are safe from the death of any process at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPolicy {
    /// When somebody asks, and when the kernel sees fit.
    Never,
    /// At most this long after they were appended, all at once.
    Every(Duration),
    /// As soon as possible; everybody who waits is served by one sync.
    Always,
}

/// What happens at [`Retention::bytes_max`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest segment goes, and a subscription that had not read it gets a gap.
    DropOldest,
    /// Appending is refused until every subscription has passed the oldest segment.
    Wait,
}

/// Which segments are kept. The newest one always is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Segments beyond this many bytes go once every subscription has passed them.
    pub bytes_kept: u64,
    /// Segments older than this go once every subscription has passed them: in time that the publisher has lived through,
    /// whatever the wall clock says. A time in which it did not run counts for an eighth of this at most.
    pub age_kept: Option<Duration>,
    /// Never more than this many bytes, whoever still wants to read them, but for a segment that a start begins because the
    /// newest one is damaged. What the process itself needs stays ([`Watch::keep_from`](crate::Watch::keep_from)): appending
    /// is refused then.
    pub bytes_max: Option<u64>,
    /// What happens at `bytes_max`.
    pub when_full: WhenFull,
    /// A subscription that nobody reads, and that was not seen for this long, holds nothing back: in time that the
    /// publisher has lived through, whatever the wall clock says.
    pub lease: Duration,
}

/// How a writer opens and keeps its journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Size of the largest segment files: a multiple of 4096, 8 KiB to 1 GiB. May change between openings. A journal begins
    /// with small ones, which grow with the pace of its writer.
    pub segment_bytes: u64,
    /// When records become durable.
    pub sync: SyncPolicy,
    /// Which segments are kept.
    pub retention: Retention,
    /// How long to wait for another writer to go.
    pub lock_patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            sync: SyncPolicy::Every(Duration::from_secs(1)),
            retention: Retention {
                bytes_kept: 1 << 30,
                age_kept: None,
                bytes_max: None,
                when_full: WhenFull::DropOldest,
                lease: Duration::from_hours(7 * 24),
            },
            lock_patience: Duration::ZERO,
        }
    }
}

impl Options {
    pub(crate) fn check(&self) -> Result<()> {
        let bytes = self.segment_bytes;
        if !(8 << 10..=segment::SEGMENT_BYTES_MAX).contains(&bytes) || !bytes.is_multiple_of(4096) {
            return Err(Error::Options(format!(
                "segment size {bytes} is out of bounds: use a multiple of 4096 from 8 KiB to 1 GiB"
            )));
        }
        if self.retention.bytes_max.is_some_and(|most| most < 2 * bytes) {
            return Err(Error::Options(format!(
                "retention of at most {} bytes holds fewer than two segments of {bytes} bytes: raise it or lower the segment size",
                self.retention.bytes_max.unwrap_or_default()
            )));
        }
        Ok(())
    }

    /// The same with segments large enough for what each of them begins with, which is at most half of one. A journal whose
    /// segments were larger goes on, whatever size is asked for now.
    pub(crate) fn with_room_for(&self, state_bytes: usize) -> Self {
        if state_bytes <= self.batch_bytes_max() / 2 {
            return self.clone();
        }
        // Twice that: it may grow.
        let least = (4 * state_bytes + segment::HEADER_BYTES + TAIL_BYTES).next_multiple_of(PAGE_BYTES);
        let segment_bytes = (least as u64).min(segment::SEGMENT_BYTES_MAX);
        let bytes_max = self.retention.bytes_max.map(|most| most.max(2 * segment_bytes));
        let retention = Retention { bytes_max, ..self.retention.clone() };
        Self { segment_bytes, retention, ..self.clone() }
    }

    /// Largest batch in bytes, headers included, that one segment can hold.
    pub(crate) fn batch_bytes_max(&self) -> usize {
        usize::try_from(self.segment_bytes).unwrap_or(usize::MAX) - segment::HEADER_BYTES - TAIL_BYTES
    }
}

/// Room kept free at the end of a segment: the record that seals it, and a zero word behind it.
pub(crate) const TAIL_BYTES: usize = record::stride(0, 8) + 8;
/// Segments are whole pages.
const PAGE_BYTES: usize = 4096;
