//! How far the chain has come at a moment: a pure function of the clock, so that a node that was
//! killed and started again shows no lower head than before.

use std::time::Duration;

use jiff::Timestamp;

/// When the chain began, and how fast it goes. Positions count blocks from 1.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    pub(crate) genesis: Timestamp,
    /// Zero: the whole recording is there at once.
    pub(crate) interval: Duration,
    /// How many blocks the last irreversible one is behind the head.
    pub(crate) lag: u32,
    /// The number of blocks there will ever be; `None` for an endless chain.
    pub(crate) length: Option<u32>,
}

/// The newest block, and the newest that no fork can replace; positions, the second may be 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heights {
    pub(crate) head: u32,
    pub(crate) irreversible: u32,
}

impl Pace {
    /// At the end of a recording the last blocks become irreversible too, as if the chain went on,
    /// so that a reader of irreversible blocks gets everything.
    pub(crate) fn heights(&self, at: Timestamp) -> Heights {
        let length = self.length.unwrap_or(u32::MAX);
        if self.interval.is_zero() {
            return Heights { head: length, irreversible: length };
        }
        let produced = self.produced(at);
        let cap = |count: u64| u32::try_from(count).unwrap_or(u32::MAX).min(length);
        Heights { head: cap(produced), irreversible: cap(produced.saturating_sub(self.lag.into())) }
    }

    /// When a block was, or will be, produced.
    pub(crate) fn time_of(&self, position: u32) -> Timestamp {
        let age = self.interval.saturating_mul(position.saturating_sub(1));
        self.genesis.checked_add(age).unwrap_or(Timestamp::MAX)
    }

    /// The blocks there would be by now if the chain had no end. The first comes at once.
    fn produced(&self, at: Timestamp) -> u64 {
        let elapsed = at.duration_since(self.genesis).as_nanos().max(0).unsigned_abs();
        1 + u64::try_from(elapsed / self.interval.as_nanos()).unwrap_or(u64::MAX - 1)
    }
}

/// A moment as the chain writes it: whole seconds, UTC, no zone letter.
pub(crate) fn chain_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(interval_ms: u64, lag: u32, length: Option<u32>) -> Pace {
        let genesis = "2026-01-01T00:00:00Z".parse().unwrap();
        Pace { genesis, interval: Duration::from_millis(interval_ms), lag, length }
    }

    fn heights(pace: &Pace, after_ms: i64) -> (u32, u32) {
        let at = pace.genesis + jiff::SignedDuration::from_millis(after_ms);
        let Heights { head, irreversible } = pace.heights(at);
        (head, irreversible)
    }

    #[test]
    fn grows_by_one_each_interval() {
        let pace = pace(3000, 2, None);
        assert_eq!(heights(&pace, -10_000), (1, 0));
        assert_eq!(heights(&pace, 0), (1, 0));
        assert_eq!(heights(&pace, 2999), (1, 0));
        assert_eq!(heights(&pace, 3000), (2, 0));
        assert_eq!(heights(&pace, 9000), (4, 2));
        assert_eq!(chain_time(pace.time_of(4)), "2026-01-01T00:00:09");
    }

    #[test]
    fn everything_becomes_irreversible_at_the_end() {
        let pace = pace(1000, 2, Some(5));
        assert_eq!(heights(&pace, 4000), (5, 3));
        assert_eq!(heights(&pace, 5000), (5, 4));
        assert_eq!(heights(&pace, 6000), (5, 5));
        assert_eq!(heights(&pace, 600_000), (5, 5));
    }

    #[test]
    fn no_interval_means_all_at_once() {
        assert_eq!(heights(&pace(0, 15, Some(7)), 0), (7, 7));
    }

    #[test]
    fn a_far_future_does_not_overflow() {
        let pace = pace(1, 2, None);
        assert_eq!(pace.heights(Timestamp::MAX).head, u32::MAX);
        let slow = Pace { interval: Duration::MAX, ..pace };
        assert_eq!(slow.heights(Timestamp::MAX), Heights { head: 1, irreversible: 0 });
        assert_eq!(slow.time_of(9), Timestamp::MAX);
    }
}
