//! Which instances there are, and those that appear later.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, ready};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

use crate::error::{Error, Result};

/// Watches the state root for new instance folders, and the runtime folder for new sockets.
pub(crate) struct Discovery {
    state: PathBuf,
    events: AsyncFd<OwnedFd>,
}

impl Discovery {
    /// # Errors
    /// [`Error::Io`]: mostly too many watches.
    pub(crate) fn watch(state: &Path, runtime: &Path) -> Result<Self> {
        let at = |source: io::Error| Error::Io { action: "watch", path: state.to_owned(), source };
        let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
        let events = inotify::init(flags).map_err(|error| at(error.into()))?;
        let interest = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        inotify::add_watch(&events, state, interest).map_err(|error| at(error.into()))?;
        // Without it a publisher that comes back is only found after a pause.
        let _ = inotify::add_watch(&events, runtime, interest);
        #[expect(
            deprecated,
            reason = "its caller must keep the descriptor open, as an OwnedFd does; the new one is unsafe"
        )]
        let events = AsyncFd::new(events).map_err(at)?;
        Ok(Self { state: state.to_owned(), events })
    }

    /// Names of the instance folders that are there now, sorted.
    pub(crate) fn instances(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&self.state)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| crate::names::Instance::new(name.as_str()).is_ok())
            .collect();
        names.sort();
        names
    }

    /// Ready when a folder or socket may have appeared.
    pub(crate) fn poll_change(&self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let Ok(mut guard) = ready!(self.events.poll_read_ready(context)) else { return Poll::Pending };
            let mut buffer = [0_u8; 4096];
            match guard.try_io(|events| rustix::io::read(events.get_ref(), &mut buffer).map_err(Into::into)) {
                Ok(Ok(_)) => return Poll::Ready(()),
                // Nothing there after all, or a broken watch, which polling again would not mend.
                Ok(Err(_)) => return Poll::Pending,
                Err(_would_block) => {}
            }
        }
    }
}
