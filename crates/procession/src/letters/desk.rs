//! Where orders for a subscription lie until it takes them: they come from the socket's thread.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::Found;

/// Most orders that wait for a subscription to take them: each has a caller who waits, too.
const ORDERS_MAX: usize = 1024;

/// What a subscription is to do with letters.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) what: What,
    /// How many letters it is about, or why it is not done.
    pub(crate) reply: oneshot::Sender<Result<u64, Refusal>>,
}

impl Order {
    /// Whether somebody waits for what becomes of it.
    fn is_awaited(&self) -> bool {
        !self.reply.is_closed()
    }
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

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoLetter => "it is no longer in the journal",
            Self::KeyParked(_) => "its key is parked",
            Self::NotParked => "its key is not parked",
            Self::Failed(reason) => reason,
        })
    }
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
    /// # Errors
    /// More orders wait than are to be.
    pub(crate) fn put(&self, order: Order) -> Result<(), Refusal> {
        let mut orders = self.orders();
        // While the subscription takes none, those whose callers lose patience must not pile up.
        orders.retain(Order::is_awaited);
        if orders.len() >= ORDERS_MAX {
            let why = format!("{ORDERS_MAX} orders wait for the subscription already");
            return Err(Refusal::Failed(why));
        }
        orders.push_back(order);
        self.some.store(true, Ordering::Release);
        drop(orders);
        self.notify.notify_one();
        Ok(())
    }

    /// The next order. One whose caller has gone is none: whoever was told nothing says it again.
    #[inline]
    pub(crate) fn take(&self) -> Option<Order> {
        if self.some.load(Ordering::Acquire) { self.first() } else { None }
    }

    #[cold]
    fn first(&self) -> Option<Order> {
        let mut orders = self.orders();
        while orders.pop_front_if(|order| !order.is_awaited()).is_some() {}
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

    /// An order for the letter at an offset, and its caller.
    fn order(at: u64) -> (Order, oneshot::Receiver<Result<u64, Refusal>>) {
        let (reply, caller) = oneshot::channel();
        (Order { what: What::Retry(journal::Offset(at)), reply }, caller)
    }

    fn letter(order: Option<Order>) -> Option<u64> {
        match order?.what {
            What::Retry(at) => Some(at.0),
            What::Release { .. } => None,
        }
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_not_done() {
        let desk = Desk::default();
        let mut callers: Vec<_> = (0..6)
            .map(|at| {
                let (order, caller) = order(at);
                desk.put(order).unwrap();
                caller
            })
            .collect();
        let _waits = callers.swap_remove(3);
        drop(callers);
        assert_eq!((letter(desk.take()), letter(desk.take())), (Some(3), None));
    }

    #[test]
    fn no_more_orders_wait_than_are_to_be() {
        let desk = Desk::default();
        let put = |at| {
            let (order, caller) = order(at);
            desk.put(order).map(|()| caller)
        };
        let callers: Vec<_> = (0..ORDERS_MAX as u64).map(|at| put(at).unwrap()).collect();
        assert!(matches!(put(0), Err(Refusal::Failed(_))));
        drop(callers);
        let _last = put(7).unwrap();
        assert_eq!((letter(desk.take()), letter(desk.take())), (Some(7), None));
    }

    #[test]
    fn it_wakes_for_each_of_many_orders() {
        let desk = Desk::default();
        let _callers: Vec<_> = (0..5)
            .map(|at| {
                let (order, caller) = order(at);
                desk.put(order).unwrap();
                caller
            })
            .collect();
        let is_woken = || pin!(desk.wait()).poll(&mut Context::from_waker(Waker::noop())).is_ready();
        for _ in 0..5 {
            assert!(is_woken(), "an order lies there");
            assert!(desk.take().is_some());
        }
        assert!(desk.take().is_none());
    }
}
