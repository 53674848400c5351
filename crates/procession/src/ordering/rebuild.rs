//! A model after a restart: its state is made again from the snapshot and the journals, and nothing is said twice.

use std::collections::BTreeSet;
use std::sync::Arc;

use journal::{Gap, GapReason, Item, Level, Offset, Position, Reader, Record, Start};

use super::intake::read;
use super::model::{Heard, Input, Model};
use super::recall::{Passed, Recall};
use super::running::{Place, Running};
use super::snapshot::{self, Header, Heeded};
use super::time::EventTime;
use crate::acks::Acks;
use crate::error::{Error, Result};

/// After so many records that are read again, others have their turn.
const YIELD_EVERY: u32 = 1024;

/// What is to be read again of one journal.
struct Replay {
    acks: Arc<Acks>,
    source: usize,
    reader: Reader,
    /// Everything before it was acknowledged.
    position: Position,
    heeded: Option<Heeded>,
}

/// Lets other tasks of the process, and its watchdog, have their turn.
#[derive(Debug, Default)]
struct Pace(u32);

impl Pace {
    async fn step(&mut self) {
        self.0 = self.0.wrapping_add(1);
        if self.0.is_multiple_of(YIELD_EVERY) {
            tokio::task::yield_now().await;
        }
    }
}

impl<M: Model> Running<M>
where
    M::Input: Input,
{
    /// Goes back to where the process was: its own journal tells what was said, what was final and what was late; the
    /// inputs' journals are read again as far as they were acknowledged.
    pub(super) async fn rebuild(&mut self) -> Result<()> {
        let path = self.snapshot_path();
        let snapshot = snapshot::read::<M>(&path, &self.model).unwrap_or_else(|reason| {
            tracing::warn!(path = %path.display(), reason, "the snapshot is of no use: all inputs are read again");
            None
        });
        let own_end = self.core.outlet.watch.marks().committed;
        let snapshot = snapshot.filter(|snapshot| snapshot.header.own <= own_end.0);
        let (header, bases, mut recall) = match snapshot {
            Some(snapshot) => (Some(snapshot.header), snapshot.bases, snapshot.recall),
            None => (None, Vec::new(), Recall::default()),
        };
        self.recall_own(header.as_ref(), &mut recall).await?;
        let before = header.as_ref().map_or(EventTime::MIN, |header| header.settled);
        let settled = recall.settled().unwrap_or(before).max(before);
        let passed = recall.take_passed();
        self.fold.restore(before, bases, recall);
        let replays = self.find_replays(header.as_ref())?;
        // All of them, before the first is heard: time goes as fast as the slowest.
        self.add_silent_sources()?;
        self.add_missing_sources()?;
        for replay in replays {
            self.replay(replay, &passed).await?;
        }
        self.sources.advance();
        self.resume(settled).await?;
        if header.is_none() {
            self.take_snapshot().await?;
        }
        tracing::info!(
            model = self.model,
            keys = self.fold.keys_count(),
            inputs = self.fold.inputs_count(),
            %settled,
            from_snapshot = header.is_some(),
            "the model is where it was"
        );
        self.tell_all();
        Ok(())
    }

    /// What was said since the snapshot.
    async fn recall_own(&self, header: Option<&Header>, recall: &mut Recall) -> Result<()> {
        let folder = self.core.folders.instance(&self.core.instance);
        let start = header.map_or(Start::Beginning, |header| Start::Offset(Offset(header.own)));
        let Some(mut reader) = Reader::open(&folder, start, Level::Committed)? else { return Ok(()) };
        let mut pace = Pace::default();
        while let Some(item) = reader.next()? {
            pace.step().await;
            match item {
                Item::Record(record) => {
                    recall.note(&record).map_err(|reason| Error::Decode {
                        what: format!("offset {} of the model's own journal", record.offset),
                        reason,
                    })?;
                }
                Item::Gap(gap) => return Err(self.cannot_rebuild(self.core.instance.as_str(), gap)),
            }
        }
        Ok(())
    }

    /// What is to be read again of each journal.
    fn find_replays(&mut self, header: Option<&Header>) -> Result<Vec<Replay>> {
        let mut replays = Vec::new();
        for acks in self.core.acks() {
            let Some(position) = acks.position().filter(|_| *acks.subscription == *self.model) else {
                continue;
            };
            let heeded = header.and_then(|header| header.journals.get(&*acks.journal)).cloned();
            let start = heeded.as_ref().map_or(Start::Beginning, |heeded| Start::Offset(Offset(heeded.from)));
            let folder = self.core.folders.state.join(&*acks.journal);
            let Some(reader) = Reader::open(&folder, start, Level::Committed)? else { continue };
            let first = reader.position().next;
            // The first snapshot is written before anything is acknowledged.
            if header.is_none() && first.0 > 0 && position.next > first {
                let gap = Gap { from: Offset::ZERO, to: first, reason: GapReason::Trimmed };
                return Err(self.cannot_rebuild(&acks.journal, gap));
            }
            let source = self.sources.place(&self.core, &self.model, &acks.journal, first.0)?;
            if let Some(heeded) = &heeded {
                self.sources.restore(source, heeded);
            }
            replays.push(Replay { acks, source, reader, position, heeded });
        }
        Ok(replays)
    }

    /// Reads again what was acknowledged of a journal.
    async fn replay(&mut self, replay: Replay, passed: &Passed) -> Result<()> {
        let Replay { acks, source, mut reader, position, heeded } = replay;
        let (low, inputs) =
            heeded.map_or((0, BTreeSet::new()), |heeded| (heeded.low, heeded.inputs.into_iter().collect()));
        let mut pace = Pace::default();
        while let Some(item) = reader.next()? {
            pace.step().await;
            let record = match item {
                Item::Record(record) => record,
                Item::Gap(gap) if gap.from >= position.next => break,
                Item::Gap(gap) => return Err(self.cannot_rebuild(&acks.journal, gap)),
            };
            if record.offset >= position.next {
                let Some(beyond) = acks.beyond() else { break };
                if !beyond.was_finished(record.offset, record.epoch) {
                    continue;
                }
            }
            let offset = record.offset.0;
            if (offset < low && !inputs.contains(&offset)) || passed.contains(&acks.journal, offset) {
                continue;
            }
            self.replay_record(source, &acks.journal, &record)?;
        }
        self.sources.acknowledged(source, position.next.0);
        Ok(())
    }

    fn replay_record(&mut self, source: usize, journal: &str, record: &Record<'_>) -> Result<()> {
        if !self.sources.is_new(source, record.offset.0) {
            return Ok(());
        }
        let Record { offset, time, topic, key, codec, payload, .. } = *record;
        let heard = Heard { journal, topic, key, time, codec, payload };
        match read(&self.selection, &heard) {
            Ok(word) => self.take(Place { source, offset: offset.0, time, topic }, word),
            Err(reason) => {
                // It was parked, in a part of the own journal that is trimmed by now; or the code has changed.
                tracing::warn!(
                    model = self.model,
                    journal,
                    offset = offset.0,
                    topic,
                    reason,
                    "an input from before the restart cannot be read"
                );
                Ok(())
            }
        }
    }

    fn cannot_rebuild(&self, journal: &str, gap: Gap) -> Error {
        let (from, to) = (gap.from, gap.to.0.saturating_sub(1));
        let reason = format!(
            "the model cannot be rebuilt: offsets {from} to {to} of {journal} are {}, and {} is missing or of no use; \
             put the snapshot back, or begin anew with an empty state folder",
            gap.reason,
            self.snapshot_path().display()
        );
        Error::Subscription { name: self.model.clone(), reason }
    }
}
