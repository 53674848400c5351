//! Whether anything was lost: every byte of every journal, every offset, every cause.

use std::collections::BTreeMap;

use journal::{Damage, Gap, GapReason, Item, Level, Offset, Reader, Start};
use procession::names::Instance;
use serde::Serialize;

use super::swarm::Swarm;
use crate::home::Home;

/// So many losses of one kind are told of for each journal.
const SHOWN_MAX: usize = 5;

/// Something that is missing or damaged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Loss {
    process: String,
    pub(super) what: String,
}

impl Loss {
    pub(super) fn new(process: &Instance, what: String) -> Self {
        Self { process: process.to_string(), what }
    }

    pub(super) fn process(&self) -> &str {
        &self.process
    }
}

/// Damage that was there before, which isn't the fault of what follows.
pub(super) struct Before(BTreeMap<String, Vec<Damage>>);

/// What was looked at in the end, and what was found.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) journals: u64,
    pub(super) records: u64,
    pub(super) causes: u64,
    pub(super) losses: Vec<Loss>,
}

/// A journal as far as causes need it.
struct Kept {
    /// Up to here it was read.
    end: Offset,
    /// Up to here things were said once everybody had been read.
    said: Offset,
    gaps: Vec<Gap>,
}

impl Before {
    pub(super) fn look(home: &Home, swarm: &Swarm) -> Self {
        let damage = |instance: &Instance| {
            let report = journal::verify(&home.folder(instance));
            let damage = report.map(|report| report.damage).unwrap_or_default();
            if !damage.is_empty() {
                note!("{instance} is damaged already: `procession verify {instance}` says where");
            }
            (instance.to_string(), damage)
        };
        Self(swarm.watched().map(damage).collect())
    }

    fn has(&self, instance: &Instance, damage: &Damage) -> bool {
        self.0.get(instance.as_str()).is_some_and(|known| known.contains(damage))
    }

    fn has_gap(&self, instance: &Instance, gap: &Gap) -> bool {
        let covers = |damage: &Damage| damage.from <= gap.from && gap.to <= damage.to;
        self.0.get(instance.as_str()).is_some_and(|known| known.iter().any(covers))
    }
}

/// Looks at the journals of everybody.
pub(super) fn check(home: &Home, swarm: &Swarm, before: &Before) -> Checked {
    let mut checked = Checked::default();
    let mut kept = BTreeMap::new();
    for instance in swarm.watched() {
        checked.journals += 1;
        checked.damage(home, instance, before);
        match read(home, instance, &mut checked) {
            Ok(journal) => {
                let new = journal.gaps.iter().filter(|gap| !before.has_gap(instance, gap));
                let words = |gap: &Gap| format!("{} up to {} are {}", gap.from, gap.to, gap.reason);
                checked.losses.extend(new.take(SHOWN_MAX).map(|gap| Loss::new(instance, words(gap))));
                kept.insert(instance.to_string(), journal);
            }
            Err(error) => checked.losses.push(Loss::new(instance, format!("it can't be read: {error}"))),
        }
    }
    // After all of them were read: what a record names was said before it.
    for (name, journal) in &mut kept {
        let marks = journal::read_marks(&home.folders.state.join(name)).ok().flatten();
        journal.said = marks.map_or(journal.end, |marks| marks.trusted());
    }
    for instance in swarm.watched() {
        let found = causes(home, instance, &kept, &mut checked);
        if let Err(error) = found {
            checked.losses.push(Loss::new(instance, format!("it can't be read: {error}")));
        }
    }
    checked.losses.sort();
    checked.losses.dedup();
    checked
}

impl Checked {
    fn damage(&mut self, home: &Home, instance: &Instance, before: &Before) {
        let verify = || journal::verify(&home.folder(instance)).map(|report| report.damage);
        let found = match verify() {
            Ok(damage) if damage.is_empty() => return,
            Ok(damage) => damage,
            // Retention may have taken a segment away under our hands: once more.
            Err(_) => Vec::new(),
        };
        match verify() {
            Ok(damage) => {
                let lasting = damage.into_iter().filter(|damage| found.is_empty() || found.contains(damage));
                let new = lasting.filter(|damage| !before.has(instance, damage));
                let words = |damage: Damage| {
                    format!("damaged from {} up to {}: {}", damage.from, damage.to, damage.reason)
                };
                self.losses.extend(new.take(SHOWN_MAX).map(|damage| Loss::new(instance, words(damage))));
            }
            Err(error) => self.losses.push(Loss::new(instance, format!("it can't be checked: {error}"))),
        }
    }
}

/// Reads a journal up to where it ends now: offsets without a hole, and the gaps.
fn read(home: &Home, instance: &Instance, checked: &mut Checked) -> journal::Result<Kept> {
    let folder = home.folder(instance);
    let mut kept = Kept { end: Offset::ZERO, said: Offset::ZERO, gaps: Vec::new() };
    let Some(marks) = journal::read_marks(&folder)? else { return Ok(kept) };
    let Some(mut reader) = Reader::open(&folder, Start::Beginning, Level::Committed)? else {
        return Ok(kept);
    };
    kept.end = marks.trusted();
    let mut next = reader.position().next;
    while next < kept.end {
        match reader.next()? {
            None => break,
            Some(Item::Record(record)) => {
                if record.offset != next {
                    let gap = Gap { from: next, to: record.offset, reason: GapReason::Corrupt };
                    kept.gaps.push(gap);
                }
                next = record.offset.plus(1);
                checked.records += 1;
            }
            Some(Item::Gap(gap)) => {
                next = gap.to;
                // Retention goes on while this reads.
                let is_retention = gap.reason == GapReason::Trimmed
                    && reader.marks().is_ok_and(|marks| gap.to <= marks.trimmed);
                if !is_retention {
                    kept.gaps.push(gap);
                }
            }
        }
    }
    if next < kept.end {
        kept.gaps.push(Gap { from: next, to: kept.end, reason: GapReason::Corrupt });
    }
    Ok(kept)
}

/// Whether the cause of every record is there, where it isn't trimmed.
fn causes(
    home: &Home,
    instance: &Instance,
    kept: &BTreeMap<String, Kept>,
    checked: &mut Checked,
) -> journal::Result<()> {
    let end = kept.get(instance.as_str()).map_or(Offset::ZERO, |journal| journal.end);
    let folder = home.folder(instance);
    let Some(mut reader) = Reader::open(&folder, Start::Beginning, Level::Committed)? else { return Ok(()) };
    let mut shown = 0;
    while reader.position().next < end {
        let Some(item) = reader.next()? else { break };
        let Item::Record(record) = item else { continue };
        let Some(cause) = record.cause else { continue };
        // It may be of a process outside, or of one that has never run here.
        let Some(journal) = kept.get(cause.journal) else { continue };
        checked.causes += 1;
        let in_gap = journal.gaps.iter().any(|gap| gap.from <= cause.offset && cause.offset < gap.to);
        let is_past = cause.offset >= journal.said;
        if (in_gap || is_past) && shown < SHOWN_MAX {
            shown += 1;
            let what = format!(
                "record {} has a cause that isn't there: {} {}",
                record.offset, cause.journal, cause.offset
            );
            checked.losses.push(Loss::new(instance, what));
        }
    }
    Ok(())
}
