//! A window in which inputs wait for earlier ones.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use super::order::Order;
use super::time::EventTime;

/// Holds inputs until the watermark has passed them or they have waited for long enough, and hands them on in their
/// order. What the watermark has passed when it comes goes straight through.
#[derive(Debug)]
pub struct Reorder<T> {
    wait: Duration,
    held: BinaryHeap<Reverse<Held<T>>>,
    /// When each of the held ones has waited for long enough, in the order that they came.
    due: VecDeque<(Instant, Order)>,
}

#[derive(Debug)]
struct Held<T> {
    order: Order,
    input: T,
}

impl<T> Reorder<T> {
    /// A window of this length. With no length nothing is held.
    #[must_use]
    pub const fn new(wait: Duration) -> Self {
        Self { wait, held: BinaryHeap::new(), due: VecDeque::new() }
    }

    /// Takes an input; gives it back at once if it need not wait. `now` is called only if it must.
    #[inline]
    pub fn push(
        &mut self,
        order: Order,
        input: T,
        watermark: EventTime,
        now: impl FnOnce() -> Instant,
    ) -> Option<(Order, T)> {
        if self.wait.is_zero() || (self.held.is_empty() && order.at <= watermark) {
            return Some((order, input));
        }
        self.due.push_back((now() + self.wait, order.clone()));
        self.held.push(Reverse(Held { order, input }));
        None
    }

    /// The earliest held input, if it need not wait any more.
    pub fn pop(&mut self, watermark: EventTime, now: impl FnOnce() -> Instant) -> Option<(Order, T)> {
        let Reverse(first) = self.held.peek()?;
        if first.order.at > watermark {
            let (due, waited) = self.due.front()?;
            // The one that has waited for longest may go; whatever comes before it goes first.
            if *due > now() || first.order > *waited {
                return None;
            }
        }
        let Reverse(Held { order, input }) = self.held.pop()?;
        self.drop_due();
        Some((order, input))
    }

    /// Nobody waits any more for what lies before the earliest held input.
    fn drop_due(&mut self) {
        let least = self.held.peek().map(|Reverse(held)| &held.order);
        while self.due.front().is_some_and(|(_, order)| least.is_none_or(|least| order < least)) {
            self.due.pop_front();
        }
    }

    /// When the next one may go, whatever the watermark.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.due.front().map(|(due, _)| *due)
    }

    /// The event time of the earliest that is held.
    #[must_use]
    pub fn first_at(&self) -> Option<EventTime> {
        self.held.peek().map(|Reverse(held)| held.order.at)
    }

    /// How many are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

impl<T> PartialEq for Held<T> {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl<T> Eq for Held<T> {}

impl<T> PartialOrd for Held<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Held<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order.cmp(&other.order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(at: i64, offset: u64) -> Order {
        Order::of_event(EventTime(at), "j".into(), offset)
    }

    #[test]
    fn what_the_watermark_has_passed_goes_straight_through() {
        let mut window = Reorder::new(Duration::from_secs(1));
        let never = || -> Instant { unreachable!("nobody waits") };
        for offset in 0..10 {
            let at = EventTime(i64::try_from(offset).unwrap());
            assert!(window.push(order(at.0, offset), (), at, never).is_some());
        }
        assert!(window.is_empty() && window.due().is_none());
    }

    #[test]
    fn others_come_out_in_order_as_the_watermark_passes_them() {
        let mut window = Reorder::new(Duration::from_secs(1));
        let begin = Instant::now();
        for (at, offset) in [(5, 0), (3, 1), (9, 2), (3, 0)] {
            assert!(window.push(order(at, offset), at, EventTime(1), || begin).is_none());
        }
        let mut out = Vec::new();
        while let Some((order, _)) = window.pop(EventTime(5), || begin) {
            out.push((order.at.0, order.turn));
        }
        assert_eq!((out, window.len()), (vec![(3, 0), (3, 1), (5, 0)], 1));
    }

    #[test]
    fn after_the_wait_an_input_goes_with_all_that_come_before_it() {
        let mut window = Reorder::new(Duration::from_secs(1));
        let begin = Instant::now();
        window.push(order(7, 0), (), EventTime::MIN, || begin);
        window.push(order(4, 1), (), EventTime::MIN, || begin + Duration::from_millis(500));
        window.push(order(9, 2), (), EventTime::MIN, || begin + Duration::from_millis(600));
        let early = begin + Duration::from_millis(999);
        assert!(window.pop(EventTime::MIN, || early).is_none());
        assert_eq!(window.due(), Some(begin + Duration::from_secs(1)));
        let later = begin + Duration::from_secs(1);
        let mut out = Vec::new();
        while let Some((order, ())) = window.pop(EventTime::MIN, || later) {
            out.push(order.at.0);
        }
        assert_eq!((out, window.first_at()), (vec![4, 7], Some(EventTime(9))));
        assert_eq!(window.due(), Some(begin + Duration::from_millis(1600)));
    }
}
