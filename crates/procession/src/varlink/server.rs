//! The server: a listening socket and the thread that answers on it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use interprocess::local_socket::traits::tokio::Listener as _;
use serde::Serialize;
use serde_json::json;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;
use tokio_util::bytes::BytesMut;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::address::{AddressError, Listener, Stream};
use super::codec::{MESSAGE_BYTES_MAX, NESTING_MAX, encode};
use super::connection::Connection;
use super::introspection::{Introspection, Protocol};
use super::listener::{SocketFile, listen};
use super::message::{OutgoingReply, error_names};
use super::peer::Peer;
use super::service::{DuplicateInterface, Registry, Service};
use super::socket::{Socket, send_now};

/// Pauses of the accept loop after an error, the first and the longest.
const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(10);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

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
    /// Open connections. At most three quarters of the process's open files.
    pub connections_max: usize,
    /// Bytes of one message, in both directions.
    pub message_bytes_max: usize,
    /// Levels of objects and arrays in a request.
    pub nesting_max: usize,
    /// How long a connection may stay open without a call.
    pub idle_timeout: Duration,
    /// How long a message may take from its first byte to its last.
    pub read_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
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
    /// User ids that may connect, beside root and the server's own. None: all
    /// that may open the socket.
    pub allowed_uids: Option<BTreeSet<u32>>,
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
    #[error("{} exists and is not a socket", .path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("can't listen at {}: {source}", .path.display())]
    Listen {
        /// The path.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
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
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens at `path` (mode 0660) and answers on a thread of its own. The
    /// caller holds the lock of the instance: the socket of a predecessor is
    /// removed.
    ///
    /// # Errors
    /// The path is too long, taken by something else, or can't be listened at.
    pub fn start(
        path: impl Into<PathBuf>,
        services: Vec<Arc<dyn Service>>,
        options: Options,
    ) -> Result<Self, StartError> {
        let path = path.into();
        let registry = Arc::new(Registry::default());
        registry.set_incomplete(options.incomplete);
        registry.add(Arc::new(Introspection::new(options.identity, &registry)))?;
        registry.add(Arc::new(Protocol))?;
        for service in services {
            registry.add(service)?;
        }
        let runtime =
            Builder::new_current_thread().enable_io().enable_time().build().map_err(StartError::Thread)?;
        let (listener, file) = {
            let _entered = runtime.enter();
            listen(&path)?
        };
        let stop = CancellationToken::new();
        let handle = runtime.handle().clone();
        let door = Door {
            listener,
            registry: Arc::clone(&registry),
            limits: within_open_files(options.limits),
            allowed_uids: options.allowed_uids,
            stop: stop.clone(),
        };
        let thread = thread::Builder::new()
            .name("io".to_owned())
            .spawn(move || serve(&runtime, door, file))
            .map_err(StartError::Thread)?;
        Ok(Self { path, runtime: handle, registry, stop, thread: Some(thread) })
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
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        let Some(thread) = self.thread.take() else {
            return;
        };
        // A service may own the last handle; a thread can't wait for itself.
        if thread.thread().id() != thread::current().id() && thread.join().is_err() {
            error!("the socket's thread has panicked");
        }
    }
}

/// The body of the thread.
fn serve(runtime: &Runtime, door: Door, file: SocketFile) {
    runtime.block_on(door.run(file));
}

/// Leaves the process files for its own work.
fn within_open_files(limits: Limits) -> Limits {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files = files.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
    Limits { connections_max: limits.connections_max.min(files / 4 * 3), ..limits }
}

/// Takes connections in.
struct Door {
    listener: Listener,
    registry: Arc<Registry>,
    limits: Limits,
    allowed_uids: Option<BTreeSet<u32>>,
    stop: CancellationToken,
}

impl Door {
    async fn run(self, file: SocketFile) {
        let mut connections = JoinSet::new();
        let mut pause = ACCEPT_PAUSE_MIN;
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                Some(ended) = connections.join_next() => report(ended),
                accepted = self.listener.accept() => match accepted {
                    Ok(stream) => {
                        pause = ACCEPT_PAUSE_MIN;
                        self.admit(stream, &mut connections);
                    }
                    Err(error) => {
                        self.wait_out(&error, pause).await;
                        pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
                    }
                },
            }
        }
        // First the name, so that nobody new comes; then the connections.
        drop(file);
        drop(self.listener);
        connections.shutdown().await;
    }

    fn admit(&self, stream: Stream, connections: &mut JoinSet<()>) {
        let peer = match Peer::of(&stream) {
            Ok(peer) => peer,
            Err(error) => return debug!(%error, "a peer left before it could be identified"),
        };
        if !self.allows(peer) {
            warn!(%peer, "connection denied: the user is not allowed");
            return turn_away(&stream, error_names::PERMISSION_DENIED, &json!({}));
        }
        if connections.len() >= self.limits.connections_max {
            let limit = self.limits.connections_max;
            debug!(%peer, limit, "connection denied: too many");
            let limit = json!({"limit": limit});
            return turn_away(&stream, error_names::TOO_MANY_CONNECTIONS, &limit);
        }
        let socket = match Socket::new(stream) {
            Ok(socket) => socket,
            Err(error) => return warn!(%peer, %error, "a connection can't be served"),
        };
        debug!(%peer, "connected");
        let registry = Arc::clone(&self.registry);
        let connection = Connection::new(socket, peer, registry, self.limits.clone());
        connections.spawn(connection.run());
    }

    fn allows(&self, peer: Peer) -> bool {
        let own = rustix::process::geteuid().as_raw();
        match &self.allowed_uids {
            None => true,
            Some(allowed) => peer.uid == 0 || peer.uid == own || allowed.contains(&peer.uid),
        }
    }

    /// Mostly the process has no file descriptor left: better to be slow than
    /// to spin.
    async fn wait_out(&self, error: &io::Error, pause: Duration) {
        if error.kind() == io::ErrorKind::ConnectionAborted {
            return;
        }
        if pause == ACCEPT_PAUSE_MIN {
            warn!(%error, "can't take connections in at the moment");
        }
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = sleep(pause) => {}
        }
    }
}

/// One error, then the end. The peer may not get it: it isn't waited for.
fn turn_away(stream: &Stream, error: &str, parameters: &serde_json::Value) {
    let mut message = BytesMut::new();
    let reply = OutgoingReply::error(error, parameters);
    if encode(&reply, &mut message, MESSAGE_BYTES_MAX).is_ok() {
        let _ = send_now(stream, &message);
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!(%error, "a service has panicked; its connection is closed");
    }
}
