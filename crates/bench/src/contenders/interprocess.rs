//! tokio, interprocess and LengthDelimitedCodec, as one would write it by hand.

use ::interprocess::local_socket::tokio::{Listener, Stream, prelude::*};
use ::interprocess::local_socket::{GenericFilePath, ListenerOptions};
use futures_util::{SinkExt, StreamExt as _};
use tokio_util::bytes::Bytes;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::contender::{Contender, Missing, Place, Promises};
use crate::crew::Stage;
use crate::member::{Part, Role, Sink, Source, Wire};
use crate::work::{Measured, Task, Work};

pub(super) const FRAMED_NAME: &str = "interprocess";
pub(super) const FRAMED_64_NAME: &str = "interprocess, 64 a flush";

pub(crate) const FRAMED: Framing = Framing { name: FRAMED_NAME, flush_every: 1 };
pub(crate) const FRAMED_64: Framing = Framing { name: FRAMED_64_NAME, flush_every: 64 };

#[derive(Debug)]
pub(crate) struct Framing {
    name: &'static str,
    flush_every: u64,
}

impl Contender for Framing {
    fn name(&self) -> &'static str {
        self.name
    }

    fn promises(&self) -> Promises {
        let settings = if self.flush_every == 1 {
            "tokio (one thread) + interprocess + LengthDelimitedCodec, a flush for each message"
        } else {
            "tokio (one thread) + interprocess + LengthDelimitedCodec, a flush for 64 messages"
        };
        Promises { settings: settings.into(), lossless: true, replays: false, durable: false }
    }

    fn version(&self, _: &Place<'_>) -> Result<String, Missing> {
        Ok("interprocess 2.4, tokio-util 0.7".to_owned())
    }

    fn offers(&self, work: Work) -> bool {
        // Single messages can't wait for a flush that 64 share.
        matches!(work, Work::Throughput { .. })
            || (self.flush_every == 1 && matches!(work, Work::Latency { spin: false, .. }))
    }

    fn run(&self, task: &Task, place: &Place<'_>) -> anyhow::Result<Measured> {
        let folder = super::folder(place)?;
        let address = folder.path().join("socket").display().to_string();
        Stage { contender: self.name, address, first: Role::Publisher, server: None, program: None }
            .perform(task)
    }
}

impl Wire for Framing {
    fn publish(&self, part: &Part, source: &mut Source) -> anyhow::Result<()> {
        runtime()?.block_on(async {
            let name = part.address.as_str().to_fs_name::<GenericFilePath>()?;
            let listener = ListenerOptions::new().name(name).create_tokio()?;
            source.ready()?;
            let mut connections = accept(&listener, part.subscribers()).await?;
            source.start();
            self.send(source, &mut connections).await?;
            source.said()
        })
    }

    fn hear(&self, part: &Part, sink: &mut Sink) -> anyhow::Result<()> {
        runtime()?.block_on(async {
            let name = part.address.as_str().to_fs_name::<GenericFilePath>()?;
            let mut connection = framed(Stream::connect(name).await?);
            sink.ready()?;
            while !sink.is_done()
                && let Some(message) = connection.next().await.transpose()?
            {
                sink.take(&message);
            }
            Ok(())
        })
    }
}

type Connection = Framed<Stream, LengthDelimitedCodec>;

impl Framing {
    async fn send(&self, source: &mut Source, connections: &mut [Connection]) -> anyhow::Result<()> {
        let mut count = 0;
        while let Some(message) = source.next() {
            let message = Bytes::copy_from_slice(message);
            count += 1;
            for connection in &mut *connections {
                connection.feed(message.clone()).await?;
                if count % self.flush_every == 0 {
                    SinkExt::<Bytes>::flush(connection).await?;
                }
            }
        }
        for connection in connections {
            SinkExt::<Bytes>::flush(connection).await?;
        }
        Ok(())
    }
}

async fn accept(listener: &Listener, count: usize) -> std::io::Result<Vec<Connection>> {
    let mut connections = Vec::with_capacity(count);
    while connections.len() < count {
        connections.push(framed(listener.accept().await?));
    }
    Ok(connections)
}

fn framed(stream: Stream) -> Connection {
    Framed::new(stream, LengthDelimitedCodec::new())
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
