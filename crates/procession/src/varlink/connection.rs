//! One connection of a server: its requests, one at a time.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use tokio::time::sleep;
use tokio_util::bytes::BytesMut;
use tracing::{debug, warn};

use super::call::{Call, CallError};
use super::codec::CodecError;
use super::denials::{Denials, Denied};
use super::input::{Input, InputError, PeerGone};
use super::link::{Link, Progress};
use super::message::{OutgoingReply, Request, error_names};
use super::peer::Peer;
use super::rights::Granted;
use super::server::Limits;
use super::service::Registry;
use super::socket::Socket;

/// Why a connection is over.
enum End {
    /// The peer has ended it, or is gone.
    Closed,
    /// The peer broke a rule, and is told which.
    Refused(CallError),
}

impl From<PeerGone> for End {
    fn from(_: PeerGone) -> Self {
        Self::Closed
    }
}

/// Serves one peer until either side ends it.
pub(super) struct Connection {
    link: Arc<Link>,
    input: Input,
    granted: Granted,
    registry: Arc<Registry>,
    denials: Arc<Denials>,
    limits: Limits,
}

impl Connection {
    pub(super) fn new(
        socket: Socket,
        peer: Peer,
        granted: Granted,
        registry: Arc<Registry>,
        denials: Arc<Denials>,
        limits: Limits,
    ) -> Self {
        let link = Arc::new(Link::new(socket, peer, &limits));
        Self {
            input: Input::new(Arc::clone(&link), limits.clone()),
            link,
            granted,
            registry,
            denials,
            limits,
        }
    }

    pub(super) async fn run(mut self) {
        let end = loop {
            let request = match self.input.next().await {
                Ok(Some(request)) => request,
                Ok(None) => break End::Closed,
                Err(error) => break refusal(error),
            };
            if let Err(end) = self.answer(request).await {
                break end;
            }
            // Requests that are there already would otherwise keep the thread.
            tokio::task::coop::consume_budget().await;
        };
        if let End::Refused(error) = end {
            debug!(peer = %self.link.peer(), %error, "connection refused further");
            let _ = self.write_error(error, BytesMut::new()).await;
        }
    }

    /// Answers one request, or knows that the answer will come from elsewhere
    /// and waits for it.
    async fn answer(&mut self, request: Request) -> Result<(), End> {
        self.link.begin(request.oneway);
        let call = Call::new(request, Arc::clone(&self.link));
        debug!(
            peer = %call.peer(),
            interface = call.interface(),
            method = call.method(),
            "call"
        );
        let outcome = tokio::select! {
            biased;
            outcome = dispatch(&self.registry, &self.denials, self.granted, call) => outcome,
            // Work whose caller is gone is dropped.
            gone = self.input.gone() => return Err(gone.into()),
        };
        self.settle(outcome).await
    }

    /// Returns once the call is answered: usually it is already.
    async fn settle(&mut self, outcome: Result<(), CallError>) -> Result<(), End> {
        loop {
            match self.link.progress(self.input.has_more_to_do()) {
                Progress::Answered => return Ok(()),
                Progress::Unsent(rest) => return self.write(rest).await,
                Progress::Dropped(unsent) => {
                    let error = outcome.err().unwrap_or_else(no_reply);
                    return self.write_error(error, unsent).await;
                }
                Progress::Open => {}
            }
            tokio::select! {
                () = self.link.progressed() => {}
                ahead = self.input.read_ahead() => ahead?,
                // A reply from elsewhere doesn't tell us. So that a peer that
                // then falls silent counts as idle some time, look.
                () = sleep(self.limits.idle_timeout) => {}
            }
        }
    }

    async fn write_error(&self, error: CallError, mut unsent: BytesMut) -> Result<(), End> {
        let Some((name, parameters)) = error.into_reply() else {
            return Err(End::Closed);
        };
        let reply = OutgoingReply::error(&name, &parameters);
        if self.link.encode(&reply, &mut unsent).is_err() {
            // An error with more parameters than a message may have.
            let limit = json!({"limit": self.limits.message_bytes_max});
            let reply = OutgoingReply::error(error_names::REPLY_TOO_LARGE, &limit);
            self.link.encode(&reply, &mut unsent).map_err(|_| End::Closed)?;
        }
        self.write(unsent).await
    }

    async fn write(&self, mut bytes: BytesMut) -> Result<(), End> {
        self.link.write(&mut bytes).await.map_err(|_| End::Closed)
    }
}

impl Drop for Connection {
    /// Also when the server stops, or a service panics.
    fn drop(&mut self) {
        self.link.close();
    }
}

/// Hands the call to its service. When this is over, the call is answered,
/// dropped, or in somebody else's hands.
async fn dispatch(
    registry: &Registry,
    denials: &Denials,
    granted: Granted,
    call: Call,
) -> Result<(), CallError> {
    if call.upgrade() {
        return Err(CallError::new(error_names::UPGRADE_REFUSED, json!({})));
    }
    if call.interface().is_empty() {
        return Err(call.unknown_method());
    }
    match registry.expect(call.interface()).await {
        Some(service) if granted.has(service.right(call.method())) => service.call(call).await,
        Some(service) => {
            let right = service.right(call.method());
            if denials.is_first(Denied::Call, call.peer().uid, Instant::now()) {
                warn!(peer = %call.peer(), method = call.full_method(), ?right, "call denied");
            }
            Err(CallError::new(error_names::PERMISSION_DENIED, json!({})))
        }
        None => Err(CallError::interface_not_found(call.interface())),
    }
}

fn no_reply() -> CallError {
    CallError::new(error_names::NO_REPLY, json!({"reason": "the service gave no reply"}))
}

/// What the peer is told before the connection is closed.
fn refusal(error: InputError) -> End {
    let (name, parameters) = match error {
        InputError::Codec(CodecError::Io(_)) => return End::Closed,
        InputError::Codec(CodecError::TooLarge { limit }) => {
            (error_names::MESSAGE_TOO_LARGE, json!({"limit": limit}))
        }
        InputError::Codec(CodecError::TooDeep { limit }) => {
            (error_names::NESTED_TOO_DEEPLY, json!({"limit": limit}))
        }
        InputError::Codec(error) => (error_names::MALFORMED, json!({"reason": error.to_string()})),
        InputError::Idle(after) | InputError::Stalled(after) => (
            error_names::TIMED_OUT,
            json!({"milliseconds": u64::try_from(after.as_millis()).unwrap_or(u64::MAX)}),
        ),
    };
    End::Refused(CallError::new(name, parameters))
}
