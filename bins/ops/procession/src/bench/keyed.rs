//! Deliveries by key: how many a second, and what one hot key does to the others.
//!
//! Each run is a journal that lies ready, and a micro-process that deals with it by key; it counts, checks the
//! order within each key, and notes when the last event of an ordinary key was done.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use journal::{Codec, Entry, SyncPolicy, Writer};
use procession::{Delivery, Payload, Process};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Common;
use super::member::{Home, Member};
use super::memory;
use super::probe::{cpu_ns, now_ns};
use super::report::{print, rate, report_to_parent, with_commas};

pub(super) const NAME: &str = "bench-keyed";
/// Events of ordinary keys that are dealt with beside a stuck one: with as many of its own between them, half of how
/// far deliveries run ahead of one that is not done.
const BESIDE_STUCK: u64 = 450_000;
/// Events of ordinary keys that wait for a millisecond each.
const WAITING: u64 = 50_000;
/// Runs of each kind, in turn: a single one says little on a busy machine.
const ROUNDS: usize = 5;
/// The key that has half of all events.
const HOT: u32 = u32::MAX;

#[derive(Debug, Args)]
pub(super) struct Keyed {
    /// Ordinary keys
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    keys: u32,
    /// Events of ordinary keys
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Deliveries at a time
    #[arg(long, default_value_t = NonZeroUsize::new(64).expect("not zero"))]
    concurrency: NonZeroUsize,
    #[command(flatten)]
    common: Common,
}

/// What a process is to do.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    /// The journal
    source: String,
    /// Ordinary keys
    keys: u32,
    /// Events of ordinary keys
    events: u64,
    /// All events
    all: u64,
    /// Deliveries at a time
    concurrency: NonZeroUsize,
    /// The hot key's first event never ends
    stuck: bool,
    /// Done once the ordinary keys are
    others_only: bool,
    /// Milliseconds that each event waits for something
    wait_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        let concurrency = NonZeroUsize::MIN;
        let source = String::new();
        Self { source, keys: 1, events: 0, all: 0, concurrency, stuck: false, others_only: false, wait_ms: 0 }
    }
}

/// What a process has done.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Done {
    /// Events of ordinary keys per second, until the last of them was done.
    others_per_second: f64,
    /// All events per second, until the last of all was done.
    events_per_second: f64,
    cpu_ns_per_event: u64,
    /// All that was done, per event of an ordinary key.
    cpu_ns_per_other: f64,
    /// How many events one processor deals with in a second of its time.
    events_per_cpu_second: f64,
    out_of_order: u64,
}

#[derive(Debug, Serialize)]
struct Outcome {
    keys: u32,
    events: u64,
    concurrency: NonZeroUsize,
    even: Done,
    /// A hot key has as many events as all others together.
    hot: Done,
    /// The same, and it is stuck at its first.
    stuck: Done,
    /// Events that wait for a millisecond each.
    even_waiting: Done,
    hot_waiting: Done,
    /// How many times faster the others are without the hot key, by the processor time that it takes to deal with all of
    /// them: on a busy machine the clock says little.
    slowed_by_hot_cpu: f64,
    slowed_by_stuck_cpu: f64,
    /// The same by the clock.
    slowed_by_hot: f64,
    slowed_by_stuck: f64,
    slowed_by_hot_waiting: f64,
}

/// Key and number within the key.
#[derive(Debug)]
struct Numbered {
    key: u32,
    number: u64,
}

impl Payload for Numbered {
    const TOPIC: Option<&'static str> = None;

    #[inline]
    fn take(_: Codec, bytes: &[u8]) -> Result<Self, String> {
        let (key, rest) = bytes.split_first_chunk::<4>().ok_or("too short")?;
        let (number, _) = rest.split_first_chunk::<8>().ok_or("too short")?;
        Ok(Self { key: u32::from_le_bytes(*key), number: u64::from_le_bytes(*number) })
    }
}

impl Keyed {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let home = Home::new(self.common.dir.as_deref())?;
        memory::warm(self.common.warm_memory);
        self.say(&home, "even", false)?;
        self.say(&home, "hot", true)?;
        let [even, hot, stuck] = self.measure_trivial(&home)?;
        let waiting = ["--wait-ms", "1", "--others-only"];
        let waited = self.events.min(WAITING);
        let even_waiting = self.measure(&home, "even", "waiting", waited, &waiting)?;
        let hot_waiting = self.measure(&home, "hot", "waiting", waited, &waiting)?;
        let outcome = Outcome {
            keys: self.keys,
            events: self.events,
            concurrency: self.concurrency,
            even,
            hot,
            stuck,
            even_waiting,
            hot_waiting,
            slowed_by_hot_cpu: hot.cpu_ns_per_other / even.cpu_ns_per_other,
            slowed_by_stuck_cpu: stuck.cpu_ns_per_other / even.cpu_ns_per_other,
            slowed_by_hot_waiting: even_waiting.others_per_second / hot_waiting.others_per_second,
            slowed_by_hot: even.others_per_second / hot.others_per_second,
            slowed_by_stuck: even.others_per_second / stuck.others_per_second,
        };
        if self.common.json {
            print(&format!("{}\n", serde_json::to_string(&outcome)?))?;
        } else {
            print(&in_words(&outcome))?;
        }
        let in_order =
            [even, hot, stuck, even_waiting, hot_waiting].iter().all(|done| done.out_of_order == 0);
        Ok(if in_order { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Writes a journal: events of ordinary keys in turn, and one of the hot key after each if there is to be one.
    fn say(&self, home: &Home, journal: &str, hot: bool) -> anyhow::Result<()> {
        let mut options = journal::Options { sync: SyncPolicy::Never, ..journal::Options::default() };
        options.retention.bytes_kept = u64::MAX;
        let mut writer = Writer::open(&home.folders().state.join(journal), &options)?;
        let mut payload = [0; 64];
        let mut say = |key: u32, number: u64| {
            payload[..4].copy_from_slice(&key.to_le_bytes());
            payload[4..12].copy_from_slice(&number.to_le_bytes());
            let key = key.to_string();
            let key = Some(key.as_bytes());
            writer.append(&Entry {
                topic: "numbered",
                key,
                cause: None,
                codec: Codec::Raw,
                payload: &payload,
            })
        };
        let keys = u64::from(self.keys);
        for event in 0..self.events {
            say(u32::try_from(event % keys)?, event / keys)?;
            if hot {
                say(HOT, event)?;
            }
        }
        Ok(())
    }

    /// Handlers that do next to nothing: medians of all keys alike, of a hot key, and of a stuck one.
    fn measure_trivial(&self, home: &Home) -> anyhow::Result<[Done; 3]> {
        let beside = self.events.min(BESIDE_STUCK);
        let mut runs: [Vec<Done>; 3] = Default::default();
        for round in 0..ROUNDS {
            let [trivial, stuck] = ["trivial", "stuck"].map(|what| format!("{what}-{round}"));
            runs[0].push(self.measure(home, "even", &trivial, self.events, &[])?);
            runs[1].push(self.measure(home, "hot", &trivial, self.events, &[])?);
            runs[2].push(self.measure(home, "hot", &stuck, beside, &["--stuck", "--others-only"])?);
        }
        Ok(runs.map(median))
    }

    fn measure(
        &self,
        home: &Home,
        journal: &str,
        what: &str,
        events: u64,
        how: &[&str],
    ) -> anyhow::Result<Done> {
        let all = if journal == "hot" { self.events * 2 } else { self.events };
        let numbers = [u64::from(self.keys), events, all].map(|number| number.to_string());
        let concurrency = self.concurrency.to_string();
        let mut settings = vec!["--source", journal, "--concurrency", &concurrency];
        for (name, number) in ["--keys", "--events", "--all"].into_iter().zip(&numbers) {
            settings.extend([name, number]);
        }
        settings.extend(how);
        let instance = format!("{NAME}@{journal}-{what}");
        let member = Member::start(home, NAME, &instance, &settings)?;
        member.report().with_context(|| format!("the run {instance}"))
    }
}

/// The run with the median of processor time, and what was out of order in any of them.
fn median(mut runs: Vec<Done>) -> Done {
    let out_of_order = runs.iter().map(|done| done.out_of_order).sum();
    runs.sort_by(|a, b| a.cpu_ns_per_other.total_cmp(&b.cpu_ns_per_other));
    Done { out_of_order, ..runs[runs.len() / 2] }
}

pub(super) fn run() -> ExitCode {
    procession::run(NAME, deal)
}

struct Tally {
    /// The next number of each ordinary key, and of the hot one.
    next: Vec<u64>,
    hot: u64,
    done: u64,
    others: u64,
    out_of_order: u64,
    others_done_ns: u64,
}

impl Tally {
    #[inline]
    fn count(&mut self, event: &Numbered, events: u64) {
        let is_hot = event.key == HOT;
        let next = if is_hot { &mut self.hot } else { &mut self.next[event.key as usize] };
        self.out_of_order += u64::from(*next != event.number);
        *next = event.number + 1;
        self.done += 1;
        if !is_hot {
            self.others += 1;
            if self.others == events {
                self.others_done_ns = now_ns();
            }
        }
    }
}

async fn deal(process: Process<Settings>) -> procession::Result<()> {
    let settings = process.settings().clone();
    let keys = usize::try_from(settings.keys).unwrap_or_default();
    let tally = Tally { next: vec![0; keys], hot: 0, done: 0, others: 0, out_of_order: 0, others_done_ns: 0 };
    let tally = RefCell::new(tally);
    let (began_ns, cpu_before) = (now_ns(), cpu_ns());
    let subscription = process.subscribe_to::<Numbered>(settings.source.as_str()).named("keyed").await?;
    subscription
        .for_each_keyed(settings.concurrency, async |event: Delivery<Numbered>| {
            if settings.stuck && event.event.key == HOT {
                std::future::pending::<()>().await;
            }
            if settings.wait_ms > 0 {
                tokio::time::sleep(Duration::from_millis(settings.wait_ms)).await;
            }
            let mut tally = tally.borrow_mut();
            tally.count(&event.event, settings.events);
            let others = settings.others_only && tally.others == settings.events;
            if tally.done == settings.all || (others && event.event.key != HOT) {
                report(&tally, &settings, began_ns, cpu_before);
            }
            procession::Result::<()>::Ok(())
        })
        .await
}

fn report(tally: &Tally, settings: &Settings, began_ns: u64, cpu_before: u64) {
    let cpu = cpu_ns() - cpu_before;
    let done = Done {
        others_per_second: rate(settings.events, tally.others_done_ns - began_ns),
        events_per_second: rate(tally.done, now_ns() - began_ns),
        cpu_ns_per_event: cpu / tally.done.max(1),
        cpu_ns_per_other: 1e9 / rate(settings.events, cpu),
        events_per_cpu_second: rate(tally.done, cpu),
        out_of_order: tally.out_of_order,
    };
    report_to_parent(&done);
}

fn in_words(outcome: &Outcome) -> String {
    let Outcome { keys, events, concurrency, .. } = outcome;
    let mut text =
        format!("{events} events of {keys} keys, {concurrency} at a time, median of {ROUNDS} runs\n");
    let lines = [
        ("even", outcome.even),
        ("one hot key", outcome.hot),
        ("stuck hot key", outcome.stuck),
        ("even, 1 ms each", outcome.even_waiting),
        ("hot, 1 ms each", outcome.hot_waiting),
    ];
    for (what, done) in lines {
        let _ = writeln!(
            text,
            "{what:<16} {:>11} events/s  {:>11} per processor second  other keys {:>11} events/s  out of order {}",
            with_commas(done.events_per_second),
            with_commas(done.events_per_cpu_second),
            with_commas(done.others_per_second),
            done.out_of_order
        );
    }
    let _ = writeln!(
        text,
        "the hot key slows the others {:.2} x by processor time, {:.2} x by the clock; a stuck one {:.2} x and {:.2} x; \
         with 1 ms of waiting each the hot key slows them {:.2} x by the clock",
        outcome.slowed_by_hot_cpu,
        outcome.slowed_by_hot,
        outcome.slowed_by_stuck_cpu,
        outcome.slowed_by_stuck,
        outcome.slowed_by_hot_waiting
    );
    text
}
