//! The reading side of a server's connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::bytes::BytesMut;
use tokio_util::codec::Decoder;

use super::codec::{CodecError, MessageCodec};
use super::link::Link;
use super::message::Request;
use super::server::Limits;

/// Room for a small request; grows with what arrives.
const READ_BYTES_MIN: usize = 512;

/// Room for one read at most.
const READ_BYTES_MAX: usize = 64 * 1024;

/// How often a peer is looked at that can't be waited for.
const HANG_UP_INTERVAL: Duration = Duration::from_secs(1);

/// Why no further request comes.
#[derive(Debug)]
pub(super) enum InputError {
    /// The bytes broke a rule.
    Codec(CodecError),
    /// Nothing came for so long.
    Idle(Duration),
    /// The rest of a message didn't come for so long.
    Stalled(Duration),
}

impl From<CodecError> for InputError {
    fn from(error: CodecError) -> Self {
        Self::Codec(error)
    }
}

/// The peer has left: nobody is there to read a reply.
#[derive(Debug)]
pub(super) struct PeerGone;

/// Requests, as they come from the peer.
pub(super) struct Input {
    link: Arc<Link>,
    codec: MessageCodec<Request>,
    buffer: BytesMut,
    /// The peer won't send anything more.
    ended: bool,
    limits: Limits,
}

impl Input {
    pub(super) fn new(link: Arc<Link>, limits: Limits) -> Self {
        Self {
            link,
            codec: MessageCodec::new(limits.message_bytes_max, limits.nesting_max),
            buffer: BytesMut::new(),
            ended: false,
            limits,
        }
    }

    /// Whether there is something to do once the call in hand is answered,
    /// without anything new from the peer.
    pub(super) fn has_more_to_do(&self) -> bool {
        self.ended || !self.buffer.is_empty()
    }

    /// The next request; none when the peer has ended properly.
    pub(super) async fn next(&mut self) -> Result<Option<Request>, InputError> {
        let start = Instant::now();
        let mut half_since = None;
        loop {
            if self.ended {
                return Ok(self.codec.decode_eof(&mut self.buffer)?);
            }
            if let Some(request) = self.codec.decode(&mut self.buffer)? {
                return Ok(Some(request));
            }
            let (deadline, late) = if self.buffer.is_empty() {
                let idle = self.limits.idle_timeout;
                (start + idle, InputError::Idle(idle))
            } else {
                let since = *half_since.get_or_insert_with(Instant::now);
                let read = self.limits.read_timeout;
                (since + read, InputError::Stalled(read))
            };
            match timeout_at(deadline, self.fill()).await {
                Ok(filled) => filled.map_err(CodecError::from)?,
                Err(_) => return Err(late),
            }
        }
    }

    /// Reads ahead while a call is being answered, so that the peer's leaving
    /// is noticed. Returns when something came; loses nothing when dropped.
    pub(super) async fn read_ahead(&mut self) -> Result<(), PeerGone> {
        // A peer that sends ever more requests without waiting for replies
        // gets to feel it: we stop reading.
        if self.ended || self.buffer.len() > self.limits.message_bytes_max {
            return Err(self.hang_up().await);
        }
        self.fill().await.map_err(|_| PeerGone)
    }

    /// Returns when the peer has left.
    pub(super) async fn gone(&mut self) -> PeerGone {
        loop {
            if let Err(gone) = self.read_ahead().await {
                return gone;
            }
        }
    }

    /// Returns when the peer has hung up, without reading. Its socket is
    /// readable all the while, so there is no event to wait for; rare enough
    /// (a peer that shut down its sending side, or sends without end) to look
    /// once a second.
    async fn hang_up(&self) -> PeerGone {
        while !self.link.socket().peer_hung_up() {
            sleep(HANG_UP_INTERVAL).await;
        }
        PeerGone
    }

    /// Reads once. The end of the input sets `ended`.
    async fn fill(&mut self) -> io::Result<()> {
        let bytes_max = self.buffer.len().clamp(READ_BYTES_MIN, READ_BYTES_MAX);
        let count = self.link.socket().read(&mut self.buffer, bytes_max).await?;
        self.ended = count == 0;
        Ok(())
    }
}
