//! Parked keys that are let go, and their letters that are delivered once more.

use std::collections::VecDeque;
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

use journal::Offset;

use super::lanes::{Key, LaneId, Work};
use super::{Keyed, Place};
use crate::acks::Origin;
use crate::aside::Gone;
use crate::error::{Error, Result};
use crate::event::Payload;
use crate::letters::{Found, Letter, Order, Refusal, What, short_key};
use crate::outlet::Batch;
use crate::subscribe::recall::or_refuse;
use crate::subscribe::source::Attempt;
use crate::subscribe::{Delivery, take_event};

/// Letters that are given up in one batch.
const BATCH_MAX: usize = 10_000;

impl<P, H, F, E> Keyed<P, H, F>
where
    P: Payload,
    H: Fn(Delivery<P>) -> F,
    F: Future<Output = Result<(), E>>,
    E: Display,
{
    /// Does what somebody has ordered.
    pub(super) fn follow_orders(&mut self) -> Result<bool> {
        let Some(Order { what, reply }) = self.subscription.reading.desk().take() else { return Ok(false) };
        let done = match what {
            What::Retry(at) => self.retry(at)?,
            What::Release { key, give_up, letters } => self.release(&key, give_up, letters)?,
        };
        // Whoever asked may have gone.
        let _ = reply.send(done);
        Ok(true)
    }

    fn retry(&mut self, at: Offset) -> Result<Result<u64, Refusal>> {
        let letter = match self.subscription.find_letter(at)? {
            Ok(letter) => letter,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if self.parked.contains(&letter.key)
            && let Some(key) = letter.key
        {
            return Ok(Err(Refusal::KeyParked(key)));
        }
        self.deliver_again(letter)
    }

    fn deliver_again(&mut self, letter: Letter) -> Result<Result<u64, Refusal>> {
        let recalled = self.subscription.recall(letter)?;
        if let Some(delivery) = self.subscription.ready.take().filter(|_| recalled.is_ok()) {
            self.admit(delivery)?;
        }
        Ok(recalled)
    }

    /// Lets a parked key go, given as letters have it, or begins to: its letters come first, one after the other.
    fn release(&mut self, key: &[u8], give_up: bool, mut found: Found) -> Result<Result<u64, Refusal>> {
        if !self.parked.has(key) || self.releasing.contains_key(key) {
            return Ok(Err(Refusal::NotParked));
        }
        let core = &self.subscription.core;
        let name = &*self.subscription.name;
        // What was said since somebody looked; that is little.
        let folder = core.folders.instance(&core.instance);
        if let Err(refusal) = or_refuse(found.go_on(&folder, &Gone::default(), name, key))? {
            return Ok(Err(refusal));
        }
        let mut letters = found.into_letters();
        letters.retain(|letter| core.outlet.letters.is_undecided(*letter));
        let count = letters.len();
        tracing::warn!(
            subscription = name,
            key = crate::json::key(key),
            letters = count,
            give_up,
            "a parked key is released, as told"
        );
        if give_up || letters.is_empty() {
            return Ok(match self.settle_all(key, letters.make_contiguous())? {
                true => Ok(count as u64),
                false => Err(Refusal::Failed("there is no room for that now".to_owned())),
            });
        }
        self.releasing.insert(key.into(), letters);
        Ok(match self.next_letter(None, key)? {
            Ok(()) => Ok(count as u64),
            Err(why) => {
                self.releasing.remove(key);
                Err(Refusal::Failed(format!("its first letter cannot be dealt with now: {why}")))
            }
        })
    }

    /// The key's next letter comes before all that waits behind it. Or why that cannot be: the key stays parked.
    fn next_letter(&mut self, lane: Option<LaneId>, key: &[u8]) -> Result<Result<(), String>> {
        let Some(at) = self.releasing.get_mut(key).and_then(VecDeque::pop_front) else {
            return Ok(Err("it has none".to_owned()));
        };
        let letter = match self.subscription.find_letter(at)? {
            Ok(letter) => letter,
            Err(refusal) => return Ok(Err(refusal.to_string())),
        };
        let acks = match self.subscription.begin_letter(&letter)? {
            Ok(acks) => acks,
            Err(refusal) => return Ok(Err(refusal.to_string())),
        };
        let (offset, topic) = (Offset(letter.letter.offset), letter.letter.topic.as_str().into());
        let origin = Arc::new(Origin { topic, acks: Arc::clone(&acks) });
        let work = Work::Deferred(Place { origin, offset, failed: None });
        if let Some(lane) = lane {
            self.lanes.put_back(lane, work);
            return Ok(Ok(()));
        }
        // The event's own key: the letter may have but what was made of it.
        let put = self.subscription.fetch_recalled(&acks, offset)?.and_then(|(record, _)| {
            let busy = |_| "an event of its key is being dealt with, or waits to be tried again".to_owned();
            self.lanes.put_first(&record.key, work).map_err(busy)
        });
        if let (Err(_), Some(settling)) = (&put, acks.settling()) {
            settling.forget(offset);
        }
        Ok(put)
    }

    /// Begins with the event of a letter, whose turn it is.
    pub(super) fn start_recalled(&mut self, lane: LaneId, place: &Place) -> Result<()> {
        let Place { origin, offset, .. } = place;
        let taken = self.subscription.fetch_recalled(&origin.acks, *offset)?.and_then(|(record, number)| {
            let event = take_event(&Attempt::first(), u32::MAX, record.codec, &record.payload)?;
            Ok(record.into_delivery(event, number))
        });
        match taken {
            Ok(delivery) => self.start(Some(lane), delivery),
            Err(reason) => {
                let key = self.lanes.key(lane).clone();
                self.keep_letter(Some(lane), &key, origin, *offset, &reason);
                Ok(())
            }
        }
    }

    /// Gives letters up, and lets their key go. False if there is no room to say so.
    fn settle_all(&mut self, key: &[u8], letters: &[Offset]) -> Result<bool> {
        let core = &self.subscription.core;
        let mut rest = letters;
        loop {
            let (now, later) = rest.split_at(rest.len().min(BATCH_MAX));
            let mut batch = Batch::new(&core.outlet);
            for letter in now {
                batch.give_up(*letter);
            }
            if later.is_empty() {
                let (name, keys) = self.parked.without(key);
                batch.checkpoint(name, &keys)?;
            }
            match batch.commit() {
                Ok(_) => {}
                Err(Error::Journal(
                    error @ (journal::Error::Full { .. } | journal::Error::TooLarge { .. }),
                )) => {
                    let (subscription, key) = (&*self.subscription.name, crate::json::key(key));
                    tracing::error!(subscription, key, %error, "a key stays parked for want of room: release it again");
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        self.parked.remove(key);
        Ok(true)
    }

    /// Whether events of this key go to the dead-letter topic.
    #[inline]
    pub(super) fn is_parked(&self, key: &Key) -> bool {
        self.parked.contains(key)
            && !key.as_deref().is_some_and(|key| self.releasing.contains_key(&*short_key(key)))
    }

    /// A letter is settled. With the last one of its key, the key is free. Whether the lane has the next one to do.
    #[cold]
    pub(super) fn settled(&mut self, lane: Option<LaneId>, key: &Key) -> Result<bool> {
        let Some(key) = key.as_deref().map(short_key) else { return Ok(false) };
        let Some(left) = self.releasing.get_mut(&*key) else { return Ok(false) };
        // Some may have been dropped meanwhile.
        left.retain(|letter| self.subscription.core.outlet.letters.is_undecided(*letter));
        if !left.is_empty() {
            let Err(why) = self.next_letter(lane, &key)? else { return Ok(true) };
            tracing::error!(
                why,
                subscription = &*self.subscription.name,
                key = crate::json::key(&key),
                "the next letter of a key cannot be dealt with now: the key stays parked"
            );
        } else {
            self.settle_all(&key, &[])?;
        }
        self.releasing.remove(&*key);
        Ok(false)
    }

    /// An event has failed again that a letter is about: the letter stays, and its key parked.
    #[cold]
    pub(super) fn keep_letter(
        &mut self,
        lane: Option<LaneId>,
        key: &Key,
        origin: &Origin,
        offset: Offset,
        reason: &str,
    ) {
        let (subscription, journal, offset_of_event) =
            (&*self.subscription.name, &*origin.acks.journal, offset.0);
        tracing::error!(
            subscription,
            journal,
            offset = offset_of_event,
            reason,
            "a dead letter has failed again: it stays"
        );
        if let Some(settling) = origin.acks.settling() {
            settling.forget(offset);
        }
        if let Some(key) = key {
            self.releasing.remove(&*short_key(key));
        }
        self.leave(lane);
    }
}
