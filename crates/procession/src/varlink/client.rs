//! The calling side: one connection, in the caller's own task.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use interprocess::local_socket::ConnectOptions;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};

use super::address::{AddressError, Stream, name_of};
use super::codec::{CodecError, MESSAGE_BYTES_MAX, MessageCodec};
use super::endpoint::{Endpoint, Unproven};
use super::message::{OutgoingRequest, Reply, error_names, parse_parameters};
use super::peer::Peer;
use super::socket::Socket;

/// How long to try when the server's queue of new connections is full.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest pause between two tries.
const CONNECT_PAUSE_MAX: Duration = Duration::from_millis(50);

/// Levels of objects and arrays in a reply: a record may carry what the JSON
/// parser takes (127), and is wrapped a few times.
const NESTING_MAX: usize = 160;

/// Room for the next reply; grows when one is larger.
const READ_BYTES_MIN: usize = 1024;

/// Room for one read at most.
const READ_BYTES_MAX: usize = 64 * 1024;

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The path can't be a socket's.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Nobody listens at the path, or not for us.
    #[error("can't connect to {}: {source}", .path.display())]
    Connect {
        /// The path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Whoever answers is not the process that is called, or isn't known to be.
    #[error(transparent)]
    Unproven(#[from] Unproven),
    /// The server answered with an error.
    #[error("{}", said(.name, .parameters))]
    Error {
        /// Full name: `interface.Error`.
        name: String,
        /// An object.
        parameters: Value,
    },
    /// The server has closed the connection, or is gone.
    #[error("the connection was closed by the other side")]
    Disconnected,
    /// No reply in time. The connection can't be used further.
    #[error("no reply within {0:?}")]
    Timeout(Duration),
    /// A request or reply beyond the limit.
    #[error("a message is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The request can't be said in JSON.
    #[error("the request can't be written as JSON: {0}")]
    Unserializable(#[source] serde_json::Error),
    /// Not a message of Varlink.
    #[error("the reply is not Varlink: {0}")]
    Malformed(#[source] CodecError),
    /// The reply is not of the expected shape.
    #[error("the reply's {field} is not as expected: {reason}")]
    Unexpected {
        /// The field.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An earlier call was given up before its reply came, or its replies
    /// were not all taken: connect anew.
    #[error("the connection still waits for the reply of an earlier call")]
    OutOfStep,
}

impl ClientError {
    /// The name of the error that the server answered with.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Error { name, .. } => Some(name),
            _ => None,
        }
    }
}

/// One reply.
#[derive(Debug)]
pub struct Received<T> {
    /// Its parameters.
    pub parameters: T,
    /// Further replies to the same request follow.
    pub continues: bool,
}

/// A connection to a server.
///
/// A call is one write and one read on the caller's own task. For a reply that
/// may be long in coming, [`send`](Self::send) and [`receive`](Self::receive)
/// are apart: `receive` may be dropped and called again without loss, so it
/// can stand in a `select!`.
#[derive(Debug)]
pub struct Client {
    socket: Socket,
    peer: Peer,
    codec: MessageCodec<Reply>,
    input: BytesMut,
    /// What a dropped `send` has not written yet.
    output: BytesMut,
    /// Requests whose last reply hasn't come.
    awaited: usize,
    /// The latest request could be written to its end. One that was cut off is never carried out.
    sent: bool,
    timeout: Option<Duration>,
}

impl Client {
    /// Connects to a process, if it is the process that answers: see [`Endpoint`]. No time-out is set for calls.
    ///
    /// # Errors
    /// Those of [`Self::connect`], and [`ClientError::Unproven`].
    pub async fn connect_to(endpoint: &Endpoint) -> Result<Self, ClientError> {
        let client = Self::connect(endpoint.socket()).await?;
        endpoint.check(client.peer)?;
        Ok(client)
    }

    /// Connects to the socket at `path`, whoever answers there. No time-out is set for calls.
    ///
    /// # Errors
    /// Nobody listens there, we may not, or the server is too busy for it.
    pub async fn connect(path: impl AsRef<Path>) -> Result<Self, ClientError> {
        let path = path.as_ref();
        let (socket, peer) = connect(path).await?;
        Ok(Self {
            socket,
            peer,
            codec: MessageCodec::new(MESSAGE_BYTES_MAX, NESTING_MAX),
            input: BytesMut::new(),
            output: BytesMut::new(),
            awaited: 0,
            sent: false,
            timeout: None,
        })
    }

    /// Every [`call`](Self::call) must be answered within `timeout`.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The process that listens.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Whether a call can be made: every earlier one has its reply. After a
    /// time-out or a loss of the connection it never becomes true again.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.awaited == 0
    }

    /// Calls `method` (full name), and waits for the reply.
    ///
    /// # Errors
    /// Any of [`ClientError`] but the connecting ones.
    pub async fn call<T: DeserializeOwned>(
        &mut self,
        method: &str,
        parameters: &(impl Serialize + ?Sized),
    ) -> Result<T, ClientError> {
        let Some(limit) = self.timeout else {
            return self.call_unlimited(method, parameters).await;
        };
        timeout(limit, self.call_unlimited(method, parameters))
            .await
            .map_err(|_| ClientError::Timeout(limit))?
    }

    /// Calls `method` with `more`, for several replies.
    ///
    /// # Errors
    /// Any of [`ClientError`] but the connecting ones.
    pub async fn call_more<T: DeserializeOwned>(
        &mut self,
        method: &str,
        parameters: &(impl Serialize + ?Sized),
    ) -> Result<Replies<'_, T>, ClientError> {
        self.check_idle()?;
        self.request(&OutgoingRequest { method, parameters, oneway: false, more: true, timeout_ms: None })
            .await?;
        Ok(Replies { client: self, done: false, parameters: std::marker::PhantomData })
    }

    /// Calls `method` without wanting to know what comes of it.
    ///
    /// # Errors
    /// The request can't be sent.
    pub async fn oneway(
        &mut self,
        method: &str,
        parameters: &(impl Serialize + ?Sized),
    ) -> Result<(), ClientError> {
        self.request(&OutgoingRequest { method, parameters, oneway: true, more: false, timeout_ms: None })
            .await
    }

    /// Sends a request; its reply is for [`receive`](Self::receive). Several
    /// may be sent ahead; replies come in the same order.
    ///
    /// # Errors
    /// The request can't be encoded. A lost connection shows at `receive`.
    pub async fn send(
        &mut self,
        method: &str,
        parameters: &(impl Serialize + ?Sized),
    ) -> Result<(), ClientError> {
        self.request(&OutgoingRequest { method, parameters, oneway: false, more: false, timeout_ms: None })
            .await
    }

    /// As [`send`](Self::send), and tells the server how long the reply is waited for.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_within(
        &mut self,
        method: &str,
        parameters: &(impl Serialize + ?Sized),
        limit: Duration,
    ) -> Result<(), ClientError> {
        let timeout_ms = Some(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        self.request(&OutgoingRequest { method, parameters, oneway: false, more: false, timeout_ms }).await
    }

    /// Whether the latest request was written whole. If not, the server does nothing with it.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.sent
    }

    /// Whether a call can be made, and the server has neither said anything since the last reply (it could only be
    /// good-bye) nor left. Asks the kernel.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.is_idle() && self.input.is_empty() && self.socket.is_quiet()
    }

    /// The next reply. Loses nothing when dropped before it is done.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn receive<T: DeserializeOwned>(&mut self) -> Result<Received<T>, ClientError> {
        let reply = self.next_reply().await?;
        if !reply.continues {
            self.awaited = self.awaited.saturating_sub(1);
        }
        if let Some(name) = reply.error {
            return Err(ClientError::Error {
                name,
                parameters: parse_parameters(reply.parameters.as_deref()).unwrap_or_default(),
            });
        }
        let parameters = parse_parameters(reply.parameters.as_deref())
            .map_err(|bad| ClientError::Unexpected { field: bad.field, reason: bad.reason })?;
        Ok(Received { parameters, continues: reply.continues })
    }

    async fn call_unlimited<T: DeserializeOwned>(
        &mut self,
        method: &str,
        parameters: &(impl Serialize + ?Sized),
    ) -> Result<T, ClientError> {
        self.check_idle()?;
        self.send(method, parameters).await?;
        Ok(self.receive().await?.parameters)
    }

    fn check_idle(&self) -> Result<(), ClientError> {
        if self.is_idle() { Ok(()) } else { Err(ClientError::OutOfStep) }
    }

    async fn request<P: Serialize + ?Sized>(
        &mut self,
        request: &OutgoingRequest<'_, P>,
    ) -> Result<(), ClientError> {
        self.codec.encode(request, &mut self.output).map_err(broken)?;
        self.awaited += usize::from(!request.oneway);
        self.sent = false;
        let written = self.socket.write(&mut self.output).await;
        self.sent = written.is_ok();
        if written.is_err() {
            self.output.clear();
            if request.oneway {
                return Err(ClientError::Disconnected);
            }
            // A server that turned us away may have said why before it
            // closed: reading will tell.
        }
        Ok(())
    }

    async fn next_reply(&mut self) -> Result<Reply, ClientError> {
        loop {
            if let Some(reply) = self.codec.decode(&mut self.input).map_err(broken)? {
                return Ok(reply);
            }
            let bytes_max = self.input.len().clamp(READ_BYTES_MIN, READ_BYTES_MAX);
            let count =
                self.socket.read(&mut self.input, bytes_max).await.map_err(|error| broken(error.into()))?;
            if count == 0 {
                return Err(ClientError::Disconnected);
            }
        }
    }
}

/// The replies to one call with `more`. All must be taken before the
/// connection can be used for another call.
#[derive(Debug)]
pub struct Replies<'a, T> {
    client: &'a mut Client,
    done: bool,
    parameters: std::marker::PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Replies<'_, T> {
    /// The next reply; none after the last. Loses nothing when dropped before
    /// it is done. No time-out holds for it.
    ///
    /// # Errors
    /// As [`Client::call`]; no further reply comes after that.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        if self.done {
            return Ok(None);
        }
        let received = self.client.receive().await;
        self.done = !matches!(received, Ok(Received { continues: true, .. }));
        received.map(|reply| Some(reply.parameters))
    }
}

/// Connects, and asks who is there: that tells a full queue from a connection.
async fn connect(path: &Path) -> Result<(Socket, Peer), ClientError> {
    let failed = |source| ClientError::Connect { path: path.to_owned(), source };
    let give_up = Instant::now() + CONNECT_TIMEOUT;
    let mut pause = Duration::from_millis(1);
    loop {
        let options = ConnectOptions::new().name(name_of(path)?);
        let stream = options.connect_tokio_as::<Stream>().await.map_err(failed)?;
        // When the server's queue is full, the kernel says EAGAIN, which
        // interprocess takes for success: the socket is not connected then.
        match Peer::of(&stream) {
            Ok(peer) => return Ok((Socket::new(stream).map_err(failed)?, peer)),
            Err(error) if Instant::now() > give_up => return Err(failed(error)),
            Err(_) => sleep(pause).await,
        }
        pause = (pause * 2).min(CONNECT_PAUSE_MAX);
    }
}

/// An error reply, for people.
fn said(name: &str, parameters: &Value) -> String {
    if name == error_names::PERMISSION_DENIED {
        return "this user hasn't the right to: the process's settings `process.socket.allow_…` say who has"
            .to_owned();
    }
    format!("{name} {parameters}")
}

/// What a failure of the message layer means to the caller.
fn broken(error: CodecError) -> ClientError {
    match error {
        CodecError::TooLarge { limit } => ClientError::TooLarge { limit },
        CodecError::Unserializable(error) => ClientError::Unserializable(error),
        // Whatever it is called, the other side is no longer there.
        CodecError::Io(_) => ClientError::Disconnected,
        error => ClientError::Malformed(error),
    }
}
