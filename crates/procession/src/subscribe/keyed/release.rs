//! Parked keys that are let go, and their letters that are delivered once more.

use std::fmt::Display;
use std::future::Future;

use journal::{Offset, Start};

use super::Keyed;
use super::lanes::{Key, LaneId};
use crate::acks::Origin;
use crate::error::Result;
use crate::event::Payload;
use crate::letters::{self, Letter, Order, Outcome, Refusal, Settled, What};
use crate::outlet::Batch;
use crate::subscribe::Delivery;

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
            What::Release { key, give_up } => self.release(&key, give_up)?,
        };
        // Whoever asked may have gone.
        let _ = reply.send(done);
        Ok(true)
    }

    fn retry(&mut self, at: Offset) -> Result<Result<u64, Refusal>> {
        let Some(letter) = self.subscription.find_letter(at)? else { return Ok(Err(Refusal::NoLetter)) };
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

    fn release(&mut self, key: &[u8], give_up: bool) -> Result<Result<u64, Refusal>> {
        let as_key: Key = Some(key.into());
        if !self.parked.contains(&as_key) || self.releasing.contains_key(key) {
            return Ok(Err(Refusal::NotParked));
        }
        let core = &self.subscription.core;
        let name = &*self.subscription.name;
        let (letters, _) =
            letters::open(&core.folders.instance(&core.instance), Start::Beginning, |letter| {
                letter.letter.subscription == name && letter.key.as_deref() == Some(key)
            })?;
        let count = letters.len();
        tracing::warn!(
            subscription = name,
            key = crate::json::key(key),
            letters = count,
            give_up,
            "a parked key is released, as told"
        );
        if give_up || letters.is_empty() {
            self.settle_all(key, &letters)?;
            return Ok(Ok(count as u64));
        }
        self.releasing.insert(key.into(), count);
        for letter in letters {
            if let Err(refusal) = self.deliver_again(letter)? {
                // What cannot even be decoded keeps its key parked.
                self.releasing.remove(key);
                return Ok(Err(refusal));
            }
        }
        Ok(Ok(count as u64))
    }

    /// Gives letters up, and lets their key go.
    fn settle_all(&mut self, key: &[u8], letters: &[Letter]) -> Result<()> {
        let core = &self.subscription.core;
        let mut rest = letters;
        loop {
            let (now, later) = rest.split_at(rest.len().min(BATCH_MAX));
            let mut batch = Batch::new(&core.outlet);
            for letter in now {
                batch.add(&Settled { letter: letter.at.0, outcome: Outcome::Dropped })?;
            }
            if later.is_empty() {
                let (name, keys) = self.parked.without(key);
                batch.checkpoint(name, &keys)?;
            }
            batch.commit()?;
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        self.parked.remove(key);
        Ok(())
    }

    /// Whether events of this key go to the dead-letter topic.
    #[inline]
    pub(super) fn is_parked(&self, key: &Key) -> bool {
        self.parked.contains(key) && !key.as_ref().is_some_and(|key| self.releasing.contains_key(key))
    }

    /// A letter is settled. With the last one of its key, the key is free.
    #[cold]
    pub(super) fn settled(&mut self, key: &Key) -> Result<()> {
        let Some(key) = key.as_deref() else { return Ok(()) };
        let Some(left) = self.releasing.get_mut(key) else { return Ok(()) };
        *left -= 1;
        if *left > 0 {
            return Ok(());
        }
        self.releasing.remove(key);
        self.settle_all(key, &[])
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
            self.releasing.remove(key);
        }
        if let Some(lane) = lane {
            self.lanes.finish(lane);
        }
    }
}
