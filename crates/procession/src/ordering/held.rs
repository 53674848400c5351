//! Who holds back what is final, and since when: a process that shows nothing final for long says whom it waits for.

use std::sync::Arc;
use std::time::Instant;

use super::model::{Input, Model};
use super::running::{LOOK_EVERY, Running};
use super::time::EventTime;
use crate::waiting::Waiting;

/// How long final has stood still although there is more, and whom it waits for.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// None if nobody holds it back.
    since: Option<Instant>,
    /// Up to where everything is final, but for them.
    at: EventTime,
    /// Shown once it has lasted for a while.
    waiting: Option<Waiting>,
}

impl<M: Model> Running<M>
where
    M::Input: Input,
{
    /// Looks at whoever holds back time, or what is final, now and then. To be called when all was heard.
    pub(super) fn look_at_holders(&mut self, now: Instant) {
        if !self.is_held() {
            if self.held.since.is_some() {
                self.held = Held::default();
            }
        } else if now >= self.looked + LOOK_EVERY {
            self.look(now);
        }
    }

    /// Whether somebody holds back time, or what is final.
    pub(super) fn is_held(&self) -> bool {
        let watermark = &self.sources.watermark;
        watermark.is_held() || watermark.settled() < self.horizon()
    }

    /// Up to where what has come is complete, and as late as it may be.
    pub(super) fn horizon(&self) -> EventTime {
        self.sources.watermark.mark().minus(self.options.lateness)
    }

    #[cold]
    fn look(&mut self, now: Instant) {
        self.looked = now;
        self.sources.look(self.options.idle_after, self.options.dead_after);
        let models = self.sources.look_at_models(self.horizon(), self.options.gone_after);
        let held = self.sources.watermark.is_held();
        let others = self.sources.watermark.holders().filter(|_| held).map(|(_, name)| Arc::clone(name));
        let mut holders: Vec<Arc<str>> = models.into_iter().chain(others).collect();
        holders.sort();
        holders.dedup();
        let at = self.next_final();
        // Whoever is only slower than others holds it back for a moment, again and again.
        if holders.is_empty() || at != self.held.at {
            self.held = Held { at, ..Held::default() };
        }
        if holders.is_empty() {
            return;
        }
        if now < *self.held.since.get_or_insert(now) + self.options.dead_after {
            return;
        }
        let reason = format!(
            "final is held back: model {} waits for {} to say how far it is",
            self.model,
            holders.join(", ")
        );
        match &self.held.waiting {
            Some(waiting) => waiting.say(reason),
            None => self.held.waiting = Some(self.core.waits.begin(reason)),
        }
    }
}
