//! Varlink's framing: one JSON object, then a NUL byte.

use std::ffi::CStr;
use std::io;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::bytes::{Buf, BufMut, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use super::depth::nests_deeper_than;

/// Bytes of one message without its NUL, unless said otherwise.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// Levels of objects and arrays in one message, unless said otherwise.
/// The JSON parser itself allows 127.
pub(super) const NESTING_MAX: usize = 64;

/// A buffer that has grown beyond this is given back once it is empty.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// Why bytes are not a message, or a value can't become one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// No NUL within the limit, or a value that needs more.
    #[error("a message is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Objects or arrays within one another, too many times.
    #[error("a message nests deeper than {limit} levels")]
    TooDeep {
        /// The limit, in levels.
        limit: usize,
    },
    /// The bytes are not text.
    #[error("a message is not UTF-8: {0}")]
    NotUtf8(#[source] std::str::Utf8Error),
    /// The text is not JSON, or not the object that was expected.
    #[error("a message is malformed: {0}")]
    Malformed(#[source] serde_json::Error),
    /// The peer closed in the middle of a message.
    #[error("the connection ended within a message, after {bytes} bytes of it")]
    Truncated {
        /// What had arrived of it.
        bytes: usize,
    },
    /// The value can't be said in JSON.
    #[error("a value can't be written as JSON: {0}")]
    Unserializable(#[source] serde_json::Error),
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Decodes messages of type `T`; encodes anything serializable.
#[derive(Debug)]
pub struct MessageCodec<T> {
    message_bytes_max: usize,
    nesting_max: usize,
    /// How far the buffer is known to hold no NUL, so that a large message
    /// that comes in small pieces is not looked through again for each.
    scanned: usize,
    message: PhantomData<fn() -> T>,
}

impl<T> MessageCodec<T> {
    /// A codec with these limits: bytes without the NUL, and levels of nesting.
    #[must_use]
    pub fn new(message_bytes_max: usize, nesting_max: usize) -> Self {
        Self { message_bytes_max, nesting_max, scanned: 0, message: PhantomData }
    }

    /// The length of the first message in `source`, when it is all there.
    fn find(&mut self, source: &[u8]) -> Result<Option<usize>, CodecError> {
        let limit = self.message_bytes_max;
        let found = CStr::from_bytes_until_nul(&source[self.scanned..])
            .ok()
            .map(|rest| self.scanned + rest.count_bytes());
        let length = found.unwrap_or(source.len());
        self.scanned = if found.is_some() { 0 } else { length };
        if length > limit {
            return Err(CodecError::TooLarge { limit });
        }
        Ok(found)
    }
}

impl<T> Default for MessageCodec<T> {
    fn default() -> Self {
        Self::new(MESSAGE_BYTES_MAX, NESTING_MAX)
    }
}

impl<T: DeserializeOwned> Decoder for MessageCodec<T> {
    type Item = T;
    type Error = CodecError;

    /// After an error the connection can't be used further.
    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<T>, CodecError> {
        let Some(length) = self.find(source)? else {
            return Ok(None);
        };
        let message = parse(&source[..length], self.nesting_max);
        source.advance(length + 1);
        if source.is_empty() && source.capacity() > KEPT_BYTES_MAX {
            *source = BytesMut::new();
        }
        message.map(Some)
    }

    fn decode_eof(&mut self, source: &mut BytesMut) -> Result<Option<T>, CodecError> {
        match self.decode(source)? {
            None if !source.is_empty() => Err(CodecError::Truncated { bytes: source.len() }),
            message => Ok(message),
        }
    }
}

impl<T, M: Serialize + ?Sized> Encoder<&M> for MessageCodec<T> {
    type Error = CodecError;

    fn encode(&mut self, message: &M, target: &mut BytesMut) -> Result<(), CodecError> {
        encode(message, target, self.message_bytes_max)
    }
}

fn parse<T: DeserializeOwned>(message: &[u8], nesting_max: usize) -> Result<T, CodecError> {
    let text = std::str::from_utf8(message).map_err(CodecError::NotUtf8)?;
    if nests_deeper_than(message, nesting_max) {
        return Err(CodecError::TooDeep { limit: nesting_max });
    }
    // Not left to `T`: serde takes an array for a struct, too.
    if !text.trim_start().starts_with('{') {
        let error = serde::de::Error::custom("it is not a JSON object");
        return Err(CodecError::Malformed(error));
    }
    serde_json::from_str(text).map_err(CodecError::Malformed)
}

/// Appends `message` and its NUL to `target`, which is left as it was on error.
pub(super) fn encode<M: Serialize + ?Sized>(
    message: &M,
    target: &mut BytesMut,
    message_bytes_max: usize,
) -> Result<(), CodecError> {
    let before = target.len();
    let room = Room { target, left: message_bytes_max };
    if let Err(error) = serde_json::to_writer(room, message) {
        target.truncate(before);
        // `Room` fails for one reason only.
        return Err(if error.is_io() {
            CodecError::TooLarge { limit: message_bytes_max }
        } else {
            CodecError::Unserializable(error)
        });
    }
    target.put_u8(0);
    Ok(())
}

/// Writes until the limit, so that a huge value doesn't fill the memory first.
struct Room<'a> {
    target: &'a mut BytesMut,
    left: usize,
}

impl io::Write for Room<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        self.target.put_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn codec() -> MessageCodec<Value> {
        MessageCodec::new(100, 4)
    }

    #[test]
    fn several_messages_in_one_buffer_come_one_by_one() {
        let mut buffer = BytesMut::from(&b"{\"a\":1}\0{\"b\":2}\0{\"c\""[..]);
        let mut codec = codec();
        assert_eq!(codec.decode(&mut buffer).unwrap(), Some(json!({"a": 1})));
        assert_eq!(codec.decode(&mut buffer).unwrap(), Some(json!({"b": 2})));
        assert_eq!(codec.decode(&mut buffer).unwrap(), None);
        buffer.put_slice(b":3}\0");
        assert_eq!(codec.decode(&mut buffer).unwrap(), Some(json!({"c": 3})));
        assert!(codec.decode_eof(&mut buffer).unwrap().is_none());
    }

    #[test]
    fn a_message_byte_by_byte_is_scanned_once() {
        let mut codec = codec();
        let mut buffer = BytesMut::new();
        let message = b"{\"text\":\"slow\"}\0";
        for (sent, byte) in message.iter().enumerate() {
            assert!(codec.decode(&mut buffer).unwrap().is_none());
            assert_eq!(codec.scanned, sent);
            buffer.put_u8(*byte);
        }
        assert_eq!(codec.decode(&mut buffer).unwrap(), Some(json!({"text": "slow"})));
        assert_eq!(codec.scanned, 0);
    }

    #[test]
    fn what_round_trips_is_what_was_encoded() {
        let message = json!({"nul": "\u{0}", "text": "ä", "big": u64::MAX});
        let mut buffer = BytesMut::new();
        codec().encode(&message, &mut buffer).unwrap();
        assert_eq!(buffer.iter().filter(|byte| **byte == 0).count(), 1);
        assert_eq!(codec().decode(&mut buffer).unwrap(), Some(message));
    }

    type IsExpected = fn(&CodecError) -> bool;

    #[test]
    fn every_kind_of_bad_bytes_has_its_error() {
        let cases: [(&[u8], IsExpected); 7] = [
            (b"\xff\xfe\0", |e| matches!(e, CodecError::NotUtf8(_))),
            (b"nonsense\0", |e| matches!(e, CodecError::Malformed(_))),
            (b"{\"a\":1} {}\0", |e| matches!(e, CodecError::Malformed(_))),
            (b"\0", |e| matches!(e, CodecError::Malformed(_))),
            (b"[\"an array\"]\0", |e| matches!(e, CodecError::Malformed(_))),
            (b"[[[[[]]]]]\0", |e| matches!(e, CodecError::TooDeep { limit: 4 })),
            (&[b' '; 101], |e| matches!(e, CodecError::TooLarge { limit: 100 })),
        ];
        for (bytes, expected) in cases {
            let error = codec().decode(&mut BytesMut::from(bytes)).unwrap_err();
            assert!(expected(&error), "{bytes:?}: {error}");
        }
    }

    #[test]
    fn the_limit_is_exact() {
        // {"t":""} has eight bytes.
        let message = json!({"t": "x".repeat(92)});
        let mut target = BytesMut::new();
        codec().encode(&message, &mut target).unwrap();
        assert_eq!(target.len(), 101);
        assert_eq!(codec().decode(&mut target).unwrap(), Some(message));
    }

    #[test]
    fn a_value_beyond_the_limit_leaves_the_target_alone() {
        let mut target = BytesMut::from(&b"before"[..]);
        let error =
            codec().encode(&json!({"t": "x".repeat(93)}), &mut target).expect_err("one byte too many");
        assert!(matches!(error, CodecError::TooLarge { limit: 100 }), "{error}");
        assert_eq!(&target[..], b"before");
    }

    #[test]
    fn an_end_within_a_message_is_told() {
        let error = codec().decode_eof(&mut BytesMut::from(&b"{\"a"[..]));
        assert!(matches!(error, Err(CodecError::Truncated { bytes: 3 })));
    }

    #[test]
    fn a_large_buffer_is_given_back() {
        let mut codec = MessageCodec::<Value>::default();
        let mut buffer = BytesMut::new();
        let message = json!({"t": "x".repeat(500_000)});
        codec.encode(&message, &mut buffer).unwrap();
        codec.decode(&mut buffer).unwrap();
        assert_eq!(buffer.capacity(), 0);
    }
}
