//! A member's side: what a publishing or hearing process of a contender does the same way as all others.
//!
//! A member says `ready` on its standard output, is told `go` on its standard input, reports in one JSON object a
//! line, and ends at `end` or when its parent is gone.

use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::clock::{self, cpu_ns, now_ns};
use crate::payload;
use crate::work::{Percentiles, Task, Work, as_float};

/// A subscriber that has got nothing for so long, after all was published, gets nothing more.
const STALLED_AFTER: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    Publisher,
    Subscriber,
}

/// What one process is to do; it travels as JSON in an argument.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) contender: String,
    pub(crate) role: Role,
    pub(crate) task: Task,
    /// A socket's path, a server's URL, or a service's name.
    pub(crate) address: String,
    /// Which of the subscribers it is, from 0.
    pub(crate) number: u32,
}

impl Part {
    /// How many processes hear what the publisher says.
    pub(crate) fn subscribers(&self) -> usize {
        usize::try_from(self.task.work.subscribers()).unwrap_or_default()
    }

    pub(crate) fn payload_bytes(&self) -> usize {
        usize::try_from(self.task.work.payload()).unwrap_or_default()
    }
}

/// How a peer says and hears, written as one would by hand.
pub(crate) trait Wire {
    /// Gets ready, then publishes everything that `source` gives, and calls `said` when nothing of it is buffered
    /// in this process any more or, where there are confirmations, when the last one is here.
    fn publish(&self, part: &Part, source: &mut Source) -> anyhow::Result<()>;

    /// Subscribes, then hands everything that comes to `sink` until it is done.
    fn hear(&self, part: &Part, sink: &mut Sink) -> anyhow::Result<()>;
}

/// Runs one part. The result is this process's exit code.
pub(crate) fn run(wire: &dyn Wire, part: &Part) -> ExitCode {
    let done = match part.role {
        Role::Publisher => {
            let mut source = Source::new(part);
            wire.publish(part, &mut source).and_then(|()| source.stay()).and_then(|()| source.end())
        }
        Role::Subscriber => {
            let mut sink = Sink::new(part);
            wire.hear(part, &mut sink).map(|()| sink.report())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{} {:?}: {error:#}", part.contender, part.role);
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) first_ns: u64,
    pub(crate) took_ns: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Used {
    pub(crate) cpu_ns: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Heard {
    pub(crate) received: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) wrong: u64,
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
    pub(crate) cpu_ns: u64,
    pub(crate) latency_us: Option<Percentiles>,
}

/// Where a publisher gets its messages from.
#[derive(Debug)]
pub(crate) struct Source {
    messages: u64,
    next: u64,
    buffer: Vec<u8>,
    pause: Option<Duration>,
    first_ns: u64,
    cpu_before_ns: u64,
    has_stayed: bool,
}

impl Source {
    fn new(part: &Part) -> Self {
        let pause = match part.task.work {
            Work::Latency { spin: false, .. } => Some(Duration::from_micros(500)),
            Work::Latency { spin: true, .. } => Some(Duration::from_micros(10)),
            _ => None,
        };
        Self {
            messages: part.task.messages,
            next: 0,
            buffer: vec![0; part.payload_bytes()],
            pause,
            first_ns: 0,
            cpu_before_ns: 0,
            has_stayed: false,
        }
    }

    /// Tells the parent, and waits until all subscribers are there.
    pub(crate) fn ready(&mut self) -> anyhow::Result<()> {
        tell("ready")?;
        wait_for("go")?;
        self.start();
        Ok(())
    }

    /// The clock starts here; again where connections had to be accepted first.
    pub(crate) fn start(&mut self) {
        (self.first_ns, self.cpu_before_ns) = (now_ns(), cpu_ns());
    }

    /// The next message, after the pause that the work asks for.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<&[u8]> {
        if self.next == self.messages {
            return None;
        }
        let said_ns = self.pause.map_or(0, |pause| {
            clock::pause(pause);
            now_ns()
        });
        payload::write(&mut self.buffer, self.next, said_ns);
        self.next += 1;
        Some(&self.buffer)
    }

    /// Everything was published.
    pub(crate) fn said(&self) -> anyhow::Result<()> {
        let said = Said { first_ns: self.first_ns, took_ns: now_ns() - self.first_ns };
        tell(&serde_json::to_string(&said)?)
    }

    /// Stays until all have heard it: what a socket, a thread or shared memory still holds must not go with this
    /// publisher. For those that keep such a thing in a local variable; it is called for all others, too.
    pub(crate) fn stay(&mut self) -> anyhow::Result<()> {
        if !std::mem::replace(&mut self.has_stayed, true) {
            wait_for("end")?;
        }
        Ok(())
    }

    fn end(&self) -> anyhow::Result<()> {
        tell(&serde_json::to_string(&Used { cpu_ns: cpu_ns() - self.cpu_before_ns })?)
    }
}

fn tell(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("the parent is gone")
}

fn wait_for(word: &str) -> anyhow::Result<()> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    if line.trim_end() != word {
        bail!("the parent is gone");
    }
    Ok(())
}

/// What a subscriber has got so far; a second thread looks at it.
#[derive(Debug, Default)]
struct Tally {
    received: AtomicU64,
    lost: AtomicU64,
    duplicated: AtomicU64,
    wrong: AtomicU64,
    last_ns: AtomicU64,
    first_ns: AtomicU64,
    cpu_before_ns: AtomicU64,
    messages: u64,
    reported: AtomicBool,
}

impl Tally {
    fn report(&self, latency_us: Option<Percentiles>) {
        if self.reported.swap(true, Ordering::AcqRel) {
            return;
        }
        let get = |count: &AtomicU64| count.load(Ordering::Acquire);
        let (received, duplicated) = (get(&self.received), get(&self.duplicated));
        let missing = self.messages.saturating_sub(received.saturating_sub(duplicated));
        let heard = Heard {
            received,
            lost: get(&self.lost).max(missing),
            duplicated,
            wrong: get(&self.wrong),
            first_ns: get(&self.first_ns),
            last_ns: get(&self.last_ns),
            cpu_ns: cpu_ns() - get(&self.cpu_before_ns),
            latency_us,
        };
        let _ = tell(&serde_json::to_string(&heard).expect("numbers are JSON"));
    }

    /// Follows the parent: its end is ours, and once all was said, silence is the end, too.
    fn watch(&self) {
        if wait_for("said").is_err() {
            std::process::exit(1);
        }
        let (mut before, mut since) = (self.received.load(Ordering::Acquire), Instant::now());
        while since.elapsed() < STALLED_AFTER {
            std::thread::sleep(Duration::from_millis(100));
            let now = self.received.load(Ordering::Acquire);
            if now != before {
                (before, since) = (now, Instant::now());
            }
        }
        self.report(None);
        std::process::exit(0);
    }
}

/// Counts and checks what a subscriber gets.
#[derive(Debug)]
pub(crate) struct Sink {
    tally: Arc<Tally>,
    payload_bytes: usize,
    next: u64,
    received: u64,
    times: Histogram<u64>,
}

impl Sink {
    fn new(part: &Part) -> Self {
        Self {
            tally: Arc::new(Tally { messages: part.task.messages, ..Tally::default() }),
            payload_bytes: part.payload_bytes(),
            next: 0,
            received: 0,
            times: Histogram::new_with_bounds(1, 100_000_000_000, 3).expect("the bounds are valid"),
        }
    }

    /// The subscription stands: whatever is published from now on comes here.
    pub(crate) fn ready(&mut self) -> anyhow::Result<()> {
        self.tally.first_ns.store(now_ns(), Ordering::Release);
        self.tally.cpu_before_ns.store(cpu_ns(), Ordering::Release);
        let tally = Arc::clone(&self.tally);
        std::thread::Builder::new().name("watch".to_owned()).spawn(move || tally.watch())?;
        tell("ready")
    }

    #[inline]
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        let Some(heard) = payload::check(bytes, self.payload_bytes) else {
            self.tally.wrong.fetch_add(1, Ordering::Relaxed);
            return;
        };
        self.received += 1;
        self.tally.received.store(self.received, Ordering::Relaxed);
        if heard.said_ns > 0 {
            self.times.saturating_record(now_ns().saturating_sub(heard.said_ns));
        }
        if heard.number < self.next {
            self.tally.duplicated.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if heard.number > self.next {
            self.tally.lost.fetch_add(heard.number - self.next, Ordering::Relaxed);
        }
        self.next = heard.number + 1;
        // Now and then, so that a run that loses its end has a last time, too.
        if self.is_done() || self.next.is_multiple_of(1024) {
            self.tally.last_ns.store(now_ns(), Ordering::Release);
        }
    }

    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.next >= self.tally.messages
    }

    fn report(&self) {
        let at = |quantile| as_float(self.times.value_at_quantile(quantile)) / 1000.0;
        let percentiles = Percentiles { p50: at(0.5), p99: at(0.99), p999: at(0.999) };
        self.tally.report((!self.times.is_empty()).then_some(percentiles));
    }
}
