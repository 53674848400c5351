//! The latch: who sleeps until a mark has moved past an offset.

use std::fmt;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crate::sync::{AtomicBool, Mutex, MutexGuard};
use crate::types::Offset;

/// Called once with the mark that woke it, on the thread that moved the mark: it must not block.
type Wake = Box<dyn FnOnce(Offset) + Send>;

/// Names a waiter, to take it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

struct Waiter {
    ticket: Ticket,
    after: Offset,
    wake: Wake,
}

#[derive(Default)]
struct Waiters {
    list: Vec<Waiter>,
    tickets: u64,
}

/// Waiters on one mark. With nobody waiting it costs whoever moves the mark one load.
#[derive(Default)]
pub(crate) struct Latch {
    /// Whether there are waiters. Set by a waiter before it looks at the mark; looked at by the mover
    /// after it has moved the mark; both sequentially consistent, so one of them sees the other.
    armed: AtomicBool,
    /// Locked only by waiters that come and go, and by a mover that found the latch armed.
    waiters: Mutex<Waiters>,
}

impl Latch {
    /// Calls `wake` once the mark is past `after`: at once if it already is, which `mark` tells.
    pub(crate) fn when_past(&self, after: Offset, mark: impl Fn() -> Offset, wake: Wake) -> Ticket {
        let mut waiters = self.lock();
        waiters.tickets += 1;
        let ticket = Ticket(waiters.tickets);
        waiters.list.push(Waiter { ticket, after, wake });
        self.armed.store(true, Ordering::SeqCst);
        drop(waiters);
        let now = mark();
        if now > after {
            self.fire(now);
        }
        ticket
    }

    /// Takes a waiter back; it may have been woken already.
    pub(crate) fn cancel(&self, ticket: Ticket) {
        let mut waiters = self.lock();
        waiters.list.retain(|waiter| waiter.ticket != ticket);
        self.armed.store(!waiters.list.is_empty(), Ordering::SeqCst);
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().list.len()
    }

    /// Wakes whom the mark, which has just moved to `now`, has passed.
    #[inline]
    pub(crate) fn moved(&self, now: Offset) {
        if self.armed.load(Ordering::SeqCst) {
            self.fire(now);
        }
    }

    #[cold]
    fn fire(&self, now: Offset) {
        let mut waiters = self.lock();
        let due: Vec<Waiter> = waiters.list.extract_if(.., |waiter| waiter.after < now).collect();
        self.armed.store(!waiters.list.is_empty(), Ordering::SeqCst);
        drop(waiters);
        for waiter in due {
            (waiter.wake)(now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
        // A waker that panicked has left the list whole: it runs outside of the lock.
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether something was said or acknowledged since the last sync began. Like the latch it pairs with the mark, or the
/// cursor, that was stored before.
#[derive(Debug, Default)]
pub(crate) struct Dirty(AtomicBool);

impl Dirty {
    /// Says so; `true` if it was not known yet, and a sync must be asked for.
    #[inline]
    pub(crate) fn note(&self) -> bool {
        let news = !self.0.load(Ordering::SeqCst);
        if news {
            self.0.store(true, Ordering::SeqCst);
        }
        news
    }

    /// A sync begins: before it looks at what there is to sync.
    pub(crate) fn clear(&self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl fmt::Debug for Latch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latch").field("armed", &self.armed).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn wakes_at_once_when_the_mark_is_past() {
        let latch = Latch::default();
        let woken = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&woken);
        latch.when_past(Offset(3), || Offset(4), Box::new(move |now| seen.store(now.0, Ordering::SeqCst)));
        assert_eq!(woken.load(Ordering::SeqCst), 4);
        assert!(!latch.armed.load(Ordering::SeqCst));
    }

    #[test]
    fn no_wake_is_lost_between_threads() {
        let latch = Arc::new(Latch::default());
        let mark = Arc::new(AtomicU64::new(0));
        let rounds = 20_000;
        let mover = std::thread::spawn({
            let (latch, mark) = (Arc::clone(&latch), Arc::clone(&mark));
            move || {
                for now in 1..=rounds {
                    mark.store(now, Ordering::SeqCst);
                    latch.moved(Offset(now));
                }
            }
        });
        let mut at = 0;
        while at < rounds {
            let (send, receive) = std::sync::mpsc::channel();
            let mark = Arc::clone(&mark);
            latch.when_past(
                Offset(at),
                || Offset(mark.load(Ordering::SeqCst)),
                Box::new(move |now| send.send(now.0).unwrap()),
            );
            at = receive.recv_timeout(std::time::Duration::from_secs(10)).expect("a wake was lost");
        }
        mover.join().unwrap();
    }
}
