//! What a connection's task and the answer to its current call share.
//!
//! One call at a time, and at any time only one side may write to the socket:
//! while a call is open, whoever holds it (on any thread); otherwise the task.
//! The last reply is one non-blocking `send(2)` by the holder. The task isn't
//! told of it: it is asleep in a read, and the peer's next request (or its
//! end) is what wakes it. It asks to be told only where it already has input,
//! or the end of it, that must wait for the reply.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::bytes::BytesMut;

use super::codec::{CodecError, encode};
use super::peer::Peer;
use super::server::Limits;
use super::socket::Socket;

/// What runs when the peer leaves before it got its reply.
pub(super) type GoneHook = Box<dyn FnOnce() + Send>;

/// One connection, seen from its task and from the call in hand.
pub(super) struct Link {
    socket: Socket,
    peer: Peer,
    message_bytes_max: usize,
    write_timeout: Duration,
    /// A lock, and not atomics, because a reply and its outcome must change as
    /// one while the task looks. Held at most for one non-blocking `send(2)`.
    exchange: Mutex<Exchange>,
    gone: AtomicBool,
    task: Notify,
}

/// Where the current call stands.
struct Exchange {
    phase: Phase,
    /// The task has something to do as soon as the reply is sent.
    wake_task: bool,
    on_gone: Option<GoneHook>,
}

enum Phase {
    /// Somebody holds the call.
    Open,
    /// The reply is on its way, or there is none to be.
    Answered,
    /// The socket took only a part of the reply: the task sends the rest.
    Unsent(BytesMut),
    /// The call was let go without a reply; what is left of earlier ones.
    Dropped(BytesMut),
}

/// What the connection's task finds when it looks at the current call.
pub(super) enum Progress {
    Open,
    Answered,
    Unsent(BytesMut),
    Dropped(BytesMut),
}

impl Link {
    pub(super) fn new(socket: Socket, peer: Peer, limits: &Limits) -> Self {
        Self {
            socket,
            peer,
            message_bytes_max: limits.message_bytes_max,
            write_timeout: limits.idle_timeout,
            exchange: Mutex::new(Exchange { phase: Phase::Answered, wake_task: false, on_gone: None }),
            gone: AtomicBool::new(false),
            task: Notify::new(),
        }
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(super) fn peer(&self) -> Peer {
        self.peer
    }

    /// Encodes a message within the connection's limit.
    pub(super) fn encode<M: serde::Serialize>(
        &self,
        message: &M,
        target: &mut BytesMut,
    ) -> Result<(), CodecError> {
        encode(message, target, self.message_bytes_max)
    }

    /// True once the connection is over.
    pub(super) fn is_gone(&self) -> bool {
        // Only a hint to stop early; the lock orders everything else.
        self.gone.load(Ordering::Relaxed)
    }

    // The holder's side.

    /// Sends the last reply of the open call. False when the peer is gone.
    pub(super) fn answer(&self, message: &[u8]) -> bool {
        let mut exchange = self.lock();
        if self.is_gone() {
            return false;
        }
        let sent = self.socket.send_now(message);
        let (phase, alive) = match sent {
            Ok(count) if count == message.len() => (Phase::Answered, true),
            Ok(count) => (Phase::Unsent(message[count..].into()), true),
            // The task will learn of it by reading.
            Err(_) => (Phase::Answered, false),
        };
        let wake = exchange.wake_task || matches!(phase, Phase::Unsent(_));
        exchange.phase = phase;
        let hook = exchange.on_gone.take();
        drop(exchange);
        // A hook may own anything: not to be dropped under the lock.
        drop(hook);
        if wake {
            self.task.notify_one();
        }
        alive
    }

    /// Lets the open call go; the task says something instead.
    pub(super) fn abandon(&self, unsent: BytesMut) {
        let mut exchange = self.lock();
        exchange.phase = Phase::Dropped(unsent);
        let hook = exchange.on_gone.take();
        drop(exchange);
        drop(hook);
        self.task.notify_one();
    }

    /// Runs `hook` when the peer leaves before the reply: on the connection's
    /// thread, or here and now when it has left already.
    pub(super) fn on_gone(&self, hook: GoneHook) {
        let mut exchange = self.lock();
        if self.is_gone() {
            drop(exchange);
            return hook();
        }
        let replaced = exchange.on_gone.replace(hook);
        drop(exchange);
        drop(replaced);
    }

    /// Writes all of `bytes`, waiting for room. What is not written yet stays
    /// in `bytes`, so that nothing is lost when the future is dropped. A peer that
    /// doesn't take them in time counts as gone.
    pub(super) async fn write(&self, bytes: &mut BytesMut) -> io::Result<()> {
        match timeout(self.write_timeout, self.socket.write(bytes)).await {
            Ok(written) => written,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    // The task's side.

    /// A call begins. One way, there is nothing to wait for.
    pub(super) fn begin(&self, oneway: bool) {
        let mut exchange = self.lock();
        exchange.phase = if oneway { Phase::Answered } else { Phase::Open };
        exchange.wake_task = false;
        exchange.on_gone = None;
    }

    /// How the call stands. While it is open, `wake` asks that `progressed`
    /// return when it no longer is.
    pub(super) fn progress(&self, wake: bool) -> Progress {
        let mut exchange = self.lock();
        match std::mem::replace(&mut exchange.phase, Phase::Answered) {
            Phase::Open => {
                exchange.phase = Phase::Open;
                exchange.wake_task = wake;
                Progress::Open
            }
            Phase::Answered => Progress::Answered,
            Phase::Unsent(bytes) => Progress::Unsent(bytes),
            Phase::Dropped(bytes) => Progress::Dropped(bytes),
        }
    }

    /// Returns when the call may have progressed; may also return for nothing.
    pub(super) async fn progressed(&self) {
        self.task.notified().await;
    }

    /// The connection is over: nobody writes any more, the peer sees the end
    /// even while somebody still holds the call, and the hook runs.
    pub(super) fn close(&self) {
        let mut exchange = self.lock();
        self.gone.store(true, Ordering::Relaxed);
        let hook = match exchange.phase {
            Phase::Open => exchange.on_gone.take(),
            _ => None,
        };
        drop(exchange);
        self.socket.hang_up();
        if let Some(hook) = hook {
            hook();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Exchange> {
        // Nothing panics while it holds the lock; if it did, the phase would
        // still be one of the four.
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
