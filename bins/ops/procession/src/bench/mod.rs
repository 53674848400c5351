//! `procession bench`: what saying and hearing costs on this machine.
//!
//! Publisher and subscribers are real micro-processes, started from this same executable under the names
//! `bench-publisher` and `bench-subscriber`, and use nothing but the public API. Every message is counted and its
//! content checked. Beside them, in the same run, stands the floor: two processes that exchange the same bytes
//! over a blocking Unix socket.

mod floor;
mod keyed;
mod member;
mod memory;
mod ordering;
mod probe;
mod publisher;
mod report;
mod subscriber;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::json;

use self::member::{Home, Member};
use self::report::{PublisherReport, SubscriberReport};
use crate::parse_duration;

/// What is measured.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Throughput: one publisher as fast as it can, and subscribers that check every message
    Pubsub(Pubsub),
    /// Delivery time of single messages to a reader that sleeps, or spins
    Latency(Latency),
    /// Deliveries by key: how many a second, and what one hot key does to the others
    Keyed(keyed::Keyed),
    /// What order and retraction cost a model: events in order, late ones, memory
    Ordering(ordering::Ordering),
}

#[derive(Debug, Args)]
struct Pubsub {
    /// Bytes of each payload, at least 16
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(16..=16 << 20))]
    payload: u32,
    /// Messages to publish
    #[arg(long, default_value_t = 10_000_000)]
    messages: u64,
    /// Subscribers, each a process of its own; 0 to measure publishing alone
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=256))]
    subscribers: u32,
    /// How payloads are encoded
    #[arg(long, default_value_t, value_enum)]
    codec: Codec,
    /// When what was said becomes durable: never, "every 1s", always
    #[arg(long, default_value = "every 1s")]
    sync: String,
    /// Subscribers come when everything has been said: how fast they catch up
    #[arg(long)]
    behind: bool,
    /// Publishing tasks, each of which waits until its own message is durable before it goes on; 0: nobody waits
    #[arg(long, default_value_t = 0, conflicts_with = "behind", value_parser = clap::value_parser!(u32).range(0..=4096))]
    waiting: u32,
    /// So many of the subscribers are stopped (SIGSTOP) while the publisher publishes, and go on when it is done
    #[arg(long, default_value_t = 0, conflicts_with = "behind")]
    stopped: u32,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Latency {
    /// Bytes of each payload, at least 16
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(16..=16 << 20))]
    payload: u32,
    /// Messages to time
    #[arg(long, default_value_t = 5_000)]
    count: u64,
    /// The reader spins instead of sleeping: lowest latency, for a whole core
    #[arg(long)]
    spin: bool,
    /// Pause between messages: long enough for a sleeping reader to be asleep again [default: 500us; 10us for a
    /// spinning one]
    #[arg(long, value_parser = parse_duration)]
    pause: Option<Duration>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Common {
    /// Folder for the journals, which are removed afterwards [default: a new one in the temporary folder]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// MiB of memory to touch beforehand: on a virtual machine that hands free memory back to its host, the first to use a
    /// page pays microseconds for it
    #[arg(long, value_name = "MIB", default_value_t = 0)]
    warm_memory: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// How payloads are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Codec {
    #[default]
    Raw,
    Bincode,
    Json,
}

impl Codec {
    const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Bincode => "bincode",
            Self::Json => "json",
        }
    }
}

/// Runs as a publisher or subscriber of a benchmark if the program was started under such a name.
pub(crate) fn run_as_member(program: &str) -> Option<ExitCode> {
    match program {
        publisher::NAME => Some(publisher::run()),
        subscriber::NAME => Some(subscriber::run()),
        floor::NAME => Some(floor::echo()),
        keyed::NAME => Some(keyed::run()),
        _ => None,
    }
}

/// Measures, and prints what it found.
///
/// # Errors
/// A member failed. Lost or repeated messages are no error but exit code 1.
pub(crate) fn run(args: BenchArgs) -> anyhow::Result<ExitCode> {
    match args.what {
        What::Pubsub(pubsub) => pubsub.run(),
        What::Latency(latency) => latency.run(),
        What::Keyed(keyed) => keyed.run(),
        What::Ordering(ordering) => ordering.run(),
    }
}

#[derive(Serialize)]
struct Outcome {
    payload_bytes: u32,
    messages: u64,
    codec: &'static str,
    publisher: PublisherReport,
    subscribers: Vec<SubscriberReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_us: Option<report::Percentiles>,
    floor: serde_json::Value,
}

impl Outcome {
    fn print(&self, as_json: bool) -> anyhow::Result<ExitCode> {
        if as_json {
            report::print(&format!("{}\n", serde_json::to_string(self)?))?;
        } else {
            report::print(&report::in_words(self))?;
        }
        let whole = self.subscribers.iter().all(|one| one.is_whole(self.messages));
        Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Pubsub {
    fn run(&self) -> anyhow::Result<ExitCode> {
        let home = Home::new(self.common.dir.as_deref())?;
        memory::warm(self.common.warm_memory);
        let (payload, messages, codec) =
            (self.payload.to_string(), self.messages.to_string(), self.codec.name());
        let work = ["--payload", &payload, "--messages", &messages, "--codec", codec];
        let mut subscribers = if self.behind { Vec::new() } else { self.start_subscribers(&home, &work)? };
        for subscriber in &subscribers {
            subscriber.wait_ready(&home)?;
        }
        let stopped = subscribers.len().min(usize::try_from(self.stopped)?);
        // What every subscriber has passed may go, as in a process that runs for days; what is to be caught up
        // with must stay.
        let keep = if self.behind { "1 TiB" } else { "64 MiB" };
        let waiting = self.waiting.to_string();
        let extra =
            ["--journal-sync", self.sync.as_str(), "--journal-keep-bytes", keep, "--waiting", &waiting];
        let mut publisher =
            Member::start(&home, publisher::NAME, publisher::NAME, &[&work[..], &extra].concat())?;
        for subscriber in &subscribers[..stopped] {
            subscriber.stop_once_it_reads(&home)?;
        }
        // Before the subscribers' reports: without a publisher they would wait for ever.
        let said: PublisherReport = publisher.read_report().context("the publisher")?;
        for subscriber in &subscribers[..stopped] {
            subscriber.go_on()?;
        }
        if self.behind {
            subscribers = self.start_subscribers(&home, &work)?;
        }
        let subscribers =
            subscribers.into_iter().map(Member::report).collect::<anyhow::Result<Vec<SubscriberReport>>>()?;
        publisher.end()?;
        let floor = floor::back_to_back(&home, self.payload, self.messages)?;
        Outcome {
            payload_bytes: self.payload,
            messages: self.messages,
            codec,
            subscribers: subscribers
                .into_iter()
                .map(|one| {
                    let since_ns = if self.behind { one.first_ns } else { said.first_ns };
                    one.since(since_ns, self.messages)
                })
                .collect(),
            publisher: said,
            delivery_us: None,
            floor: json!({"unix_socket_half_round_trip_us": floor}),
        }
        .print(self.common.json)
    }

    fn start_subscribers(&self, home: &Home, work: &[&str]) -> anyhow::Result<Vec<Member>> {
        (1..=self.subscribers)
            .map(|number| {
                Member::start(home, subscriber::NAME, &format!("{}@{number}", subscriber::NAME), work)
            })
            .collect()
    }
}

impl Latency {
    fn run(&self) -> anyhow::Result<ExitCode> {
        let home = Home::new(self.common.dir.as_deref())?;
        memory::warm(self.common.warm_memory);
        let (payload, count) = (self.payload.to_string(), self.count.to_string());
        let pause = self.pause.unwrap_or(Duration::from_micros(if self.spin { 10 } else { 500 }));
        let pause_ns = format!("{}ns", pause.as_nanos());
        let work = ["--payload", &payload, "--messages", &count, "--codec", "raw"];
        let spin: &[&str] = if self.spin { &["--spin"] } else { &[] };
        let subscriber =
            Member::start(&home, subscriber::NAME, subscriber::NAME, &[&work[..], spin].concat())?;
        subscriber.wait_ready(&home)?;
        let paced = [&work[..], &["--pause", &pause_ns]].concat();
        let mut said_by = Member::start(&home, publisher::NAME, publisher::NAME, &paced)?;
        let publisher: PublisherReport = said_by.read_report().context("the publisher")?;
        let subscriber: SubscriberReport = subscriber.report().context("the subscriber")?;
        said_by.end()?;
        let floor = floor::back_to_back(&home, self.payload, self.count)?;
        let paced = floor::paced(&home, self.payload, self.count, pause)?;
        Outcome {
            payload_bytes: self.payload,
            messages: self.count,
            codec: "raw",
            delivery_us: subscriber.delivery_us.clone(),
            subscribers: vec![subscriber.since(publisher.first_ns, self.count)],
            publisher,
            floor: json!({
                "unix_socket_half_round_trip_us": floor,
                "unix_socket_paced_half_round_trip_us": paced,
            }),
        }
        .print(self.common.json)
    }
}
