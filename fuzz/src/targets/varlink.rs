//! Bytes on a local socket.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use procession::varlink::{
    Answer, Call, CallError, Limits, MessageCodec, Options, Reply, Request, Server, Service,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::bytes::BytesMut;
use tokio_util::codec::Decoder;

use crate::empty_folder;

const MESSAGE_BYTES_MAX: usize = 2048;
const NESTING_MAX: usize = 8;
const BYTES_MAX: usize = 16 << 10;
/// Nobody is kept waiting longer.
const PATIENCE: Duration = Duration::from_secs(20);

struct Echo;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Said {
    text: String,
    number: i64,
    list: Vec<u8>,
    inner: Option<Box<Said>>,
}

impl Service for Echo {
    fn interface(&self) -> &'static str {
        "f.E"
    }

    fn description(&self) -> &'static str {
        "interface f.E\nmethod Echo(text: string) -> (text: string)\n"
    }

    fn call(&self, mut call: Call) -> Answer<'_> {
        Box::pin(async move {
            match call.method() {
                "Echo" => {
                    let said: Said = call.parameters()?;
                    call.reply(&said)
                }
                "Many" => {
                    call.require_more()?;
                    let said: Said = call.parameters()?;
                    for count in 0..said.number.clamp(0, 50) {
                        call.feed_continues(&json!({"count": count, "text": said.text})).await?;
                    }
                    call.reply(&json!({}))
                }
                "Later" => {
                    std::thread::spawn(move || call.reply(&json!({"later": true})));
                    Ok(())
                }
                "Drop" => Ok(()),
                "Fail" => Err(CallError::new("f.E.Failed", json!({}))),
                _ => Err(call.unknown_method()),
            }
        })
    }
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let limits = Limits {
            message_bytes_max: MESSAGE_BYTES_MAX,
            nesting_max: NESTING_MAX,
            idle_timeout: PATIENCE,
            read_timeout: PATIENCE,
            ..Limits::default()
        };
        let options = Options { limits, ..Options::default() };
        let path = empty_folder("varlink").join("socket");
        Server::start(path, vec![Arc::new(Echo)], options).expect("an empty folder")
    })
}

fn requests() -> MessageCodec<Request> {
    MessageCodec::new(MESSAGE_BYTES_MAX, NESTING_MAX)
}

/// The codec gives the same messages however they are cut; the server answers each call once, in order, tells
/// what is wrong with the rest, and ends the connection.
pub fn varlink(data: &[u8]) {
    let Some((cut, data)) = data.split_first() else { return };
    let data = &data[..data.len().min(BYTES_MAX)];
    let (whole, wrong) = decode(data, data.len());
    let (pieces, wrong_in_pieces) = decode(data, usize::from(*cut).max(1));
    assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
    assert_eq!(wrong, wrong_in_pieces);

    let wanted = whole.iter().filter(|request| !request.oneway).count() + usize::from(wrong);
    let answer = converse(data);
    let mut codec = MessageCodec::<Reply>::new(usize::MAX, 127);
    let mut left = BytesMut::from(&answer[..]);
    let mut last = 0;
    while let Some(reply) = codec.decode_eof(&mut left).expect("replies are sound") {
        last += usize::from(!reply.continues);
    }
    assert_eq!(last, wanted, "replies: {}", String::from_utf8_lossy(&answer));
}

/// The messages in `data`, which come in pieces of `piece` bytes, and whether they end with something that is none.
fn decode(data: &[u8], piece: usize) -> (Vec<Request>, bool) {
    let (mut codec, mut buffer, mut messages) = (requests(), BytesMut::new(), Vec::new());
    for piece in data.chunks(piece.max(1)) {
        buffer.extend_from_slice(piece);
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(_) => return (messages, true),
            }
        }
    }
    match codec.decode_eof(&mut buffer) {
        Ok(None) => (messages, false),
        Ok(Some(message)) => panic!("a message out of nothing: {message:?}"),
        Err(_) => (messages, true),
    }
}

/// Says it all, and hears what comes back until the server has nothing more to say.
fn converse(data: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(server().path()).expect("the server goes on");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    // The server may have refused the rest already.
    let _ = stream.write_all(data);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        let kind = error.kind();
        assert_eq!(kind, std::io::ErrorKind::ConnectionReset, "the connection does not end");
    }
    answer
}
