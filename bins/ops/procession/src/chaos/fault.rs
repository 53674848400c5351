//! The kinds of faults.

use std::time::Duration;

use clap::ValueEnum;
use rand::RngExt as _;
use rand::rngs::StdRng;
use serde::Serialize;

/// What is done to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// SIGKILL
    Kill,
    /// SIGSTOP, and after a while SIGCONT
    Stop,
    /// SIGSTOP and SIGCONT in turn, for a while
    Slow,
    /// SIGTERM; for managers that also start again what ends without failure (systemd: Restart=always)
    Restart,
}

/// A slowed process stands still for this part of each period.
const SLOW_PERIOD: Duration = Duration::from_millis(100);
const SLOW_STOPPED: Duration = Duration::from_millis(80);

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Kill, Self::Stop, Self::Slow, Self::Restart];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Slow => "slow",
            Self::Restart => "restart",
        }
    }

    /// Whether the process ends by it, and somebody must start it again.
    pub(super) const fn ends_process(self) -> bool {
        matches!(self, Self::Kill | Self::Restart)
    }

    /// For how long it goes on.
    pub(super) fn hold(self, random: &mut StdRng) -> Duration {
        let millis = match self {
            Self::Kill | Self::Restart => 0,
            Self::Stop => random.random_range(100..3_000),
            Self::Slow => random.random_range(1_000..5_000),
        };
        Duration::from_millis(millis)
    }

    /// Whether the process is to stand still so long after the fault began.
    pub(super) fn stands_still(self, elapsed: Duration, hold: Duration) -> bool {
        match self {
            _ if elapsed >= hold => false,
            Self::Kill | Self::Restart => false,
            Self::Stop => true,
            Self::Slow => elapsed.as_millis() % SLOW_PERIOD.as_millis() < SLOW_STOPPED.as_millis(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_slowed_stands_still_most_of_the_time_and_not_afterwards() {
        let hold = Duration::from_secs(2);
        let still = |kind: Kind, millis| kind.stands_still(Duration::from_millis(millis), hold);
        let stopped = |kind: Kind| (0..3000).filter(|millis| still(kind, *millis)).count();
        assert_eq!((stopped(Kind::Slow), stopped(Kind::Stop)), (1600, 2000));
        assert_eq!((stopped(Kind::Kill), stopped(Kind::Restart)), (0, 0));
    }
}
