//! Records on their way to the application.

use std::sync::Arc;

use journal::{Codec, Epoch, Gap, Offset, Position, Record, Time};

use super::dead_letter::Parked;
use super::delivery::Delivery;
use crate::acks::Origin;

/// A record or gap out of a journal, owned.
pub(crate) enum Held {
    Record(Box<OwnedRecord>),
    Gap(Gap),
}

/// A record, copied out of the mapping.
#[derive(Debug, Clone)]
pub(crate) struct OwnedRecord {
    pub(crate) offset: Offset,
    pub(crate) epoch: Epoch,
    pub(crate) time: Time,
    pub(crate) origin: Arc<Origin>,
    pub(crate) key: Option<Box<[u8]>>,
    pub(crate) cause: Option<(Arc<str>, Offset)>,
    pub(crate) codec: Codec,
    pub(crate) payload: Vec<u8>,
    pub(crate) checksum: u32,
    pub(super) before: Option<Position>,
}

impl OwnedRecord {
    /// A record as a dead letter has kept it.
    pub(crate) fn new(
        offset: Offset,
        time: Time,
        origin: Arc<Origin>,
        key: Option<Box<[u8]>>,
        codec: Codec,
        payload: Vec<u8>,
    ) -> Self {
        let (epoch, checksum, cause, before) = (Epoch(0), 0, None, None);
        Self { offset, epoch, time, origin, key, cause, codec, payload, checksum, before }
    }

    /// A record out of a journal.
    pub(crate) fn copy(record: &Record<'_>, origin: Arc<Origin>) -> Self {
        let Record { offset, epoch, time, key, cause, codec, payload, checksum, .. } = *record;
        Self {
            offset,
            epoch,
            time,
            origin,
            key: key.map(Into::into),
            cause: cause.map(|cause| (cause.journal.into(), cause.offset)),
            codec,
            payload: payload.to_vec(),
            checksum,
            before: None,
        }
    }

    /// What a letter says of it.
    pub(crate) fn parked(&self) -> Parked<'_> {
        let acks = &self.origin.acks;
        Parked {
            subscription: &acks.subscription,
            journal: &acks.journal,
            identity: acks.identity(),
            epoch: self.epoch,
            offset: self.offset,
            topic: &self.origin.topic,
            key: self.key.as_deref(),
            codec: self.codec,
            payload: &self.payload,
        }
    }

    /// The delivery of its event.
    pub(crate) fn into_delivery<P>(self, event: P, attempt: u32) -> Delivery<P> {
        let Self { offset, epoch, time, origin, key, cause, .. } = self;
        Delivery { event, offset, epoch, attempt, time, key, cause, origin }
    }
}
