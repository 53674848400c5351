//! Deliveries that are not done, by offset.

use std::collections::VecDeque;

use journal::{Epoch, Offset, Position};

/// So few are not worth a tidying up.
const TIDY_MIN: usize = 1024;

/// Deliveries come at the end, in order; they are done anywhere, mostly near the end or the front.
#[derive(Debug, Default)]
pub(crate) struct OpenDeliveries {
    /// Sorted by offset. The first is open; others may be done.
    all: VecDeque<Delivered>,
    done: usize,
}

#[derive(Debug, Clone, Copy)]
struct Delivered {
    /// The lowest bit says whether it is done: offsets have 56 bits.
    offset_and_done: u64,
    /// Epoch and checksum of the record before it.
    before: (Epoch, u32),
}

impl Delivered {
    const fn offset(self) -> u64 {
        self.offset_and_done >> 1
    }

    const fn is_done(self) -> bool {
        self.offset_and_done & 1 == 1
    }
}

impl OpenDeliveries {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Adds a delivery after all others.
    #[inline]
    pub(crate) fn add(&mut self, offset: Offset, before: (Epoch, u32)) {
        debug_assert!(self.all.back().is_none_or(|last| last.offset() < offset.0), "they come in order");
        self.all.push_back(Delivered { offset_and_done: offset.0 << 1, before });
    }

    /// The place before the first that is open, in the journal of this identity.
    #[inline]
    pub(crate) fn first(&self, identity: u64) -> Option<Position> {
        self.all.front().map(|first| first.place(identity))
    }

    /// The place before the first that is open and none of these.
    pub(crate) fn first_but(&self, offsets: &[Offset], identity: u64) -> Option<Position> {
        let other = |open: &&Delivered| !open.is_done() && !offsets.contains(&Offset(open.offset()));
        self.all.iter().find(other).map(|first| first.place(identity))
    }

    /// Those that are not done, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Offset> {
        self.all.iter().filter(|delivered| !delivered.is_done()).map(|delivered| Offset(delivered.offset()))
    }

    /// Whether it was delivered, and is not done.
    pub(crate) fn contains(&self, offset: Offset) -> bool {
        self.find(offset).is_some_and(|index| !self.all[index].is_done())
    }

    /// It is done; false if it was not open.
    #[inline]
    pub(crate) fn finish(&mut self, offset: Offset) -> bool {
        let Some(index) = self.find(offset).filter(|index| !self.all[*index].is_done()) else { return false };
        self.all[index].offset_and_done |= 1;
        self.done += 1;
        while self.all.front().is_some_and(|first| first.is_done()) {
            self.all.pop_front();
            self.done -= 1;
        }
        if self.all.len() > TIDY_MIN && self.done > self.all.len() / 2 {
            self.all.retain(|delivered| !delivered.is_done());
            self.done = 0;
        }
        true
    }

    /// Forgets those from an offset on.
    pub(crate) fn truncate(&mut self, end: Offset) {
        self.all.truncate(self.all.partition_point(|delivered| delivered.offset() < end.0));
        self.done = self.all.iter().filter(|delivered| delivered.is_done()).count();
    }

    /// Looks at the front, then further and further back from the end.
    #[inline]
    fn find(&self, offset: Offset) -> Option<usize> {
        if self.all.front()?.offset() == offset.0 {
            return Some(0);
        }
        let (mut end, mut step) = (self.all.len(), 1);
        let mut begin = end - 1;
        while begin > 0 && self.all[begin].offset() > offset.0 {
            end = begin;
            step *= 2;
            begin = begin.saturating_sub(step);
        }
        while begin < end {
            let middle = usize::midpoint(begin, end);
            match self.all[middle].offset().cmp(&offset.0) {
                std::cmp::Ordering::Less => begin = middle + 1,
                std::cmp::Ordering::Greater => end = middle,
                std::cmp::Ordering::Equal => return Some(middle),
            }
        }
        None
    }
}

impl Delivered {
    const fn place(self, identity: u64) -> Position {
        let (epoch, checksum) = self.before;
        Position { next: Offset(self.offset()), epoch, checksum, journal: identity }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// It is the set of what came and is not done.
        #[test]
        fn it_is_a_set(steps in prop::collection::vec((1..5_u64, any::<prop::sample::Index>(), 0..4_u8), 1..3000)) {
            let (mut open, mut set, mut next) = (OpenDeliveries::default(), BTreeSet::new(), 0);
            for (forward, which, finish) in steps {
                open.add(Offset(next), (Epoch(1), 0));
                set.insert(next);
                if finish > 0 {
                    // One that is open, one that may not be, one that never came.
                    let offset = match finish {
                        1 => *set.iter().nth(which.index(set.len())).unwrap(),
                        2 => which.index(usize::try_from(next).unwrap() + 1) as u64,
                        _ => next,
                    };
                    prop_assert_eq!(open.finish(Offset(offset)), set.remove(&offset));
                    prop_assert!(!open.contains(Offset(offset)));
                }
                next += forward;
                prop_assert_eq!(open.first(0).map(|first| first.next.0), set.first().copied());
                prop_assert_eq!(open.is_empty(), set.is_empty());
            }
            open.truncate(Offset(next / 2));
            set.retain(|offset| *offset < next / 2);
            prop_assert!((0..next).all(|offset| open.contains(Offset(offset)) == set.contains(&offset)));
        }
    }
}
