//! How many calls are worked on, and how many may wait.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use tokio::sync::Semaphore;

use crate::varlink::{CallError, error_names};

/// The bounds of one interface.
pub(super) struct Admission {
    shared: Arc<Shared>,
    limit: usize,
}

struct Shared {
    /// In whose order the waiting go on.
    working: Semaphore,
    /// Working or waiting.
    admitted: AtomicUsize,
}

impl Admission {
    pub(super) fn new(concurrency: u32, queue: u32) -> Self {
        let size = |count: u32| usize::try_from(count).unwrap_or(Semaphore::MAX_PERMITS);
        let working = size(concurrency).min(Semaphore::MAX_PERMITS);
        let shared = Shared { working: Semaphore::new(working), admitted: AtomicUsize::new(0) };
        Self { shared: Arc::new(shared), limit: working.saturating_add(size(queue)) }
    }

    /// A place for one call.
    ///
    /// # Errors
    /// `Busy`: all are taken.
    pub(super) fn admit(&self) -> Result<Place, CallError> {
        let before = self.shared.admitted.fetch_add(1, Ordering::Relaxed);
        // Dropped at once, it gives its place back.
        let place = Place { shared: Arc::clone(&self.shared), started: AtomicBool::new(false) };
        if before < self.limit {
            return Ok(place);
        }
        Err(CallError::new(error_names::BUSY, json!({"limit": self.limit})))
    }
}

/// A call's place; free again when dropped.
pub(super) struct Place {
    shared: Arc<Shared>,
    started: AtomicBool,
}

impl Place {
    /// Waits for its turn, then works.
    pub(super) async fn work<T>(&self, work: impl Future<Output = T>) -> T {
        let turn = self.shared.working.acquire().await;
        let _turn = turn.expect("the semaphore is never closed");
        self.started.store(true, Ordering::Relaxed);
        work.await
    }

    /// Whether its turn has come.
    pub(super) fn is_started(&self) -> bool {
        self.started.load(Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.admitted.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_are_bounded_and_come_back() {
        let admission = Admission::new(1, 1);
        let first = admission.admit().expect("one works");
        let second = admission.admit().expect("one waits");
        let Err(CallError::Reply { name, .. }) = admission.admit() else { panic!("there is no third place") };
        assert_eq!(name, error_names::BUSY);
        // Dropped while it works, it lets the next one go on.
        let never = first.work(std::future::pending::<()>());
        assert!(tokio::time::timeout(std::time::Duration::from_millis(1), never).await.is_err());
        assert!(first.is_started() && !second.is_started());
        second.work(async {}).await;
        drop((first, second));
        assert!(admission.admit().is_ok());
    }

    #[tokio::test]
    async fn without_a_queue_only_workers_are_admitted() {
        let admission = Admission::new(1, 0);
        let place = admission.admit().expect("one works");
        assert!(admission.admit().is_err());
        drop(place);
        assert!(admission.admit().is_ok());
    }
}
