//! The Varlink layer, over real sockets.

mod calls;
mod direct;
mod interop;
mod ledger;
mod limits;
mod opening;
mod rights;
mod streams;
pub(crate) mod support;
pub(crate) mod zlink_client;
