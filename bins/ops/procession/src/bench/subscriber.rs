//! The micro-process that hears and checks.

use std::process::ExitCode;

use hdrhistogram::Histogram;
use procession::{Delivery, Payload, Process, Subscribe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::probe::{BincodeProbe, Heard, JsonProbe, RawProbe, Text, cpu_ns, now_ns};
use super::publisher;
use super::report::{Percentiles, SubscriberReport, nanoseconds, report_to_parent};

pub(super) const NAME: &str = "bench-subscriber";

/// What to expect.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    /// Bytes of each payload
    payload: u32,
    /// How many
    messages: u64,
    /// raw, bincode or json
    codec: String,
    /// Spin instead of sleeping
    spin: bool,
}

pub(super) fn run() -> ExitCode {
    procession::run(NAME, subscribe)
}

async fn subscribe(process: Process<Settings>) -> procession::Result<()> {
    let settings = process.settings().clone();
    let text = Text::new(usize::try_from(settings.payload).unwrap_or_default());
    let report = match settings.codec.as_str() {
        "bincode" => {
            hear(&settings, process.subscribe(publisher::NAME), |probe: &BincodeProbe| probe.check(&text))
                .await?
        }
        "json" => {
            hear(&settings, process.subscribe(publisher::NAME), |probe: &JsonProbe| probe.check(&text))
                .await?
        }
        _ => hear(&settings, process.subscribe_to(publisher::NAME), |probe: &RawProbe| Some(probe.0)).await?,
    };
    report_to_parent(&report);
    Ok(())
}

async fn hear<P: Payload + Send + 'static>(
    settings: &Settings,
    subscribe: Subscribe<P>,
    check: impl Fn(&P) -> Option<Heard>,
) -> procession::Result<SubscriberReport> {
    let subscribe = if settings.spin { subscribe.spinning() } else { subscribe };
    let (first_ns, cpu_before) = (now_ns(), cpu_ns());
    let mut subscription = subscribe.await?;
    let mut tally = Tally { next: 0, received: 0, lost: 0, duplicated: 0, times: nanoseconds() };
    while tally.next < settings.messages {
        let Some(delivery) = subscription.next().await? else { break };
        tally.count(&delivery, &check);
        delivery.ack();
    }
    let Tally { received, lost, duplicated, times, .. } = tally;
    let delivery_us = (!times.is_empty()).then(|| Percentiles::from_nanoseconds(&times));
    let cpu_ns_per_message = (cpu_ns() - cpu_before) / received.max(1);
    Ok(SubscriberReport {
        messages_per_second: 0.0,
        cpu_ns_per_message,
        received,
        lost,
        duplicated,
        delivery_us,
        first_ns,
        last_ns: now_ns(),
    })
}

struct Tally {
    next: u64,
    received: u64,
    lost: u64,
    duplicated: u64,
    times: Histogram<u64>,
}

impl Tally {
    #[inline]
    fn count<P>(&mut self, delivery: &Delivery<P>, check: impl Fn(&P) -> Option<Heard>) {
        // A message with the wrong content counts as lost, for its number is not to be believed.
        let Some(Heard { number, said_ns }) = check(&delivery.event) else { return };
        self.received += 1;
        if said_ns > 0 {
            self.times.saturating_record(now_ns().saturating_sub(said_ns));
        }
        if number < self.next {
            self.duplicated += 1;
            return;
        }
        self.lost += number - self.next;
        self.next = number + 1;
    }
}
