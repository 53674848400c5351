//! `procession ps`: every process at a glance.

mod look;
mod sample;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use procession::Death;
use procession::names::Instance;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::home::Home;
use crate::lag::{self, Lag, behind_cell};
use crate::output::{Colour, Output};
use crate::past::{self, Letters};
use crate::pattern::stands_for;
use crate::socket::block_on;
use crate::table::{Align, Cell, Table, or_dash};
use crate::text;

use look::{Look, State};
use sample::Sample;

/// Between the two looks that rates come from.
const SAMPLE: Duration = Duration::from_millis(250);

/// Show every process: its state, what it costs, what it says, and who is slow to hear it.
///
/// RESTARTS counts how often the journal was taken over after the first time: by a start, or by a command that spoke in its
/// name while it was down. Rates and CPU are those of a quarter of a second. Memory is what the process holds for itself; mapped journals
/// don't count, for the kernel can take their pages back. Lag is that of the slowest subscription, in records of
/// all topics.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these processes or instances.
    #[arg(value_name = "PROCESS")]
    processes: Vec<Instance>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// One instance.
#[derive(Debug, Serialize)]
struct Row {
    process: String,
    state: State,
    /// What is wrong, if anything is.
    reason: Option<String>,
    pid: Option<u32>,
    uptime_ms: Option<u64>,
    /// How often its journal was taken over after the first time.
    restarts: Option<u32>,
    memory_bytes: Option<u64>,
    cpu_percent: Option<f64>,
    records: Option<u64>,
    records_per_second: Option<f64>,
    slowest: Option<Slowest>,
    /// Events that it has parked in this life.
    parked: Option<u64>,
    /// Dead letters that nobody has decided about, also of its earlier lives.
    open_letters: Option<u64>,
    #[serde(skip)]
    letters: Letters,
    /// What the life before this one ended with, or this one, if it is over.
    last_death: Option<Death>,
}

/// The subscription that is farthest behind an instance.
#[derive(Debug, Serialize)]
struct Slowest {
    subscriber: String,
    subscription: String,
    behind: u64,
}

/// Runs `procession ps`.
pub(crate) fn run(args: &Args, out: &mut Output) -> Result<ExitCode> {
    let home = Home::find()?;
    let instances = instances(&home, &args.processes)?;
    let slowest = slowest(&home)?;
    let rows = block_on(rows(&home, instances, slowest))?;
    if args.json {
        rows.iter().try_for_each(|row| out.json(row))?;
        return Ok(ExitCode::SUCCESS);
    }
    table(&rows).write(out)?;
    for Row { process, state, reason, uptime_ms, letters, last_death, .. } in &rows {
        let uptime = uptime_ms.map(Duration::from_millis);
        if let Some(reason) = reason {
            note!("{process} is {}: {}", state.word(), text::escape(reason));
        }
        for line in past::lines(process, uptime, last_death.as_ref(), *letters) {
            note!("{line}");
        }
    }
    if rows.is_empty() {
        note!("no process has run in {}", home.folders.state.display());
        note!("  try: {}", home.advice_for_none());
    }
    Ok(ExitCode::SUCCESS)
}

/// Instances with a folder or a socket. A name in which somebody has only published by hand is no process's: it is shown
/// if it is asked for.
fn instances(home: &Home, names: &[Instance]) -> Result<Vec<Instance>> {
    let mut instances = home.instances()?;
    if names.is_empty() {
        instances.retain(|instance| home.has_lived(instance));
    }
    // Without a runtime folder that may be read, the state folder tells enough.
    instances.extend(home.sockets().unwrap_or_default());
    instances.sort();
    instances.dedup();
    for name in names {
        if !instances.iter().any(|instance| stands_for(name, instance)) {
            return Err(home.unknown(name, &instances));
        }
    }
    instances.retain(|instance| names.is_empty() || names.iter().any(|name| stands_for(name, instance)));
    Ok(instances)
}

/// For each journal the subscription that is farthest behind.
fn slowest(home: &Home) -> Result<BTreeMap<String, Slowest>> {
    let mut slowest: BTreeMap<String, Slowest> = BTreeMap::new();
    for subscriber in home.instances()? {
        let lags = lag::of_subscriber(home, &subscriber).unwrap_or_else(|error| {
            note!("the cursors of {subscriber} can't be read: {error}");
            Vec::new()
        });
        for Lag { subscriber, subscription, journal, behind, .. } in
            lags.into_iter().filter(|lag| !lag.replay)
        {
            let behind = behind.unwrap_or_default();
            if slowest.get(&journal).is_none_or(|known| known.behind < behind) {
                slowest.insert(journal, Slowest { subscriber, subscription, behind });
            }
        }
    }
    Ok(slowest)
}

/// Looks at all instances at the same time: one that hangs holds up nobody else.
async fn rows(
    home: &Home,
    instances: Vec<Instance>,
    mut slowest: BTreeMap<String, Slowest>,
) -> Result<Vec<Row>> {
    let sample =
        || -> Vec<Sample> { instances.iter().map(|instance| Sample::take(&home.folder(instance))).collect() };
    let (before, began) = (sample(), Instant::now());
    sleep(SAMPLE).await;
    let (after, elapsed) = (sample(), began.elapsed());
    // Asked afterwards: answering costs them time, which isn't to be counted.
    let mut looks = JoinSet::new();
    for (index, instance) in instances.iter().enumerate() {
        let (home, instance) = (home.clone(), instance.clone());
        looks.spawn(async move { (index, look::at(&home, &instance).await) });
    }
    let mut looked: Vec<Option<Look>> = instances.iter().map(|_| None).collect();
    while let Some(look) = looks.join_next().await {
        let (index, look) = look?;
        looked[index] = Some(look);
    }
    let rows = instances.iter().zip(looked).zip(before.iter().zip(&after)).map(
        |((instance, look), (before, after))| {
            let slowest = slowest.remove(instance.as_str());
            row(instance, look.unwrap_or_default(), before, after, elapsed, slowest)
        },
    );
    Ok(rows.collect())
}

fn row(
    instance: &Instance,
    look: Look,
    before: &Sample,
    after: &Sample,
    elapsed: Duration,
    slowest: Option<Slowest>,
) -> Row {
    let Look { state, reason, status, parked, letters, last_death } = look;
    let runs = state != State::Down;
    let pid = after.pid.filter(|_| runs);
    let rates = after.since(before, elapsed);
    Row {
        process: instance.to_string(),
        state,
        reason,
        pid,
        uptime_ms: status.map(|status| status.uptime_ms),
        restarts: after.epoch.map(|epoch| epoch.saturating_sub(1)),
        memory_bytes: after.memory_bytes.filter(|_| runs),
        cpu_percent: rates.cpu_percent.filter(|_| runs).map(in_tenths),
        records: after.committed,
        records_per_second: rates.records_per_second.map(in_tenths),
        slowest,
        parked,
        open_letters: letters.count(),
        letters,
        last_death,
    }
}

/// What a short sample is good for.
fn in_tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn table(rows: &[Row]) -> Table<11> {
    let mut table = Table::new([
        ("PROCESS", Align::Left),
        ("STATE", Align::Left),
        ("PID", Align::Right),
        ("UPTIME", Align::Right),
        ("RESTARTS", Align::Right),
        ("MEMORY", Align::Right),
        ("CPU", Align::Right),
        ("RECORDS", Align::Right),
        ("RATE", Align::Right),
        ("LAG", Align::Right),
        ("SLOWEST", Align::Left),
    ]);
    for row in rows {
        let uptime = row.uptime_ms.map(|ms| text::duration(Duration::from_millis(ms)));
        let slowest = row.slowest.as_ref();
        // Who keeps up isn't slow.
        let slow = slowest.filter(|slowest| slowest.behind > 0);
        table.row([
            (&row.process).into(),
            Cell::painted(row.state.word(), colour(row.state)),
            or_dash(row.pid),
            or_dash(uptime),
            or_dash(row.restarts),
            or_dash(row.memory_bytes.map(text::bytes)),
            or_dash(row.cpu_percent.map(|cpu| format!("{cpu:.1} %"))),
            or_dash(row.records),
            or_dash(row.records_per_second.map(|rate| format!("{rate:.0}/s"))),
            or_dash(slowest.map(|slowest| behind_cell(slowest.behind))),
            or_dash(slow.map(|slow| format!("{} {}", slow.subscriber, slow.subscription))),
        ]);
    }
    table
}

const fn colour(state: State) -> Colour {
    match state {
        State::Ready => Colour::Good,
        State::Waiting | State::Starting | State::Stopping => Colour::Uncertain,
        State::Down | State::Unknown => Colour::Faint,
        State::Hung | State::Unwell => Colour::Bad,
    }
}
