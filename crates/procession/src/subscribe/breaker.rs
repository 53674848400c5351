//! A subscription whose events fail one after the other: most likely the program is to blame, not the events. It slows
//! down and says so, instead of parking all that comes at full speed.

use std::sync::Arc;
use std::time::Duration;

use journal::Offset;
use tokio::time::Instant;

use crate::acks::Acks;
use crate::core::Core;
use crate::waiting::Waiting;

/// So many different events in a row are no longer about single events.
const ROW_MAX: u32 = 10;
/// So many deliveries are watched, the first that were in hand or handed out since something has failed: one of them is
/// done before long, unless an application keeps more of them open for ever.
const WATCHED_MAX: usize = 256;
/// A reason is often a decoder's words about the whole of a payload.
const REASON_CHARS_MAX: usize = 200;

/// How many events have failed since one was dealt with, and what follows from it.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    row: u32,
    /// Nothing is delivered before.
    until: Option<Instant>,
    /// Deliveries that were not done when it was last looked.
    watched: Vec<(Arc<Acks>, Offset)>,
    waiting: Option<Waiting>,
}

impl Breaker {
    /// Whether an event has failed since one was dealt with.
    #[inline]
    pub(crate) const fn is_armed(&self) -> bool {
        self.row > 0
    }

    /// Whether so many have failed that they are tried one by one.
    pub(crate) const fn is_open(&self) -> bool {
        self.row >= ROW_MAX
    }

    /// When the next delivery may be, if not at once.
    pub(crate) fn until(&mut self) -> Option<Instant> {
        self.until = self.until.filter(|until| *until > Instant::now());
        self.until
    }

    /// Another event has failed.
    pub(crate) fn fail(&mut self, core: &Core, subscription: &str, reason: &str) {
        self.row = self.row.saturating_add(1);
        if !self.is_open() {
            return;
        }
        let pause = core.hearing.retries.pause_in_row(self.row - ROW_MAX);
        self.until = Some(Instant::now() + pause);
        let shown: String = reason.chars().take(REASON_CHARS_MAX).collect();
        let text = format!(
            "the last {} events of subscription {subscription} have failed, the next one is tried after {}: {shown}",
            self.row,
            humantime::format_duration(whole(pause))
        );
        match &self.waiting {
            Some(waiting) => waiting.say(text),
            None => self.waiting = Some(core.waits.begin(text)),
        }
    }

    /// An event was dealt with.
    #[cold]
    pub(crate) fn succeed(&mut self) {
        *self = Self::default();
    }

    /// An event is about to be given up, which is no success. Another that was in hand may have been one.
    pub(super) fn note(&mut self, acks: &Arc<Acks>, offset: Offset) {
        // Nobody knows what becomes of those of a history that is not the journal's any more: that is no success.
        self.watched.retain(|watched| !is_same(watched, acks, offset) && !watched.0.is_closed());
        if self.watched.iter().any(|(acks, offset)| acks.is_done(*offset)) {
            self.succeed();
        }
    }

    /// These deliveries are in hand as the first event fails.
    pub(super) fn watch(&mut self, acks: &Arc<Acks>) {
        let open = acks.first_open(WATCHED_MAX.saturating_sub(self.watched.len()));
        self.watched.extend(open.into_iter().map(|offset| (Arc::clone(acks), offset)));
    }

    /// A delivery is handed out.
    pub(super) fn hand(&mut self, acks: &Arc<Acks>, offset: Offset) {
        self.note(acks, offset);
        if self.is_armed() && self.watched.len() < WATCHED_MAX {
            self.watched.push((Arc::clone(acks), offset));
        }
    }
}

fn is_same((of, at): &(Arc<Acks>, Offset), acks: &Arc<Acks>, offset: Offset) -> bool {
    *at == offset && Arc::ptr_eq(of, acks)
}

/// In milliseconds, as people read it.
fn whole(pause: Duration) -> Duration {
    Duration::from_millis(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX))
}
