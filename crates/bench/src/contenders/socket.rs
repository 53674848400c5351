//! The floor of talking: a blocking Unix socket for each subscriber, one write and one read for each message.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};

use crate::contender::{Contender, Missing, Place, Promises};
use crate::crew::Stage;
use crate::member::{Part, Role, Sink, Source, Wire};
use crate::work::{Measured, Task, Work};

pub(super) const NAME: &str = "unix socket";
pub(super) const LOSSY_NAME: &str = "lossy stub";

#[derive(Debug)]
pub(crate) struct Socket {
    /// One message in so many is left out.
    drops_one_in: Option<u64>,
}

impl Socket {
    pub(crate) const fn lossless() -> Self {
        Self { drops_one_in: None }
    }

    pub(crate) const fn lossy() -> Self {
        Self { drops_one_in: Some(100) }
    }
}

impl Contender for Socket {
    fn name(&self) -> &'static str {
        if self.drops_one_in.is_some() { LOSSY_NAME } else { NAME }
    }

    fn promises(&self) -> Promises {
        let settings = "floor: blocking, a write and a read for each message and subscriber, no framing";
        Promises {
            settings: settings.into(),
            lossless: self.drops_one_in.is_none(),
            replays: false,
            durable: false,
        }
    }

    fn version(&self, _: &Place<'_>) -> Result<String, Missing> {
        Ok("std".to_owned())
    }

    fn offers(&self, work: Work) -> bool {
        matches!(work, Work::Throughput { .. } | Work::Latency { spin: false, .. })
    }

    fn run(&self, task: &Task, place: &Place<'_>) -> anyhow::Result<Measured> {
        let folder = super::folder(place)?;
        let address = folder.path().join("socket").display().to_string();
        Stage { contender: self.name(), address, first: Role::Publisher, server: None, program: None }
            .perform(task)
    }
}

impl Wire for Socket {
    fn publish(&self, part: &Part, source: &mut Source) -> anyhow::Result<()> {
        let listener = UnixListener::bind(&part.address)?;
        source.ready()?;
        let mut streams = (0..part.subscribers())
            .map(|_| listener.accept().map(|(stream, _)| stream))
            .collect::<std::io::Result<Vec<_>>>()?;
        source.start();
        let mut count = 0;
        while let Some(message) = source.next() {
            count += 1;
            if self.drops_one_in.is_some_and(|every| count % every == 0) {
                continue;
            }
            for stream in &mut streams {
                stream.write_all(message)?;
            }
        }
        source.said()?;
        source.stay()
    }

    fn hear(&self, part: &Part, sink: &mut Sink) -> anyhow::Result<()> {
        let mut stream = UnixStream::connect(&part.address)?;
        sink.ready()?;
        let mut message = vec![0; part.payload_bytes()];
        while !sink.is_done() {
            stream.read_exact(&mut message)?;
            sink.take(&message);
        }
        Ok(())
    }
}
