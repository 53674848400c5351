//! What becomes of deliveries that fail: another attempt, or the dead-letter topic, with their keys.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use journal::Offset;
use tokio::time::Instant;

use super::lanes::{Key, LaneId};
use super::{Failed, Keyed, Newest, Paused, Place, Ticket};
use crate::acks::Origin;
use crate::error::Result;
use crate::event::Payload;
use crate::letters::short_key;
use crate::subscribe::record::OwnedRecord;
use crate::subscribe::source::Fetched;
use crate::subscribe::{Delivery, GivenUp};

/// An event that finds no room to be parked is tried again after so long, once there may be some.
const ROOM_PAUSE: Duration = Duration::from_millis(20);

impl<P, H, F, E> Keyed<P, H, F>
where
    P: Payload,
    H: Fn(Delivery<P>) -> F,
    F: Future<Output = Result<(), E>>,
    E: Display,
{
    /// A delivery has failed: it comes again after a pause, or its key is parked. Its lane is at work if it has one.
    #[cold]
    pub(super) fn fail(&mut self, lane: Option<LaneId>, key: Key, of: &Ticket, reason: String) -> Result<()> {
        let Ticket { origin, offset, .. } = of;
        let offset = *offset;
        self.alone = false;
        if origin.acks.settling().is_some() {
            self.keep_letter(lane, &key, origin, offset, &reason);
            return Ok(());
        }
        let core = Arc::clone(&self.subscription.core);
        let retries = core.hearing.retries;
        let (subscription, journal) = (&*self.subscription.name, &*origin.acks.journal);
        let attempt = if core.outlet.times_full() == of.times_full {
            of.attempt
        } else {
            // What came of it could perhaps not be said for want of room: that is no fault of the event.
            of.attempt.saturating_sub(1)
        };
        tracing::debug!(subscription, journal, offset = offset.0, attempt, reason, "a delivery has failed");
        let is_last = attempt >= retries.attempts_max;
        if attempt == 1 || is_last {
            self.subscription.breaker.fail(&core, subscription, &reason);
        }
        if is_last {
            match self.subscription.fetch(&origin.acks, offset)? {
                Fetched::Record(record) => {
                    return self.park(
                        lane,
                        &key,
                        GivenUp { record: Box::new(record), attempts: attempt, reason },
                    );
                }
                Fetched::Lost(_) => self.leave(lane),
                Fetched::Unknown(due) => {
                    let failed = Failed { attempt, reason, is_given_up: true };
                    self.pause(lane, key, origin, offset, Some(failed), due);
                }
            }
            return Ok(());
        }
        let due = Instant::now() + retries.pause(attempt);
        let failed = Failed { attempt, reason, is_given_up: false };
        self.pause(lane, key, origin, offset, Some(failed), due);
        Ok(())
    }

    /// The event is to be tried again at `due`; its lane waits for that.
    pub(super) fn pause(
        &mut self,
        lane: Option<LaneId>,
        key: Key,
        origin: &Arc<Origin>,
        offset: Offset,
        failed: Option<Failed>,
        due: Instant,
    ) {
        let lane = lane.unwrap_or_else(|| self.lanes.occupy(key));
        let place = Place { origin: Arc::clone(origin), offset, failed: failed.map(Box::new) };
        self.paused.push(Paused { lane, place, due });
    }

    /// The lane has nothing more to do with its event.
    pub(super) fn leave(&mut self, lane: Option<LaneId>) {
        if let Some(lane) = lane {
            self.lanes.finish(lane);
        }
    }

    /// An event that cannot even be decoded. False if it has to wait: that it is parked could not be remembered.
    #[cold]
    pub(super) fn give_up(&mut self, given_up: GivenUp) -> Result<bool> {
        if !self.note_reach(&given_up.record.origin.acks, given_up.record.offset) {
            self.waiting.push_front(Newest::GivenUp(given_up));
            return Ok(false);
        }
        let key = given_up.record.key.clone();
        if self.lanes.is_idle(&key) {
            let core = Arc::clone(&self.subscription.core);
            self.subscription.breaker.fail(&core, &self.subscription.name, &given_up.reason);
            self.park(None, &key, given_up)?;
            return Ok(true);
        }
        // In its turn, like every event of its key.
        let OwnedRecord { origin, offset, .. } = *given_up.record;
        self.lanes.defer(&key, Place { origin, offset, failed: None });
        Ok(true)
    }

    /// Parks an event and with it its key, in one. Without room for that it is tried again, and its key waits.
    pub(super) fn park(&mut self, lane: Option<LaneId>, key: &Key, given_up: GivenUp) -> Result<()> {
        let GivenUp { record, attempts, reason } = given_up;
        let origin = Arc::clone(&record.origin);
        if origin.acks.settling().is_some() {
            self.keep_letter(lane, key, &origin, record.offset, &reason);
            return Ok(());
        }
        let parks = key.as_deref().map(short_key).filter(|key| !self.parked.has(key));
        let has_place = parks.as_deref().is_none_or(|key| self.parked.has_room_for(key));
        let checkpoint = parks.as_deref().map(|key| self.parked.with(key));
        let checkpoint = checkpoint.as_ref().map(|(name, keys)| (*name, keys.as_slice()));
        if has_place && self.subscription.say_letter(&record, attempts, &reason, checkpoint)? {
            self.subscription.report_parked(&record, attempts, &reason, parks.is_some());
            if let Some(key) = parks {
                self.parked.add(&key);
            }
            self.crowded = None;
            self.leave(lane);
            return Ok(());
        }
        if !has_place {
            self.say_crowded(&record, &reason);
        }
        let pause =
            if has_place { ROOM_PAUSE } else { self.subscription.core.hearing.retries.longest_pause() };
        let due = self.subscription.room_due().unwrap_or_else(Instant::now) + pause;
        let failed = Failed { attempt: attempts, reason, is_given_up: true };
        self.pause(lane, key.clone(), &origin, record.offset, Some(failed), due);
        Ok(())
    }

    /// More keys than can be remembered have failed: the next ones wait until somebody has released some.
    fn say_crowded(&mut self, record: &OwnedRecord, reason: &str) {
        let (subscription, journal) = (&*self.subscription.name, &*record.origin.acks.journal);
        let parked = self.parked.len();
        if self.crowded.is_none() {
            tracing::error!(
                subscription,
                journal,
                offset = record.offset.0,
                reason,
                parked,
                "an event cannot be parked, for too many keys are already: its key waits; \
                 `procession dead-letters` shows what is parked"
            );
            let text = format!("{parked} keys of subscription {subscription} are parked, and no more can be");
            self.crowded = Some(self.subscription.core.waits.begin(text));
        }
    }

    /// An event behind a parked one of its key.
    #[cold]
    pub(super) fn park_successor(&mut self, lane: Option<LaneId>, delivery: &Delivery<P>) -> Result<()> {
        const REASON: &str = "its key is parked, for an earlier event of it has failed";
        let acks = delivery.acks();
        self.alone = false;
        if acks.settling().is_some() {
            // One before it has failed again.
            let reason = "an earlier one of its key has";
            self.keep_letter(lane, &delivery.key, &delivery.origin, delivery.offset, reason);
            return Ok(());
        }
        let due = match self.subscription.fetch(acks, delivery.offset)? {
            Fetched::Record(record) if !self.subscription.say_letter(&record, 0, REASON, None)? => {
                self.subscription.room_due().unwrap_or_else(Instant::now) + ROOM_PAUSE
            }
            Fetched::Unknown(due) => due,
            Fetched::Record(_) | Fetched::Lost(_) => {
                self.leave(lane);
                return Ok(());
            }
        };
        self.pause(lane, delivery.key.clone(), &delivery.origin, delivery.offset, None, due);
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
