//! Which letters are open: the process keeps count while it says and settles them, and looks once for those of its
//! earlier lives.
//!
//! Several may decide about a letter at a time: whoever drops it, and the application that is dealing with its event once
//! more. The first decision counts, and is said; there is no second one.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use journal::Offset;
use tokio::sync::Notify;

use super::Refusal;

/// The open letters of a process. Its outlet changes it, with the writer locked: what it says and what the journal
/// says are the same then.
#[derive(Debug)]
pub(crate) struct Register {
    /// Any of the process's threads may settle letters.
    inner: Mutex<Inner>,
    /// Something is owed.
    owing: Notify,
}

#[derive(Debug)]
struct Inner {
    open: BTreeSet<Offset>,
    /// Until the letters of earlier lives are known: those that were settled meanwhile.
    settled: Option<BTreeSet<Offset>>,
    /// Open ones that are dealt with: there was no room to say so.
    owed: BTreeSet<Offset>,
}

impl Default for Register {
    fn default() -> Self {
        let inner = Inner { open: BTreeSet::new(), settled: Some(BTreeSet::new()), owed: BTreeSet::new() };
        Self { inner: Mutex::new(inner), owing: Notify::new() }
    }
}

impl Register {
    /// A letter was said.
    pub(crate) fn note_said(&self, letter: Offset) {
        self.lock().open.insert(letter);
    }

    /// It was said what has become of a letter.
    pub(crate) fn note_settled(&self, letter: Offset) {
        let mut inner = self.lock();
        inner.open.remove(&letter);
        inner.owed.remove(&letter);
        if let Some(settled) = &mut inner.settled {
            settled.insert(letter);
        }
    }

    /// These letters were found open in the journal: with them all are known.
    pub(crate) fn complete(&self, found: impl IntoIterator<Item = Offset>) {
        let mut inner = self.lock();
        let Some(settled) = inner.settled.take() else { return };
        inner.open.extend(found.into_iter().filter(|letter| !settled.contains(letter)));
    }

    /// Whether it can still be decided about a letter that was found in the journal.
    pub(crate) fn is_undecided(&self, letter: Offset) -> bool {
        let inner = self.lock();
        let is_open = match &inner.settled {
            Some(settled) => !settled.contains(&letter),
            None => inner.open.contains(&letter),
        };
        is_open && !inner.owed.contains(&letter)
    }

    /// Why nothing can be decided any more about a letter that was found in the journal, if so.
    pub(crate) fn refusal(&self, letter: Offset) -> Option<Refusal> {
        if self.is_owed(letter) {
            let why = "its event was dealt with, which is said once there is room";
            return Some(Refusal::Failed(why.to_owned()));
        }
        (!self.is_undecided(letter)).then_some(Refusal::NoLetter)
    }

    /// A letter is dealt with, and there is no room to say so now.
    pub(crate) fn owe(&self, letter: Offset) {
        let mut inner = self.lock();
        inner.open.insert(letter);
        inner.owed.insert(letter);
        self.owing.notify_one();
    }

    /// Whether a letter is dealt with, which is to be said yet.
    pub(crate) fn is_owed(&self, letter: Offset) -> bool {
        self.lock().owed.contains(&letter)
    }

    /// The first letter that is dealt with, which is to be said yet.
    pub(crate) fn first_owed(&self) -> Option<Offset> {
        self.lock().owed.first().copied()
    }

    /// Returns once something may be owed.
    pub(crate) async fn owing(&self) {
        self.owing.notified().await;
    }

    /// How many letters are open, of a journal whose records before `start` are gone; `None` while those of earlier lives
    /// are not known.
    pub(crate) fn count(&self, start: Offset) -> Option<u64> {
        let mut inner = self.lock();
        if inner.open.first().is_some_and(|first| *first < start) {
            inner.open = inner.open.split_off(&start);
            inner.owed = inner.owed.split_off(&start);
        }
        inner.settled.is_none().then_some(inner.open.len() as u64)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics between two states.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_counted_before_all_is_known_and_what_was_settled_meanwhile_is_not_open() {
        let register = Register::default();
        register.note_said(Offset(10));
        register.note_settled(Offset(3));
        assert_eq!(register.count(Offset(0)), None);
        assert!(register.is_undecided(Offset(2)) && !register.is_undecided(Offset(3)));
        register.complete([2, 3, 10].map(Offset));
        assert_eq!(register.count(Offset(0)), Some(2));
        assert!(register.is_undecided(Offset(2)) && !register.is_undecided(Offset(3)));
        assert_eq!(register.count(Offset(5)), Some(1), "the journal has lost the first");
        register.note_settled(Offset(10));
        assert_eq!(register.count(Offset(5)), Some(0));
    }

    #[test]
    fn what_is_owed_is_open_and_decided() {
        let register = Register::default();
        register.complete([Offset(7)]);
        register.owe(Offset(7));
        assert!(register.is_owed(Offset(7)) && !register.is_undecided(Offset(7)));
        assert_eq!((register.count(Offset(0)), register.first_owed()), (Some(1), Some(Offset(7))));
        register.note_settled(Offset(7));
        assert_eq!((register.count(Offset(0)), register.first_owed()), (Some(0), None));
    }
}
