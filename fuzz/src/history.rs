//! What a reader was given.

use std::path::Path;

use journal::{Gap, GapReason, Item, Level, Offset, Reader, Record, Result, Start};

/// More than this was never in the files: they hold 64 KiB each.
const ITEMS_MAX: usize = 50_000;

/// A record or gap, by what a reader can tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A record: its offset, and a sum over all of it.
    Record(Offset, u32),
    /// A gap.
    Gap(Gap),
}

/// A sum over all that a record says.
pub fn sum(record: &Record<'_>) -> u32 {
    let mut sum = crc32c::crc32c(record.topic.as_bytes());
    let cause = record.cause.map(|cause| (cause.journal, cause.offset.0));
    let (journal, offset) = cause.unwrap_or_default();
    for bytes in [
        record.key.unwrap_or_default(),
        record.payload,
        journal.as_bytes(),
        &offset.to_le_bytes(),
        &record.offset.0.to_le_bytes(),
        &record.time.0.to_le_bytes(),
        &record.epoch.0.to_le_bytes(),
        &record.checksum.to_le_bytes(),
    ] {
        sum = crc32c::crc32c_append(sum, bytes);
    }
    sum
}

/// Reads to the end. `None` if there is no journal.
///
/// # Errors
/// Those of the reader.
///
/// # Panics
/// If anything is skipped in silence, given twice, or never ends.
pub fn read(instance: &Path, start: Start, level: Level) -> Result<Option<(Vec<Seen>, Offset)>> {
    let Some(mut reader) = Reader::open(instance, start, level)? else { return Ok(None) };
    let mut at = reader.position().next;
    let mut seen = Vec::new();
    while let Some(item) = reader.next()? {
        match item {
            Item::Record(record) => {
                assert_eq!(record.offset, at, "a record out of turn");
                at = record.offset.plus(1);
                seen.push(Seen::Record(record.offset, sum(&record)));
            }
            Item::Gap(gap) => {
                if gap.reason == GapReason::Diverged {
                    // What was read before has no place in history any more: it begins anew where they part.
                    at = gap.from;
                } else {
                    assert_eq!(gap.from, at, "a gap out of turn: {gap:?}");
                    assert!(gap.to > gap.from, "an empty gap: {gap:?}");
                    at = gap.to;
                }
                seen.push(Seen::Gap(gap));
            }
        }
        assert!(seen.len() < ITEMS_MAX, "more records than there can be");
    }
    assert_eq!(reader.position().next, at);
    // Caught up is caught up.
    assert!(reader.next()?.is_none());
    Ok(Some((seen, at)))
}
