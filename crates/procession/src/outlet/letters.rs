//! What the process says about dead letters. All of it passes here, so that it is known which are open.

use journal::{Entry, Offset};

use super::{Inner, Outlet, observe};
use crate::error::Result;
use crate::event::Event as _;
use crate::letters::{Outcome, Settled};
use crate::subscribe::DeadLetter;

/// What the topics of letters, and of what became of them, begin with.
const TOPICS: &str = DeadLetter::TOPIC;

impl Outlet {
    /// Says what has become of a letter, unless somebody was first: then it is false.
    pub(crate) fn settle_letter(&self, letter: Offset, outcome: Outcome) -> Result<bool> {
        let said = self.say_settled(letter, outcome, || self.letters.is_undecided(letter), || {})?;
        said.map(|end| self.settle(end)).transpose().map(|settled| settled.is_some())
    }

    /// A letter's event is dealt with. Where that can't be said now, it is owed.
    pub(crate) fn settle_or_owe(&self, letter: Offset) {
        let is_due = || self.letters.is_undecided(letter);
        // With the writer locked, like all that is decided about a letter.
        let owe = || self.letters.owe(letter);
        let said = self.say_settled(letter, Outcome::Retried, is_due, owe);
        if let Err(error) = said.and_then(|end| end.map_or(Ok(()), |end| self.settle(end))) {
            tracing::warn!(%error, letter = letter.0, "a dead letter is dealt with: that is said once it can be");
        }
    }

    /// Says that a letter is dealt with, if that is owed, without waiting: for [`Self::settled`] to follow.
    pub(crate) fn say_owed(&self, letter: Offset) -> Result<Option<Offset>> {
        self.say_settled(letter, Outcome::Retried, || self.letters.is_owed(letter), || {})
    }

    /// The last chance to say what is owed.
    pub(crate) fn settle_all_owed(&self) {
        while let Some(letter) = self.letters.first_owed() {
            if let Err(error) = self.say_owed(letter) {
                tracing::error!(%error, letter = letter.0, "a dead letter is dealt with, and stays open");
                return;
            }
        }
    }

    /// Where the record ends, if it was due. `in_vain` is called if it can't be said, before anybody else can say something.
    fn say_settled(
        &self,
        letter: Offset,
        outcome: Outcome,
        is_due: impl FnOnce() -> bool,
        in_vain: impl FnOnce(),
    ) -> Result<Option<Offset>> {
        let payload = Settled::encode(letter, outcome)?;
        let mut inner = self.lock();
        if !is_due() {
            return Ok(None);
        }
        let Inner { writer, ears, .. } = &mut *inner;
        observe(writer, ears);
        let said = writer.append(&Settled::entry(&payload));
        let offset = said.inspect_err(|error| self.note_full(error)).inspect_err(|_| in_vain())?;
        self.letters.note_settled(letter);
        Ok(Some(offset.plus(1)))
    }

    /// What is to be said of letters that are given up: nothing of those that something else has become of. With the
    /// writer locked.
    pub(super) fn given_up(&self, letters: &[Offset]) -> Result<Vec<Vec<u8>>> {
        let undecided = letters.iter().filter(|letter| self.letters.is_undecided(**letter));
        undecided.map(|letter| Settled::encode(*letter, Outcome::Dropped)).collect()
    }

    /// Takes down what was said of letters, from `start` on. With the writer locked.
    #[inline]
    pub(super) fn note_letters(&self, entries: &[Entry<'_>], start: Offset) {
        for (offset, entry) in (start.0..).map(Offset).zip(entries) {
            if entry.topic.starts_with(TOPICS) {
                self.note_letter(entry, offset);
            }
        }
    }

    #[cold]
    fn note_letter(&self, entry: &Entry<'_>, offset: Offset) {
        if entry.topic == DeadLetter::TOPIC {
            self.letters.note_said(offset);
        } else if entry.topic == Settled::TOPIC
            && let Ok(Settled { letter, .. }) = serde_json::from_slice(entry.payload)
        {
            self.letters.note_settled(Offset(letter));
        }
    }
}
