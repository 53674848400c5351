//! The handle by which one subscription moves its place in one journal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Cursors, Inner};
use crate::clock::wall_clock_ns;
use crate::map::WriteMap;
use crate::slot::{
    AT_SEEN, AT_TRYING, BYTES as SLOT_BYTES, read_position, set_read_in, store, tried, trying,
};
use crate::table::CHUNK_SLOTS;
use crate::types::{Epoch, Offset, Position};

/// One subscription's place in one journal, moved by its only reader.
#[derive(Debug)]
pub struct Cursor {
    table: Arc<Cursors>,
    map: Arc<WriteMap>,
    start: usize,
    claim: Arc<Claim>,
}

/// A slot that one subscription moves, until the last of its handles is gone.
#[derive(Debug)]
struct Claim {
    table: Arc<Cursors>,
    map: Arc<WriteMap>,
    start: usize,
    slot: usize,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut inner = self.table.lock();
        set_read_in(|at| self.map.word(self.start + at), Epoch(0));
        inner.claimed.remove(&self.slot);
    }
}

impl Cursor {
    /// The cursor of a claimed slot.
    pub(super) fn of_claimed(table: &Arc<Cursors>, inner: &Inner, slot: usize) -> Self {
        let (map, start) = (Arc::clone(&inner.chunks[slot / CHUNK_SLOTS]), slot % CHUNK_SLOTS * SLOT_BYTES);
        let claim = Arc::new(Claim { table: Arc::clone(table), map: Arc::clone(&map), start, slot });
        Self { table: Arc::clone(table), map, start, claim }
    }

    /// Another handle of the same cursor, for whoever moves it from now on. One of them at a time.
    #[must_use]
    pub fn again(&self) -> Self {
        let (table, map, claim) = (Arc::clone(&self.table), Arc::clone(&self.map), Arc::clone(&self.claim));
        Self { table, map, start: self.start, claim }
    }

    /// The acknowledged position; `None` for a subscription that has not acknowledged yet.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        read_position(|at| self.word(at))
    }

    /// Acknowledges everything before `position.next`. Survives SIGKILL from here on; power loss
    /// after the next sync. After power loss it is never ahead of what was said before it was stored.
    ///
    /// By one thread at a time: of two positions that are stored at once neither may last.
    #[inline]
    pub fn store(&self, position: Position) {
        let words = self.map.words::<{ SLOT_BYTES / 8 }>(self.start);
        store(|at| &words[at / 8], &position);
        self.table.shared.mark_dirty();
    }

    /// Notes that the record at `offset` is being delivered, and returns the how-many-th time in a row
    /// that is: 1 unless a process died or was stopped over it. It counts to 65,535, from offset 2^47 on to 127.
    #[inline]
    pub fn attempt(&self, offset: Offset) -> u16 {
        let word = self.word(AT_TRYING);
        let (last, tries) = tried(word.load(Ordering::Relaxed));
        let (delivery, attempt) = trying(offset, if last == offset { tries.saturating_add(1) } else { 1 });
        word.store(delivery, Ordering::Relaxed);
        self.own_attempt();
        attempt
    }

    /// Takes [`Self::attempt`] back: that the record could not be dealt with was not its fault.
    pub fn forgive(&self, offset: Offset) {
        let word = self.word(AT_TRYING);
        let last = word.load(Ordering::Relaxed);
        let (delivered, tries) = tried(last);
        if delivered == offset && tries > 0 {
            // If it fails, another record is being tried by now: nothing to take back.
            let _ = word.compare_exchange(last, last - 1, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Renews the lease: this subscription still holds back what it has not acknowledged.
    pub fn touch(&self) {
        self.word(AT_SEEN).store(wall_clock_ns(), Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn word(&self, at: usize) -> &AtomicU64 {
        self.map.word(self.start + at)
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.touch();
    }
}
