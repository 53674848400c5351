//! Futures side by side in one task, in places that are used again: a future that is ready at once costs no
//! allocation, and only those are polled that were woken.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// At most so many futures, each with a note that comes back with its result.
pub(super) struct Slots<F, N> {
    slots: Vec<Slot<F, N>>,
    free: Vec<usize>,
    most: usize,
    shared: Arc<Shared>,
}

struct Slot<F, N> {
    future: Pin<Box<Option<F>>>,
    note: Option<N>,
    waker: Waker,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Shared {
    /// Wakers are called from any thread.
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    woken: VecDeque<usize>,
    /// Of the task that polls.
    task: Option<Waker>,
}

/// Wakes one slot; once in the queue, it is not put there again before it is polled.
struct Woken {
    index: usize,
    queued: AtomicBool,
    shared: Arc<Shared>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics between two states.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Pairs with the swap before a poll: a wake after that queues the slot once more.
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut inner = self.shared.lock();
        inner.woken.push_back(self.index);
        let task = inner.task.take();
        drop(inner);
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl<F: Future, N> Slots<F, N> {
    pub(super) fn new(most: usize) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), most, shared: Arc::default() }
    }

    /// Whether another future finds a place.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        !self.free.is_empty() || self.slots.len() < self.most
    }

    /// Whether there is no future.
    pub(super) fn is_idle(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// Polls a future for the first time. If it is not ready it stays, with the note that `note` gives.
    ///
    /// # Panics
    /// If there is no room.
    #[inline]
    pub(super) fn start(&mut self, future: F, note: impl FnOnce() -> N) -> Option<F::Output> {
        let index = self.free.pop().unwrap_or_else(|| self.add());
        let slot = &mut self.slots[index];
        slot.future.set(Some(future));
        match slot.poll() {
            Poll::Ready(output) => {
                slot.future.set(None);
                self.free.push(index);
                Some(output)
            }
            Poll::Pending => {
                slot.note = Some(note());
                None
            }
        }
    }

    #[cold]
    fn add(&mut self) -> usize {
        assert!(self.slots.len() < self.most, "more futures than there is room for");
        let index = self.slots.len();
        let woken = Woken { index, queued: AtomicBool::new(false), shared: Arc::clone(&self.shared) };
        let woken = Arc::new(woken);
        let waker = Waker::from(Arc::clone(&woken));
        self.slots.push(Slot { future: Box::pin(None), note: None, waker, woken });
        index
    }

    /// How many have been woken: each is to be polled by one call of [`Self::poll_woken`].
    pub(super) fn count_woken(&self) -> usize {
        self.shared.lock().woken.len()
    }

    /// Polls the future that was woken first; its note and its result if it has ended.
    pub(super) fn poll_woken(&mut self) -> Option<(N, F::Output)> {
        let index = self.shared.lock().woken.pop_front()?;
        let slot = &mut self.slots[index];
        if slot.note.is_none() {
            // Woken after its end, by a waker that was kept.
            slot.woken.queued.store(false, Ordering::Release);
            return None;
        }
        let Poll::Ready(output) = slot.poll() else { return None };
        slot.future.set(None);
        self.free.push(index);
        slot.note.take().map(|note| (note, output))
    }

    /// Ready when a future was woken.
    pub(super) fn poll_wake(&self, context: &Context<'_>) -> Poll<()> {
        let mut inner = self.shared.lock();
        if !inner.woken.is_empty() {
            return Poll::Ready(());
        }
        if inner.task.as_ref().is_none_or(|task| !task.will_wake(context.waker())) {
            inner.task = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

impl<F: Future, N> Slot<F, N> {
    #[inline]
    fn poll(&mut self) -> Poll<F::Output> {
        self.woken.queued.store(false, Ordering::Release);
        let future = self.future.as_mut().as_pin_mut().expect("a future was put there");
        future.poll(&mut Context::from_waker(&self.waker))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::mpsc;

    use super::*;

    /// Ends when it is told to, from another thread.
    async fn wait(told: Arc<AtomicBool>, wakers: mpsc::Sender<Waker>) -> u32 {
        poll_fn(|context| {
            if told.load(Ordering::Acquire) {
                return Poll::Ready(7);
            }
            wakers.send(context.waker().clone()).unwrap();
            Poll::Pending
        })
        .await
    }

    #[test]
    fn only_what_is_woken_is_polled_and_places_are_used_again() {
        let mut slots = Slots::new(2);
        let (told, (wakers, woken)) = (Arc::new(AtomicBool::new(false)), mpsc::channel());
        for note in 0..2 {
            assert_eq!(slots.start(wait(Arc::clone(&told), wakers.clone()), || note), None);
        }
        assert!(!slots.has_room() && slots.count_woken() == 0);
        let first = woken.recv().unwrap();
        told.store(true, Ordering::Release);
        std::thread::spawn(move || first.wake()).join().unwrap();
        assert_eq!(slots.count_woken(), 1);
        assert_eq!(slots.poll_woken(), Some((0, 7)));
        assert!(slots.has_room() && !slots.is_idle());
        // One that is ready at once leaves nothing behind.
        assert_eq!(slots.start(wait(Arc::clone(&told), wakers), || 2), Some(7));
        // A waker that was kept wakes nobody.
        let second = woken.recv().unwrap();
        second.wake_by_ref();
        assert_eq!(slots.poll_woken(), Some((1, 7)));
        second.wake();
        assert_eq!((slots.count_woken(), slots.poll_woken()), (1, None));
        assert!(slots.is_idle());
    }
}
