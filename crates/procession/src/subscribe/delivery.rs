//! One event in the hands of a subscriber.

use std::sync::Arc;

use journal::{Cause, Epoch, Gap, Offset, Time};

use crate::acks::{Acks, Origin, Refused};

/// An event, where it came from, and the duty to acknowledge it.
///
/// Dropped without an acknowledgement, it comes again after a restart, with the next attempt number.
#[derive(Debug)]
pub struct Delivery<P> {
    /// What was said.
    pub event: P,
    /// Its number there.
    pub offset: Offset,
    /// The publisher's epoch.
    pub epoch: Epoch,
    /// 1 the first time; more after a refusal, or after the process died over it. A process that was told to stop has not
    /// died over it, however it ended.
    pub attempt: u32,
    /// When it was said.
    pub time: Time,
    /// The key, if it has one.
    pub key: Option<Box<[u8]>>,
    /// Journal and offset of the record that led to it.
    pub cause: Option<(Arc<str>, Offset)>,
    /// Journal, topic and acknowledgements in one: cloning a single handle is what a delivery costs.
    pub(super) origin: Arc<Origin>,
}

impl<P> Delivery<P> {
    /// The journal that it was said in: the name of the publishing instance.
    #[must_use]
    pub fn journal(&self) -> &str {
        &self.origin.acks.journal
    }

    /// The topic, without the process.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.origin.topic
    }

    /// It is dealt with: it does not come again. Costs nanoseconds and survives SIGKILL.
    #[inline]
    pub fn ack(&self) {
        self.origin.acks.acknowledge(self.offset);
    }

    /// It could not be dealt with: it comes again after a pause that grows with each attempt, before
    /// anything later from its journal. After `subscription.max_attempts` it is parked in the dead-letter
    /// topic and acknowledged.
    pub fn nack(&self, reason: impl Into<String>) {
        self.origin.acks.refuse(Refused {
            offset: self.offset,
            attempt: self.attempt,
            reason: reason.into(),
        });
    }

    /// What an event that comes of this one names as its cause.
    #[must_use]
    pub fn as_cause(&self) -> Cause<'_> {
        Cause { journal: self.journal(), offset: self.offset }
    }

    pub(crate) fn acks(&self) -> &Arc<Acks> {
        &self.origin.acks
    }
}

/// What a subscription has next.
#[derive(Debug)]
pub enum Heard<P> {
    /// An event.
    Delivery(Delivery<P>),
    /// Something that it cannot be given.
    Missing(Missing),
}

/// A gap in a journal that a subscription reads. Taking it acknowledges it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The journal.
    pub journal: Arc<str>,
    /// Which offsets, and why.
    pub gap: Gap,
}
