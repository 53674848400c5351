//! The local socket: [Varlink](https://varlink.org), both sides.
//!
//! JSON objects, each followed by a NUL byte. A request names a method
//! (`interface.Method`); a reply carries parameters or an error. With `more`
//! a request gets several replies, all but the last marked `continues`; with
//! `oneway` none. Every server also speaks `org.varlink.service`, so that any
//! Varlink client can ask what it offers.
//!
//! [`Server`] answers on a thread of its own, so that a process whose
//! application is busy or hung can still be asked how it is. A [`Service`] is
//! one interface of it. A [`Call`] may be answered from any thread, also long
//! after the service returned: [`Call::into_direct`] is how a publisher wakes
//! its sleeping readers with one system call each.
//!
//! [`Client`] is a connection that belongs to the caller's own task.

mod address;
mod call;
mod client;
mod codec;
mod connection;
mod denials;
mod depth;
mod door;
mod endpoint;
mod input;
mod interfaces;
mod introspection;
mod link;
mod listener;
mod message;
mod peer;
mod places;
mod rights;
mod server;
mod service;
mod socket;

pub use address::{AddressError, SOCKET_PATH_BYTES_MAX};
pub use call::{Call, CallError, DirectReply, EncodedReply};
pub use client::{Client, ClientError, Received, Replies};
pub(crate) use codec::MESSAGE_BYTES_MAX;
pub use codec::{CodecError, MessageCodec};
pub use endpoint::{Endpoint, Unproven};
pub use interfaces::{PROTOCOL, SERVICE};
pub use message::{NoParameters, Reply, Request, error_names};
pub use peer::Peer;
pub use rights::{Allow, Right, Rights};
pub use server::{Identity, Limits, Options, Server, StartError};
pub use service::{Answer, DuplicateInterface, Service};
