//! One input that a model breaks over is put aside, and no other: whatever it was that it broke over.
//!
//! Going back costs a rebuild: all that is not final is read again, and what was heard since the last snapshot. `n` inputs
//! that break the model cost `n` of them, one more for each batch that also has others, and a snapshot keeps each from
//! reading more than is not final and 1,024 inputs. From ten in a row on the model slows down, as a subscription does.

use std::collections::BTreeSet;
use std::sync::Arc;

use journal::{Item, Level, Offset, Reader, Record, Start};
use tokio::time::Instant;

use super::fold::Blamed;
use super::intake::read;
use super::model::{Heard, Input, Model};
use super::passed::History;
use super::publishing::Committed;
use super::replay::Since;
use super::running::{Place, Running};
use crate::error::{Error, Result};
use crate::event::{Any, Event as _};
use crate::guarded::guarded;
use crate::subscribe::{DeadLetter, Delivery, Parked};

/// How often to try to say the letter of an input.
const TRIES: u32 = 3;
/// A model that has so many inputs to read again writes a snapshot before it goes on looking.
const READ_AGAIN_MAX: u64 = 1024;
/// So many unreadable inputs of one batch count.
const ROW_OF_BATCH: u32 = 10;

/// What a rebuild has broken over so far.
#[derive(Debug, Default)]
pub(super) struct Broken {
    /// Their states are of no use, so nothing more is applied to them.
    keys: BTreeSet<Box<[u8]>>,
    inputs: usize,
}

impl Broken {
    pub(super) const fn is_empty(&self) -> bool {
        self.inputs == 0
    }
}

/// What came of an input that is heard again.
pub(super) enum Again {
    Taken,
    /// It cannot be read.
    Unreadable(String),
    /// The model breaks over it.
    Breaks(String),
}

impl<M: Model> Running<M>
where
    M::Input: Input,
{
    /// The model has broken over something that was heard since the last batch: it panicked, or what it has to say cannot
    /// be said. It goes back to the state before, and takes one after the other; whichever it breaks over is parked, with
    /// the reason. `false` if the process is to stop.
    pub(super) async fn isolate(&mut self, reason: &str) -> Result<bool> {
        self.isolating = true;
        let goes_on = self.find_and_park(reason).await;
        self.isolating = false;
        self.refused = None;
        if let Ok(true) = goes_on {
            self.tell_all();
        }
        goes_on
    }

    async fn find_and_park(&mut self, reason: &str) -> Result<bool> {
        let mut heard = std::mem::take(&mut self.acking);
        self.parked_again = false;
        if !self.go_back().await? {
            return Ok(false);
        }
        if heard.is_empty() && !self.parked_again {
            return Err(Error::Subscription { name: self.model.clone(), reason: reason.to_owned() });
        }
        // What may follow goes back no further than this.
        if self.inputs >= READ_AGAIN_MAX {
            self.take_snapshot().await?;
        }
        // There is nothing to find out about one alone.
        if heard.len() == 1
            && !self.parked_again
            && let Some((_, delivery)) = heard.pop()
        {
            return self.set_aside(delivery, reason.to_owned()).await;
        }
        for (_, delivery) in heard {
            if !self.deal_alone(delivery).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// `false` if the process is to stop.
    async fn deal_alone(&mut self, delivery: Delivery<Any>) -> Result<bool> {
        let before = self.inputs;
        let heard = self.hear(delivery)?;
        let is_input = self.inputs > before;
        let committed = match heard {
            Ok(()) => self.commit(false, true).await?,
            Err(reason) => Committed::Broken(reason),
        };
        match committed {
            Committed::Whole => {
                if is_input {
                    self.breaker.succeed();
                }
                Ok(true)
            }
            Committed::Stopped => Ok(false),
            Committed::Broken(reason) => match self.take_culprit().await? {
                Some(delivery) => self.set_aside(delivery, reason).await,
                None => Ok(false),
            },
        }
    }

    /// The last that was to be acknowledged, which the model breaks over; it goes back to before. `None` if the process is
    /// to stop.
    async fn take_culprit(&mut self) -> Result<Option<Delivery<Any>>> {
        let culprit = self.acking.pop();
        self.acking.clear();
        if !self.go_back().await? {
            return Ok(None);
        }
        Ok(culprit.map(|(_, delivery)| delivery))
    }

    /// Parks what the model breaks over, which is as it was before. `false` if the process is to stop.
    async fn set_aside(&mut self, mut delivery: Delivery<Any>, mut reason: String) -> Result<bool> {
        // Twice, if there was no room for the letter at first, and the input was heard once more to make some.
        for _ in 0..TRIES {
            match self.park(delivery, reason.clone()).await? {
                Committed::Whole => {
                    self.breaker.fail(&self.core, &self.model, &reason);
                    return Ok(self.slow_down().await);
                }
                Committed::Stopped => return Ok(false),
                Committed::Broken(again) => {
                    let Some(culprit) = self.take_culprit().await? else { return Ok(false) };
                    (delivery, reason) = (culprit, again);
                }
            }
        }
        // What is said is a letter, which finds room.
        tracing::error!(model = self.model, reason, "a dead letter cannot be said");
        Ok(true)
    }

    /// Waits if so many inputs in a row were given up that the model is to blame. `false` if the process is to stop.
    pub(super) async fn slow_down(&mut self) -> bool {
        match self.breaker.until() {
            Some(until) => self.wait_for(until.saturating_duration_since(Instant::now())).await,
            None => true,
        }
    }

    /// A batch is dealt with. Whatever nobody can make sense of is one more failure, unless an input was among the others.
    /// `false` if the process is to stop.
    pub(super) async fn note_outcome(&mut self, has_inputs: bool) -> bool {
        let Some((count, reason)) = self.refused.take().filter(|_| !has_inputs) else {
            if has_inputs && self.breaker.is_armed() {
                self.breaker.succeed();
            }
            return true;
        };
        // Few of a batch stand for all of them: the pause is to grow from one batch to the next.
        for _ in 0..count.min(ROW_OF_BATCH) {
            self.breaker.fail(&self.core, &self.model, &reason);
        }
        self.slow_down().await
    }

    async fn park(&mut self, delivery: Delivery<Any>, reason: String) -> Result<Committed> {
        let source = self.sources.place(&self.core, &self.model, delivery.journal(), delivery.offset.0)?;
        self.sources.is_new(source, delivery.offset.0);
        self.refuse(&delivery, reason)?;
        self.acking.push((source, delivery));
        self.commit(false, true).await
    }

    /// Takes in what was dealt with before, in a rebuild.
    pub(super) fn take_again(
        &mut self,
        place: Place<'_>,
        heard: &Heard<'_>,
        letter: Option<u64>,
    ) -> Result<Again> {
        let taken = guarded(|| {
            let word = match read(&self.selection, heard) {
                Ok(word) => word,
                Err(reason) => return Ok(Again::Unreadable(reason)),
            };
            if !self.broken.keys.is_empty() && word.key().is_some_and(|key| self.broken.keys.contains(key)) {
                return Ok(Again::Taken);
            }
            self.note_retried(letter, &word);
            self.take(place, word).map(|()| Again::Taken)
        });
        taken.unwrap_or_else(|reason| {
            if let Ok(Ok(word)) = guarded(|| read::<M::Input>(&self.selection, heard)) {
                self.broken.keys.extend(word.key().map(Into::into));
            }
            Ok(Again::Breaks(reason))
        })
    }

    /// Parks an input that was acknowledged before the model broke over it. The letter is said when all is heard.
    pub(super) fn give_up(
        &mut self,
        heard: &Heard<'_>,
        offset: Offset,
        (identity, epoch): History,
        reason: &str,
    ) -> Result<()> {
        let Heard { journal, topic, key, codec, payload, .. } = *heard;
        let model = &*self.model;
        tracing::error!(
            model,
            journal,
            offset = offset.0,
            topic,
            reason,
            "an input from before breaks the model as it is now: it is parked in the dead-letter topic"
        );
        let parked =
            Parked { subscription: model, journal, identity, epoch, offset, topic, key, codec, payload };
        let letter = DeadLetter::new(&parked, 1, reason, self.letter_bytes_max());
        self.broken.inputs += 1;
        self.outbox.add_json(DeadLetter::TOPIC, &letter, Some((&journal.into(), offset.0)))
    }

    /// The model has broken when all was heard again: parks whatever it broke over. `false` if that is none of them.
    #[cold]
    pub(super) fn blame(&mut self, error: &Error) -> Result<bool> {
        let blamed = match error {
            Error::Journal(journal::Error::TooLarge { .. }) => {
                self.fold.find_inputs(&self.outbox.unsayable_conclusions(error))
            }
            Error::Subscription { .. } | Error::Encode { .. } => self.fold.find_broken(),
            _ => return Ok(false),
        };
        self.park_all(blamed)
    }

    /// Parks the inputs because of which something waits to be final that could not be said then: the model as it was when
    /// it heard them may have said something else. `false` if there are none.
    pub(super) fn park_unsayable(&mut self, bytes_max: usize) -> Result<bool> {
        let blamed = self.fold.find_unsayable(bytes_max);
        if blamed.is_empty() { Ok(false) } else { self.park_all(blamed) }
    }

    fn park_all(&mut self, blamed: Vec<Blamed>) -> Result<bool> {
        self.outbox.clear();
        for Blamed { journal, offset, reason } in blamed {
            self.give_up_at(&journal, Offset(offset), &reason)?;
        }
        Ok(!self.broken.is_empty())
    }

    fn give_up_at(&mut self, journal: &Arc<str>, offset: Offset, reason: &str) -> Result<()> {
        let folder = self.core.folders.state.join(&**journal);
        if let Some(mut reader) = Reader::open(&folder, Start::Offset(offset), Level::Committed)?
            && let identity = reader.position().journal
            && let Some(Item::Record(record)) = reader.next()?
            && record.offset == offset
        {
            let Record { time, topic, key, codec, payload, epoch, .. } = record;
            let heard = Heard { journal, topic, key, time, codec, payload };
            return self.give_up(&heard, offset, (identity, epoch), reason);
        }
        // Only its letter is left of it.
        for at in self.retried.keys() {
            let Some(letter) = self.find_letter(*at)? else { continue };
            if *letter.letter.journal == **journal && letter.letter.offset == offset.0 {
                self.broken.inputs += 1;
                let again = DeadLetter { reason: reason.to_owned(), ..letter.letter };
                return self.outbox.add_json(DeadLetter::TOPIC, &again, Some((journal, offset.0)));
            }
        }
        Ok(())
    }

    pub(super) async fn go_back(&mut self) -> Result<bool> {
        self.outbox.clear();
        self.begin_again(Since::Return).await
    }
}
