//! One end of a process's socket, as somebody who isn't the framework would write it: bytes, NUL, JSON.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::wait::DEADLINE;

/// A connection to a process's socket.
#[derive(Debug)]
pub struct Peer {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Peer {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there, mostly.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// For how long a read may take.
    ///
    /// # Panics
    /// For a time of 0.
    pub fn set_patience(&self, time: Duration) {
        self.stream.set_read_timeout(Some(time)).expect("more than 0");
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The other side has hung up, mostly.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends one message.
    ///
    /// # Errors
    /// The other side has hung up, mostly.
    pub fn send(&mut self, message: &Value) -> io::Result<()> {
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.send_bytes(&bytes)
    }

    /// The next message; none once the other side has hung up.
    ///
    /// # Errors
    /// Nothing comes within a minute, or it isn't JSON.
    pub fn receive(&mut self) -> io::Result<Option<Value>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == 0) {
                let message = serde_json::from_slice(&self.buffer[..end])?;
                self.buffer.drain(..=end);
                return Ok(Some(message));
            }
            let mut bytes = [0; 64 * 1024];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Ok(None),
                Ok(count) => self.buffer.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Calls a method; the reply's parameters.
    ///
    /// # Errors
    /// No reply, or one that is an error.
    pub fn call(&mut self, method: &str, parameters: &Value) -> io::Result<Value> {
        self.send(&json!({"method": method, "parameters": parameters}))?;
        let mut reply = self.receive()?.ok_or(ErrorKind::UnexpectedEof)?;
        match reply.get("error") {
            Some(_) => Err(io::Error::other(format!("{method}: {reply}"))),
            None => Ok(reply["parameters"].take()),
        }
    }
}

/// Calls one method of whoever listens at `socket`.
///
/// # Errors
/// Nobody listens there, no reply, or one that is an error.
pub fn call(socket: &Path, method: &str, parameters: &Value) -> io::Result<Value> {
    Peer::connect(socket)?.call(method, parameters)
}
