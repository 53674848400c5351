//! What is to be done, and what was measured doing it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// When what was published is safe from power loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Durability {
    Never,
    EverySecond,
    Always,
}

impl fmt::Display for Durability {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Never => "never",
            Self::EverySecond => "every 1s",
            Self::Always => "always",
        })
    }
}

/// One piece of work, the same for every contender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub(crate) enum Work {
    /// One publisher as fast as it can, subscribers that check every message.
    Throughput { payload: u32, subscribers: u32 },
    /// Publishing while nobody listens.
    Publishing { payload: u32 },
    /// Delivery time of single messages, with a pause between them.
    Latency { payload: u32, spin: bool },
    /// A reader that comes when everything has been said.
    CatchUp { payload: u32 },
    /// Publishing under a policy of durability. With `Always`, so many publishers wait at the same time, each for
    /// its own message to be durable, before it goes on.
    Durable { payload: u32, durability: Durability, waiting: u32 },
}

impl Work {
    pub(crate) const fn payload(self) -> u32 {
        match self {
            Self::Throughput { payload, .. }
            | Self::Publishing { payload }
            | Self::Latency { payload, .. }
            | Self::CatchUp { payload }
            | Self::Durable { payload, .. } => payload,
        }
    }

    /// How many processes listen.
    pub(crate) const fn subscribers(self) -> u32 {
        match self {
            Self::Throughput { subscribers, .. } => subscribers,
            Self::Latency { .. } | Self::CatchUp { .. } => 1,
            Self::Publishing { .. } | Self::Durable { .. } => 0,
        }
    }

    /// What the server, where there is one, is told about its files.
    pub(crate) const fn durability(self) -> Durability {
        match self {
            Self::Durable { durability, .. } => durability,
            _ => Durability::EverySecond,
        }
    }

    pub(crate) const fn is_latency(self) -> bool {
        matches!(self, Self::Latency { .. })
    }
}

impl fmt::Display for Work {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let payload = size(u64::from(self.payload()));
        match self {
            Self::Throughput { subscribers: 1, .. } => write!(to, "throughput, {payload}, 1 subscriber"),
            Self::Throughput { subscribers, .. } => {
                write!(to, "throughput, {payload}, {subscribers} subscribers")
            }
            Self::Publishing { .. } => write!(to, "publishing alone, {payload}"),
            Self::Latency { spin: false, .. } => write!(to, "latency, {payload}, sleeping reader"),
            Self::Latency { spin: true, .. } => write!(to, "latency, {payload}, spinning reader"),
            Self::CatchUp { .. } => write!(to, "catch-up, {payload}"),
            Self::Durable { durability: Durability::Always, waiting, .. } => {
                write!(to, "durability always, {payload}, {waiting} waiting")
            }
            Self::Durable { durability, .. } => write!(to, "durability {durability}, {payload}"),
        }
    }
}

/// `64 B`, `1 KiB`, `10 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes >= 1 << shift && bytes.is_multiple_of(1 << shift) {
            return format!("{} {unit}", bytes >> shift);
        }
    }
    format!("{bytes} B")
}

/// Work with its amount: how many messages.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) work: Work,
    pub(crate) messages: u64,
}

/// What one run of a task came to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) messages: u64,
    /// Of the slowest subscriber, from the first publication to its last check; without subscribers, until all was
    /// published and the last one confirmed.
    pub(crate) messages_per_second: f64,
    /// How many each subscriber got; empty without subscribers.
    pub(crate) received: Vec<u64>,
    /// Messages that a subscriber did not get, over all subscribers.
    pub(crate) lost: u64,
    /// Messages that came twice or out of order.
    pub(crate) duplicated: u64,
    /// Messages whose content was not what its number says; they count as lost, too.
    pub(crate) wrong: u64,
    /// Processor time of all processes of the contender, servers included, per message published.
    pub(crate) cpu_ns_per_message: f64,
    /// Microseconds from publication to the check.
    pub(crate) latency_us: Option<Percentiles>,
}

impl Measured {
    /// Every message came once, in order, whole.
    pub(crate) fn is_whole(&self) -> bool {
        self.lost == 0
            && self.duplicated == 0
            && self.wrong == 0
            && self.received.iter().all(|&received| received == self.messages)
    }

    pub(crate) fn seconds(&self) -> f64 {
        if self.messages_per_second > 0.0 { as_float(self.messages) / self.messages_per_second } else { 0.0 }
    }
}

/// Microseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 53 bits")]
pub(crate) const fn as_float(count: u64) -> f64 {
    count as f64
}
