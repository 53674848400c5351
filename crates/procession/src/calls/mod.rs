//! Typed calls: request and reply between processes, for the critical path.
//!
//! Everything that can wait is an event. A call is for what a customer stands and waits for: it is answered now, or it
//! fails now, and both sides know what kind of answer it was.
//!
//! A [`Request`] is the type of a method's parameters; it names the reply and the errors. The server offers an
//! [`Interface`] ([`Process::offer`](crate::Process::offer)), the client calls by a [`Caller`]
//! ([`Process::caller`](crate::Process::caller)). On the wire it is Varlink, so that any Varlink client can call, too.
//!
//! - Every call has a deadline. It travels with the request as `timeout_ms`, beside `method` and `parameters`, and
//!   calls that are made in the course of answering get what is left of it.
//! - The server bounds what it works on and what waits; whoever comes then gets `Busy` at once. It drops work whose
//!   caller has left or no longer waits.
//! - A [`Failure`] says whether the work may have been done ([`Failure::is_uncertain`]).
//! - A connection that is lost is made anew. A call that may have reached the server is repeated only if its request
//!   is [idempotent](Request::IDEMPOTENT).

mod admission;
mod caller;
mod deadline;
mod description;
mod failure;
mod interface;
mod once;
mod request;
mod wire;

pub use caller::Caller;
pub use deadline::deadline;
pub use failure::Failure;
pub use interface::{Interface, OfferError, Serving};
pub(crate) use once::answer;
pub use once::{ask, refusal};
pub use request::{NoError, NoReply, Refusal, Request};
pub(crate) use wire::refusal as refused;
