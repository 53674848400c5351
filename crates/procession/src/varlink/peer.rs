//! Who is at the other end of a connection.

use std::fmt;
use std::io;

use tokio::net::UnixStream;

use super::address::Stream;

/// The process that opened the connection, as the kernel saw it then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Process id; none when it lives in a PID namespace that we can't see.
    pub pid: Option<i32>,
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
}

impl Peer {
    /// Asks the kernel. A socket that never got connected is an error.
    pub(super) fn of(stream: &Stream) -> io::Result<Self> {
        Self::of_stream(stream.inner())
    }

    /// As [`of`](Self::of), for tokio's own type.
    pub(super) fn of_stream(stream: &UnixStream) -> io::Result<Self> {
        // Not rustix: its credentials can't hold the pid 0 that the kernel
        // gives for a process of a foreign PID namespace.
        let credentials = stream.peer_cred()?;
        if credentials.uid() == u32::MAX {
            return Err(io::ErrorKind::NotConnected.into());
        }
        Ok(Self {
            pid: credentials.pid().filter(|pid| *pid != 0),
            uid: credentials.uid(),
            gid: credentials.gid(),
        })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(formatter, "pid {pid}, uid {}, gid {}", self.uid, self.gid),
            None => write!(formatter, "uid {}, gid {}", self.uid, self.gid),
        }
    }
}
