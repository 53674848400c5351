//! How many events a lane may say: a device that babbles must not drown the others.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// Allows each lane so many events a second, and as many at once after a pause.
#[derive(Debug)]
pub struct LanePace {
    per_second: NonZeroU32,
    /// Per lane, when the event after the last one is due at an even pace. It may lie a second ahead at most.
    due: HashMap<u32, Instant>,
}

impl LanePace {
    /// So many events a second for each lane.
    #[must_use]
    pub fn new(per_second: NonZeroU32) -> Self {
        Self { per_second, due: HashMap::new() }
    }

    /// Takes an event of a lane.
    ///
    /// # Errors
    /// The lane has had its share: how long it should wait.
    pub fn take(&mut self, lane: u32, now: Instant) -> Result<(), Duration> {
        let due = self.due.get(&lane).map_or(now, |due| (*due).max(now));
        let next = due + Duration::from_secs(1) / self.per_second.get();
        let ahead = next - now;
        if ahead > Duration::from_secs(1) {
            return Err(ahead - Duration::from_secs(1));
        }
        self.due.insert(lane, next);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_that_babbles_is_held_back_and_no_other() {
        let mut pace = LanePace::new(NonZeroU32::new(10).unwrap());
        let begin = Instant::now();
        let second = |number: u32| begin + Duration::from_millis(u64::from(number) / 10);
        // 10,000 events a second, for three seconds: the burst of one second, then ten each second.
        let (mut taken, mut wait_max) = (0, Duration::ZERO);
        for number in 0..30_000 {
            match pace.take(1, second(number)) {
                Ok(()) => taken += 1,
                Err(wait) => wait_max = wait_max.max(wait),
            }
        }
        assert!((39..=40).contains(&taken), "{taken}");
        assert!(!wait_max.is_zero() && wait_max <= Duration::from_millis(100), "{wait_max:?}");
        assert_eq!((0..10).filter(|_| pace.take(2, second(30_000)).is_ok()).count(), 10);
    }
}
