//! Long work beside the socket's thread, which must go on answering everybody else.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::sync::oneshot;

/// Whether whoever waits for some work is gone, so that it may end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gone(Arc<AtomicBool>);

impl Gone {
    pub(crate) fn is_true(&self) -> bool {
        // Only a hint to stop early.
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sets the hint when whoever waits is dropped.
struct Waits(Gone);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// Runs `work` on a thread of its own, and waits for it. Not by the runtime's threads: those are up to 512, and where
/// no further one can be had, asking for one is a panic.
///
/// # Errors
/// There is no thread to be had, or the work has panicked.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce(&Gone) -> T + Send + 'static) -> io::Result<T> {
    let waits = Waits(Gone::default());
    let gone = waits.0.clone();
    let (done, result) = oneshot::channel();
    let run = move || drop(done.send(work(&gone)));
    thread::Builder::new().name("aside".to_owned()).spawn(run)?;
    result.await.map_err(|_| io::Error::other("the work has panicked"))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_result_comes_back_and_a_panic_is_an_error() {
        assert_eq!(run(|_| 7).await.unwrap(), 7);
        assert!(run(|_| panic!("on purpose")).await.is_err());
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_is_told_so() {
        let (told, ended) = mpsc::channel();
        let work = run(move |gone| {
            while !gone.is_true() {
                thread::yield_now();
            }
            told.send(()).unwrap();
        });
        assert!(tokio::time::timeout(Duration::from_millis(1), work).await.is_err());
        ended.recv_timeout(Duration::from_secs(20)).unwrap();
    }
}
