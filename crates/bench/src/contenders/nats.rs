//! NATS core: a broker in memory, at most once.

use async_nats::{Client, ConnectOptions};
use futures_util::StreamExt as _;
use tokio_util::bytes::Bytes;

use super::nats_server;
use crate::contender::{Contender, Missing, Place, Promises};
use crate::crew::Stage;
use crate::member::{Part, Role, Sink, Source, Wire};
use crate::work::{Measured, Task, Work};

pub(super) const NAME: &str = "nats core";
pub(super) const SUBJECT: &str = "bench";

#[derive(Debug)]
pub(crate) struct NatsCore;

impl Contender for NatsCore {
    fn name(&self) -> &'static str {
        NAME
    }

    fn promises(&self) -> Promises {
        let settings = "nats-server on loopback, pending limit 1 GB, async-nats; at most once";
        Promises { settings: settings.into(), lossless: false, replays: false, durable: false }
    }

    fn version(&self, _: &Place<'_>) -> Result<String, Missing> {
        nats_server::version()
    }

    fn offers(&self, work: Work) -> bool {
        matches!(work, Work::Throughput { .. } | Work::Publishing { .. } | Work::Latency { spin: false, .. })
    }

    fn run(&self, task: &Task, place: &Place<'_>) -> anyhow::Result<Measured> {
        let folder = super::folder(place)?;
        let nats = nats_server::start(folder.path(), None)?;
        let (address, server) = (nats.url.clone(), Some(&nats.server));
        Stage { contender: NAME, address, first: Role::Subscriber, server, program: None }.perform(task)
    }
}

impl Wire for NatsCore {
    fn publish(&self, part: &Part, source: &mut Source) -> anyhow::Result<()> {
        runtime()?.block_on(async {
            let client = connect(part).await?;
            source.ready()?;
            while let Some(message) = source.next() {
                client.publish(SUBJECT, Bytes::copy_from_slice(message)).await?;
                if part.task.work.is_latency() {
                    client.flush().await?;
                }
            }
            client.flush().await?;
            source.said()
        })
    }

    fn hear(&self, part: &Part, sink: &mut Sink) -> anyhow::Result<()> {
        runtime()?.block_on(async {
            let client = connect(part).await?;
            let mut messages = client.subscribe(SUBJECT).await?;
            client.flush().await?;
            sink.ready()?;
            while !sink.is_done()
                && let Some(message) = messages.next().await
            {
                sink.take(&message.payload);
            }
            Ok(())
        })
    }
}

pub(super) async fn connect(part: &Part) -> anyhow::Result<Client> {
    // A subscriber's queue in the client: by default it drops what is beyond 65,536.
    Ok(ConnectOptions::new().subscription_capacity(1 << 22).connect(&part.address).await?)
}

pub(super) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
