//! Typed calls on a connection of one's own: one question, and its answer.

use std::future::Future;

use super::request::Request;
use super::wire;
use crate::varlink::{Call, CallError, Client, ClientError};

/// Asks on a connection, and waits for the reply: for whoever asks once, and says itself how long it waits. For what an
/// application depends on there is a [`Caller`](super::Caller).
///
/// # Errors
/// Those of [`Client::call`]; [`refusal`] has what the server refused with.
pub async fn ask<R: Request>(client: &mut Client, request: &R) -> Result<R::Reply, ClientError> {
    client.call(R::METHOD, request).await
}

/// What the server refused a request of type `R` with; none if that is not why there is no reply.
#[must_use]
pub fn refusal<R: Request>(error: &ClientError) -> Option<R::Error> {
    match error {
        ClientError::Error { name, parameters } => wire::read_refusal(R::METHOD, name, parameters),
        _ => None,
    }
}

/// Answers a call of `R`'s method by what `work` comes to.
pub(crate) async fn answer<R, F, Fut>(call: Call, work: F) -> Result<(), CallError>
where
    R: Request,
    F: FnOnce(R) -> Fut,
    Fut: Future<Output = Result<R::Reply, R::Error>>,
{
    let request = call.parameters()?;
    match work(request).await {
        Ok(reply) => call.reply(&reply),
        Err(error) => Err(wire::refusal(R::METHOD, &error)),
    }
}
