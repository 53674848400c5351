//! Room for what is remembered of deliveries, shared by all journals of a process.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use journal::Finished;

use super::{BLOCK_BYTES, BLOCKS_MIN, SHARE_OF_ALL};

/// How far deliveries of each journal may run ahead, so that what is remembered of all of them finds room.
#[derive(Debug)]
pub(crate) struct Reach {
    /// Blocks of all journals.
    blocks: u64,
    journals: AtomicU64,
    /// Offsets of one journal.
    pub(super) span: AtomicU64,
    /// Whoever waits for more. Any of the process's tasks does.
    wakers: Mutex<Vec<Waker>>,
}

impl Reach {
    pub(crate) fn new(segment_bytes: u64) -> Arc<Self> {
        let blocks = segment_bytes / SHARE_OF_ALL / BLOCK_BYTES;
        let (journals, span) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Arc::new(Self { blocks, journals, span, wakers: Mutex::default() })
    }

    /// There is one journal more.
    pub(super) fn join(&self) {
        self.divide(self.journals.fetch_add(1, Ordering::Relaxed) + 1);
    }

    /// There is one less.
    pub(super) fn leave(&self) {
        self.divide(self.journals.fetch_sub(1, Ordering::Relaxed) - 1);
        let wakers = std::mem::take(&mut *self.wakers());
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Wakes the task once there is one journal less.
    pub(super) fn attend(&self, waker: &Waker) {
        let mut wakers = self.wakers();
        if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }

    fn wakers(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn divide(&self, journals: u64) {
        // The low mark may lie in the middle of a block.
        let blocks = (self.blocks / journals.max(1)).max(BLOCKS_MIN) - 1;
        self.span.store(blocks * Finished::BLOCK_OFFSETS, Ordering::Relaxed);
    }
}
