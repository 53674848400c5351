//! The loop that takes connections in, and keeps the socket where its callers look for it.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;
use std::time::Duration;

use interprocess::local_socket::traits::tokio::Listener as _;
use serde_json::{Value, json};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::bytes::BytesMut;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::address::{Listener, Stream};
use super::codec::{MESSAGE_BYTES_MAX, encode};
use super::connection::Connection;
use super::listener::{Place as SocketPlace, SocketFile, listen_now};
use super::message::{OutgoingReply, error_names};
use super::peer::Peer;
use super::places::Places;
use super::rights::{Registrar, Rights};
use super::server::Limits;
use super::service::Registry;
use super::socket::{Socket, send_now};

/// Pauses of the accept loop after an error, the first and the longest.
const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(10);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// How often the socket's file is looked at: one system call. A notice would take one of the few watches that a user
/// has, and would still not see that a folder above is another one now.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The folder of a socket that is made anew.
const FOLDER_MODE: u32 = 0o750;

/// So many of those who are turned away are heard out first, each for so long and so many bytes.
const HEARD_OUT_MAX: usize = 16;
const HEARD_OUT_TIME: Duration = Duration::from_secs(1);
const HEARD_OUT_BYTES_MAX: usize = 16 * 1024;

/// Takes connections in.
pub(super) struct Door {
    listener: Listener,
    file: SocketFile,
    /// The socket's file is not where it was, and could not be put back.
    is_lost: bool,
    registry: Arc<Registry>,
    registrar: Registrar,
    places: Places,
    limits: Limits,
    stop: CancellationToken,
    turned_away: JoinSet<()>,
}

impl Door {
    pub(super) fn new(
        (listener, file): (Listener, SocketFile),
        registry: Arc<Registry>,
        limits: Limits,
        rights: Rights,
        stop: CancellationToken,
    ) -> Self {
        let own_uid = rustix::process::geteuid().as_raw();
        Self {
            listener,
            file,
            is_lost: false,
            registry,
            registrar: Registrar::new(rights, own_uid),
            places: Places::new(limits.connections_max, limits.connections_per_user, own_uid),
            limits,
            stop,
            turned_away: JoinSet::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut connections = JoinSet::new();
        let mut pause = ACCEPT_PAUSE_MIN;
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                Some(ended) = connections.join_next() => report(ended),
                Some(_) = self.turned_away.join_next() => {}
                _ = look.tick() => self.stay(),
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
        drop(self.file);
        drop(self.listener);
        connections.shutdown().await;
    }

    fn admit(&mut self, stream: Stream, connections: &mut JoinSet<()>) {
        let peer = match Peer::of(&stream) {
            Ok(peer) => peer,
            Err(error) => return debug!(%error, "a peer left before it could be identified"),
        };
        let granted = self.registrar.grant(peer, self.file.group());
        if granted.is_nothing() {
            warn!(%peer, "connection denied: neither the user nor a group of it has any right here");
            return self.turn_away(stream, error_names::PERMISSION_DENIED, &json!({}));
        }
        let place = match self.places.take(peer) {
            Ok(place) => place,
            Err(limit) => {
                debug!(%peer, limit, "connection denied: too many");
                return self.turn_away(stream, error_names::TOO_MANY_CONNECTIONS, &json!({"limit": limit}));
            }
        };
        let socket = match Socket::new(stream) {
            Ok(socket) => socket,
            Err(error) => return warn!(%peer, %error, "a connection can't be served"),
        };
        debug!(%peer, "connected");
        let registry = Arc::clone(&self.registry);
        let connection = Connection::new(socket, peer, granted, registry, self.limits.clone());
        connections.spawn(async move {
            connection.run().await;
            drop(place);
        });
    }

    /// One error, then the end. Most clients look for an answer only once they have said something, so it is waited for,
    /// a little; where too many come at once, they are told at once.
    fn turn_away(&mut self, stream: Stream, error: &str, parameters: &Value) {
        let mut message = BytesMut::new();
        let reply = OutgoingReply::error(error, parameters);
        if encode(&reply, &mut message, MESSAGE_BYTES_MAX).is_err() {
            return;
        }
        if self.turned_away.len() >= HEARD_OUT_MAX {
            let _ = send_now(&stream, &message);
            return;
        }
        // Without a descriptor to spare it just goes.
        let Ok(socket) = Socket::new(stream) else { return };
        self.turned_away.spawn(async move {
            let _ = timeout(HEARD_OUT_TIME, hear_out(&socket)).await;
            let _ = socket.send_now(&message);
        });
    }

    /// Where the socket's file is gone or another, nobody finds this server: it listens there again.
    fn stay(&mut self) {
        let found = self.file.place();
        if found == SocketPlace::Ours {
            self.is_lost = false;
            return;
        }
        let path = self.file.path().to_owned();
        if let Some(folder) = path.parent() {
            // If it can't be made, listening says why.
            let _ = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder);
        }
        match listen_now(&path) {
            Ok((listener, file)) => {
                warn!(path = %path.display(), ?found, "somebody has removed the socket: it is there again");
                (self.listener, self.file) = (listener, file);
                self.is_lost = false;
            }
            // Tried again, but said once.
            Err(_) if self.is_lost => {}
            Err(error) => {
                error!(%error, "somebody has removed the socket, and it can't be put back: nobody can reach this process");
                self.is_lost = true;
            }
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

/// Returns when the peer has said its first message, or enough.
async fn hear_out(socket: &Socket) {
    let mut heard = BytesMut::new();
    while heard.len() < HEARD_OUT_BYTES_MAX && !heard.contains(&0) {
        match socket.read(&mut heard, 1024).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!(%error, "a service has panicked; its connection is closed");
    }
}
