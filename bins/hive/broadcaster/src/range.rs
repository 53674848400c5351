//! How many blocks to ask for at once.

use std::time::Duration;

/// The first range's size.
const FIRST: u32 = 50;

/// Answers that come sooner than this make the next range larger, …
const QUICK: Duration = Duration::from_secs(1);

/// … those that come later than this, smaller.
const SLOW: Duration = Duration::from_secs(3);

/// Grows while answers come quickly, shrinks when they don't: a range of modern blocks is some megabytes, one
/// of the chain's first years some kilobytes.
pub(crate) struct RangeSize {
    count: u32,
    max: u32,
}

impl RangeSize {
    pub(crate) fn new(max: u32) -> Self {
        RangeSize { count: FIRST.min(max), max }
    }

    /// At least 1.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn took(&mut self, time: Duration) {
        if time < QUICK {
            self.count = self.count.saturating_mul(2).min(self.max);
        } else if time > SLOW {
            self.failed();
        }
    }

    /// Perhaps because it was too large.
    pub(crate) fn failed(&mut self) {
        self.count = (self.count / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_follows_the_answers_within_its_bounds() {
        let mut size = RangeSize::new(120);
        assert_eq!(size.count(), 50);
        size.took(Duration::from_millis(10));
        assert_eq!(size.count(), 100);
        size.took(Duration::from_millis(10));
        assert_eq!(size.count(), 120);
        size.took(Duration::from_secs(2));
        assert_eq!(size.count(), 120);
        size.took(Duration::from_secs(4));
        assert_eq!(size.count(), 60);
        for _ in 0..40 {
            size.failed();
        }
        assert_eq!(size.count(), 1);
        size.took(Duration::ZERO);
        assert_eq!(size.count(), 2);
        assert_eq!(RangeSize::new(1).count(), 1);
    }
}
