//! What keeps a process from its work. A process whose loop turns, and that can't do its job, says so: no restart
//! would help it, and nobody should take it for healthy.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::core::{Core, State};
use crate::interfaces::process;
use crate::notify;

/// Longer reasons are cut: they are lines in tables and in the service manager's status.
const REASON_BYTES_MAX: usize = 400;
/// So many conditions are shown, the oldest; how many there are is always said.
const SHOWN_MAX: usize = 8;

/// A condition under which the process can't do its work, until this is dropped.
///
/// ```no_run
/// # struct Bank;
/// # impl Bank { async fn ask(&mut self) -> Result<(), std::io::Error> { Ok(()) } }
/// # async fn f(process: procession::Process<procession::NoSettings>, mut bank: Bank) {
/// let mut waiting = None;
/// while let Err(error) = bank.ask().await {
///     waiting.get_or_insert_with(|| process.waiting("the bank doesn't answer")).say(error.to_string());
/// }
/// drop(waiting);
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the condition ends when this is dropped"]
pub struct Waiting {
    waits: Waits,
    number: u64,
}

impl Waiting {
    /// Gives the reason in other words. When the condition began stays.
    pub fn say(&self, reason: impl Into<String>) {
        let reason = one_line(reason.into());
        self.waits.all.send_if_modified(|waits| {
            let Some(wait) = waits.get_mut(&self.number).filter(|wait| wait.reason != reason) else {
                return false;
            };
            wait.reason = reason;
            true
        });
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut ended = None;
        self.waits.all.send_modify(|waits| ended = waits.remove(&self.number));
        let Some(Wait { reason, since }) = ended else { return };
        let after = since.elapsed().unwrap_or_default();
        if self.waits.stopping.is_cancelled() {
            tracing::info!(reason, ?after, "waited in vain: stopping");
        } else {
            tracing::info!(reason, ?after, "no longer waiting");
        }
    }
}

/// The conditions of a process, oldest first: any of its tasks and threads may begin one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waits {
    all: Arc<watch::Sender<BTreeMap<u64, Wait>>>,
    /// Cancelled when the process is to stop: what ends then has not come true.
    stopping: CancellationToken,
}

/// One condition.
#[derive(Debug, Clone)]
pub(crate) struct Wait {
    reason: String,
    since: SystemTime,
}

impl Waits {
    /// Those of a process that is to stop when `stopping` is cancelled.
    pub(crate) fn until(stopping: CancellationToken) -> Self {
        Self { stopping, ..Self::default() }
    }

    /// Begins a condition.
    pub(crate) fn begin(&self, reason: impl Into<String>) -> Waiting {
        let reason = one_line(reason.into());
        tracing::warn!(reason, "waiting");
        let mut number = 0;
        self.all.send_modify(|waits| {
            number = waits.last_key_value().map_or(0, |(last, _)| last + 1);
            waits.insert(number, Wait { reason, since: SystemTime::now() });
        });
        Waiting { waits: self.clone(), number }
    }

    /// The conditions that there are, oldest first, and no more of them than fit on a screen.
    pub(crate) fn status(&self) -> Vec<process::Wait> {
        let waits = self.all.borrow();
        let shown = waits.values().take(SHOWN_MAX);
        shown.map(|wait| process::Wait { reason: wait.reason.clone(), since: rfc3339(wait.since) }).collect()
    }

    /// All of them in one line; none if the process does its work.
    pub(crate) fn reason(&self) -> Option<String> {
        let waits = self.all.borrow();
        let reasons: Vec<_> = waits.values().take(SHOWN_MAX).map(|wait| wait.reason.as_str()).collect();
        match waits.len().saturating_sub(reasons.len()) {
            _ if reasons.is_empty() => None,
            0 => Some(reasons.join("; ")),
            more => Some(format!("{}; and {more} more", reasons.join("; "))),
        }
    }

    /// What the service manager shows of a process that is ready.
    pub(crate) fn status_line(&self) -> String {
        let since = self.all.borrow().values().map(|wait| wait.since).min();
        match (self.reason(), since) {
            (Some(reason), Some(since)) => format!("waiting since {}: {reason}", rfc3339(since)),
            _ => "ready".to_owned(),
        }
    }

    /// Tells the service manager of each change, for as long as the process is ready.
    pub(crate) fn announce(&self, core: Weak<Core>) -> impl Future<Output = ()> + Send + 'static {
        let mut changes = self.all.subscribe();
        async move {
            while changes.changed().await.is_ok() {
                let Some(core) = core.upgrade() else { return };
                if core.state() == State::Ready {
                    notify::status(&core.waits.status_line());
                }
            }
        }
    }
}

/// A time in RFC 3339, to the millisecond.
pub(crate) fn rfc3339(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).map_or_else(|_| String::new(), |at| format!("{at:.3}"))
}

/// A reason is often another program's text.
fn one_line(reason: impl fmt::Display) -> String {
    let mut line: String =
        reason.to_string().chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    if line.len() > REASON_BYTES_MAX {
        line.truncate(line.floor_char_boundary(REASON_BYTES_MAX));
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_from_several_places_end_each_by_itself() {
        let waits = Waits::default();
        assert_eq!((waits.reason(), waits.status_line()), (None, "ready".to_owned()));
        let node = waits.begin("no node answers");
        let bank = waits.begin("the bank is silent");
        assert_eq!(waits.reason().unwrap(), "no node answers; the bank is silent");
        drop(node);
        let disk = waits.begin("no room");
        assert_eq!(waits.reason().unwrap(), "the bank is silent; no room");
        drop((bank, disk));
        assert_eq!((waits.reason(), waits.status()), (None, vec![]));
    }

    #[test]
    fn other_words_leave_the_time_when_it_began() {
        let waits = Waits::default();
        let node = waits.begin("no node answers");
        let before = waits.status().remove(0);
        node.say("no block for a while");
        let after = waits.status().remove(0);
        assert_eq!((after.reason.as_str(), after.since), ("no block for a while", before.since));
        assert!(waits.status_line().ends_with("Z: no block for a while"), "{}", waits.status_line());
    }

    #[test]
    fn a_reason_is_one_short_line_whatever_it_is_made_of() {
        let waits = Waits::default();
        let _odd = waits.begin(format!("a\nREADY=0\u{1b}[31m{}", "é".repeat(1000)));
        let reason = waits.reason().unwrap();
        assert!(reason.starts_with("a READY=0 [31mé") && reason.len() <= REASON_BYTES_MAX + 3, "{reason}");
        let many: Vec<_> = (0..1000).map(|number| waits.begin(format!("{number}"))).collect();
        assert_eq!(waits.status().len(), SHOWN_MAX);
        assert!(waits.reason().unwrap().ends_with("; 6; and 993 more"), "{:?}", waits.reason());
        drop(many);
    }
}
