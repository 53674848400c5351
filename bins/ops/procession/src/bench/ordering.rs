//! Models: what order and retraction cost, in this process and without a journal.
//!
//! All times are processor time: the parts that are measured do nothing but compute.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use hdrhistogram::Histogram;
use procession::Event;
use procession::ordering::{
    Compensate, EventTime, Fold, FoldOptions, Model, Order, Outputs, Reorder, Watermark,
};
use serde::{Deserialize, Serialize};

use super::memory;
use super::probe::cpu_ns;
use super::report::{nanoseconds, print};

/// Inputs whose outputs are published together.
const BATCH: u64 = 256;
/// Inputs between two finals: what a model hears in 50 ms at 100,000 a second.
const SETTLE: u64 = BATCH * 20;
/// Between two inputs of all keys, in event time.
const STEP_MICROS: i64 = 10;
/// More than a million inputs take.
const WARM_MIB: u32 = 1024;
/// What an endless run keeps.
const HORIZON: Duration = Duration::from_secs(1);
/// Late events that are timed.
const LATE: u64 = 1000;

#[derive(Debug, Args)]
pub(super) struct Ordering {
    /// Keys
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    keys: u64,
    /// Inputs
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(10_000..))]
    inputs: u64,
    /// One input in so many leads to an output
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    output_one_in: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Outcome {
    keys: u64,
    inputs: u64,
    outputs: u64,
    /// An event that comes in order, through the window.
    reorder_ns: f64,
    /// An event in order through a model that cannot change its mind: state, output, encoding.
    plain_ns: f64,
    /// The same through a model that can.
    model_ns: f64,
    retraction_adds_ns: f64,
    /// An event that is older than all others of its key, with the correction that follows.
    late_us: Late,
    endless: Endless,
}

#[derive(Debug, Serialize)]
struct Late {
    p50: f64,
    p99: f64,
    max: f64,
    /// Records of a correction.
    records: f64,
}

/// Ten times as many inputs, of which only the last ones are not final.
#[derive(Debug, Serialize)]
struct Endless {
    inputs: u64,
    /// An event in order, and what it takes to forget it once it is final.
    ns: f64,
    inputs_kept_max: usize,
    /// Resident memory after a fifth of it, and at the end.
    rss_mib: [f64; 2],
}

/// Adds up; says the sum now and then.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Sum {
    sum: u64,
}

/// The state after each so-many-th input.
#[derive(Debug, Serialize, Deserialize)]
struct Total {
    session: u64,
    at: EventTime,
    sum: u64,
}

impl Event for Total {
    const TOPIC: &'static str = "total";
}

impl Compensate for Total {}

struct Addend {
    session: u64,
    value: u64,
    says: bool,
}

impl Model for Sum {
    type Input = Addend;
    type Output = Total;

    fn apply(&mut self, at: EventTime, addend: &Addend, out: &mut Outputs<Total>) {
        self.sum = self.sum.wrapping_add(addend.value);
        if addend.says {
            out.say(Total { session: addend.session, at, sum: self.sum });
        }
    }
}

impl Ordering {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let reorder_ns = self.reorder();
        let (plain_ns, outputs) = self.plain()?;
        // What a virtual machine takes for memory that it had given back is not what a model costs.
        memory::warm(WARM_MIB);
        let (model_ns, fold) = self.model()?;
        let outcome = Outcome {
            keys: self.keys,
            inputs: self.inputs,
            outputs,
            reorder_ns,
            plain_ns,
            model_ns,
            retraction_adds_ns: model_ns - plain_ns,
            late_us: self.late(fold)?,
            endless: self.endless()?,
        };
        if self.json {
            print(&format!("{}\n", serde_json::to_string(&outcome)?))?;
        } else {
            print(&outcome.in_words())?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn input(&self, number: u64) -> (EventTime, Addend) {
        // Keys in no particular order, each as often as the others.
        let session = number.wrapping_mul(7_919) % self.keys;
        let says = (number / self.keys).is_multiple_of(self.output_one_in);
        (at(number), Addend { session, value: number, says })
    }

    fn per_input(&self, used_ns: u64) -> f64 {
        float(used_ns) / float(self.inputs)
    }

    fn reorder(&self) -> f64 {
        let journal: Arc<str> = "source".into();
        let mut mark = Watermark::new();
        let source = mark.add(&journal);
        let mut window = Reorder::new(Duration::from_millis(10));
        let (before, mut through) = (cpu_ns(), 0);
        for number in 0..self.inputs {
            let at = at(number);
            mark.hear(source, at);
            let order = Order::of_event(at, Arc::clone(&journal), number);
            through += u64::from(window.push(order, number, mark.mark(), Instant::now).is_some());
        }
        assert_eq!(through, self.inputs, "events in order are not held");
        self.per_input(cpu_ns() - before)
    }

    /// The same work without a ledger: a state for each key, and outputs as they would be published.
    fn plain(&self) -> anyhow::Result<(f64, u64)> {
        let mut states: HashMap<Box<[u8]>, Sum> = HashMap::new();
        let (mut outbox, mut outputs) = (Vec::new(), 0);
        let before = cpu_ns();
        for number in 0..self.inputs {
            let (at, addend) = self.input(number);
            let key = key(addend.session);
            if !states.contains_key(&key[..]) {
                states.insert(key[..].into(), Sum::default());
            }
            let state = states.get_mut(&key[..]).expect("it was put there");
            state.sum = state.sum.wrapping_add(addend.value);
            if addend.says {
                let total = Total { session: addend.session, at, sum: state.sum };
                serde_json::to_writer(&mut outbox, &total)?;
                outputs += 1;
            }
            if number % BATCH == BATCH - 1 {
                std::hint::black_box(&mut outbox).clear();
            }
        }
        Ok((self.per_input(cpu_ns() - before), outputs))
    }

    /// Nothing of it becomes final, so that all of it is there for the late events.
    fn model(&self) -> anyhow::Result<(f64, Fold<Sum>)> {
        let mut fold = Fold::new("sum", FoldOptions::default());
        let journal: Arc<str> = "source".into();
        let mut outbox = Vec::new();
        let before = cpu_ns();
        for number in 0..self.inputs {
            let (at, addend) = self.input(number);
            let key = key(addend.session);
            fold.event(&key, Order::of_event(at, Arc::clone(&journal), number), addend);
            if number % BATCH == BATCH - 1 {
                fold.flush(|saying| outbox.extend_from_slice(saying.payload))?;
                std::hint::black_box(&mut outbox).clear();
            }
        }
        fold.flush(|saying| outbox.extend_from_slice(saying.payload))?;
        Ok((self.per_input(cpu_ns() - before), fold))
    }

    fn late(&self, mut fold: Fold<Sum>) -> anyhow::Result<Late> {
        let journal: Arc<str> = "other".into();
        let (mut times, mut records): (Histogram<u64>, u64) = (nanoseconds(), 0);
        for number in 0..LATE {
            let session = number.wrapping_mul(104_729) % self.keys;
            let late = Order::of_event(EventTime(-1), Arc::clone(&journal), number);
            let before = cpu_ns();
            fold.event(&key(session), late, Addend { session, value: number + 1, says: true });
            fold.flush(|saying| {
                std::hint::black_box(saying.payload);
                records += 1;
            })?;
            times.saturating_record(cpu_ns() - before);
        }
        let us = |ns: u64| float(ns) / 1000.0;
        let at = |quantile| us(times.value_at_quantile(quantile));
        Ok(Late { p50: at(0.5), p99: at(0.99), max: us(times.max()), records: float(records) / float(LATE) })
    }

    fn endless(&self) -> anyhow::Result<Endless> {
        let inputs = self.inputs * 10;
        let mut fold: Fold<Sum> = Fold::new("sum", FoldOptions::default());
        let journal: Arc<str> = "source".into();
        let (mut kept, mut rss) = (0, [0.0; 2]);
        let before = cpu_ns();
        for number in 0..inputs {
            let (at, addend) = self.input(number);
            let key = key(addend.session);
            fold.event(&key, Order::of_event(at, Arc::clone(&journal), number), addend);
            if number % BATCH == BATCH - 1 {
                kept = kept.max(fold.inputs_count());
                let settled = if number % SETTLE == SETTLE - 1 { at.minus(HORIZON) } else { EventTime::MIN };
                fold.settle(settled, |saying| {
                    std::hint::black_box(saying.payload);
                })?;
            }
            if number == inputs / 5 {
                rss[0] = rss_mib()?;
            }
        }
        let ns = float(cpu_ns() - before) / float(inputs);
        rss[1] = rss_mib()?;
        Ok(Endless { inputs, ns, inputs_kept_max: kept, rss_mib: rss })
    }
}

impl Outcome {
    fn in_words(&self) -> String {
        let Self {
            keys,
            inputs,
            outputs,
            reorder_ns,
            plain_ns,
            model_ns,
            retraction_adds_ns,
            late_us,
            endless,
        } = self;
        let Late { p50, p99, max, records } = late_us;
        let Endless { inputs: endless_inputs, ns, inputs_kept_max, rss_mib: [early, end] } = endless;
        [
            format!("{inputs} inputs of {keys} keys, {outputs} outputs; processor time\n"),
            format!("reorder        {reorder_ns:>8.1} ns an event in order\n"),
            format!("model          {plain_ns:>8.1} ns an event without retraction, {model_ns:.1} ns with it: {retraction_adds_ns:.1} ns more\n"),
            format!("late event     {p50:>8.1} us p50, {p99:.1} us p99, {max:.1} us max; {records:.0} records each\n"),
            format!("endless        {ns:>8.1} ns an event in order until it is forgotten, {endless_inputs} of them, at most {inputs_kept_max} kept\n"),
            format!("               {early:.1} MiB resident after a fifth, {end:.1} MiB at the end\n"),
        ]
        .concat()
    }
}

fn at(number: u64) -> EventTime {
    EventTime(i64::try_from(number).unwrap_or(i64::MAX / STEP_MICROS) * STEP_MICROS)
}

fn key(session: u64) -> [u8; 8] {
    session.to_be_bytes()
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

fn rss_mib() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let resident = text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    Ok(float(resident.context("the kernel says nothing of resident memory")?.trim().parse()?) / 1024.0)
}
