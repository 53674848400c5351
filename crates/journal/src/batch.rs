//! What is appended in one go, its size and its limits.

use crate::error::{Error, Result};
use crate::record;
use crate::types::{Entry, KEY_BYTES_MAX, PAYLOAD_BYTES_MAX, Position, TOPIC_BYTES_MAX};

/// Entries of a batch; a segment has numbers for as many names.
pub(crate) const ENTRIES_MAX: usize = u16::MAX as usize;

/// Records, acknowledgements and checkpoints that become visible together or not at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Batch<'a> {
    /// What is said.
    pub entries: &'a [Entry<'a>],
    /// Which input was dealt with by saying it.
    pub acks: &'a [Ack<'a>],
    /// Application state that goes with it.
    pub checkpoints: &'a [Checkpoint<'a>],
}

/// A subscription's position in a journal, to be stored with what was said because of it.
#[derive(Debug, Clone, Copy)]
pub struct Ack<'a> {
    /// Name of the subscription.
    pub subscription: &'a str,
    /// Name of the journal it reads.
    pub journal: &'a str,
    /// Everything before it is dealt with. The default, a place that says nothing, takes the acknowledgement back.
    pub position: Position,
}

/// A named value that belongs to the application; the newest of each name is kept for good, until it is empty.
#[derive(Debug, Clone, Copy)]
pub struct Checkpoint<'a> {
    /// Its name.
    pub name: &'a str,
    /// Anything; nothing at all ends the checkpoint.
    pub value: &'a [u8],
}

pub(crate) fn check_entry(entry: &Entry<'_>) -> Result<()> {
    let topic = entry.topic;
    if topic.is_empty() || topic.len() > TOPIC_BYTES_MAX {
        return Err(Error::BadName { what: "topic", name: topic.to_owned(), limit: TOPIC_BYTES_MAX });
    }
    check_sizes(entry)
}

#[inline]
pub(crate) fn check_sizes(entry: &Entry<'_>) -> Result<()> {
    let key = entry.key.map_or(0, <[u8]>::len);
    if key > KEY_BYTES_MAX {
        return Err(Error::TooLarge { what: "key", found: key, limit: KEY_BYTES_MAX });
    }
    if entry.payload.len() > PAYLOAD_BYTES_MAX {
        return Err(Error::TooLarge {
            what: "payload",
            found: entry.payload.len(),
            limit: PAYLOAD_BYTES_MAX,
        });
    }
    Ok(())
}

/// Bytes of an acknowledgement.
#[inline]
pub(crate) fn ack_stride(subscription: &str, journal: &str) -> usize {
    record::stride(0, 25 + subscription.len() + journal.len())
}

/// Bytes of a checkpoint.
#[inline]
pub(crate) fn checkpoint_stride(name: &str, value_bytes: usize) -> usize {
    record::stride(0, 1 + name.len() + value_bytes)
}
