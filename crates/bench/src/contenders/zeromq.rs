//! ZeroMQ over `ipc://`: a PUSH/PULL pair for each subscriber, which blocks where PUB would drop.

use crate::contender::{Contender, Missing, Place, Promises};
use crate::crew::Stage;
use crate::member::{Part, Role, Sink, Source, Wire};
use crate::work::{Measured, Task, Work};

pub(super) const NAME: &str = "zeromq";

/// Messages that may wait on each side before the publisher blocks.
const HIGH_WATER_MARK: i32 = 10_000;

#[derive(Debug)]
pub(crate) struct ZeroMq;

impl Contender for ZeroMq {
    fn name(&self) -> &'static str {
        NAME
    }

    fn promises(&self) -> Promises {
        let settings = "ipc://, a PUSH/PULL pair for each subscriber, high-water mark 10,000, blocking";
        Promises { settings: settings.into(), lossless: true, replays: false, durable: false }
    }

    fn version(&self, _: &Place<'_>) -> Result<String, Missing> {
        let (major, minor, patch) = zmq::version();
        Ok(format!("libzmq {major}.{minor}.{patch}"))
    }

    fn offers(&self, work: Work) -> bool {
        matches!(work, Work::Throughput { .. } | Work::Latency { .. })
    }

    fn run(&self, task: &Task, place: &Place<'_>) -> anyhow::Result<Measured> {
        let folder = super::folder(place)?;
        let address = format!("ipc://{}/socket", folder.path().display());
        Stage { contender: NAME, address, first: Role::Publisher, server: None, program: None }.perform(task)
    }
}

impl Wire for ZeroMq {
    fn publish(&self, part: &Part, source: &mut Source) -> anyhow::Result<()> {
        let context = zmq::Context::new();
        let sockets = (0..part.subscribers())
            .map(|number| {
                let socket = context.socket(zmq::PUSH)?;
                socket.set_sndhwm(HIGH_WATER_MARK)?;
                socket.bind(&format!("{}-{number}", part.address))?;
                Ok(socket)
            })
            .collect::<Result<Vec<_>, zmq::Error>>()?;
        source.ready()?;
        while let Some(message) = source.next() {
            for socket in &sockets {
                socket.send(message, 0)?;
            }
        }
        source.said()?;
        source.stay()
    }

    fn hear(&self, part: &Part, sink: &mut Sink) -> anyhow::Result<()> {
        let context = zmq::Context::new();
        let socket = context.socket(zmq::PULL)?;
        socket.set_rcvhwm(HIGH_WATER_MARK)?;
        socket.connect(&format!("{}-{}", part.address, part.number))?;
        sink.ready()?;
        let flags =
            if matches!(part.task.work, Work::Latency { spin: true, .. }) { zmq::DONTWAIT } else { 0 };
        let mut message = zmq::Message::new();
        while !sink.is_done() {
            match socket.recv(&mut message, flags) {
                Ok(()) => sink.take(&message),
                Err(zmq::Error::EAGAIN) => std::hint::spin_loop(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
