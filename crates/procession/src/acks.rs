//! Acknowledgements of one subscription in one journal: what was delivered, what is done.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use journal::{Ack, Cursor, Offset, Position};

use crate::error::{Error, Result};

/// Where deliveries come from: one for each topic of a journal that a subscription reads.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) topic: Arc<str>,
    pub(crate) acks: Arc<Acks>,
}

/// Shared by a subscription and its deliveries.
#[derive(Debug)]
pub(crate) struct Acks {
    pub(crate) subscription: Arc<str>,
    pub(crate) journal: Arc<str>,
    /// Whether a delivery was refused: spares the lock of whoever looks for one.
    refused: AtomicBool,
    /// Deliveries may be acknowledged on other threads than the one that takes them.
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    cursor: Cursor,
    /// Deliveries that are not all done, oldest first.
    open: VecDeque<Open>,
    /// The place up to which records were passed over since the newest delivery.
    passed: Position,
    refused: Option<Refused>,
    parked: u64,
}

#[derive(Debug)]
struct Open {
    offset: Offset,
    /// The cursor's position once everything up to this delivery is done.
    after: Position,
    done: bool,
}

/// A delivery that the application could not deal with.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub(crate) offset: Offset,
    pub(crate) attempt: u32,
    pub(crate) reason: String,
}

/// An acknowledgement to be stored with what is said because of it.
#[derive(Debug)]
pub(crate) struct Due<'a> {
    pub(crate) acks: &'a Arc<Acks>,
    pub(crate) offset: Offset,
    pub(crate) position: Position,
}

impl Due<'_> {
    pub(crate) fn ack(&self) -> Ack<'_> {
        Ack { subscription: &self.acks.subscription, journal: &self.acks.journal, position: self.position }
    }
}

impl Acks {
    pub(crate) fn new(subscription: Arc<str>, journal: Arc<str>, cursor: Cursor, at: Position) -> Self {
        let inner = Inner { cursor, open: VecDeque::new(), passed: at, refused: None, parked: 0 };
        Self { subscription, journal, refused: AtomicBool::new(false), inner: Mutex::new(inner) }
    }

    /// Notes a delivery, and returns the how-many-th in a row it is.
    #[inline]
    pub(crate) fn deliver(&self, offset: Offset, after: Position) -> u32 {
        let mut inner = self.lock();
        // A record behind an open delivery was not what a crash was over.
        let attempt = if inner.open.is_empty() { inner.cursor.attempt(offset).into() } else { 1 };
        inner.open.push_back(Open { offset, after, done: false });
        inner.passed = after;
        attempt
    }

    /// Everything before `position` is dealt with or of no interest.
    pub(crate) fn pass(&self, position: Position) {
        let mut inner = self.lock();
        inner.passed = position;
        if inner.open.is_empty() {
            inner.cursor.store(position);
        }
    }

    /// The delivery is done. Later acknowledgements count once all earlier ones are there.
    #[inline]
    pub(crate) fn acknowledge(&self, offset: Offset) {
        let mut inner = self.lock();
        let Inner { cursor, open, passed, .. } = &mut *inner;
        if open.len() == 1 && open.front().is_some_and(|only| only.offset == offset) {
            open.clear();
            return cursor.store(*passed);
        }
        let Ok(index) = open.binary_search_by_key(&offset, |open| open.offset) else { return };
        open[index].done = true;
        let mut after = None;
        while open.front().is_some_and(|first| first.done) {
            after = open.pop_front().map(|first| first.after);
        }
        if let Some(after) = after {
            cursor.store(if open.is_empty() { *passed } else { after });
        }
    }

    /// The position to store with an output that finishes the deliveries at `offsets`.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] if an earlier delivery is open.
    pub(crate) fn due<'a>(self: &'a Arc<Self>, offsets: &[Offset]) -> Result<Due<'a>> {
        let inner = self.lock();
        let last = offsets.iter().copied().max().unwrap_or_default();
        let mut position = None;
        for open in inner.open.iter().take_while(|open| open.offset <= last) {
            if !open.done && !offsets.contains(&open.offset) {
                let (journal, first) = (self.journal.to_string(), open.offset);
                return Err(Error::OutOfOrder { journal, offset: last, first });
            }
            position = Some(open.after);
        }
        // Acknowledged before: the cursor is further already, and stays there.
        let position = position.or_else(|| inner.cursor.position()).unwrap_or_default();
        Ok(Due { acks: self, offset: last, position })
    }

    pub(crate) fn refuse(&self, refused: Refused) {
        let mut inner = self.lock();
        let open = inner.open.iter().any(|open| open.offset == refused.offset && !open.done);
        let earlier = inner.refused.as_ref().is_none_or(|other| refused.offset < other.offset);
        if open && earlier {
            inner.refused = Some(refused);
            self.refused.store(true, Ordering::Release);
        }
    }

    /// The earliest refused delivery. It and all later ones that are not done count as not delivered.
    #[inline]
    pub(crate) fn take_refused(&self) -> Option<Refused> {
        if !self.refused.load(Ordering::Acquire) {
            return None;
        }
        let mut inner = self.lock();
        self.refused.store(false, Ordering::Release);
        inner.refused.take()
    }

    /// What came of the delivery could not be said, for want of room: that doesn't count against it, however often the
    /// process ends and starts over it.
    pub(crate) fn forgive(&self, offset: Offset) {
        self.lock().cursor.forgive(offset);
    }

    /// Forgets open deliveries from `offset` on: they will be delivered again. Returns those among them
    /// that are done all the same.
    pub(crate) fn rewind(&self, offset: Offset) -> Vec<Offset> {
        let mut inner = self.lock();
        let from = inner.open.partition_point(|open| open.offset < offset);
        inner.open.drain(from..).filter(|open| open.done).map(|open| open.offset).collect()
    }

    pub(crate) fn count_parked(&self) {
        self.lock().parked += 1;
    }

    pub(crate) fn parked(&self) -> u64 {
        self.lock().parked
    }

    pub(crate) fn position(&self) -> Option<Position> {
        self.lock().cursor.position()
    }

    /// Renews the lease on what is not read yet.
    pub(crate) fn touch(&self) {
        self.lock().cursor.touch();
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics between two states.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
