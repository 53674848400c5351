//! iceoryx2: shared memory without a broker, in its lossless settings: a full reader blocks the publisher.

use ::iceoryx2::port::update_connections::UpdateConnections as _;
use ::iceoryx2::prelude::*;
use anyhow::anyhow;

use crate::contender::{Contender, Missing, Place, Promises};
use crate::crew::Stage;
use crate::member::{Part, Role, Sink, Source, Wire};
use crate::work::{Measured, Task, Work};

pub(super) const NAME: &str = "iceoryx2";

/// A polling reader that finds nothing looks again so often before it lets others run: enough to be the first to
/// see a message, where there is a core for it.
const POLLS_BEFORE_YIELD: u32 = 100;
const SUBSCRIBERS_MAX: usize = 8;

#[derive(Debug)]
pub(crate) struct Iceoryx2;

impl Contender for Iceoryx2 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn promises(&self) -> Promises {
        let settings = "publish-subscribe of slices, safe overflow off, the publisher retries until delivered, \
                        buffers of 1,024 (64 KiB: 64); readers poll and yield, sleeping ones wait for its events";
        Promises { settings: settings.into(), lossless: true, replays: false, durable: false }
    }

    fn version(&self, _: &Place<'_>) -> Result<String, Missing> {
        Ok("0.10.0".to_owned())
    }

    fn offers(&self, work: Work) -> bool {
        matches!(work, Work::Throughput { .. } | Work::Publishing { .. } | Work::Latency { .. })
    }

    fn run(&self, task: &Task, place: &Place<'_>) -> anyhow::Result<Measured> {
        let folder = super::folder(place)?;
        let address = folder.path().display().to_string();
        Stage { contender: NAME, address, first: Role::Publisher, server: None, program: None }.perform(task)
    }
}

/// Its files lie in the run's folder.
fn node(part: &Part) -> anyhow::Result<Node<ipc::Service>> {
    set_log_level(LogLevel::Error);
    let mut config = Config::default();
    config.global.set_root_path(&Path::new(part.address.as_bytes())?);
    Ok(NodeBuilder::new().config(&config).create::<ipc::Service>()?)
}

type Messages = ::iceoryx2::service::port_factory::publish_subscribe::PortFactory<ipc::Service, [u8], ()>;
type Events = ::iceoryx2::service::port_factory::event::PortFactory<ipc::Service>;

fn messages(node: &Node<ipc::Service>, part: &Part) -> anyhow::Result<Messages> {
    let buffered = if part.payload_bytes() > 8 << 10 { 64 } else { 1024 };
    Ok(node
        .service_builder(&"bench".try_into()?)
        .publish_subscribe::<[u8]>()
        .enable_safe_overflow(false)
        .history_size(0)
        .subscriber_max_buffer_size(buffered)
        .max_publishers(1)
        .max_subscribers(SUBSCRIBERS_MAX)
        .max_nodes(SUBSCRIBERS_MAX + 1)
        .open_or_create()?)
}

fn events(node: &Node<ipc::Service>) -> anyhow::Result<Events> {
    Ok(node.service_builder(&"bench".try_into()?).event().max_nodes(SUBSCRIBERS_MAX + 1).open_or_create()?)
}

const fn sleeps(part: &Part) -> bool {
    matches!(part.task.work, Work::Latency { spin: false, .. })
}

impl Wire for Iceoryx2 {
    fn publish(&self, part: &Part, source: &mut Source) -> anyhow::Result<()> {
        let node = node(part)?;
        let messages = messages(&node, part)?;
        let publisher = messages
            .publisher_builder()
            .initial_max_slice_len(part.payload_bytes())
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()?;
        let events = events(&node)?;
        let notifier = sleeps(part).then(|| events.notifier_builder().create()).transpose()?;
        source.ready()?;
        publisher.update_connections()?;
        source.start();
        while let Some(message) = source.next() {
            let sample = publisher.loan_slice_uninit(message.len())?;
            sample.write_from_slice(message).send()?;
            if let Some(notifier) = &notifier {
                notifier.notify()?;
            }
        }
        source.said()?;
        // The samples go with their publisher: it stays until the parent says that all have them.
        source.stay()
    }

    fn hear(&self, part: &Part, sink: &mut Sink) -> anyhow::Result<()> {
        let node = node(part)?;
        let messages = messages(&node, part)?;
        let subscriber = messages.subscriber_builder().create()?;
        let events = events(&node)?;
        let listener = sleeps(part).then(|| events.listener_builder().create()).transpose()?;
        sink.ready()?;
        let mut polls = 0;
        while !sink.is_done() {
            if let Some(sample) = subscriber.receive()? {
                sink.take(sample.payload());
                polls = 0;
            } else if let Some(listener) = &listener {
                listener.blocking_wait(|_| {}).map_err(|error| anyhow!("{error:?}"))?;
            } else {
                polls += 1;
                if polls > POLLS_BEFORE_YIELD {
                    std::thread::yield_now();
                } else {
                    std::hint::spin_loop();
                }
            }
        }
        Ok(())
    }
}
