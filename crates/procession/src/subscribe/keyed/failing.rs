//! What becomes of deliveries that fail: another attempt, or the dead-letter topic, with their keys.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

use journal::Offset;
use tokio::time::Instant;

use super::lanes::{Key, LaneId};
use super::{Keyed, Paused, Place};
use crate::acks::Origin;
use crate::error::Result;
use crate::event::Payload;
use crate::outlet::Batch;
use crate::subscribe::record::OwnedRecord;
use crate::subscribe::{DeadLetter, Delivery, GivenUp};

impl<P, H, F, E> Keyed<P, H, F>
where
    P: Payload,
    H: Fn(Delivery<P>) -> F,
    F: Future<Output = Result<(), E>>,
    E: Display,
{
    /// A delivery has failed: it comes again after a pause, or its key is parked.
    #[cold]
    pub(super) fn fail(
        &mut self,
        lane: Option<LaneId>,
        key: Key,
        origin: &Arc<Origin>,
        offset: Offset,
        attempt: u32,
        reason: String,
    ) -> Result<()> {
        if origin.acks.settling().is_some() {
            self.keep_letter(lane, &key, origin, offset, &reason);
            return Ok(());
        }
        let retries = self.subscription.core.hearing.retries;
        let (subscription, journal) = (&*self.subscription.name, &*origin.acks.journal);
        tracing::debug!(subscription, journal, offset = offset.0, attempt, reason, "a delivery has failed");
        let full = key.as_deref().is_some_and(|key| !self.parked.has_room_for(key));
        if attempt >= retries.attempts_max && !full {
            if let Some(record) = self.subscription.fetch(&origin.acks, offset)? {
                self.park(&key, GivenUp { record: Box::new(record), attempts: attempt, reason })?;
            }
            if let Some(lane) = lane {
                self.lanes.finish(lane);
            }
            self.alone = false;
            return Ok(());
        }
        if attempt >= retries.attempts_max {
            tracing::error!(
                subscription,
                journal,
                offset = offset.0,
                reason,
                parked = self.parked.len(),
                "an event cannot be parked, for too many keys are already: it is tried on; \
                 `procession dead-letters` shows what is parked"
            );
        }
        let lane = lane.unwrap_or_else(|| self.lanes.occupy(key));
        let due = Instant::now() + retries.pause(attempt.min(retries.attempts_max.saturating_sub(1)));
        let failed = Some(Box::new((attempt, reason)));
        self.paused.push(Paused { lane, place: Place { origin: Arc::clone(origin), offset, failed }, due });
        self.alone = false;
        Ok(())
    }

    /// An event that cannot even be decoded.
    #[cold]
    pub(super) fn give_up(&mut self) -> Result<()> {
        let Some(given_up) = self.subscription.given_up.take() else { return Ok(()) };
        let key = given_up.record.key.clone();
        if self.lanes.is_idle(&key) {
            return self.park(&key, given_up);
        }
        // In its turn, like every event of its key.
        let OwnedRecord { origin, offset, .. } = *given_up.record;
        self.lanes.defer(&key, Place { origin, offset, failed: None });
        Ok(())
    }

    /// Parks an event and with it its key, in one.
    pub(super) fn park(&mut self, key: &Key, given_up: GivenUp) -> Result<()> {
        let GivenUp { record, attempts, reason } = given_up;
        if record.origin.acks.settling().is_some() {
            self.keep_letter(None, key, &record.origin, record.offset, &reason);
            return Ok(());
        }
        let subscription = &self.subscription;
        let acks = &record.origin.acks;
        let parks_key = key.as_deref().filter(|key| self.parked.has_room_for(key));
        tracing::error!(
            subscription = &*subscription.name,
            journal = &*acks.journal,
            offset = record.offset.0,
            topic = &*record.origin.topic,
            key = key.as_deref().map(crate::json::key),
            attempts,
            reason,
            "an event is parked in the dead-letter topic{}",
            if parks_key.is_some() { ", and all later ones of its key until it is released" } else { "" }
        );
        let letter = DeadLetter::new(&subscription.name, &acks.journal, &record, attempts, reason);
        let mut batch = Batch::new(&subscription.core.outlet);
        batch.add_settling(&letter, key.as_deref(), acks, record.offset)?;
        if let Some(key) = parks_key {
            let (name, keys) = self.parked.with(key);
            batch.checkpoint(name, &keys)?;
        }
        batch.commit()?;
        acks.count_parked();
        if let Some(key) = parks_key {
            self.parked.add(key);
        }
        Ok(())
    }

    /// An event behind a parked one of its key.
    #[cold]
    pub(super) fn park_successor(&mut self, lane: Option<LaneId>, delivery: &Delivery<P>) -> Result<()> {
        let acks = delivery.acks();
        if acks.settling().is_some() {
            // One before it has failed again.
            self.keep_letter(
                lane,
                &delivery.key,
                &delivery.origin,
                delivery.offset,
                "an earlier one of its key has",
            );
            return Ok(());
        }
        if let Some(record) = self.subscription.fetch(acks, delivery.offset)? {
            let reason = "its key is parked, for an earlier event of it has failed".to_owned();
            let letter = DeadLetter::new(&self.subscription.name, &acks.journal, &record, 0, reason);
            let mut batch = Batch::new(&self.subscription.core.outlet);
            batch.add_settling(&letter, delivery.key.as_deref(), acks, delivery.offset)?;
            batch.commit()?;
            acks.count_parked();
        }
        if let Some(lane) = lane {
            self.lanes.finish(lane);
        }
        self.alone = false;
        Ok(())
    }
}

/// Why a delivery is not done; `None` if it is, and is acknowledged then.
#[inline]
pub(super) fn failure<E: Display>(origin: &Origin, offset: Offset, outcome: Result<(), E>) -> Option<String> {
    let acks = &origin.acks;
    let refused = match acks.settling() {
        None => acks.beyond().and_then(|beyond| beyond.take_refusal(offset)).map(|refused| refused.reason),
        Some(settling) => settling.take_refusal(offset),
    };
    let reason = match (outcome, refused) {
        (Ok(()), None) => {
            acks.acknowledge(offset);
            return None;
        }
        (Ok(()), Some(reason)) => reason,
        (Err(error), _) => error.to_string(),
    };
    let is_open = match acks.settling() {
        None => acks.beyond().is_some_and(|beyond| beyond.is_open(offset)),
        Some(settling) => settling.letter(offset).is_some(),
    };
    if is_open {
        return Some(reason);
    }
    let (subscription, journal, offset) = (&*acks.subscription, &*acks.journal, offset.0);
    tracing::warn!(subscription, journal, offset, reason, "a delivery has failed after it was acknowledged");
    None
}
