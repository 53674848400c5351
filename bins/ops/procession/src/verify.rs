//! `procession verify`: every byte of every journal.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use journal::{Damage, Marks, Offset, Report};
use procession::exit::Exit;
use procession::names::Instance;
use serde::Serialize;

use crate::home::Home;
use crate::output::{Colour, Output};
use crate::text::{self, Count};

/// Check journals from the first byte to the last; exit code 1 if there is damage.
///
/// Also while their processes run. A torn tail, left by a crash, is no damage: the next start cuts it off.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these processes or instances.
    #[arg(value_name = "PROCESS")]
    processes: Vec<Instance>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Verified<'a> {
    journal: &'a str,
    records: u64,
    segments: u64,
    bytes: u64,
    marks: Option<VerifiedMarks>,
    damage: Vec<Damaged>,
    torn_tail: bool,
    /// Files in the journal's folder that are no part of it.
    strays: Vec<PathBuf>,
}

#[derive(Serialize)]
struct VerifiedMarks {
    id: String,
    epoch: u32,
    committed: u64,
    durable: u64,
    trimmed: u64,
}

/// A damaged place: offsets from `from` up to but without `to` can't be read.
#[derive(Serialize)]
struct Damaged {
    path: PathBuf,
    from: u64,
    to: u64,
    reason: String,
}

/// Runs `procession verify`.
pub(crate) fn run(args: &Args, out: &mut Output) -> Result<ExitCode> {
    let home = Home::find()?;
    let instances = if args.processes.is_empty() {
        home.require_state()?;
        home.instances()?
    } else {
        named(&home, &args.processes)?
    };
    let mut sound = true;
    for instance in &instances {
        let verified = verify(&home, instance);
        sound &= verified.damage.is_empty();
        if args.json {
            out.json(&verified)?;
        } else {
            write_lines(&verified, out)?;
        }
        // Each may take a while.
        out.flush()?;
    }
    Ok(if sound { Exit::Done } else { Exit::Failed }.into())
}

/// Unlike elsewhere a folder is enough: its marks may be what is damaged.
fn named(home: &Home, names: &[Instance]) -> Result<Vec<Instance>> {
    home.require_state()?;
    let all = home.instances()?;
    let mut wanted = Vec::new();
    for name in names {
        let meant: Vec<_> =
            all.iter().filter(|instance| crate::pattern::stands_for(name, instance)).collect();
        if meant.is_empty() {
            return Err(home.unknown(name, &all));
        }
        wanted.extend(meant.into_iter().cloned());
    }
    wanted.sort();
    wanted.dedup();
    Ok(wanted)
}

fn verify<'a>(home: &Home, instance: &'a Instance) -> Verified<'a> {
    let folder = home.folder(instance);
    let mut verified = match journal::verify(&folder) {
        Ok(report) => Verified::new(instance.as_str(), report),
        Err(error) => {
            let mut unread = Verified::empty(instance.as_str());
            unread.damage.push(Damaged::all(journal::journal_folder(&folder), error.to_string()));
            unread
        }
    };
    if let Err(error) = journal::read_cursors(&folder) {
        verified.damage.push(Damaged::all(journal::cursors_path(&folder), error.to_string()));
    }
    verified
}

impl<'a> Verified<'a> {
    const fn empty(journal: &'a str) -> Self {
        Self {
            journal,
            records: 0,
            segments: 0,
            bytes: 0,
            marks: None,
            damage: Vec::new(),
            torn_tail: false,
            strays: Vec::new(),
        }
    }

    fn new(journal: &'a str, report: Report) -> Self {
        let Report { records, segments, bytes, marks, damage, torn_tail, strays } = report;
        let marks = marks.as_ref().map(VerifiedMarks::from);
        Self {
            journal,
            records,
            segments,
            bytes,
            marks,
            damage: damage.into_iter().map(Damaged::from).collect(),
            torn_tail,
            strays,
        }
    }
}

impl From<&Marks> for VerifiedMarks {
    fn from(marks: &Marks) -> Self {
        Self {
            id: marks.journal.to_string(),
            epoch: marks.epoch.0,
            committed: marks.committed.0,
            durable: marks.durable.0,
            trimmed: marks.trimmed.0,
        }
    }
}

impl From<Damage> for Damaged {
    fn from(Damage { path, from: Offset(from), to: Offset(to), reason }: Damage) -> Self {
        Self { path, from, to, reason }
    }
}

impl Damaged {
    /// A file or folder that can't be read at all.
    const fn all(path: PathBuf, reason: String) -> Self {
        Self { path, from: 0, to: 0, reason }
    }
}

fn write_lines(verified: &Verified<'_>, out: &mut Output) -> Result<()> {
    let Verified { journal, records, segments, bytes, marks, damage, torn_tail, strays } = verified;
    let verdict =
        if damage.is_empty() { out.paint(Colour::Good, "sound") } else { out.paint(Colour::Bad, "damaged") };
    let (records, segments) = (Count(*records, "record"), Count(*segments, "segment"));
    write!(out, "{journal}: {verdict}, {records}, {segments}, {}", text::bytes(*bytes))?;
    if let Some(VerifiedMarks { epoch, committed, durable, trimmed, .. }) = marks {
        write!(out, "; epoch {epoch}, committed {committed}, durable {durable}, trimmed {trimmed}")?;
    }
    writeln!(out, "{}", if *torn_tail { "; a torn tail, which the next start cuts off" } else { "" })?;
    for Damaged { path, from, to, reason } in damage {
        let lost = if from < to { format!("offsets {from} up to {to}: ") } else { String::new() };
        writeln!(out, "  {}: {lost}{}", path.display(), text::escape(reason))?;
    }
    for stray in strays {
        writeln!(out, "  {}: a stray file, no part of the journal", stray.display())?;
    }
    Ok(())
}
