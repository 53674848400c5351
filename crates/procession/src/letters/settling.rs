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
    /// By the offset of the event.
    open: Mutex<BTreeMap<Offset, Recalled>>,
}

/// A letter that is being dealt with again.
#[derive(Debug)]
struct Recalled {
    /// Where it lies.
    letter: Offset,
    history: History,
    /// Why it was refused again.
    refused: Option<String>,
}

/// What tells the events of two histories of a journal apart that lie at the same offset: identity and epoch, as far as a
/// letter has them.
pub(crate) type History = (Option<String>, Option<u32>);

impl Settling {
    pub(crate) const fn new(core: Weak<Core>) -> Self {
        Self { core, open: Mutex::new(BTreeMap::new()) }
    }

    /// Whether a letter about the event of another history at the same offset is being dealt with.
    pub(crate) fn has_another(&self, event: Offset, history: &History) -> bool {
        self.lock().get(&event).is_some_and(|recalled| recalled.history != *history)
    }

    /// A letter is about to be delivered. False if one about the event at this offset is being dealt with already.
    pub(crate) fn begin(&self, event: Offset, letter: Offset, history: History) -> bool {
        let mut open = self.lock();
        let is_new = open.get(&event).is_none_or(|recalled| recalled.refused.is_some());
        if is_new {
            open.insert(event, Recalled { letter, history, refused: None });
        }
        is_new
    }

    /// The letter of an event that is not settled.
    pub(crate) fn letter(&self, event: Offset) -> Option<Offset> {
        self.lock().get(&event).map(|recalled| recalled.letter)
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
        let Some(Recalled { letter, .. }) = self.lock().remove(&event) else { return };
        if let Some(core) = self.core.upgrade() {
            core.outlet.settle_or_owe(letter);
        }
    }

    pub(crate) fn refuse(&self, event: Offset, reason: String) {
        if let Some(recalled) = self.lock().get_mut(&event) {
            recalled.refused = Some(reason);
        }
    }

    pub(crate) fn take_refusal(&self, event: Offset) -> Option<String> {
        self.lock().get_mut(&event)?.refused.take()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Offset, Recalled>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
