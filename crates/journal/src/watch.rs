//! The writer's marks, for other threads of its process.

use std::sync::Arc;

use crate::error::Result;
use crate::latch::Ticket;
use crate::marks::Marks;
use crate::shared::Shared;
use crate::types::{Epoch, JournalId, Offset};

/// Marks and waiting, for other threads of the writer's process.
#[derive(Debug, Clone)]
pub struct Watch {
    pub(crate) shared: Arc<Shared>,
    pub(crate) journal: JournalId,
    pub(crate) epoch: Epoch,
}

impl Watch {
    /// The marks right now.
    #[must_use]
    pub fn marks(&self) -> Marks {
        let marks = &self.shared.marks;
        Marks {
            journal: self.journal,
            epoch: self.epoch,
            pid: std::process::id(),
            committed: marks.committed(),
            durable: marks.durable(),
            trimmed: marks.trimmed(),
            same_boot: true,
        }
    }

    /// How many segments were begun since the journal was opened: the oldest go only when one begins, so whoever still
    /// needs them may ask this instead of looking at the files.
    #[must_use]
    pub fn segments_begun(&self) -> u64 {
        self.shared.segments_begun()
    }

    /// From here on the process needs what it has said itself: at the byte limit there is no room then
    /// ([`Error::Full`](crate::Error::Full)), whatever is to happen to others who have not read it. `None`: nothing.
    pub fn keep_from(&self, needed: Option<Offset>) {
        self.shared.keep_from(needed);
    }

    /// The latch: calls `wake` with the committed mark once it is past `after`, from the thread that appends, or at
    /// once. It must not block.
    pub fn when_committed(&self, after: Offset, wake: impl FnOnce(Offset) + Send + 'static) -> Ticket {
        self.shared.committed.when_past(after, || self.shared.marks.committed(), Box::new(wake))
    }

    /// Like [`Self::when_committed`] for the durable mark, without asking for a sync: for readers that take only
    /// what is durable.
    pub fn when_synced(&self, after: Offset, wake: impl FnOnce(Offset) + Send + 'static) -> Ticket {
        self.shared.durable.when_past(after, || self.shared.marks.durable(), Box::new(wake))
    }

    /// Takes a waiter of [`Self::when_synced`] back.
    pub fn cancel_synced(&self, ticket: Ticket) {
        self.shared.durable.cancel(ticket);
    }

    /// Takes a waiter of [`Self::when_committed`] back.
    pub fn cancel(&self, ticket: Ticket) {
        self.shared.committed.cancel(ticket);
    }

    /// Calls `wake` once every record before `end` is durable, or never will be because a sync failed
    /// ([`Self::check`] tells), and asks for a sync. One sync serves everybody who waits.
    pub fn when_durable(&self, end: Offset, wake: impl FnOnce() + Send + 'static) {
        if end == Offset(0) {
            return wake();
        }
        self.shared.when_durable(end, Box::new(|_| wake()));
    }

    /// Calls `wake` once a sync has failed: nothing more can be said before the process is restarted.
    pub fn when_poisoned(&self, wake: impl FnOnce() + Send + 'static) {
        self.shared.when_poisoned(Box::new(|_| wake()));
    }

    /// Fails if a sync has failed.
    ///
    /// # Errors
    /// [`crate::Error::Poisoned`].
    pub fn check(&self) -> Result<()> {
        self.shared.check_poison()
    }

    /// Makes everything committed by now durable; blocks.
    ///
    /// # Errors
    /// [`crate::Error::Poisoned`].
    pub fn sync(&self) -> Result<Offset> {
        self.shared.sync()
    }
}
