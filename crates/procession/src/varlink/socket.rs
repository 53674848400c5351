//! A connected local socket that is woken only by what arrives.
//!
//! Tokio's own stream is registered for reading and for writing. But the
//! kernel calls a local socket writable each time the peer has taken a message
//! out, so every message read would wake the thread that sent it, for nothing.
//! Here writability is asked for only while a full buffer is waited out.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;
use tokio_util::bytes::{Buf, BytesMut};

use super::address::Stream;

/// Pause before the buffer is looked at again when no descriptor is left to
/// wait for it.
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// One end of a connection. All its methods take `&self`, so that one task can
/// read while another thread writes.
#[derive(Debug)]
pub(super) struct Socket(AsyncFd<OwnedFd>);

impl Socket {
    /// Takes a stream over. Must run within a tokio runtime, whose reactor then
    /// serves the reading.
    pub(super) fn new(stream: Stream) -> io::Result<Self> {
        let descriptor = OwnedFd::try_from(stream)?;
        register(descriptor, Interest::READABLE).map(Self)
    }

    /// Appends what has arrived to `buffer`, up to `bytes_max`; waits when that
    /// is nothing. Zero at the end. Loses nothing when dropped.
    pub(super) async fn read(&self, buffer: &mut BytesMut, bytes_max: usize) -> io::Result<usize> {
        loop {
            let mut ready = self.0.readable().await?;
            let before = buffer.len();
            buffer.resize(before + bytes_max, 0);
            let outcome = recv(&self.0, &mut buffer[before..], RecvFlags::DONTWAIT);
            let count = outcome.map_or(0, |(count, _)| count);
            buffer.truncate(before + count);
            match outcome {
                Ok(_) => {
                    // Less than there was room for is all there was. (The end
                    // is a state of its own, which this doesn't clear.)
                    if count < bytes_max {
                        ready.clear_ready();
                    }
                    return Ok(count);
                }
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends what the peer's buffer takes, without waiting and without a
    /// signal: one system call. Zero when it is full.
    pub(super) fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        send_now(&self.0, bytes)
    }

    /// Writes all of `bytes`, waiting for room. What is not written yet stays
    /// in `bytes` when the future is dropped. Must run within a tokio runtime.
    pub(super) async fn write(&self, bytes: &mut BytesMut) -> io::Result<()> {
        let mut room = None;
        while !bytes.is_empty() {
            let count = self.send_now(bytes)?;
            if count == 0 {
                self.wait_for_room(&mut room).await?;
            }
            bytes.advance(count);
        }
        Ok(())
    }

    /// Returns when the buffer may have room; may also return for nothing.
    async fn wait_for_room(&self, room: &mut Option<AsyncFd<OwnedFd>>) -> io::Result<()> {
        if room.is_none() {
            let Ok(descriptor) = self.0.get_ref().try_clone() else {
                sleep(FULL_PAUSE).await;
                return Ok(());
            };
            *room = Some(register(descriptor, Interest::WRITABLE)?);
        }
        if let Some(room) = room {
            let mut ready = room.writable().await?;
            // Looks for itself, so that an event between our last try and now
            // is not cleared away.
            if !self.has_room() {
                ready.clear_ready();
            }
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.poll(PollFlags::OUT).intersects(PollFlags::OUT)
    }

    /// True when the peer has closed its socket entirely. A peer that only
    /// won't send any more (`SHUT_WR`) still waits for its replies.
    pub(super) fn peer_hung_up(&self) -> bool {
        self.poll(PollFlags::empty()).intersects(PollFlags::HUP | PollFlags::ERR)
    }

    /// True when there is nothing to read, and the peer is there.
    pub(super) fn is_quiet(&self) -> bool {
        self.poll(PollFlags::IN).is_empty()
    }

    /// The peer sees the end, even while somebody still holds this socket.
    pub(super) fn hang_up(&self) {
        // Fails only where the peer has hung up already.
        let _ = shutdown(&self.0, Shutdown::Both);
    }

    fn poll(&self, flags: PollFlags) -> PollFlags {
        let mut descriptors = [PollFd::new(&self.0, flags)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        match poll(&mut descriptors, Some(&at_once)) {
            Ok(_) => descriptors[0].revents(),
            Err(_) => PollFlags::empty(),
        }
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe because of types that change their \
              descriptor; an OwnedFd keeps it, and unsafe is denied here"
)]
fn register(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, interest)
}

/// As [`Socket::send_now`], on whatever socket.
pub(super) fn send_now(socket: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match send(&socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(count) => return Ok(count),
            Err(Errno::AGAIN) => return Ok(0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
