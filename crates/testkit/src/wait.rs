//! Waiting for what somebody else brings about.

use std::thread;
use std::time::{Duration, Instant};

/// As long as anything that must happen may take, also on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until `condition` holds.
///
/// # Panics
/// If it doesn't within `deadline`; the message says `what` was waited for.
#[track_caller]
pub fn wait_until(deadline: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    ready_within(deadline, what, || condition().then_some(()));
}

/// Waits until `ready` gives something, and returns that.
///
/// # Panics
/// If it gives nothing within `deadline`; the message says `what` was waited for.
#[track_caller]
pub fn ready_within<T>(deadline: Duration, what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(begun.elapsed() < deadline, "waited {deadline:?} in vain: {what}");
        thread::park_timeout(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_comes_as_soon_as_it_is_there() {
        let mut looks = 0;
        let value = ready_within(DEADLINE, "three looks", || {
            looks += 1;
            (looks == 3).then_some("there")
        });
        assert_eq!((value, looks), ("there", 3));
    }

    #[test]
    #[should_panic(expected = "waited 10ms in vain: what never comes")]
    fn waiting_in_vain_says_for_what() {
        wait_until(Duration::from_millis(10), "what never comes", || false);
    }
}
