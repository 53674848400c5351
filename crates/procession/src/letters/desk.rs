//! Where orders for a subscription lie until it takes them: they come from the socket's thread.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::Found;

/// What a subscription is to do with letters.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) what: What,
    /// How many letters it is about, or why it is not done.
    pub(crate) reply: oneshot::Sender<Result<u64, Refusal>>,
}

#[derive(Debug)]
pub(crate) enum What {
    /// Deliver the event of the letter at this offset once more.
    Retry(journal::Offset),
    /// Deliver the letters of a key once more, or give them up; then its events come again.
    /// They were looked for already, as far as the journal went then.
    Release { key: Box<[u8]>, give_up: bool, letters: Found },
}

/// Why an order is not followed.
#[derive(Debug)]
pub(crate) enum Refusal {
    NoLetter,
    KeyParked(Box<[u8]>),
    NotParked,
    Failed(String),
}

/// The orders of one subscription.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    orders: Mutex<VecDeque<Order>>,
    /// Spares the lock of the one who looks for orders.
    some: AtomicBool,
    notify: Notify,
}

impl Desk {
    pub(crate) fn put(&self, order: Order) {
        self.orders().push_back(order);
        self.some.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    #[inline]
    pub(crate) fn take(&self) -> Option<Order> {
        if !self.some.load(Ordering::Acquire) {
            return None;
        }
        let mut orders = self.orders();
        let order = orders.pop_front();
        self.some.store(!orders.is_empty(), Ordering::Release);
        order
    }

    /// Returns once there may be an order.
    pub(crate) async fn wait(&self) {
        let notified = self.notify.notified();
        // Several orders leave one notice.
        if !self.some.load(Ordering::Acquire) {
            notified.await;
        }
    }

    fn orders(&self) -> MutexGuard<'_, VecDeque<Order>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn it_wakes_for_each_of_many_orders() {
        let desk = Desk::default();
        for _ in 0..5 {
            desk.put(Order { what: What::Retry(journal::Offset(0)), reply: oneshot::channel().0 });
        }
        let is_woken = || pin!(desk.wait()).poll(&mut Context::from_waker(Waker::noop())).is_ready();
        for _ in 0..5 {
            assert!(is_woken(), "an order lies there");
            assert!(desk.take().is_some());
        }
        assert!(desk.take().is_none());
    }
}
