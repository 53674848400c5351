//! What an instance has been through, as far as it matters to whoever asks how it is now: its last death, and the events
//! that it has parked.

use std::time::Duration;

use procession::Death;
use procession::names::Instance;

use crate::home::Home;
use crate::text::{Count, escape};

/// Whoever has lived for so long is not asked about the life before.
const FORGIVEN_AFTER: Duration = Duration::from_secs(3600);

/// What an instance that doesn't run died of, if it could still say so.
pub(crate) fn death_of(home: &Home, instance: &Instance) -> Option<Death> {
    let folder = home.folder(instance);
    let marks = journal::read_marks(&folder).ok()??;
    Death::read(&folder, marks.epoch.0)
}

/// Lines for people about an instance that has been up for so long; not at all, if it is down.
pub(crate) fn lines(
    instance: &str,
    uptime: Option<Duration>,
    death: Option<&Death>,
    parked: u64,
) -> Vec<String> {
    let mut lines = Vec::new();
    let recent = uptime.is_none_or(|uptime| uptime < FORGIVEN_AFTER);
    if let Some(Death { at, reason, .. }) = death.filter(|_| recent) {
        let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
        lines.push(format!("{instance} died at {}: {}", escape(at), escape(&reason)));
    }
    if parked > 0 {
        let events = Count(parked, "event");
        lines.push(format!("{instance} has parked {events}: procession dead-letters list {instance}"));
    }
    lines
}
