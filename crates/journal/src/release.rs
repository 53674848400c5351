//! Memory of segments that are kept only for a subscription that is far behind.
//!
//! Nobody reads them soon: they are written back and leave the page cache, and the next segments get their pages. Else
//! a stopped subscription would push everybody else's files out of memory, and its publisher would need fresh pages
//! without end, which cost microseconds each on virtual machines that hand free memory back to their hosts. A
//! subscription that goes on reads from disk what it finds no more in memory.

use rustix::fs::{Advice, fadvise};

use crate::disk;
use crate::segment::Found;
use crate::types::Offset;

/// So many of the newest ones are told each time: the first time begins to write a segment back, and only what is
/// written back can leave, which a slow disk takes some segments for.
const TOLD: usize = 64;
/// A subscription finds so many in memory, the one that it reads among them.
const AHEAD: usize = 3;

/// Lets the pages of these segments go, but for those that a subscription that stands at one of `positions` reads next.
/// Best effort: it costs nothing but memory if the kernel keeps some.
pub(crate) fn let_go(segments: &[Found], positions: &[Offset]) {
    for found in far_from(segments, positions).rev().take(TOLD) {
        if let Ok(file) = disk::open_to_read(&found.path) {
            let _ = fadvise(&file, 0, None, Advice::DontNeed);
        }
    }
}

fn far_from<'a>(segments: &'a [Found], positions: &[Offset]) -> impl DoubleEndedIterator<Item = &'a Found> {
    let mut near = vec![false; segments.len()];
    for position in positions {
        let after = segments.partition_point(|found| found.base <= *position);
        let from = after.saturating_sub(1).min(segments.len());
        near[from..(from + AHEAD).min(segments.len())].fill(true);
    }
    segments.iter().zip(near).filter(|(_, near)| !near).map(|(found, _)| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_next_stays() {
        let segments: Vec<_> = (0..10)
            .map(|number| Found { base: Offset(number * 100), path: number.to_string().into() })
            .collect();
        let far = |positions: &[u64]| {
            let positions: Vec<_> = positions.iter().copied().map(Offset).collect();
            far_from(&segments, &positions).map(|found| found.base.0 / 100).collect::<Vec<_>>()
        };
        assert_eq!(far(&[]), (0..10).collect::<Vec<_>>());
        assert_eq!(far(&[0, 499]), [3, 7, 8, 9]);
        assert_eq!(far(&[250, 300, 900, 5000]), [0, 1, 6, 7, 8]);
        assert!(far_from(&[], &[Offset(7)]).next().is_none());
    }
}
