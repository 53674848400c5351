//! A call in the hands of a service, and the ways to answer it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::bytes::BytesMut;

use super::codec::{CodecError, MESSAGE_BYTES_MAX, encode};
use super::link::Link;
use super::message::{OutgoingReply, Request, error_names, parse_parameters};
use super::peer::Peer;

/// Bytes of continued replies that are gathered before they are written.
const GATHERED_BYTES: usize = 32 * 1024;

/// Why a call has no ordinary reply. Returned by a service, the first kind is
/// what the caller gets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// An error reply.
    #[error("{name} {parameters}")]
    Reply {
        /// Full name: `interface.Error`.
        name: Cow<'static, str>,
        /// An object.
        parameters: Value,
    },
    /// The caller has left, so that there is nobody to answer.
    #[error("the caller is gone")]
    Gone,
    /// The reply can't be written, mostly because it is too large.
    #[error("the reply can't be sent: {0}")]
    Encode(#[from] CodecError),
}

impl CallError {
    /// An error reply: full name and parameters (an object).
    pub fn new(name: impl Into<Cow<'static, str>>, parameters: Value) -> Self {
        Self::Reply { name: name.into(), parameters }
    }

    /// A parameter is wrong: which one, and why.
    #[must_use]
    pub fn invalid_parameter(parameter: &str, reason: &str) -> Self {
        Self::new(error_names::INVALID_PARAMETER, json!({"parameter": parameter, "reason": reason}))
    }

    /// The interface has no such method.
    #[must_use]
    pub fn method_not_found(method: &str) -> Self {
        Self::new(error_names::METHOD_NOT_FOUND, json!({"method": method}))
    }

    /// The server has no such interface.
    #[must_use]
    pub fn interface_not_found(interface: &str) -> Self {
        Self::new(error_names::INTERFACE_NOT_FOUND, json!({"interface": interface}))
    }

    /// The method answers several times and must be called with `more`.
    #[must_use]
    pub fn expected_more() -> Self {
        Self::new(error_names::EXPECTED_MORE, json!({}))
    }

    /// The name and parameters to answer with; none when nobody listens.
    pub(super) fn into_reply(self) -> Option<(Cow<'static, str>, Value)> {
        match self {
            Self::Reply { name, parameters } => Some((name, parameters)),
            Self::Gone => None,
            Self::Encode(CodecError::TooLarge { limit }) => {
                Some((error_names::REPLY_TOO_LARGE.into(), json!({"limit": limit})))
            }
            Self::Encode(error) => Some((error_names::NO_REPLY.into(), json!({"reason": error.to_string()}))),
        }
    }
}

/// One request, to be answered once: by [`reply`](Self::reply),
/// [`fail`](Self::fail), or by an `Err` that the service returns.
///
/// It may be moved to another task or thread and be answered there. Dropped
/// without an answer, the caller gets `io.procession.Protocol.NoReply`. With
/// `oneway` everything works, and nothing is sent.
pub struct Call {
    request: Request,
    /// Where the method's own name begins in the full one.
    name_start: usize,
    reply: DirectReply,
}

impl Call {
    /// The link's exchange must have begun for this request.
    pub(super) fn new(request: Request, link: Arc<Link>) -> Self {
        let name_start = request.method.rfind('.').map_or(0, |dot| dot + 1);
        let reply =
            DirectReply { link, oneway: request.oneway, answered: request.oneway, gathered: BytesMut::new() };
        Self { request, name_start, reply }
    }

    /// The method without its interface: `Wait`.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.request.method[self.name_start..]
    }

    /// The interface: `io.procession.Journal`.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.request.method[..self.name_start.saturating_sub(1)]
    }

    /// Whoever called.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.reply.link.peer()
    }

    /// Whether several replies are welcome.
    #[must_use]
    pub fn more(&self) -> bool {
        self.request.more
    }

    /// Whether no reply is wanted.
    #[must_use]
    pub fn oneway(&self) -> bool {
        self.request.oneway
    }

    /// Whether the caller has left; then the work can be dropped.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.reply.is_dead()
    }

    /// As [`is_dead`](Self::is_dead), but asks the kernel: also true when the server's thread had no time yet to
    /// notice. One system call.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.is_dead() || self.reply.link.socket().peer_hung_up()
    }

    /// How long the caller waits for the reply, if it said so.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.request.timeout_ms.map(Duration::from_millis)
    }

    /// The method's full name: `io.procession.Journal.Wait`.
    #[must_use]
    pub fn full_method(&self) -> &str {
        &self.request.method
    }

    pub(super) fn upgrade(&self) -> bool {
        self.request.upgrade
    }

    /// The parameters as a `T`; absent ones are an empty object.
    ///
    /// # Errors
    /// `InvalidParameter`, which names the field.
    pub fn parameters<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        parse_parameters(self.request.parameters.as_deref())
            .map_err(|bad| CallError::invalid_parameter(&bad.field, &bad.reason))
    }

    /// For methods that answer several times.
    ///
    /// # Errors
    /// `ExpectedMore` when the caller didn't say `more`.
    pub fn require_more(&self) -> Result<(), CallError> {
        if self.request.more { Ok(()) } else { Err(CallError::expected_more()) }
    }

    /// What to return for a method that the interface doesn't have.
    #[must_use]
    pub fn unknown_method(&self) -> CallError {
        CallError::method_not_found(&self.request.method)
    }

    /// Sends the only, or the last, reply. Never waits.
    ///
    /// # Errors
    /// The caller is gone, or the reply can't be encoded; the caller then gets
    /// an error instead.
    pub fn reply<T: Serialize + ?Sized>(self, parameters: &T) -> Result<(), CallError> {
        self.reply.reply(parameters)
    }

    /// Sends an error as the last reply. Never waits.
    pub fn fail(self, error: CallError) {
        self.reply.fail(error);
    }

    /// Sends one of several replies, waiting while the caller doesn't read.
    /// When the future is dropped, the reply is still sent, before the next.
    ///
    /// # Errors
    /// The caller is gone or didn't say `more`, or the reply can't be encoded;
    /// in that last case the call goes on without it.
    pub async fn reply_continues<T: Serialize + ?Sized>(&mut self, parameters: &T) -> Result<(), CallError> {
        self.gather(parameters)?;
        self.flush().await
    }

    /// Like [`reply_continues`](Self::reply_continues), but small replies are
    /// gathered and written together. [`flush`](Self::flush) before waiting
    /// for anything else.
    ///
    /// # Errors
    /// As [`reply_continues`](Self::reply_continues).
    pub async fn feed_continues<T: Serialize + ?Sized>(&mut self, parameters: &T) -> Result<(), CallError> {
        self.gather(parameters)?;
        if self.reply.gathered.len() < GATHERED_BYTES {
            return Ok(());
        }
        self.flush().await
    }

    /// Writes what was gathered, waiting while the caller doesn't read.
    ///
    /// # Errors
    /// The caller is gone.
    pub async fn flush(&mut self) -> Result<(), CallError> {
        let DirectReply { link, gathered, .. } = &mut self.reply;
        if link.is_gone() {
            return Err(CallError::Gone);
        }
        link.write(gathered).await.map_err(|_| CallError::Gone)?;
        // A caller that reads fast enough never makes us wait, and would keep
        // the thread for itself.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Keeps only what is needed to answer: to be held until there is
    /// something to say, and answered from whatever thread knows it.
    pub fn into_direct(self) -> DirectReply {
        self.reply
    }

    fn gather<T: Serialize + ?Sized>(&mut self, parameters: &T) -> Result<(), CallError> {
        self.require_more()?;
        let DirectReply { link, gathered, .. } = &mut self.reply;
        if !self.request.oneway {
            link.encode(&OutgoingReply::continuing(parameters), gathered)?;
        }
        Ok(())
    }
}

/// The answer that a call still owes, without the call.
///
/// Sending it is one non-blocking `send(2)` on the thread that sends; the
/// server's thread is not woken. Only when the peer's buffer is full, or when
/// the peer has already sent its next request, does that thread take part.
#[must_use = "dropped, the caller gets an error"]
pub struct DirectReply {
    link: Arc<Link>,
    oneway: bool,
    answered: bool,
    /// Continued replies, or parts of one, that are not written yet.
    gathered: BytesMut,
}

impl DirectReply {
    /// Sends the reply. False when the caller is gone or got an error instead.
    pub fn send<T: Serialize + ?Sized>(self, parameters: &T) -> bool {
        self.reply(parameters).is_ok()
    }

    /// Sends a reply that was encoded before, perhaps for several callers.
    /// False when the caller is gone.
    pub fn send_encoded(mut self, reply: &EncodedReply) -> bool {
        self.finish(&reply.0)
    }

    /// Sends an error as the reply.
    pub fn fail(mut self, error: CallError) {
        let Some((name, parameters)) = error.into_reply() else {
            return;
        };
        let mut message = BytesMut::new();
        let reply = OutgoingReply::error(&name, &parameters);
        if self.link.encode(&reply, &mut message).is_ok() {
            self.finish(&message);
        }
    }

    /// Whether the caller has left. Costs one load.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.link.is_gone()
    }

    /// Runs `hook` once if the caller leaves before the reply: on the server's
    /// thread, with no lock held, so it must be short; or at once, on this
    /// thread, if the caller has left already. Replaces an earlier hook. Not
    /// for one-way calls: nobody waits for their reply, and the hook is dropped.
    pub fn on_gone(&self, hook: impl FnOnce() + Send + 'static) {
        if !self.oneway {
            self.link.on_gone(Box::new(hook));
        }
    }

    fn reply<T: Serialize + ?Sized>(mut self, parameters: &T) -> Result<(), CallError> {
        let mut message = BytesMut::new();
        let reply = OutgoingReply::last(parameters);
        match self.link.encode(&reply, &mut message) {
            Ok(()) if self.finish(&message) => Ok(()),
            Ok(()) => Err(CallError::Gone),
            Err(CodecError::TooLarge { limit }) => {
                self.fail(CodecError::TooLarge { limit }.into());
                Err(CodecError::TooLarge { limit }.into())
            }
            Err(error) => {
                let reason = error.to_string();
                self.fail(CallError::new(error_names::NO_REPLY, json!({"reason": reason})));
                Err(error.into())
            }
        }
    }

    fn finish(&mut self, message: &[u8]) -> bool {
        if self.oneway {
            return !self.is_dead();
        }
        self.answered = true;
        if self.gathered.is_empty() {
            return self.link.answer(message);
        }
        self.gathered.extend_from_slice(message);
        self.link.answer(&self.gathered)
    }
}

impl Drop for DirectReply {
    fn drop(&mut self) {
        if !self.answered {
            self.link.abandon(std::mem::take(&mut self.gathered));
        }
    }
}

/// A reply as it travels, for callers that all get the same.
#[derive(Debug, Clone)]
pub struct EncodedReply(BytesMut);

impl EncodedReply {
    /// Encodes an ordinary, last reply.
    ///
    /// # Errors
    /// It is larger than 1 MiB, or not serializable.
    pub fn new<T: Serialize + ?Sized>(parameters: &T) -> Result<Self, CodecError> {
        let mut message = BytesMut::new();
        encode(&OutgoingReply::last(parameters), &mut message, MESSAGE_BYTES_MAX)?;
        Ok(Self(message))
    }
}
