//! One record of a journal that is read.

use std::collections::HashMap;
use std::sync::Arc;

use journal::{Epoch, Offset, Position, Record};

use super::Again;
use crate::acks::{Acks, Origin};
use crate::subscribe::record::OwnedRecord;

/// The next wanted record, lent from the mapping.
pub(crate) struct Found<'a> {
    pub(crate) record: Record<'a>,
    pub(crate) origin: &'a Arc<Origin>,
    /// The place before it, where deliveries may be acknowledged in any order.
    pub(super) before: Option<Position>,
    pub(super) begins: bool,
    pub(super) cause: &'a Arc<str>,
    pub(super) again: &'a mut Option<Again>,
}

/// The how-many-th delivery of a record in a row, and why the last one failed, if that is known.
pub(crate) struct Attempt {
    pub(crate) number: u32,
    pub(crate) refusal: Option<String>,
}

impl Attempt {
    /// A first one.
    pub(crate) const fn first() -> Self {
        Self { number: 1, refusal: None }
    }

    /// A delivery's number is what the refusal says, or what the cursor knows of processes that died over it.
    #[inline]
    pub(super) fn new(counted: u32, again: &mut Option<Again>, offset: Offset) -> Self {
        match again.take_if(|again| again.refused.offset == offset) {
            None => Self { number: counted, refusal: None },
            Some(Again { refused, .. }) => {
                let number = counted.max(refused.attempt.saturating_add(1));
                Self { number, refusal: Some(refused.reason) }
            }
        }
    }
}

impl Found<'_> {
    /// Counts its delivery.
    #[inline]
    pub(crate) fn count(&mut self) -> Attempt {
        let Record { offset, epoch, checksum, .. } = self.record;
        let counted = count(&self.origin.acks, self.before, self.begins, offset, (epoch, checksum));
        Attempt::new(counted, self.again, offset)
    }

    /// The record that led to it.
    #[inline]
    pub(crate) fn cause(&self) -> Option<(Arc<str>, Offset)> {
        self.record.cause.map(|cause| (Arc::clone(self.cause), cause.offset))
    }

    pub(crate) fn to_owned_record(&self) -> OwnedRecord {
        let Record { offset, epoch, time, key, codec, payload, checksum, .. } = self.record;
        OwnedRecord {
            offset,
            epoch,
            time,
            origin: Arc::clone(self.origin),
            key: key.map(Into::into),
            cause: self.cause(),
            codec,
            payload: payload.to_vec(),
            checksum,
            before: self.before,
        }
    }
}

/// Notes a delivery, and returns the how-many-th in a row it is as far as that is known by now.
#[inline]
pub(super) fn count(
    acks: &Acks,
    before: Option<Position>,
    begins: bool,
    offset: Offset,
    (epoch, checksum): (Epoch, u32),
) -> u32 {
    match (before, acks.beyond()) {
        (Some(before), Some(beyond)) => {
            beyond.deliver(before, offset, epoch, checksum);
            if begins { beyond.begin(offset, acks.cursor()) } else { 1 }
        }
        _ => acks.deliver(offset, epoch, checksum),
    }
}

#[cold]
pub(super) fn origin_of(
    origins: &mut HashMap<Arc<str>, Arc<Origin>>,
    acks: &Arc<Acks>,
    topic: &str,
) -> Arc<Origin> {
    if let Some(origin) = origins.get(topic) {
        return Arc::clone(origin);
    }
    let topic: Arc<str> = topic.into();
    let origin = Arc::new(Origin { topic: Arc::clone(&topic), acks: Arc::clone(acks) });
    origins.insert(topic, Arc::clone(&origin));
    origin
}
