//! Dead letters that are delivered once more, because somebody has said so.

use std::sync::Arc;

use journal::{Item, Level, Offset, Position, Reader, Start};

use super::record::OwnedRecord;
use super::source::Attempt;
use super::{Look, Subscription, take_event};
use crate::acks::{Acks, Origin};
use crate::error::Result;
use crate::event::Payload;
use crate::letters::{self, Letter, Order, Refusal, Settling, What};

impl<P: Payload> Subscription<P> {
    /// Does what somebody has ordered, where deliveries are not taken by key.
    #[cold]
    pub(super) fn follow(&mut self, order: Order) -> Result<Look> {
        let Order { what, reply } = order;
        let done = match what {
            What::Release { .. } => Err(Refusal::NotParked),
            What::Retry(at) => match self.find_letter(at)? {
                None => Err(Refusal::NoLetter),
                Some(letter) => self.recall(letter)?,
            },
        };
        let look = if done.is_ok() { Look::Delivery } else { Look::Nothing };
        // Whoever asked may have gone.
        let _ = reply.send(done);
        Ok(look)
    }

    pub(super) fn find_letter(&self, at: Offset) -> Result<Option<Letter>> {
        let letter = letters::find(&self.core.folders.instance(&self.core.instance), at)?;
        Ok(letter.filter(|letter| letter.letter.subscription == *self.name))
    }

    /// Makes `ready` the delivery of a letter's event.
    pub(super) fn recall(&mut self, letter: Letter) -> Result<Result<u64, Refusal>> {
        let acks = self.acks_of_letters(&letter.letter.journal)?;
        let event = Offset(letter.letter.offset);
        if let Some(refusal) = self.core.outlet.letters.refusal(letter.at) {
            return Ok(Err(refusal));
        }
        if !acks.settling().is_some_and(|settling| settling.begin(event, letter.at)) {
            return Ok(Err(Refusal::Failed("it is being dealt with again already".to_owned())));
        }
        let number = letter.letter.attempts.saturating_add(1);
        let record = match self.record_of(letter, &acks) {
            Ok(record) => record,
            Err(refusal) => {
                if let Some(settling) = acks.settling() {
                    settling.forget(event);
                }
                return Ok(Err(refusal));
            }
        };
        let attempt = Attempt { number: 1, refusal: None };
        Ok(match take_event(&attempt, u32::MAX, record.codec, &record.payload) {
            Ok(event) => {
                self.ready = Some(record.into_delivery(event, number));
                Ok(1)
            }
            Err(reason) => {
                if let Some(settling) = acks.settling() {
                    settling.forget(event);
                }
                Err(Refusal::Failed(reason))
            }
        })
    }

    /// The event of a letter: as it was said, if its journal still has it.
    fn record_of(&self, letter: Letter, acks: &Arc<Acks>) -> Result<OwnedRecord, Refusal> {
        let topic = letter.letter.topic.as_str().into();
        let origin = Arc::new(Origin { topic, acks: Arc::clone(acks) });
        let (folder, offset) = (self.core.folders.state.join(&*acks.journal), Offset(letter.letter.offset));
        // A publisher whose journal cannot be read now is as one that has it no longer.
        if let Ok(Some(mut reader)) = Reader::open(&folder, Start::Offset(offset), Level::Committed)
            && let identity = reader.position().journal
            && let Ok(Some(Item::Record(record))) = reader.next()
            && record.offset == offset
            && letter.is_about(&record, identity)
        {
            return Ok(OwnedRecord::copy(&record, origin));
        }
        match letter.payload() {
            Some((codec, payload)) => {
                Ok(OwnedRecord::new(offset, letter.time, origin, letter.key, codec, payload))
            }
            None => Err(Refusal::Failed(format!(
                "only {} kept what was said, and it cannot be had there: if it is gone for good, drop the letter",
                letter.letter.journal
            ))),
        }
    }

    /// The event of a letter that is being dealt with again.
    pub(super) fn fetch_recalled(&self, acks: &Arc<Acks>, offset: Offset) -> Result<Option<OwnedRecord>> {
        let Some(at) = acks.settling().and_then(|settling| settling.letter(offset)) else { return Ok(None) };
        let Some(letter) = self.find_letter(at)? else { return Ok(None) };
        match self.record_of(letter, acks) {
            Ok(record) => Ok(Some(record)),
            Err(refusal) => {
                tracing::error!(letter = at.0, ?refusal, "a dead letter cannot be dealt with again");
                Ok(None)
            }
        }
    }

    /// The how-many-th delivery of an event it is; `None` if it is not one of a letter.
    pub(super) fn number_of_recalled(&self, acks: &Acks, offset: Offset) -> Result<Option<u32>> {
        let Some(at) = acks.settling().and_then(|settling| settling.letter(offset)) else { return Ok(None) };
        let letter = self.find_letter(at)?;
        Ok(Some(letter.map_or(1, |letter| letter.letter.attempts.saturating_add(1))))
    }

    pub(super) fn acks_of_letters(&mut self, journal: &str) -> Result<Arc<Acks>> {
        if let Some(acks) = self.recalled.iter().find(|acks| *acks.journal == *journal) {
            return Ok(Arc::clone(acks));
        }
        // What becomes of letters is not a matter of any place: nothing is held back, and nothing to be forgotten.
        let cursor = self.core.cursors.claim_nameless()?;
        let acks = Acks::new(Arc::clone(&self.name), journal.into(), cursor, Position::default());
        let kept = acks.deliver_letters(Settling::new(Arc::downgrade(&self.core)));
        debug_assert!(kept, "nothing was delivered yet");
        let acks = Arc::new(acks);
        self.recalled.push(Arc::clone(&acks));
        Ok(acks)
    }
}
