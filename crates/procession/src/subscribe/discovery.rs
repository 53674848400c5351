//! Which instances there are, and those that appear later.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, ready};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

use crate::error::{Error, Result};

const APPEARING: WatchFlags = WatchFlags::CREATE.union(WatchFlags::MOVED_TO).union(WatchFlags::ONLYDIR);

/// Watches the state root for new instance folders, the runtime root for those of sockets, and the latter for sockets.
pub(crate) struct Discovery {
    state: PathBuf,
    runtime: PathBuf,
    events: AsyncFd<OwnedFd>,
    /// The watches on folders of sockets. One that is gone, and may come back under its name, is none of them.
    attended: HashMap<Box<str>, i32>,
}

impl Discovery {
    /// # Errors
    /// [`Error::Io`]: mostly too many watches.
    pub(crate) fn watch(state: &Path, runtime: &Path) -> Result<Self> {
        let at = |source: io::Error| Error::Io { action: "watch", path: state.to_owned(), source };
        let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
        let events = inotify::init(flags).map_err(|error| at(error.into()))?;
        inotify::add_watch(&events, state, APPEARING).map_err(|error| at(error.into()))?;
        // Without it a publisher that comes back is only found after a pause.
        let _ = inotify::add_watch(&events, runtime, APPEARING);
        #[expect(
            deprecated,
            reason = "its caller must keep the descriptor open, as an OwnedFd does; the new one is unsafe"
        )]
        let events = AsyncFd::new(events).map_err(at)?;
        let (state, runtime) = (state.to_owned(), runtime.to_owned());
        Ok(Self { state, runtime, events, attended: HashMap::new() })
    }

    /// Names of the instance folders that are there now, sorted.
    ///
    /// # Errors
    /// [`Error::Io`]: then nobody knows which there are.
    pub(crate) fn instances(&self) -> Result<Vec<String>> {
        let at = |source| Error::Io { action: "list", path: self.state.clone(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.state).map_err(at)? {
            let entry = entry.map_err(at)?;
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => names.extend(entry.file_name().into_string().ok()),
                Ok(_) => {}
                // It has gone just now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(at(error)),
            }
        }
        names.retain(|name| crate::names::Instance::new(name.as_str()).is_ok());
        names.sort();
        Ok(names)
    }

    /// Tells of an instance's socket from now on, as soon as its folder is there. One system call while it is not, and
    /// none once it is.
    pub(crate) fn attend(&mut self, instance: &str) {
        if self.attended.contains_key(instance) {
            return;
        }
        // Where it isn't there, the root tells of it. Where no watch is left, a pause finds the socket.
        if let Ok(watch) = inotify::add_watch(&self.events, self.runtime.join(instance), APPEARING) {
            self.attended.insert(instance.into(), watch);
        }
    }

    /// Ready when a folder or socket may have appeared.
    pub(crate) fn poll_change(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Self { events, attended, .. } = self;
        loop {
            let Ok(mut guard) = ready!(events.poll_read_ready(context)) else { return Poll::Pending };
            match guard.try_io(|events| take_events(events, attended)) {
                Ok(Ok(())) => return Poll::Ready(()),
                // Nothing there after all, or a broken watch, which polling again would not mend.
                Ok(Err(_)) => return Poll::Pending,
                Err(_would_block) => {}
            }
        }
    }
}

/// Reads once. Forgets the watches of folders that are gone.
fn take_events(events: impl AsFd, attended: &mut HashMap<Box<str>, i32>) -> io::Result<()> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(events, &mut buffer);
    loop {
        let event = events.next()?;
        if event.events().contains(ReadFlags::IGNORED) {
            let gone = event.wd();
            attended.retain(|_, watch| *watch != gone);
        } else if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
            // Some may be gone: a watch that is there is only found again.
            attended.clear();
        }
        if events.is_buffer_empty() {
            return Ok(());
        }
    }
}
