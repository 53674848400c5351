//! NATS JetStream on files: a broker that stores and replays.

use std::collections::VecDeque;
use std::future::IntoFuture as _;

use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::stream::{Config, StorageType};
use async_nats::jetstream::{self};
use futures_util::StreamExt as _;
use tokio_util::bytes::Bytes;

use super::nats::{SUBJECT, connect, runtime};
use super::nats_server;
use crate::contender::{Contender, Missing, Place, Promises};
use crate::crew::Stage;
use crate::member::{Part, Role, Sink, Source, Wire};
use crate::work::{Durability, Measured, Task, Work};

pub(super) const NAME: &str = "jetstream";
const STREAM: &str = "BENCH";

#[derive(Debug)]
pub(crate) struct JetStream;

impl Contender for JetStream {
    fn name(&self) -> &'static str {
        NAME
    }

    fn promises(&self) -> Promises {
        let settings = "nats-server on loopback, file storage, sync_interval 1s unless stated (never: its default, \
                        2m), 1,024 publications unconfirmed at most, ordered pull consumers";
        Promises { settings: settings.into(), lossless: true, replays: true, durable: true }
    }

    fn version(&self, _: &Place<'_>) -> Result<String, Missing> {
        nats_server::version()
    }

    fn offers(&self, work: Work) -> bool {
        !matches!(work, Work::Latency { spin: true, .. })
    }

    fn run(&self, task: &Task, place: &Place<'_>) -> anyhow::Result<Measured> {
        let folder = super::folder(place)?;
        let nats = nats_server::start(folder.path(), Some(task.work.durability()))?;
        let (address, server) = (nats.url.clone(), Some(&nats.server));
        Stage { contender: NAME, address, first: Role::Publisher, server, program: None }.perform(task)
    }
}

/// How many publications may wait for their confirmation.
fn window(work: Work) -> usize {
    match work {
        Work::Latency { .. } => 1,
        Work::Durable { durability: Durability::Always, waiting, .. } => {
            usize::try_from(waiting).unwrap_or(1).max(1)
        }
        _ => 1024,
    }
}

impl Wire for JetStream {
    fn publish(&self, part: &Part, source: &mut Source) -> anyhow::Result<()> {
        runtime()?.block_on(async {
            let context = jetstream::new(connect(part).await?);
            let config = Config {
                name: STREAM.to_owned(),
                subjects: vec![SUBJECT.to_owned()],
                storage: StorageType::File,
                ..Config::default()
            };
            context.create_stream(config).await?;
            source.ready()?;
            let window = window(part.task.work);
            let mut waiting: VecDeque<PublishAckFuture> = VecDeque::with_capacity(window);
            while let Some(message) = source.next() {
                if waiting.len() == window
                    && let Some(oldest) = waiting.pop_front()
                {
                    oldest.into_future().await?;
                }
                waiting.push_back(context.publish(SUBJECT, Bytes::copy_from_slice(message)).await?);
                // Single messages go out at once: the pause that comes next blocks this thread.
                if part.task.work.is_latency()
                    && let Some(only) = waiting.pop_front()
                {
                    only.into_future().await?;
                }
            }
            for one in waiting {
                one.into_future().await?;
            }
            source.said()
        })
    }

    fn hear(&self, part: &Part, sink: &mut Sink) -> anyhow::Result<()> {
        runtime()?.block_on(async {
            let context = jetstream::new(connect(part).await?);
            let stream = context.get_stream(STREAM).await?;
            if matches!(part.task.work, Work::CatchUp { .. }) {
                sink.ready()?;
            }
            let consumer = stream.create_consumer(OrderedConfig::default()).await?;
            let mut messages = consumer.messages().await?;
            if !matches!(part.task.work, Work::CatchUp { .. }) {
                sink.ready()?;
            }
            while !sink.is_done()
                && let Some(message) = messages.next().await.transpose()?
            {
                sink.take(&message.payload);
            }
            Ok(())
        })
    }
}
