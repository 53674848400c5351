//! Tells the service manager (systemd's protocol `sd_notify`) how the process is. Without one
//! (`NOTIFY_SOCKET` not set) nothing is sent.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

/// The process has started: whoever waited for it may go on.
pub(crate) fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

/// How the process is, in other words than before.
pub(crate) fn status(status: &str) {
    send(&[NotifyState::Status(&one_line(status))]);
}

/// The process is on its way out.
pub(crate) fn stopping(status: &str) {
    send(&[NotifyState::Stopping, NotifyState::Status(&one_line(status))]);
}

/// Tells the manager that the application's loop is alive, at half the time that the unit's
/// `WatchdogSec=` allows; ends at once where no watchdog is set.
///
/// To be spawned on the application's own runtime, which has one thread: while the application
/// hangs, this doesn't run either, and the manager restarts the process.
pub(crate) async fn watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = interval(period(limit));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        send(&[NotifyState::Watchdog]);
    }
}

fn period(limit: Duration) -> Duration {
    (limit / 2).max(Duration::from_millis(1))
}

/// A newline would begin another assignment of the protocol.
fn one_line(status: &str) -> String {
    status.replace(['\n', '\r'], " ")
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager could not be told: NOTIFY_SOCKET is set, but sending failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line() {
        assert_eq!(one_line("ready\nREADY=0"), "ready READY=0");
    }

    #[test]
    fn the_watchdog_is_fed_twice_as_often_as_needed() {
        assert_eq!(period(Duration::from_secs(30)), Duration::from_secs(15));
        assert_eq!(period(Duration::ZERO), Duration::from_millis(1));
    }
}
