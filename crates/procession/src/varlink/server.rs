//! The server: a listening socket and the thread that answers on it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Serialize;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::address::AddressError;
use super::codec::{MESSAGE_BYTES_MAX, NESTING_MAX};
use super::door::Door;
use super::introspection::{Introspection, Protocol};
use super::listener::{folder_of, listen};
use super::rights::Rights;
use super::service::{DuplicateInterface, Registry, Service};
use crate::folders::{FolderError, own_socket_folder};
use crate::waiting::Waits;

/// Who the server says it is.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Identity {
    /// Who makes it.
    pub vendor: String,
    /// What it is.
    pub product: String,
    /// Its version.
    pub version: String,
    /// Where to read more.
    pub url: String,
}

/// What one peer, and all together, may ask of the server. Whoever breaks a
/// limit is told which and disconnected; the others don't notice.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections. At most three quarters of the process's open files. One of eight is kept for root and the
    /// server's own user.
    pub connections_max: usize,
    /// Open connections of one user, beside root and the server's own.
    pub connections_per_user: usize,
    /// Bytes of one message, in both directions.
    pub message_bytes_max: usize,
    /// Levels of objects and arrays in a request.
    pub nesting_max: usize,
    /// How long a connection may stay open without a call, and how long its peer may leave a reply unread.
    pub idle_timeout: Duration,
    /// How long a message may take from its first byte to its last.
    pub read_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            connections_per_user: 256,
            message_bytes_max: MESSAGE_BYTES_MAX,
            nesting_max: NESTING_MAX,
            idle_timeout: Duration::from_secs(3600),
            read_timeout: Duration::from_secs(10),
        }
    }
}

/// How a server behaves.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Who it says it is.
    pub identity: Identity,
    /// What it bears.
    pub limits: Limits,
    /// Who may do what.
    pub rights: Rights,
    /// Further interfaces are about to be added: who asks for one that isn't there waits until
    /// [`Server::set_complete`].
    pub incomplete: bool,
}

/// Why a server can't start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The path can't be a socket's.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Something else is there.
    #[error("{} exists and is not a socket: move it away", .path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// Somebody listens there.
    #[error("{} is in use: {by} listens there", .path.display())]
    InUse {
        /// The path.
        path: PathBuf,
        /// Who.
        by: String,
    },
    /// The system refuses.
    #[error("can't listen at {}: {source}", .path.display())]
    Listen {
        /// The path.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// The folder is not the server's own.
    #[error("can't listen there: {0}")]
    Folder(#[from] FolderError),
    /// Two services of one name.
    #[error(transparent)]
    Duplicate(#[from] DuplicateInterface),
    /// No runtime or no thread to answer on.
    #[error("can't start the socket's thread: {0}")]
    Thread(#[source] io::Error),
}

/// A running server. Dropped, it stops.
pub struct Server {
    path: PathBuf,
    runtime: Handle,
    registry: Arc<Registry>,
    stop: CancellationToken,
    /// Locked by whoever waits for its end.
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Server {
    /// Listens at `path` (mode 0660) and answers on a thread of its own. The
    /// caller holds the lock of the instance: the socket of a dead predecessor is
    /// removed. Should somebody remove this one, it is put back within a second or two, in a folder that is this user's
    /// alone.
    ///
    /// # Errors
    /// The path is too long, taken by something else, or can't be listened at.
    pub fn start(
        path: impl Into<PathBuf>,
        services: Vec<Arc<dyn Service>>,
        options: Options,
    ) -> Result<Self, StartError> {
        let path = path.into();
        let folder = folder_of(&path)?;
        Self::start_in(folder, path, services, options, Waits::default())
    }

    /// As [`start`](Self::start), in a folder that is this user's alone. That nobody can reach the server is one of
    /// the `waits`.
    pub(crate) fn start_own(
        path: PathBuf,
        services: Vec<Arc<dyn Service>>,
        options: Options,
        waits: Waits,
    ) -> Result<Self, StartError> {
        let folder = own_socket_folder(path.parent().unwrap_or(Path::new("/")))?;
        Self::start_in(folder, path, services, options, waits)
    }

    fn start_in(
        folder: OwnedFd,
        path: PathBuf,
        services: Vec<Arc<dyn Service>>,
        options: Options,
        waits: Waits,
    ) -> Result<Self, StartError> {
        let registry = Arc::new(Registry::default());
        registry.set_incomplete(options.incomplete);
        registry.add(Arc::new(Introspection::new(options.identity, &registry)))?;
        registry.add(Arc::new(Protocol))?;
        for service in services {
            registry.add(service)?;
        }
        let runtime = OwnRuntime::new().map_err(StartError::Thread)?;
        let handle = runtime.handle();
        let stop = CancellationToken::new();
        let door = {
            let _entered = handle.enter();
            let limits = within_open_files(options.limits);
            let listening = listen(&path, folder)?;
            Door::new(listening, Arc::clone(&registry), limits, options.rights, waits, stop.clone())
        };
        let thread = thread::Builder::new()
            .name("io".to_owned())
            .spawn(move || runtime.run(door))
            .map_err(StartError::Thread)?;
        Ok(Self { path, runtime: handle, registry, stop, thread: Mutex::new(Some(thread)) })
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the server's thread runs tasks: for what must go on while the application hangs.
    #[must_use]
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Answers for one more interface from now on.
    ///
    /// # Errors
    /// The interface is served already.
    pub fn add(&self, service: Arc<dyn Service>) -> Result<(), DuplicateInterface> {
        self.registry.add(service)
    }

    /// No further interface is about to be added: who asks for one that isn't there is told so.
    pub fn set_complete(&self) {
        self.registry.set_incomplete(false);
    }

    /// Removes the socket and closes all connections; calls in hand are
    /// dropped. Returns when it is done.
    pub fn stop(&self) {
        self.stop.cancel();
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        // A service may own the last handle; a thread can't wait for itself.
        if thread.thread().id() != thread::current().id() && thread.join().is_err() {
            error!("the socket's thread has panicked");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The runtime of the server's thread. It may be dropped anywhere, also where a server can't start within another
/// runtime, and waits for nobody.
struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    fn new() -> io::Result<Self> {
        Builder::new_current_thread().enable_io().enable_time().build().map(|runtime| Self(Some(runtime)))
    }

    fn handle(&self) -> Handle {
        self.0.as_ref().expect("it is there until it is dropped").handle().clone()
    }

    /// The body of the thread.
    fn run(self, door: Door) {
        self.0.as_ref().expect("it is there until it is dropped").block_on(door.run());
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Leaves the process files for its own work.
fn within_open_files(limits: Limits) -> Limits {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files = files.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
    Limits { connections_max: limits.connections_max.min(files / 4 * 3), ..limits }
}
