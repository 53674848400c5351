//! SIGTERM and SIGINT: the first asks the process to stop, a second one ends it at once.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::death;
use crate::exit::Exit;

/// Time beyond `shutdown_timeout` for the application's thread to notice that its time is up. After
/// it the thread counts as hung.
pub(crate) const HUNG_AFTER: Duration = Duration::from_secs(2);

/// The signals that stop a process, caught from the moment this is made.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Begins to catch the signals, whichever runtime of this process sees them first.
    ///
    /// # Errors
    /// The kernel refuses a handler.
    pub(crate) fn catch() -> io::Result<Signals> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Signals { terminate, interrupt })
    }

    /// Cancels `shutdown` at the first signal and ends the process at the second, or when the
    /// application has overrun `timeout` so far that its thread must be hung. Calls `note` as soon as the process is to
    /// stop: before a second signal can end it, and before anybody is told.
    ///
    /// To be run on a thread other than the application's, so that it works whatever that does.
    pub(crate) async fn watch(
        mut self,
        shutdown: CancellationToken,
        timeout: Duration,
        note: impl FnOnce(),
    ) -> Infallible {
        let signal = tokio::select! {
            name = self.next() => Some(name),
            // Stopped by a call: it is still the second signal that means "at once".
            () = shutdown.cancelled() => None,
        };
        note();
        let mut signals = 0;
        if let Some(name) = signal {
            tracing::info!(signal = name, "stopping");
            signals += 1;
            shutdown.cancel();
        }
        let mut hung = pin!(sleep(timeout.saturating_add(HUNG_AFTER)));
        loop {
            tokio::select! {
                name = self.next() => {
                    signals += 1;
                    if signals >= 2 {
                        tracing::warn!(signal = name, "second signal: ended at once");
                        end();
                    }
                }
                () = &mut hung => {
                    tracing::error!("the application hangs: not stopped within {timeout:?}, ended at once");
                    death::note(&format!("it hung: not stopped within {timeout:?}"));
                    end();
                }
            }
        }
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// The journal is safe without any farewell: recovery is the path that must work.
fn end() -> ! {
    std::process::exit(Exit::Failed.code().into())
}
