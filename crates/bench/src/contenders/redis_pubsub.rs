//! Redis pub/sub: a broker in memory, at most once.

use super::redis_server::{self, connect, publish};
use crate::contender::{Contender, Missing, Place, Promises};
use crate::crew::Stage;
use crate::member::{Part, Role, Sink, Source, Wire};
use crate::work::{Measured, Task, Work};

pub(super) const NAME: &str = "redis pub/sub";
const CHANNEL: &str = "bench";

#[derive(Debug)]
pub(crate) struct RedisPubSub;

impl Contender for RedisPubSub {
    fn name(&self) -> &'static str {
        NAME
    }

    fn promises(&self) -> Promises {
        let settings = "redis-server on a Unix socket, no output limit, 64 commands a pipeline; at most once";
        Promises { settings: settings.into(), lossless: false, replays: false, durable: false }
    }

    fn version(&self, _: &Place<'_>) -> Result<String, Missing> {
        redis_server::version()
    }

    fn offers(&self, work: Work) -> bool {
        matches!(work, Work::Throughput { .. } | Work::Publishing { .. } | Work::Latency { spin: false, .. })
    }

    fn run(&self, task: &Task, place: &Place<'_>) -> anyhow::Result<Measured> {
        let folder = super::folder(place)?;
        let redis = redis_server::start(folder.path(), None)?;
        let (address, server) = (redis.url.clone(), Some(&redis.server));
        Stage { contender: NAME, address, first: Role::Subscriber, server, program: None }.perform(task)
    }
}

impl Wire for RedisPubSub {
    fn publish(&self, part: &Part, source: &mut Source) -> anyhow::Result<()> {
        publish(part, source, |command, message| {
            command.cmd("PUBLISH").arg(CHANNEL).arg(message);
        })
    }

    fn hear(&self, part: &Part, sink: &mut Sink) -> anyhow::Result<()> {
        let mut connection = connect(&part.address)?;
        let mut messages = connection.as_pubsub();
        messages.subscribe(CHANNEL)?;
        sink.ready()?;
        while !sink.is_done() {
            sink.take(messages.get_message()?.get_payload_bytes());
        }
        Ok(())
    }
}
