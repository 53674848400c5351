//! Which keys have something that becomes final, and when: a queue for times that never go back.

use super::time::EventTime;

/// A radix heap (Ahuja, Mehlhorn, Orlin, Tarjan 1990): entries lie by the highest bit in which they differ from the
/// time that was reached. To list is to append; an entry moves only when time comes near to it, and each time to a
/// lower bucket, so that a tree's way through far memory is saved.
pub(super) struct Agenda {
    reached: u64,
    buckets: Vec<Vec<(u64, u32)>>,
}

impl Agenda {
    pub(super) fn new() -> Self {
        Self { reached: 0, buckets: vec![Vec::new(); 65] }
    }

    /// `at` must not lie before the time that was reached. An entry stays until time passes it, wanted or not.
    #[inline]
    pub(super) fn list(&mut self, at: EventTime, place: usize) {
        let place = u32::try_from(place).expect("the index has no more places");
        let at = to_bits(at);
        debug_assert!(at >= self.reached, "time does not go back");
        self.buckets[bucket(self.reached, at)].push((at, place));
    }

    /// Moves on to `now`, and all entries before it to `due`, sorted by time.
    pub(super) fn advance(&mut self, now: EventTime, due: &mut Vec<(EventTime, usize)>) {
        let now = to_bits(now);
        if now <= self.reached {
            return;
        }
        let split = bucket(self.reached, now);
        self.reached = now;
        // `now` has the first bit that it does not share with these.
        for bucket in &mut self.buckets[..split] {
            due.extend(bucket.drain(..).map(to_entry));
        }
        let mut near = std::mem::take(&mut self.buckets[split]);
        for entry in near.drain(..) {
            if entry.0 < now {
                due.push(to_entry(entry));
            } else {
                self.buckets[bucket(now, entry.0)].push(entry);
            }
        }
        // Keeps its room.
        self.buckets[split] = near;
        due.sort_unstable();
    }
}

/// 0: the same time; otherwise one more than the number of the highest bit that differs.
#[inline]
const fn bucket(reached: u64, at: u64) -> usize {
    (u64::BITS - (reached ^ at).leading_zeros()) as usize
}

/// In the same order, without a sign.
#[inline]
const fn to_bits(at: EventTime) -> u64 {
    at.0.cast_unsigned() ^ 1 << 63
}

const fn to_entry((at, place): (u64, u32)) -> (EventTime, usize) {
    (EventTime((at ^ 1 << 63).cast_signed()), place as usize)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_gives_what_a_tree_gives(
            start in prop_oneof![Just(i64::MIN), Just(-5), Just(0), Just(1 << 40)],
            steps in vec((0_u32..50, vec(0_i64..1 << 20, 0..5), 0_u32..24), 0..50),
        ) {
            let (mut agenda, mut tree) = (Agenda::new(), BTreeSet::new());
            let (mut now, mut place) = (start, 0);
            agenda.advance(EventTime(now), &mut Vec::new());
            for (step, later, scale) in steps {
                for later in later {
                    let at = EventTime(now.saturating_add(later >> scale));
                    agenda.list(at, place);
                    tree.insert((at, place));
                    place += 1;
                }
                now += i64::from(step) << (scale / 2);
                let mut due = Vec::new();
                agenda.advance(EventTime(now), &mut due);
                let rest = tree.split_off(&(EventTime(now), 0));
                prop_assert_eq!(due, tree.into_iter().collect::<Vec<_>>());
                tree = rest;
            }
        }
    }
}
