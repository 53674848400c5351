//! The loop that takes connections in, and keeps the socket where its callers look for it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use interprocess::local_socket::traits::tokio::Listener as _;
use serde_json::{Value, json};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{self, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_util::bytes::BytesMut;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::address::{Listener, Stream};
use super::codec::{MESSAGE_BYTES_MAX, encode};
use super::connection::Connection;
use super::denials::{Denials, Denied};
use super::listener::{Place as SocketPlace, SocketFile, listen_now};
use super::message::{OutgoingReply, error_names};
use super::peer::Peer;
use super::places::Places;
use super::rights::{Registrar, Rights};
use super::server::{Limits, StartError};
use super::service::Registry;
use super::socket::{Socket, send_now};
use crate::folders::own_socket_folder;
use crate::waiting::{Waiting, Waits};

/// Pauses of the accept loop after an error, the first and the longest.
const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(10);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// How often the socket's file is looked at: one system call. A notice would take one of the few watches that a user
/// has, and would still not see that a folder above is another one now.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// So many of those who are turned away are heard out first, each for so long and so many bytes.
const HEARD_OUT_MAX: usize = 16;
const HEARD_OUT_TIME: Duration = Duration::from_secs(1);
const HEARD_OUT_BYTES_MAX: usize = 16 * 1024;

/// Takes connections in.
pub(super) struct Door {
    listener: Listener,
    /// The one before, which nobody finds any more: whoever came to it in time is let in.
    older: Option<Listener>,
    file: SocketFile,
    waits: Waits,
    /// There while the socket's file is not where it was, and can't be put back.
    lost: Option<Waiting>,
    registry: Arc<Registry>,
    registrar: Registrar,
    places: Places,
    denials: Arc<Denials>,
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
        waits: Waits,
        stop: CancellationToken,
    ) -> Self {
        let own_uid = rustix::process::geteuid().as_raw();
        Self {
            listener,
            older: None,
            file,
            waits,
            lost: None,
            registry,
            registrar: Registrar::new(rights, own_uid),
            places: Places::new(limits.connections_max, limits.connections_per_user, own_uid),
            denials: Arc::default(),
            limits,
            stop,
            turned_away: JoinSet::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut connections = JoinSet::new();
        let mut pause = ACCEPT_PAUSE_MIN;
        let mut look = interval_at(time::Instant::now() + LOOK_EVERY, LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                Some(ended) = connections.join_next() => report(ended),
                Some(_) = self.turned_away.join_next() => {}
                _ = look.tick() => {
                    self.stay();
                    self.denials.log_counted(Instant::now());
                }
                accepted = accept(&self.listener, self.older.as_ref()) => match accepted {
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
            if self.denials.is_first(Denied::Connection, peer.uid, Instant::now()) {
                warn!(%peer, "connection denied: neither the user nor a group of it has any right here");
            }
            return self.turn_away(stream, error_names::PERMISSION_DENIED, &json!({}));
        }
        let place = match self.places.take(peer) {
            Ok(place) => place,
            Err(limit) => {
                if self.denials.is_first(Denied::Place, peer.uid, Instant::now()) {
                    warn!(%peer, limit, "connection denied: too many");
                }
                return self.turn_away(stream, error_names::TOO_MANY_CONNECTIONS, &json!({"limit": limit}));
            }
        };
        let socket = match Socket::new(stream) {
            Ok(socket) => socket,
            Err(error) => return warn!(%peer, %error, "a connection can't be served"),
        };
        debug!(%peer, "connected");
        let (registry, denials) = (Arc::clone(&self.registry), Arc::clone(&self.denials));
        let connection = Connection::new(socket, peer, granted, registry, denials, self.limits.clone());
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
            self.lost = None;
            // Since the last look all that waited there have been let in.
            self.older = None;
            return;
        }
        let path = self.file.path().to_owned();
        match listen_again(&path) {
            Ok((listener, file)) => {
                warn!(path = %path.display(), ?found, "somebody has removed the socket: it is there again");
                self.older = Some(std::mem::replace(&mut self.listener, listener));
                self.file = file;
                self.lost = None;
            }
            // Tried again, but said once for each reason.
            Err(error) => {
                let reason = format!("nobody can reach this process, its socket is gone: {error}");
                match &self.lost {
                    Some(lost) => lost.say(reason),
                    None => self.lost = Some(self.waits.begin(reason)),
                }
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

/// The next connection, of those first that came to the older socket.
async fn accept(listener: &Listener, older: Option<&Listener>) -> io::Result<Stream> {
    let Some(older) = older else { return listener.accept().await };
    tokio::select! {
        biased;
        accepted = older.accept() => accepted,
        accepted = listener.accept() => accepted,
    }
}

/// Whoever has taken the socket away may have exchanged its folder, too.
fn listen_again(path: &Path) -> Result<(Listener, SocketFile), StartError> {
    let folder = own_socket_folder(path.parent().unwrap_or(Path::new("/")))?;
    listen_now(path, &Arc::new(folder))
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

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn whoever_waits_at_a_socket_that_is_removed_is_let_in() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("bot").join("socket");
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        let (listening, stop) = (listen_again(&path).unwrap(), CancellationToken::new());
        let (limits, rights) = (Limits::default(), Rights::default());
        let mut door = Door::new(listening, Arc::default(), limits, rights, Waits::default(), stop.clone());
        let mut early: Vec<_> = (0..5).map(|_| UnixStream::connect(&path).unwrap()).collect();
        std::fs::remove_file(&path).unwrap();
        // It looks for its socket before it lets anybody in.
        door.stay();
        let door = tokio::spawn(door.run());
        let answers = tokio::task::spawn_blocking(move || {
            for stream in &mut early {
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                stream.write_all(b"{\"method\":\"org.example.Nobody.Asks\"}\0").unwrap();
                assert!(matches!(stream.read(&mut [0; 64]), Ok(1..)), "turned away without a word");
            }
            UnixStream::connect(&path).unwrap();
        });
        answers.await.unwrap();
        stop.cancel();
        door.await.unwrap();
    }
}
