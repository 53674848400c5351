//! What the faults came to: a line for each, a table for all, and the verdict.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use anyhow::Result;
use serde::{Serialize, Serializer};

use super::check::{Checked, Loss};
use super::fault::Kind;
use super::swarm::Swarm;
use crate::output::{Colour, Output};
use crate::table::{Align, Cell, Table, or_dash};
use crate::text::{self, Count};

/// A fault that is over.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Fault {
    /// Since the beginning.
    #[serde(rename = "at_ms", serialize_with = "millis")]
    pub(super) at: Duration,
    pub(super) process: String,
    pub(super) kind: Kind,
    /// For how long it was stopped or slowed.
    #[serde(rename = "held_ms", serialize_with = "millis")]
    pub(super) held: Duration,
    /// From the end of the fault until it was ready.
    #[serde(rename = "ready_ms", serialize_with = "some_millis")]
    pub(super) ready: Option<Duration>,
    /// From the end of the fault until it had heard all that had been said when it was ready.
    #[serde(rename = "caught_up_ms", serialize_with = "some_millis")]
    pub(super) caught_up: Option<Duration>,
    pub(super) lag_peaks: Vec<Peak>,
    /// Deliveries that were in hand when it died, and came again.
    pub(super) redeliveries: u64,
    /// Why it isn't well.
    pub(super) trouble: Option<String>,
}

/// How far a subscription was behind at most.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Peak {
    pub(super) subscription: String,
    pub(super) journal: String,
    pub(super) records: u64,
}

/// What all of it came to.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    seed: u64,
    seconds: f64,
    interrupted: bool,
    all_came_back: bool,
    nothing_lost: bool,
    journals: u64,
    records: u64,
    causes: u64,
    losses: Vec<Loss>,
    processes: Vec<Row>,
    faults: Vec<Fault>,
}

/// The faults of one process.
#[derive(Debug, Clone, Default, Serialize)]
struct Row {
    process: String,
    killed: u64,
    stopped: u64,
    slowed: u64,
    restarted: u64,
    not_back: u64,
    /// Of kills and restarts: from the signal until the next one was ready.
    #[serde(rename = "ready_median_ms", serialize_with = "some_millis")]
    ready_median: Option<Duration>,
    #[serde(rename = "ready_max_ms", serialize_with = "some_millis")]
    ready_max: Option<Duration>,
    #[serde(rename = "caught_up_max_ms", serialize_with = "some_millis")]
    caught_up_max: Option<Duration>,
    lag_peak: u64,
    redeliveries: u64,
}

impl Fault {
    fn lag_peak(&self) -> u64 {
        self.lag_peaks.iter().map(|peak| peak.records).max().unwrap_or_default()
    }

    /// Tells of it right away.
    pub(super) fn write_line(&self, out: &mut Output) -> Result<()> {
        let Self { at, process, kind, held, ready, caught_up, redeliveries, trouble, .. } = self;
        let what = if held.is_zero() {
            kind.word().to_owned()
        } else {
            format!("{} for {}", kind.word(), short(*held))
        };
        write!(out, "{:>7.1} s  {process}: {what}; ", at.as_secs_f64())?;
        if let Some(ready) = ready {
            write!(out, "ready after {}", short(*ready))?;
        }
        let peak = self.lag_peak();
        if peak > 0 {
            write!(out, ", {peak} behind at most")?;
        }
        if let Some(caught_up) = caught_up.filter(|_| !self.lag_peaks.is_empty()) {
            write!(out, ", caught up after {}", short(caught_up))?;
        }
        if *redeliveries > 0 {
            write!(out, ", {redeliveries} delivered again")?;
        }
        if let Some(trouble) = trouble {
            let comma = if ready.is_some() { ", " } else { "" };
            write!(out, "{comma}{}", out.paint(Colour::Bad, trouble))?;
        }
        writeln!(out)?;
        // It is told when it happens.
        Ok(out.flush()?)
    }
}

impl Report {
    pub(super) fn new(seed: u64, swarm: &Swarm) -> Self {
        let row = |process: String| Row { process, ..Row::default() };
        Self {
            seed,
            seconds: 0.0,
            interrupted: false,
            all_came_back: true,
            nothing_lost: true,
            journals: 0,
            records: 0,
            causes: 0,
            losses: Vec::new(),
            processes: swarm.targets.iter().map(|target| row(target.instance.to_string())).collect(),
            faults: Vec::new(),
        }
    }

    /// Whether all came back and nothing was lost.
    pub(super) const fn is_good(&self) -> bool {
        self.all_came_back && self.nothing_lost
    }

    pub(super) fn write_beginning(&self, time: Duration, out: &mut Output) -> Result<()> {
        let processes: Vec<_> = self.processes.iter().map(|row| row.process.as_str()).collect();
        writeln!(
            out,
            "{} for {}, --seed {}",
            processes.join(", "),
            humantime::format_duration(time),
            self.seed
        )?;
        Ok(out.flush()?)
    }

    pub(super) const fn interrupt(&mut self) {
        self.interrupted = true;
    }

    pub(super) fn set_time(&mut self, time: Duration) {
        self.seconds = time.as_secs_f64();
    }

    pub(super) fn add_fault(&mut self, fault: Fault) {
        self.all_came_back &= fault.trouble.is_none();
        self.faults.push(fault);
    }

    pub(super) fn add_losses(&mut self, losses: Vec<Loss>) {
        self.nothing_lost &= losses.is_empty();
        self.losses.extend(losses);
    }

    /// The last of it: what journals and causes showed, and the sums.
    pub(super) fn add_checked(&mut self, checked: Checked) {
        let Checked { journals, records, causes, losses } = checked;
        (self.journals, self.records, self.causes) = (journals, records, causes);
        self.add_losses(losses);
        for row in &mut self.processes {
            row.sum(&self.faults);
        }
    }

    pub(super) fn write(&self, as_json: bool, out: &mut Output) -> Result<()> {
        if as_json {
            return out.json(self);
        }
        writeln!(out)?;
        self.table().write(out)?;
        writeln!(out)?;
        for fault in self.faults.iter().filter(|fault| fault.trouble.is_some()) {
            let Fault { at, process, kind, trouble, .. } = fault;
            let trouble = trouble.as_deref().unwrap_or_default();
            writeln!(out, "{process}, {} at {:.1} s: {trouble}", kind.word(), at.as_secs_f64())?;
        }
        for loss in &self.losses {
            writeln!(out, "{}: {}", loss.process(), text::escape(&loss.what))?;
        }
        let verdict = |good: bool, yes: &str, no: &str| {
            if good { out.paint(Colour::Good, yes) } else { out.paint(Colour::Bad, no) }
        };
        let back = verdict(self.all_came_back, "all came back", "not all came back");
        let lost = verdict(self.nothing_lost, "nothing was lost", "something was lost");
        let (faults, records) = (Count(self.faults.len() as u64, "fault"), Count(self.records, "record"));
        let (causes, journals) = (Count(self.causes, "cause"), Count(self.journals, "journal"));
        let early = if self.interrupted { ", ended early" } else { "" };
        writeln!(
            out,
            "{back}, {lost}: {faults} in {:.0} s{early}; {records} and {causes} of {journals} checked",
            self.seconds
        )?;
        Ok(())
    }

    fn table(&self) -> Table<11> {
        let mut table = Table::new([
            ("PROCESS", Align::Left),
            ("KILL", Align::Right),
            ("STOP", Align::Right),
            ("SLOW", Align::Right),
            ("RESTART", Align::Right),
            ("NOT BACK", Align::Right),
            ("READY", Align::Right),
            ("AT MOST", Align::Right),
            ("CAUGHT UP", Align::Right),
            ("LAG", Align::Right),
            ("AGAIN", Align::Right),
        ]);
        for row in &self.processes {
            let bad = |count: u64| {
                Cell::painted(count.to_string(), if count > 0 { Colour::Bad } else { Colour::Plain })
            };
            table.row([
                (&row.process).into(),
                row.killed.into(),
                row.stopped.into(),
                row.slowed.into(),
                row.restarted.into(),
                bad(row.not_back),
                or_dash(row.ready_median.map(short)),
                or_dash(row.ready_max.map(short)),
                or_dash(row.caught_up_max.map(short)),
                row.lag_peak.into(),
                row.redeliveries.into(),
            ]);
        }
        table
    }
}

impl Row {
    fn sum(&mut self, faults: &[Fault]) {
        let mut counts: BTreeMap<Kind, u64> = BTreeMap::new();
        let mut ready = Vec::new();
        for fault in faults.iter().filter(|fault| fault.process == self.process) {
            *counts.entry(fault.kind).or_default() += 1;
            // Who was only stopped is ready at once.
            ready.extend(fault.ready.filter(|_| fault.kind.ends_process()));
            self.not_back += u64::from(fault.trouble.is_some());
            self.caught_up_max = self.caught_up_max.max(fault.caught_up);
            self.lag_peak = self.lag_peak.max(fault.lag_peak());
            self.redeliveries += fault.redeliveries;
        }
        let count = |kind: Kind| counts.get(&kind).copied().unwrap_or_default();
        (self.killed, self.stopped) = (count(Kind::Kill), count(Kind::Stop));
        (self.slowed, self.restarted) = (count(Kind::Slow), count(Kind::Restart));
        ready.sort();
        self.ready_median = ready.get(ready.len() / 2).copied();
        self.ready_max = ready.last().copied();
    }
}

/// Milliseconds below a second.
fn short(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        text::duration(duration)
    }
}

fn millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn some_millis<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => millis(duration, serializer),
        None => serializer.serialize_none(),
    }
}
