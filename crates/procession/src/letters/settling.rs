//! Acknowledgements of letters that are delivered once more.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use journal::Offset;

use super::{Outcome, Settled};
use crate::core::Core;

/// The letters of one subscription and journal that are being dealt with again.
#[derive(Debug)]
pub(crate) struct Settling {
    core: Weak<Core>,
    /// By the offset of the event, where the letter lies, and why it was refused again.
    open: Mutex<BTreeMap<Offset, (Offset, Option<String>)>>,
}

impl Settling {
    pub(crate) const fn new(core: Weak<Core>) -> Self {
        Self { core, open: Mutex::new(BTreeMap::new()) }
    }

    /// A letter is about to be delivered. False if it is being dealt with already.
    pub(crate) fn begin(&self, event: Offset, letter: Offset) -> bool {
        let mut open = self.lock();
        let is_new = open.get(&event).is_none_or(|(_, refused)| refused.is_some());
        if is_new {
            open.insert(event, (letter, None));
        }
        is_new
    }

    /// The letter of an event that is not settled.
    pub(crate) fn letter(&self, event: Offset) -> Option<Offset> {
        self.lock().get(&event).map(|(letter, _)| *letter)
    }

    /// What is to be said, in one batch with an output, of the event's letter: nothing if something else has become of
    /// it meanwhile. With the writer locked.
    pub(crate) fn settled(&self, event: Offset) -> Option<Vec<u8>> {
        let letter = self.letter(event)?;
        let core = self.core.upgrade()?;
        if !core.outlet.letters.is_undecided(letter) {
            return None;
        }
        Settled::encode(letter, Outcome::Retried).ok()
    }

    /// That has been said; or the letter stays as it is.
    pub(crate) fn forget(&self, event: Offset) {
        self.lock().remove(&event);
    }

    /// The event is dealt with.
    pub(crate) fn settle(&self, event: Offset) {
        let Some((letter, _)) = self.lock().remove(&event) else { return };
        if let Some(core) = self.core.upgrade() {
            core.outlet.settle_or_owe(letter);
        }
    }

    pub(crate) fn refuse(&self, event: Offset, reason: String) {
        if let Some((_, refused)) = self.lock().get_mut(&event) {
            *refused = Some(reason);
        }
    }

    pub(crate) fn take_refusal(&self, event: Offset) -> Option<String> {
        self.lock().get_mut(&event)?.1.take()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Offset, (Offset, Option<String>)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
