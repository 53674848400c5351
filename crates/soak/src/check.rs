//! Reads along in every journal: nothing may be missing, doubled or out of order.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use journal::{Item as Next, Level, Offset, Reader, Record, Start};
use procession::Payload as _;

use crate::member::{Item, Passed, Tally};
use crate::swarm::{INSTANCES, Swarm};

/// So many faults are told of; all are counted.
const FAULTS_SHOWN: usize = 20;

/// Follows all journals.
#[derive(Default)]
pub(crate) struct Checker {
    journals: BTreeMap<&'static str, Followed>,
    faults: Vec<String>,
    pub(crate) faults_count: u64,
}

#[derive(Default)]
struct Followed {
    reader: Option<Reader>,
    /// The record that must come next.
    offset: u64,
    /// The number that must come next, of each source.
    numbers: [u64; 2],
    tally: Tally,
}

impl Checker {
    /// Reads what is there, in every journal.
    pub(crate) fn catch_up(&mut self, swarm: &Swarm) -> Result<()> {
        for instance in INSTANCES {
            let followed = self.journals.entry(instance).or_default();
            let faults = followed.catch_up(instance, &swarm.folder(instance))?;
            self.faults_count += faults.len() as u64;
            let room = FAULTS_SHOWN.saturating_sub(self.faults.len());
            self.faults.extend(faults.into_iter().take(room));
        }
        Ok(())
    }

    /// Records that were said, over all journals.
    pub(crate) fn records(&self) -> u64 {
        self.journals.values().map(|followed| followed.offset).sum()
    }

    /// Whether everybody has dealt with everything that the sources have said.
    pub(crate) fn is_drained(&self) -> bool {
        let said = self.said();
        let passed = |name| self.journals.get(name).is_some_and(|followed| followed.numbers == said);
        let counted = |name| {
            self.journals
                .get(name)
                .is_some_and(|followed| followed.tally.left == said && followed.tally.right == said)
        };
        passed("left") && passed("right") && counted("sink@1") && counted("sink@2")
    }

    /// The first faults, in words.
    pub(crate) fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Adds a fault that was found elsewhere.
    pub(crate) fn fault(&mut self, words: String) {
        self.faults_count += 1;
        self.faults.push(words);
    }

    fn said(&self) -> [u64; 2] {
        ["source@1", "source@2"].map(|name| self.journals.get(name).map_or(0, |followed| followed.offset))
    }
}

impl Followed {
    fn catch_up(&mut self, instance: &str, folder: &Path) -> Result<Vec<String>> {
        let mut faults = Vec::new();
        if self.reader.is_none() {
            self.reader = Reader::open(folder, Start::Offset(Offset::ZERO), Level::Committed)?;
        }
        // Taken out, for what it lends must not hold the rest.
        let Some(mut reader) = self.reader.take() else { return Ok(faults) };
        while let Some(next) = reader.next().with_context(|| format!("the journal of {instance}"))? {
            match next {
                Next::Record(record) => {
                    if record.offset.0 != self.offset {
                        faults.push(format!("{instance}: offset {} after {}", record.offset, self.offset));
                    }
                    self.offset = record.offset.0 + 1;
                    if let Err(fault) = self.take(instance, &record) {
                        faults.push(format!("{instance}, offset {}: {fault}", record.offset));
                    }
                }
                Next::Gap(gap) => {
                    faults.push(format!("{instance}: {} up to {} are {}", gap.from, gap.to, gap.reason));
                    self.offset = gap.to.0;
                }
            }
        }
        self.reader = Some(reader);
        Ok(faults)
    }

    fn take(&mut self, instance: &str, record: &Record<'_>) -> Result<(), String> {
        let (codec, payload) = (record.codec, record.payload);
        match record.topic {
            "item" => {
                let Item { source, number, .. } = Item::take(codec, payload)?;
                if instance != format!("source@{source}") || number != record.offset.0 {
                    return Err(format!("it says item {number} of source {source}"));
                }
            }
            "passed" => {
                let Passed { source, number, .. } = Passed::take(codec, payload)?;
                let expected =
                    self.numbers.get_mut(usize::from(source).wrapping_sub(1)).ok_or("no such source")?;
                let wanted = std::mem::replace(expected, number + 1);
                if number != wanted {
                    return Err(format!("item {number} of source {source} instead of {wanted}"));
                }
                let cause = record.cause.map(|cause| (cause.journal.to_owned(), cause.offset.0));
                if cause != Some((format!("source@{source}"), number)) {
                    return Err(format!("item {number} of source {source} names {cause:?} as its cause"));
                }
            }
            "tally" => {
                let tally = Tally::take(codec, payload)?;
                let wrong = tally.wrong - self.tally.wrong.min(tally.wrong);
                self.tally = tally;
                if wrong > 0 {
                    return Err(format!("it has met {wrong} items that it didn't expect"));
                }
            }
            other => return Err(format!("topic {other}")),
        }
        Ok(())
    }
}
