//! Giving events up: they go to the dead-letter topic, and their acknowledgement with them.
//!
//! That must not fail for what the event is like, and must not end anything for want of room: a letter is as small as it
//! has to be, and one that finds no room waits until there is some.

use std::time::Duration;

use journal::Offset;
use tokio::time::Instant;

use super::dead_letter::DeadLetter;
use super::record::OwnedRecord;
use super::source::Source;
use super::{GivenUp, Look, Subscription};
use crate::acks::Acks;
use crate::error::{Error, Result};
use crate::event::Payload;
use crate::letters;
use crate::outlet::Batch;
use crate::waiting::Waiting;

/// How long a letter without room waits before it is tried again.
const ROOM_PAUSE: Duration = Duration::from_millis(100);

/// Whether there is room for letters.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// There was none, and nothing is tried before.
    due: Option<Instant>,
    waiting: Option<Waiting>,
}

impl<P: Payload> Subscription<P> {
    /// Parks an event where deliveries are not taken by key.
    pub(super) fn park(&mut self, given_up: GivenUp) -> Result<Look> {
        let GivenUp { record, attempts, reason } = &given_up;
        let acks = &record.origin.acks;
        self.breaker.note(acks, record.offset);
        if !self.say_letter(record, *attempts, reason, None)? {
            self.unparked = Some(given_up);
            return Ok(Look::Nothing);
        }
        self.report_parked(record, *attempts, reason, false);
        if !self.breaker.is_armed() {
            self.sources.iter().filter_map(Source::acks).for_each(|acks| self.breaker.watch(acks));
        }
        self.breaker.fail(&self.core, &self.name, reason);
        Ok(Look::Parked)
    }

    /// Looks for the next delivery of a subscription that has reason to be slow.
    #[cold]
    pub(super) fn look_carefully(&mut self) -> Result<Look> {
        if self.held_until().is_some() {
            // What somebody has ordered is done all the same.
            return match self.reading.desk().take() {
                Some(order) if !self.keyed => self.follow(order),
                _ => Ok(Look::Nothing),
            };
        }
        if let Some(given_up) = self.unparked.take() {
            return self.park(given_up);
        }
        let look = self.look_skipping(|_| false)?;
        if let (Look::Delivery, Some(ready)) = (look, &self.ready) {
            self.breaker.hand(ready.acks(), ready.offset);
        }
        Ok(look)
    }

    /// Until when nothing is to be looked for, if so.
    pub(super) fn held_until(&mut self) -> Option<Instant> {
        let room = self.unparked.as_ref().and(self.room_due());
        self.breaker.until().max(room)
    }

    /// When it is worth trying again whether there is room for a letter, if not now.
    pub(super) fn room_due(&self) -> Option<Instant> {
        self.room.due.filter(|due| *due > Instant::now())
    }

    /// Says the letter of an event and acknowledges the event, together with a checkpoint if there is one: all or
    /// nothing. False if there is no room for it now.
    pub(super) fn say_letter(
        &mut self,
        record: &OwnedRecord,
        attempts: u32,
        reason: &str,
        checkpoint: Option<(&str, &[String])>,
    ) -> Result<bool> {
        if self.room_due().is_some() {
            return Ok(false);
        }
        let acks = &record.origin.acks;
        let key = record.key.as_deref().map(letters::short_key);
        let room = letters::bytes_max(self.core.hearing.segment_bytes);
        let letter = DeadLetter::new(&record.parked(), attempts, reason, room);
        let batch = || {
            let mut batch = Batch::new(&self.core.outlet);
            batch.add_about(&letter, key.as_deref(), (&acks.journal, record.offset))?;
            Ok::<_, Error>(batch)
        };
        let mut settling = batch()?;
        settling.settle(acks, record.offset);
        if let Some((name, keys)) = checkpoint {
            settling.checkpoint(name, keys)?;
        }
        let said = match settling.commit() {
            // An earlier delivery is still open: the letter may come twice after a crash, which is better than not at all.
            Err(Error::OutOfOrder { .. }) if !self.keyed => {
                batch()?.commit().inspect(|_| acks.acknowledge(record.offset))
            }
            said => said,
        };
        match said {
            Ok(_) => {
                acks.count_parked();
                self.room = Room::default();
                Ok(true)
            }
            Err(Error::Journal(error @ (journal::Error::Full { .. } | journal::Error::TooLarge { .. }))) => {
                self.lack_room(record, &error);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn lack_room(&mut self, record: &OwnedRecord, error: &journal::Error) {
        self.room.due = Some(Instant::now() + ROOM_PAUSE);
        if self.room.waiting.is_none() {
            let (subscription, journal, offset) =
                (&*self.name, &*record.origin.acks.journal, record.offset.0);
            tracing::error!(subscription, journal, offset, %error, "no room to park an event: it waits until there is some");
            let reason = format!("no room to park an event of subscription {subscription}: {error}");
            self.room.waiting = Some(self.core.waits.begin(reason));
        }
    }

    /// Says so once where deliveries are not taken by key.
    pub(super) fn note_stuck(&mut self, acks: &Acks, offset: Offset) {
        if self.stuck.is_none() {
            self.stuck = Some(self.say_stuck(acks, offset));
        }
    }

    /// An event can't be delivered, for that it is dealt with could not be remembered.
    pub(super) fn say_stuck(&self, acks: &Acks, offset: Offset) -> Waiting {
        let (name, journal) = (&self.name, &acks.journal);
        let first = acks.position().unwrap_or_default().next;
        self.core.waits.begin(format!(
            "subscription {name} reads {journal} no further: offset {offset} is too far ahead of {first}, which is not done"
        ))
    }

    pub(super) fn report_parked(&self, record: &OwnedRecord, attempts: u32, reason: &str, with_key: bool) {
        tracing::error!(
            subscription = &*self.name,
            journal = &*record.origin.acks.journal,
            offset = record.offset.0,
            topic = &*record.origin.topic,
            key = record.key.as_deref().map(crate::json::key),
            attempts,
            reason,
            "an event is parked in the dead-letter topic{}",
            if with_key { ", and all later ones of its key until it is released" } else { "" }
        );
    }
}
