//! Redis Streams with an append-only file: a broker that stores and replays.

use redis::Value;

use super::redis_server::{self, connect, publish};
use crate::contender::{Contender, Missing, Place, Promises};
use crate::crew::Stage;
use crate::member::{Part, Role, Sink, Source, Wire};
use crate::work::{Measured, Task, Work};

pub(super) const NAME: &str = "redis streams";
const KEY: &str = "bench";

#[derive(Debug)]
pub(crate) struct RedisStreams;

impl Contender for RedisStreams {
    fn name(&self) -> &'static str {
        NAME
    }

    fn promises(&self) -> Promises {
        let settings = "redis-server on a Unix socket, append-only file, everysec unless stated, 64 XADD a pipeline, \
                        XREAD of up to 1,000";
        Promises { settings: settings.into(), lossless: true, replays: true, durable: true }
    }

    fn version(&self, _: &Place<'_>) -> Result<String, Missing> {
        redis_server::version()
    }

    fn offers(&self, work: Work) -> bool {
        !matches!(work, Work::Latency { spin: true, .. })
    }

    fn run(&self, task: &Task, place: &Place<'_>) -> anyhow::Result<Measured> {
        let folder = super::folder(place)?;
        let redis = redis_server::start(folder.path(), Some(task.work.durability()))?;
        let (address, server) = (redis.url.clone(), Some(&redis.server));
        Stage { contender: NAME, address, first: Role::Publisher, server, program: None }.perform(task)
    }
}

impl Wire for RedisStreams {
    fn publish(&self, part: &Part, source: &mut Source) -> anyhow::Result<()> {
        publish(part, source, |command, message| {
            command.cmd("XADD").arg(KEY).arg("*").arg("p").arg(message);
        })
    }

    fn hear(&self, part: &Part, sink: &mut Sink) -> anyhow::Result<()> {
        let mut connection = connect(&part.address)?;
        sink.ready()?;
        let mut after = b"0".to_vec();
        while !sink.is_done() {
            let reply: Value = redis::cmd("XREAD")
                .arg("COUNT")
                .arg(1000)
                .arg("BLOCK")
                .arg(1000)
                .arg("STREAMS")
                .arg(KEY)
                .arg(&after)
                .query(&mut connection)?;
            for (id, payload) in entries(&reply) {
                sink.take(payload);
                after.clear();
                after.extend_from_slice(id);
            }
        }
        Ok(())
    }
}

/// The entries of the one stream that was read: `[[key, [[id, [field, payload]], …]]]`.
fn entries(reply: &Value) -> impl Iterator<Item = (&[u8], &[u8])> {
    array(array(array(reply).first().unwrap_or(&Value::Nil)).get(1).unwrap_or(&Value::Nil)).iter().filter_map(
        |entry| match array(entry) {
            [Value::BulkString(id), fields] => match array(fields) {
                [_, Value::BulkString(payload)] => Some((id.as_slice(), payload.as_slice())),
                _ => None,
            },
            _ => None,
        },
    )
}

fn array(value: &Value) -> &[Value] {
    match value {
        Value::Array(values) => values,
        _ => &[],
    }
}
