//! How far event time has come, for a process that speaks for several lanes.
//!
//! Whoever hears the process must know when nothing earlier can come any more. The process says so by heartbeats, and
//! never breaks its word: what comes earlier than it has promised is moved up to the promise. What it promises comes
//! from the machine's clock, or from the lanes: then it is the least that any of them has promised.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::time::At;

/// Where event time comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventClock {
    /// Things happen about when they are told: promises follow the machine's clock.
    #[default]
    Machine,
    /// Things happen in a script's time: promises are those of the lanes, and no clock counts.
    Lanes,
}

/// What the lanes have promised, and what the process has. It can be kept as it is, and taken up again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneClock {
    lanes: BTreeMap<u32, At>,
    promised: Option<At>,
}

impl LaneClock {
    /// The process has promised that nothing earlier comes; none: nothing yet.
    #[must_use]
    pub fn promised(&self) -> Option<At> {
        self.promised
    }

    /// Takes up a promise that was made before, as the process's own journal tells it.
    pub fn has_promised(&mut self, at: At) {
        self.promise(at);
    }

    /// The time under which something that happened at `at` is said: not earlier than was promised.
    #[must_use]
    pub fn admit(&self, at: At) -> At {
        self.promised.map_or(at, |promised| at.max(promised))
    }

    /// A lane promises that it says nothing earlier than `at`. Gives the promise that the process can make, now that all
    /// `lanes` (numbered from 1) have spoken, if it is a new one.
    pub fn advance(&mut self, lane: u32, at: At, lanes: u32) -> Option<At> {
        let bound = self.lanes.entry(lane).or_insert(at);
        *bound = at.max(*bound);
        let all = (1..=lanes).map(|lane| self.lanes.get(&lane).copied());
        let least = all.reduce(Option::min).flatten()?;
        self.promise(least)
    }

    /// The machine's clock has come to `now`. Gives the promise that is due, if it is a new one: `lag` ago.
    pub fn tick(&mut self, now: At, lag: Duration) -> Option<At> {
        let lag = i64::try_from(lag.as_micros()).unwrap_or(i64::MAX);
        self.promise(At(now.0.saturating_sub(lag)))
    }

    fn promise(&mut self, at: At) -> Option<At> {
        if self.promised.is_some_and(|promised| promised >= at) {
            return None;
        }
        self.promised = Some(at);
        self.promised
    }
}

/// Checks that something happened at most `tolerance` away from `now`: a clock that has jumped would otherwise hold
/// everybody up, or be too late for all.
///
/// # Errors
/// It is further away; says so in words.
pub fn check_clock(at: At, now: At, tolerance: Duration) -> Result<(), String> {
    let away = Duration::from_micros(at.0.abs_diff(now.0));
    if away <= tolerance {
        return Ok(());
    }
    let direction = if at > now { "ahead of" } else { "behind" };
    Err(format!(
        "is {} s {direction} this machine's clock: at most {} s are allowed",
        away.as_secs(),
        tolerance.as_secs()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_lane_decides_once_all_have_spoken() {
        let mut clock = LaneClock::default();
        assert_eq!(clock.advance(1, At(10), 2), None);
        assert_eq!(clock.admit(At(3)), At(3));
        assert_eq!(clock.advance(2, At(5), 2), Some(At(5)));
        assert_eq!(clock.advance(1, At(20), 2), None);
        assert_eq!(clock.advance(2, At(15), 2), Some(At(15)));
        assert_eq!(clock.advance(2, At(1), 2), None, "a promise is never taken back");
        assert_eq!((clock.admit(At(3)), clock.admit(At(16))), (At(15), At(16)));
    }

    #[test]
    fn it_is_taken_up_where_it_was_left() {
        let mut clock = LaneClock::default();
        clock.advance(1, At(i64::MAX), 2);
        clock.advance(2, At(7), 2);
        let kept = serde_json::to_string(&clock).unwrap();
        let mut again: LaneClock = serde_json::from_str(&kept).unwrap();
        assert_eq!(again, clock);
        assert_eq!(again.advance(2, At(8), 2), Some(At(8)));
    }

    #[test]
    fn a_machine_clock_that_goes_back_takes_no_promise_back() {
        let mut clock = LaneClock::default();
        let lag = Duration::from_micros(10);
        assert_eq!(clock.tick(At(100), lag), Some(At(90)));
        assert_eq!(clock.tick(At(50), lag), None);
        assert_eq!(clock.tick(At(101), lag), Some(At(91)));
    }

    #[test]
    fn a_clock_that_jumps_a_day_is_noticed() {
        let (day, tolerance) = (86_400_000_000, Duration::from_secs(600));
        check_clock(At(600_000_000), At(0), tolerance).unwrap();
        let ahead = check_clock(At(day), At(0), tolerance).unwrap_err();
        assert_eq!(ahead, "is 86400 s ahead of this machine's clock: at most 600 s are allowed");
        assert!(check_clock(At(0), At(day), tolerance).unwrap_err().contains("behind"));
        assert!(check_clock(At(i64::MIN), At(i64::MAX), tolerance).is_err());
    }
}
