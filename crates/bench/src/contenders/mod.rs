//! Everything that competes, one file each.

mod disk;
mod interprocess;
mod memory;
mod node_ipc;
mod ours;
mod socket;

#[cfg(feature = "peers")]
mod iceoryx2;
#[cfg(feature = "peers")]
mod jetstream;
#[cfg(feature = "peers")]
mod nats;
#[cfg(feature = "peers")]
mod nats_server;
#[cfg(feature = "peers")]
mod redis_pubsub;
#[cfg(feature = "peers")]
mod redis_server;
#[cfg(feature = "peers")]
mod redis_streams;
#[cfg(feature = "peers")]
mod zeromq;

use tempfile::TempDir;

use crate::contender::{Contender, Place};
use crate::member::Wire;

/// The name of our own.
pub(crate) const OURS: &str = "procession";

/// Those that need nothing but this workspace.
pub(crate) fn own_and_floors() -> Vec<Box<dyn Contender>> {
    vec![
        Box::new(ours::Ours),
        Box::new(memory::Memcpy),
        Box::new(disk::Fdatasync),
        Box::new(socket::Socket::lossless()),
    ]
}

/// The systems that people would pick instead.
pub(crate) fn peers() -> Vec<Box<dyn Contender>> {
    let mut all: Vec<Box<dyn Contender>> =
        vec![Box::new(interprocess::FRAMED), Box::new(interprocess::FRAMED_64)];
    #[cfg(feature = "peers")]
    all.extend([
        Box::new(iceoryx2::Iceoryx2) as Box<dyn Contender>,
        Box::new(zeromq::ZeroMq),
        Box::new(nats::NatsCore),
        Box::new(jetstream::JetStream),
        Box::new(redis_pubsub::RedisPubSub),
        Box::new(redis_streams::RedisStreams),
    ]);
    all.push(Box::new(node_ipc::NodeIpc));
    all
}

/// Not a contender: it loses messages on purpose, so that a test sees that this shows.
pub(crate) fn stub() -> Box<dyn Contender> {
    Box::new(socket::Socket::lossy())
}

/// What a member process of a contender does; none for one that brings its own programs.
pub(crate) fn wire(contender: &str) -> Option<Box<dyn Wire>> {
    let wire: Box<dyn Wire> = match contender {
        socket::NAME => Box::new(socket::Socket::lossless()),
        socket::LOSSY_NAME => Box::new(socket::Socket::lossy()),
        interprocess::FRAMED_NAME => Box::new(interprocess::FRAMED),
        interprocess::FRAMED_64_NAME => Box::new(interprocess::FRAMED_64),
        #[cfg(feature = "peers")]
        iceoryx2::NAME => Box::new(iceoryx2::Iceoryx2),
        #[cfg(feature = "peers")]
        zeromq::NAME => Box::new(zeromq::ZeroMq),
        #[cfg(feature = "peers")]
        nats::NAME => Box::new(nats::NatsCore),
        #[cfg(feature = "peers")]
        jetstream::NAME => Box::new(jetstream::JetStream),
        #[cfg(feature = "peers")]
        redis_pubsub::NAME => Box::new(redis_pubsub::RedisPubSub),
        #[cfg(feature = "peers")]
        redis_streams::NAME => Box::new(redis_streams::RedisStreams),
        _ => return None,
    };
    Some(wire)
}

/// A new folder for one run, removed when it ends. Its path is short enough for a socket's name.
fn folder(place: &Place<'_>) -> anyhow::Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("bench-").tempdir_in(place.parent)?)
}
