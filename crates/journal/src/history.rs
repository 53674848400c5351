//! Finding a place in what a journal has said: by time, by epoch, or by the record before it.

use std::path::Path;

use crate::error::{Error, Result};
use crate::record::{Head, Kind};
use crate::segment::{self, Found, HEADER_BYTES};
use crate::types::{Epoch, Offset, Time};
use crate::walk::{Segment, Step};

/// Epoch and checksum of the record before `offset`, if it can be read.
pub(crate) fn last_before(folder: &Path, offset: Offset) -> Result<Option<(Epoch, u32)>> {
    let Some(wanted) = offset.0.checked_sub(1).map(Offset) else { return Ok(None) };
    let segments = segment::list(folder)?;
    let Some(found) = segments.iter().rev().find(|found| found.base <= wanted) else { return Ok(None) };
    scan(found, None, |head, checksum| (head.offset == wanted).then_some((head.epoch, checksum)))
}

/// The offset of the first record with a newer epoch.
pub(crate) fn first_after_epoch(folder: &Path, epoch: Epoch) -> Result<Option<Offset>> {
    let segments = segment::list(folder)?;
    // Epochs never fall, so a segment that was begun in this epoch, or before, has none newer before it.
    let began = |found: &Found| Segment::open(&found.path).is_ok_and(|segment| segment.header.epoch <= epoch);
    let from = segments.iter().rposition(began).unwrap_or(0);
    for (index, found) in segments.iter().enumerate().skip(from) {
        let first =
            scan(found, segments.get(index + 1), |head, _| (head.epoch > epoch).then_some(head.offset))?;
        if first.is_some() {
            return Ok(first);
        }
    }
    Ok(None)
}

/// The offset of the first record at or after a time.
pub(crate) fn first_at(folder: &Path, time: Time) -> Result<Option<Offset>> {
    let segments = segment::list(folder)?;
    let mut begin = 0;
    for (index, found) in segments.iter().enumerate().rev() {
        if scan(found, segments.get(index + 1), |head, _| Some(head.time))?.is_some_and(|first| first <= time)
        {
            begin = index;
            break;
        }
    }
    for (index, found) in segments.iter().enumerate().skip(begin) {
        let first =
            scan(found, segments.get(index + 1), |head, _| (head.time >= time).then_some(head.offset))?;
        if first.is_some() {
            return Ok(first);
        }
    }
    Ok(None)
}

/// The first answer that `look` gives for the events of a segment, in order, damage left out, and what lies behind the
/// beginning of its successor: that is not the journal's.
fn scan<T>(
    found: &Found,
    successor: Option<&Found>,
    mut look: impl FnMut(&Head, u32) -> Option<T>,
) -> Result<Option<T>> {
    let mut segment = match Segment::open(&found.path) {
        Ok(segment) => segment,
        Err(Error::Corrupt { .. }) => return Ok(None),
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let (mut at, mut next) = (HEADER_BYTES, segment.header.base);
    while successor.is_none_or(|successor| next < successor.base) {
        segment.show(at)?;
        match segment.at(at) {
            Step::Record(decoded) if decoded.head.offset <= next => {
                if decoded.head.kind == Kind::Event && decoded.head.offset == next {
                    if let Some(answer) = look(&decoded.head, decoded.checksum) {
                        return Ok(Some(answer));
                    }
                    next = next.plus(1);
                }
                at += decoded.stride;
            }
            Step::Empty if !segment.is_refused() => return Ok(None),
            Step::Record(_) | Step::Empty | Step::Bad(_) => {
                segment.show_all()?;
                match segment.find_record(at, next) {
                    Some((found, offset)) => (at, next) = (found, next.max(offset)),
                    None => return Ok(None),
                }
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_record_lies_before_the_first() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(last_before(home.path(), Offset::ZERO).unwrap(), None);
    }
}
