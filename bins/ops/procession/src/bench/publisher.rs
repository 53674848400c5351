//! The micro-process that publishes.

use std::io::Read as _;
use std::process::ExitCode;
use std::time::Duration;

use hdrhistogram::Histogram;
use procession::{Codec, Message, Process};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::probe::{self, BincodeProbe, JsonProbe, Text, cpu_ns, now_ns};
use super::report::{PublisherReport, nanoseconds, report_to_parent};

pub(super) const NAME: &str = "bench-publisher";

/// One publication in so many is timed: reading the clock twice costs as much as publishing.
const TIMED_EVERY: u64 = 16;

/// What to publish.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    /// Bytes of each payload
    payload: u32,
    /// How many
    messages: u64,
    /// raw, bincode or json
    codec: String,
    /// Pause between two; none: as fast as possible
    #[serde(with = "humantime_serde")]
    #[schemars(with = "Option<String>")]
    pause: Option<Duration>,
    /// Tasks that publish, each waiting until its own message is durable; 0: nobody waits
    waiting: u32,
}

pub(super) fn run() -> ExitCode {
    procession::run(NAME, publish)
}

async fn publish(process: Process<Settings>) -> procession::Result<()> {
    let settings = process.settings().clone();
    let mut said = Said::new(&settings);
    let mut times = nanoseconds();
    let (first_ns, cpu_before) = (now_ns(), cpu_ns());
    if settings.waiting > 0 {
        publish_waiting(&process, &settings).await?;
    }
    let at_once = if settings.waiting > 0 { 0 } else { settings.messages };
    for number in 0..at_once {
        if let Some(pause) = settings.pause {
            probe::pause(pause);
            said.publish_timed(&process, number, &mut times)?;
        } else if number.is_multiple_of(TIMED_EVERY) {
            said.publish_timed(&process, number, &mut times)?;
        } else {
            said.publish(&process, number, 0)?;
        }
    }
    let took_ns = now_ns() - first_ns;
    let report = PublisherReport::new(settings.messages, first_ns, took_ns, cpu_ns() - cpu_before, &times);
    report_to_parent(&report);
    // The subscribers still read: the parent says when they are done.
    let done = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
    let _ = done.await;
    Ok(())
}

/// Several publishers in one process. One sync serves all that wait.
async fn publish_waiting(process: &Process<Settings>, settings: &Settings) -> procession::Result<()> {
    let text: &'static Text = Box::leak(Box::new(Text::new(usize::try_from(settings.payload).unwrap_or(16))));
    let (messages, waiting) = (settings.messages, usize::try_from(settings.waiting).unwrap_or(1));
    let mut publishers = JoinSet::new();
    for first in (0..messages).take(waiting) {
        let process = process.clone();
        publishers.spawn(async move {
            for number in (first..messages).step_by(waiting) {
                process.publish_durable(&BincodeProbe::new(number, 0, text)).await?;
            }
            Ok::<(), procession::Error>(())
        });
    }
    while let Some(published) = publishers.join_next().await {
        published.expect("a publisher neither panics nor is it aborted")?;
    }
    Ok(())
}

/// One way of saying a message.
enum Said {
    Raw(Vec<u8>),
    Bincode(&'static Text),
    Json(&'static Text),
}

impl Said {
    fn new(settings: &Settings) -> Self {
        let bytes = usize::try_from(settings.payload).unwrap_or_default().max(16);
        let text = || &*Box::leak(Box::new(Text::new(bytes)));
        match settings.codec.as_str() {
            "bincode" => Self::Bincode(text()),
            "json" => Self::Json(text()),
            _ => Self::Raw(vec![0; bytes]),
        }
    }

    #[inline]
    fn publish(&mut self, process: &Process<Settings>, number: u64, now_ns: u64) -> procession::Result<()> {
        match self {
            Self::Raw(bytes) => {
                probe::write(bytes, number, now_ns);
                process.publish_message(&Message::encoded(probe::TOPIC, Codec::Raw, &**bytes))
            }
            Self::Bincode(text) => process.publish(&BincodeProbe::new(number, now_ns, text)),
            Self::Json(text) => process.publish(&JsonProbe::new(number, now_ns, text)),
        }
        .map(drop)
    }

    fn publish_timed(
        &mut self,
        process: &Process<Settings>,
        number: u64,
        times: &mut Histogram<u64>,
    ) -> procession::Result<()> {
        let before = now_ns();
        self.publish(process, number, before)?;
        times.saturating_record(now_ns() - before);
        Ok(())
    }
}
