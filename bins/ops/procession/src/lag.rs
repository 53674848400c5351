//! `procession lag`: who has heard how much of whom.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use journal::Time;
use procession::names::{Instance, REPLAY_SUFFIX};
use serde::Serialize;

use crate::home::Home;
use crate::output::{Colour, Output};
use crate::report::for_each;
use crate::table::{Align, Cell, Table, or_dash};
use crate::text;

/// Show how far each subscription is behind the journal that it reads.
///
/// Taken from the cursors and marks on disk, so it also tells of processes that are down. Records of all topics
/// count, also of those that the subscription leaves out; it passes them when it comes to them. A subscription `NAME.replay`
/// reads nothing: the model NAME keeps what it will read again after a restart.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these subscribers.
    #[arg(value_name = "PROCESS")]
    processes: Vec<Instance>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// A subscription's place in one journal, or that of a model's replay.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Lag {
    pub(crate) subscriber: String,
    pub(crate) subscription: String,
    pub(crate) journal: String,
    pub(crate) acknowledged: u64,
    /// `None` if there is no such journal any more.
    pub(crate) committed: Option<u64>,
    pub(crate) behind: Option<u64>,
    /// It reads nothing: a model keeps what it will read again after a restart, and what is behind is no delay.
    pub(crate) replay: bool,
    /// Whether the subscriber is running.
    running: bool,
    /// When the subscriber renewed its claim on what it hasn't read, which it does every hour or so.
    seen: String,
    #[serde(skip)]
    seen_ns: u64,
}

/// Runs `procession lag`.
pub(crate) fn run(args: &Args, out: &mut Output) -> Result<ExitCode> {
    let home = Home::find()?;
    let subscribers = home.named(&args.processes)?;
    let mut lags = Vec::new();
    let done = for_each(&subscribers, |subscriber| {
        let found = of_subscriber(&home, subscriber);
        lags.extend(found.with_context(|| format!("the cursors of `{subscriber}` can't be read"))?);
        Ok(())
    })?;
    if args.json {
        lags.iter().try_for_each(|lag| out.json(lag))?;
    } else {
        write_table(&lags, out)?;
    }
    Ok(done)
}

/// Every subscription of an instance, slowest first, and what its models keep.
///
/// # Errors
/// The table of cursors can't be read.
pub(crate) fn of_subscriber(home: &Home, subscriber: &Instance) -> journal::Result<Vec<Lag>> {
    let folder = home.folder(subscriber);
    let running = journal::is_locked(&folder).unwrap_or(false);
    let mut ends = BTreeMap::new();
    let mut lags = Vec::new();
    for cursor in journal::read_cursors(&folder)? {
        let journal = cursor.journal;
        let committed = *ends.entry(journal.clone()).or_insert_with(|| end_of(&home.folders.state, &journal));
        let acknowledged = cursor.position.next.0;
        lags.push(Lag {
            subscriber: subscriber.to_string(),
            replay: cursor.subscription.ends_with(REPLAY_SUFFIX),
            subscription: cursor.subscription,
            journal,
            acknowledged,
            committed,
            behind: committed.map(|committed| committed.saturating_sub(acknowledged)),
            running,
            seen: procession::json::time(Time(cursor.seen_ns)),
            seen_ns: cursor.seen_ns,
        });
    }
    lags.sort_by(|a, b| b.behind.cmp(&a.behind).then_with(|| a.subscription.cmp(&b.subscription)));
    Ok(lags)
}

fn end_of(state: &Path, journal: &str) -> Option<u64> {
    let marks = journal::read_marks(&state.join(journal)).ok().flatten()?;
    Some(marks.trusted().0)
}

fn write_table(lags: &[Lag], out: &mut Output) -> Result<()> {
    let mut table = Table::new([
        ("SUBSCRIBER", Align::Left),
        ("SUBSCRIPTION", Align::Left),
        ("JOURNAL", Align::Left),
        ("ACKNOWLEDGED", Align::Right),
        ("COMMITTED", Align::Right),
        ("BEHIND", Align::Right),
        ("SEEN", Align::Left),
    ]);
    for lag in lags {
        table.row([
            (&lag.subscriber).into(),
            (&lag.subscription).into(),
            (&lag.journal).into(),
            lag.acknowledged.into(),
            or_dash(lag.committed),
            or_dash(
                lag.behind.map(|behind| if lag.replay { kept_cell(behind) } else { behind_cell(behind) }),
            ),
            seen(lag),
        ]);
    }
    Ok(table.write(out)?)
}

/// Whoever has heard all is fine.
pub(crate) fn behind_cell(behind: u64) -> Cell {
    Cell::painted(behind.to_string(), if behind == 0 { Colour::Good } else { Colour::Uncertain })
}

fn kept_cell(records: u64) -> Cell {
    Cell::from(format!("{records} kept"))
}

/// When the subscriber was last there.
pub(crate) fn seen(lag: &Lag) -> Cell {
    if lag.running {
        return Cell::painted("running", Colour::Good);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ago = now.saturating_sub(Duration::from_nanos(lag.seen_ns));
    Cell::from(format!("{} ago", text::duration(ago)))
}
