//! Dead letters that are delivered once more, because somebody has said so.

use std::sync::Arc;

use journal::{Item, Level, Offset, Position, Reader, Start};

use super::record::OwnedRecord;
use super::source::{Attempt, is_lack};
use super::{Look, Subscription, take_event};
use crate::acks::{Acks, Origin};
use crate::error::{Error, Result};
use crate::event::Payload;
use crate::letters::{self, History, Letter, Order, Refusal, Settling, What};

impl<P: Payload> Subscription<P> {
    /// Does what somebody has ordered, where deliveries are not taken by key.
    #[cold]
    pub(super) fn follow(&mut self, order: Order) -> Result<Look> {
        let Order { what, reply } = order;
        let done = match what {
            What::Release { .. } => Err(Refusal::NotParked),
            What::Retry(at) => match self.find_letter(at)? {
                Ok(letter) => self.recall(letter)?,
                Err(refusal) => Err(refusal),
            },
        };
        let look = if done.is_ok() { Look::Delivery } else { Look::Nothing };
        // Whoever asked may have gone.
        let _ = reply.send(done);
        Ok(look)
    }

    pub(super) fn find_letter(&self, at: Offset) -> Result<Result<Letter, Refusal>> {
        let found = letters::find(&self.core.folders.instance(&self.core.instance), at);
        let is_own = |letter: &Letter| letter.letter.subscription == *self.name;
        Ok(or_refuse(found)?.and_then(|letter| letter.filter(is_own).ok_or(Refusal::NoLetter)))
    }

    /// Notes that a letter is being dealt with again, and returns the acknowledgements that its event has.
    pub(super) fn begin_letter(&mut self, letter: &Letter) -> Result<Result<Arc<Acks>, Refusal>> {
        let (event, history) = (Offset(letter.letter.offset), letter.history());
        let acks = match or_refuse(self.acks_of_letters(&letter.letter.journal, event, &history))? {
            Ok(acks) => acks,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let begun = acks.settling().is_some_and(|settling| settling.begin(event, letter.at, history));
        let busy = || Refusal::Failed("it is being dealt with again already".to_owned());
        Ok(if begun { Ok(acks) } else { Err(busy()) })
    }

    /// Makes `ready` the delivery of a letter's event.
    pub(super) fn recall(&mut self, letter: Letter) -> Result<Result<u64, Refusal>> {
        if let Some(refusal) = self.core.outlet.letters.refusal(letter.at) {
            return Ok(Err(refusal));
        }
        let event = Offset(letter.letter.offset);
        let acks = match self.begin_letter(&letter)? {
            Ok(acks) => acks,
            Err(refusal) => return Ok(Err(refusal)),
        };
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

    /// The event of a letter that is being dealt with again, and the how-many-th delivery of it this is: the letter says how
    /// often it was delivered before. Or why it cannot be had: the letter stays as it is.
    pub(super) fn fetch_recalled(
        &self,
        acks: &Arc<Acks>,
        offset: Offset,
    ) -> Result<Result<(OwnedRecord, u32), String>> {
        let Some(at) = acks.settling().and_then(|settling| settling.letter(offset)) else {
            return Ok(Err("it is settled".to_owned()));
        };
        let found = self.find_letter(at)?.and_then(|letter| {
            let number = letter.letter.attempts.saturating_add(1);
            Ok((self.record_of(letter, acks)?, number))
        });
        Ok(found.map_err(|refusal| refusal.to_string()))
    }

    /// Acknowledgements in which nothing of another history is at the place of this event.
    fn acks_of_letters(&mut self, journal: &str, event: Offset, history: &History) -> Result<Arc<Acks>> {
        let is_free =
            |acks: &Acks| acks.settling().is_some_and(|settling| !settling.has_another(event, history));
        if let Some(acks) = self.recalled.iter().find(|acks| *acks.journal == *journal && is_free(acks)) {
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

/// What is lacking ends no process over a letter: whoever has ordered something hears of it, and may order it again.
pub(super) fn or_refuse<T>(done: Result<T>) -> Result<Result<T, Refusal>> {
    match done {
        Ok(done) => Ok(Ok(done)),
        Err(Error::Journal(error)) if is_lack(&error) => {
            Ok(Err(Refusal::Failed(format!("that cannot be done now: {error}"))))
        }
        Err(error) => Err(error),
    }
}
