//! What the members report, and how it is shown.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::Outcome;

/// Prints what was found.
pub(super) fn print(text: &str) -> io::Result<()> {
    io::stdout().write_all(text.as_bytes())
}

/// Prints a member's report for the process that started it. If that one is gone, nobody misses it.
pub(super) fn report_to_parent(report: &impl Serialize) {
    let _ = print(&format!("{}\n", serde_json::to_string(report).expect("numbers are JSON")));
}

/// A histogram of times: 1 ns to 100 s, three digits.
pub(super) fn nanoseconds() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 100_000_000_000, 3).expect("the bounds are valid")
}

/// Microseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Percentiles {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
}

impl Percentiles {
    pub(super) fn from_nanoseconds(times: &Histogram<u64>) -> Self {
        let at = |quantile| to_us(times.value_at_quantile(quantile));
        Self { p50: at(0.5), p99: at(0.99), p999: at(0.999) }
    }
}

#[expect(clippy::cast_precision_loss, reason = "times are far below 2^53 ns")]
fn to_us(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PublisherReport {
    pub(super) messages_per_second: f64,
    pub(super) publish_ns: PublishTimes,
    /// Processor time of the whole process, helper threads included.
    pub(super) cpu_ns_per_message: u64,
    /// When the first message was about to be said.
    #[serde(rename = "first_monotonic_ns")]
    pub(super) first_ns: u64,
}

/// Nanoseconds that one publication takes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PublishTimes {
    p50: u64,
    p99: u64,
    max: u64,
}

impl PublisherReport {
    pub(super) fn new(
        messages: u64,
        first_ns: u64,
        took_ns: u64,
        cpu_ns: u64,
        times: &Histogram<u64>,
    ) -> Self {
        let cpu_ns_per_message = cpu_ns / messages.max(1);
        let at = |quantile| times.value_at_quantile(quantile);
        let publish_ns = PublishTimes { p50: at(0.5), p99: at(0.99), max: times.max() };
        Self { messages_per_second: rate(messages, took_ns), publish_ns, cpu_ns_per_message, first_ns }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SubscriberReport {
    /// From the publisher's first publication, or from its own subscription if it came later, to this subscriber's
    /// last check.
    pub(super) messages_per_second: f64,
    pub(super) cpu_ns_per_message: u64,
    pub(super) received: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delivery_us: Option<Percentiles>,
    /// When it was about to subscribe.
    #[serde(rename = "first_monotonic_ns")]
    pub(super) first_ns: u64,
    #[serde(rename = "last_monotonic_ns")]
    pub(super) last_ns: u64,
}

impl SubscriberReport {
    pub(super) fn since(self, first_ns: u64, messages: u64) -> Self {
        let took_ns = self.last_ns.saturating_sub(first_ns);
        let missing = messages.saturating_sub(self.received - self.duplicated);
        Self {
            messages_per_second: rate(self.received, took_ns),
            lost: self.lost.max(missing),
            delivery_us: None,
            ..self
        }
    }

    pub(super) fn is_whole(&self, messages: u64) -> bool {
        self.received == messages && self.lost == 0 && self.duplicated == 0
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
pub(super) fn rate(count: u64, took_ns: u64) -> f64 {
    (count as f64 / (took_ns.max(1) as f64 / 1e9)).round()
}

/// A few lines for people.
pub(super) fn in_words(outcome: &Outcome) -> String {
    let Outcome { payload_bytes, messages, codec, publisher, subscribers, delivery_us, floor } = outcome;
    let mut text = format!("{messages} messages of {payload_bytes} bytes, {codec}\n");
    let PublishTimes { p50, p99, max } = publisher.publish_ns;
    let _ = writeln!(
        text,
        "publisher     {:>12} messages/s   {:>4} ns CPU each   publish p50 {p50} ns, p99 {p99} ns, max {max} ns",
        with_commas(publisher.messages_per_second),
        publisher.cpu_ns_per_message
    );
    for (index, one) in subscribers.iter().enumerate() {
        let _ = writeln!(
            text,
            "subscriber {:<2} {:>12} messages/s   {:>4} ns CPU each   received {}, lost {}, duplicated {}",
            index + 1,
            with_commas(one.messages_per_second),
            one.cpu_ns_per_message,
            one.received,
            one.lost,
            one.duplicated
        );
    }
    if let Some(Percentiles { p50, p99, p999 }) = delivery_us {
        let _ = writeln!(text, "delivery      p50 {p50:.1} us, p99 {p99:.1} us, p99.9 {p999:.1} us");
    }
    for (key, how) in [
        ("unix_socket_half_round_trip_us", "back to back"),
        ("unix_socket_paced_half_round_trip_us", "at the same pace"),
    ] {
        let socket = &floor[key];
        if !socket.is_null() {
            let _ = writeln!(
                text,
                "floor         half a round trip over a blocking Unix socket, {how}: p50 {} us, p99 {} us",
                socket["p50"], socket["p99"]
            );
        }
    }
    text
}

pub(super) fn with_commas(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
