//! What a model reads again: of each journal that it hears, what it had heard and is still there.
//!
//! A record is known by its journal's identity, its epoch and its offset, never by the offset alone. So each journal is
//! first compared with what was heard of it, by the last record that was acknowledged; and with what the snapshot holds of
//! it. What the journal has lost since is not read again, whatever lies at these offsets now: it comes as anything new.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use journal::{Codec, Gap, GapReason, Item, Level, Offset, Position, Reader, Record, Start};

use super::intake::{Word, read};
use super::isolate::Again;
use super::model::{Heard, Input, Model};
use super::order::{Derivation, Order};
use super::passed::{History, Passed, Retried};
use super::records::Diverged;
use super::running::{Place, Running};
use super::snapshot::{Header, Heeded};
use super::time::EventTime;
use crate::acks::Acks;
use crate::error::{Error, Result};
use crate::guarded::guarded;
use crate::letters::Letter;
use crate::subscribe::Missing;

/// After so many records that are read again, others have their turn.
const YIELD_EVERY: u32 = 1024;
/// How long to wait before looking again whether a journal is recovered, at first and at most.
const RECOVERY_PAUSE: [Duration; 2] = [Duration::from_millis(5), Duration::from_secs(1)];

/// What is to be read again of one journal.
pub(super) struct Replay {
    acks: Arc<Acks>,
    source: usize,
    reader: Reader,
    /// Everything before it was acknowledged,
    position: Position,
    /// and is still there up to here.
    end: Offset,
    heeded: Option<Heeded>,
}

impl Replay {
    pub(super) fn journal(&self) -> &str {
        &self.acks.journal
    }

    /// What it says of what is gone.
    pub(super) fn diverged(&self) -> Option<Diverged> {
        let Self { acks, position, end, .. } = self;
        let (from, to, epoch) = (end.0, position.next.0, position.epoch.0);
        let (journal, settled) = (acks.journal.to_string(), super::EventTime::MIN);
        (from < to).then_some(Diverged { journal, from, to, epoch, settled })
    }

    /// Its journal, and from where on it comes again what was heard and not acknowledged; nothing does of what is gone.
    pub(super) fn unheard(&self) -> Option<(Arc<str>, Position)> {
        let Self { acks, position, end, .. } = self;
        (*end >= position.next).then(|| (Arc::clone(&acks.journal), *position))
    }
}

/// Why a model reads again.
#[derive(Debug, Clone, Copy)]
pub(super) enum Since<'a> {
    /// The process was started.
    Start,
    /// The subscription has met a gap: it alone knows up to where the journals that it reads are what they were.
    Gap(&'a Missing),
    /// A journal is back.
    Return,
}

impl Since<'_> {
    /// Whether a journal that cannot be compared now is waited for.
    fn waits_for(self, journal: &str) -> bool {
        match self {
            Self::Start => true,
            Self::Gap(missing) => *missing.journal == *journal,
            Self::Return => false,
        }
    }
}

/// What is known of that which was heard of a journal.
enum Kept {
    /// It is still there up to here.
    Until(Offset),
    /// The journal is not there, or not recovered.
    Unknown,
    /// The process is to stop.
    Stopped,
}

/// Lets other tasks of the process, and its watchdog, have their turn.
#[derive(Debug, Default)]
pub(super) struct Pace(u32);

impl Pace {
    pub(super) async fn step(&mut self) {
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
    /// What is to be read again of each journal; `None` if the process is to stop.
    pub(super) async fn find_replays(
        &mut self,
        header: Option<&Header>,
        since: Since<'_>,
    ) -> Result<Option<Vec<Replay>>> {
        let mut replays = Vec::new();
        for acks in self.core.acks() {
            let Some(position) = acks.position().filter(|_| *acks.subscription == *self.model) else {
                continue;
            };
            let waits = since.waits_for(&acks.journal);
            let end = match since {
                Since::Gap(missing) if missing.journal == acks.journal => missing.gap.from.min(position.next),
                _ => match self.compare(&acks.journal, position, waits).await? {
                    // The subscription tells what else has become of a journal that was there all the time.
                    Kept::Until(end) if waits || self.absent.contains(&acks.journal) => end,
                    Kept::Until(_) => position.next,
                    Kept::Unknown => continue,
                    Kept::Stopped => return Ok(None),
                },
            };
            let mut heeded = header.and_then(|header| header.journals.get(&*acks.journal)).cloned();
            let mut promises = heeded.clone();
            if let Some(heeded) = &mut heeded {
                let kept = match self.compare(&acks.journal, heeded.position(), waits).await? {
                    Kept::Until(kept) => kept,
                    Kept::Unknown => continue,
                    Kept::Stopped => return Ok(None),
                };
                let kept = if end < position.next { kept.min(end) } else { kept };
                // What the snapshot waits for is gone, too; and whoever promised it did not promise what comes now.
                promises = promises.filter(|_| kept.0 >= heeded.low && end >= position.next);
                heeded.low = heeded.low.min(kept.0);
                heeded.inputs.retain(|offset| *offset < kept.0);
            }
            let start = heeded.as_ref().map_or(Start::Beginning, |heeded| {
                // Of a journal that has lost more than that, all that there is.
                Start::Offset(Offset(heeded.from).min(end))
            });
            let folder = self.core.folders.state.join(&*acks.journal);
            let Some(reader) = Reader::open(&folder, start, Level::Committed)? else { continue };
            let first = reader.position().next;
            // The first snapshot is written before anything is acknowledged.
            if header.is_none() && first.0 > 0 && end > first {
                let gap = Gap { from: Offset::ZERO, to: first, reason: GapReason::Trimmed };
                return Err(self.cannot_rebuild(&acks.journal, gap));
            }
            let source = self.sources.place(&self.core, &self.model, &acks.journal, first.0)?;
            self.sources.read_from(source, first.0.min(end.0));
            if let Some(promises) = &promises {
                self.sources.restore(source, promises);
            }
            replays.push(Replay { acks, source, reader, position, end, heeded });
        }
        Ok(Some(replays))
    }

    /// Up to where what was heard of a journal is still there.
    ///
    /// After the machine has lost its power nobody knows that before the journal's owner has recovered it, which is waited
    /// for: what was concluded from it is neither to be taken back too early nor to be left standing for nothing. A model
    /// that runs already does not wait, for it has other journals to hear.
    async fn compare(&self, journal: &str, heard: Position, waits: bool) -> Result<Kept> {
        let [mut pause, pause_max] = RECOVERY_PAUSE;
        let mut waiting = None;
        loop {
            if let Some(kept) = self.try_compare(journal, heard)? {
                return Ok(Kept::Until(kept));
            }
            if !waits {
                return Ok(Kept::Unknown);
            }
            let _ = waiting.get_or_insert_with(|| {
                self.core.waits.begin(format!(
                    "the model waits: what {} had heard of {journal} cannot be told before {journal} has recovered \
                     its journal; start it",
                    self.model
                ))
            });
            if !self.wait_for(pause).await {
                return Ok(Kept::Stopped);
            }
            pause = pause_max.min(pause * 2);
        }
    }

    /// The same, as far as it can be told now.
    pub(super) fn try_compare(&self, journal: &str, heard: Position) -> Result<Option<Offset>> {
        let folder = self.core.folders.state.join(journal);
        let Some(mut reader) = Reader::open(&folder, Start::Position(heard), Level::Committed)? else {
            return Ok(None);
        };
        match reader.next()? {
            Some(Item::Gap(Gap { from, reason: GapReason::Diverged, .. })) => {
                return Ok(Some(from.min(heard.next)));
            }
            Some(_) => return Ok(Some(heard.next)),
            None => {}
        }
        match reader.marks() {
            Ok(marks) if marks.same_boot || heard.next <= marks.durable => {
                Ok(Some(heard.next.min(marks.trusted())))
            }
            // The marks are made anew then, too.
            Ok(_) | Err(journal::Error::Corrupt { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// `false` if the process is to stop.
    pub(super) async fn wait_for(&self, pause: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(pause) => true,
            () = self.core.shutdown.cancelled() => false,
        }
    }

    /// Reads again what was acknowledged of a journal. Takes out of `retried` what it meets.
    pub(super) async fn replay(
        &mut self,
        replay: Replay,
        passed: &Passed,
        retried: &mut BTreeMap<u64, Retried>,
    ) -> Result<()> {
        let Replay { acks, source, mut reader, position, end, heeded } = replay;
        let (low, inputs) =
            heeded.map_or((0, BTreeSet::new()), |heeded| (heeded.low, heeded.inputs.into_iter().collect()));
        let (identity, mut at) = (reader.position().journal, Position::at(end));
        let mut pace = Pace::default();
        while let Some(item) = reader.next()? {
            pace.step().await;
            let record = match item {
                Item::Record(record) => record,
                Item::Gap(gap) if gap.from >= end => break,
                Item::Gap(gap) => return Err(self.cannot_rebuild(&acks.journal, gap)),
            };
            if record.offset >= end {
                let Some(beyond) = acks.beyond().filter(|_| end >= position.next) else { break };
                if !beyond.is_finished(record.offset, record.epoch) {
                    continue;
                }
            }
            let offset = record.offset.0;
            let history = (identity, record.epoch);
            let letter = take_retried(retried, &acks.journal, offset, history);
            let is_past = offset < low && !inputs.contains(&offset);
            if letter.is_some() || !is_past && !passed.contains(&acks.journal, offset, history) {
                self.replay_record(source, &acks.journal, &record, (history, letter))?;
            }
            let ends_here = record.offset.plus(1) == end;
            if ends_here {
                at = reader.position();
            }
        }
        self.sources.acknowledged(source, if end < position.next { at } else { position });
        Ok(())
    }

    fn replay_record(
        &mut self,
        source: usize,
        journal: &str,
        record: &Record<'_>,
        (history, letter): (History, Option<u64>),
    ) -> Result<()> {
        if !self.sources.is_new(source, record.offset.0) {
            return Ok(());
        }
        let Record { offset, time, topic, key, codec, payload, .. } = *record;
        let heard = Heard { journal, topic, key, time, codec, payload };
        let place = Place { source, offset: offset.0, history, time, topic };
        match self.take_again(place, &heard, letter)? {
            Again::Taken => Ok(()),
            Again::Breaks(reason) => self.give_up(&heard, offset, history, &reason),
            Again::Unreadable(reason) => {
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

    /// Which of the inputs that have something asserted because of them, and have not come, are gone.
    ///
    /// Those that were never acknowledged and are still there are not: whoever dies between the parts of a large correction
    /// has said what follows from some inputs, and acknowledged none. They come once more, and find it said.
    pub(super) async fn find_gone(
        &self,
        unheard: &[(Arc<str>, Position)],
        passed: &Passed,
        settled: EventTime,
    ) -> Result<HashSet<Derivation>> {
        let mut gone = self.fold.unasked(settled);
        let mut pace = Pace::default();
        for (journal, position) in unheard {
            if gone.is_empty() {
                break;
            }
            let folder = self.core.folders.state.join(&**journal);
            let opened = Reader::open(&folder, Start::Position(*position), Level::Committed)?;
            let Some(mut reader) = opened else { continue };
            let identity = reader.position().journal;
            while !gone.is_empty()
                && let Some(Item::Record(record)) = reader.next()?
            {
                pace.step().await;
                let Record { offset, epoch, time, topic, key, codec, payload, .. } = record;
                if passed.contains(journal, offset.0, (identity, epoch)) {
                    continue;
                }
                let heard = Heard { journal, topic, key, time, codec, payload };
                let order = |at| Order::of_event(at, Arc::clone(journal), offset.0);
                let word = guarded(|| read::<M::Input>(&self.selection, &heard));
                let (key, order) = match word {
                    Ok(Ok(Word::Event { key, at, .. })) => (key, order(at)),
                    Ok(Ok(Word::Assert { key, said, .. })) => {
                        (key, Order { turn: said.turn, id: said.id, ..order(said.at) })
                    }
                    _ => continue,
                };
                gone.remove(&self.fold.derive(&key, &order));
            }
        }
        Ok(gone)
    }

    /// The events of dead letters that were delivered once more, and that their journals do not keep any longer.
    pub(super) fn replay_letters(&mut self, retried: &BTreeMap<u64, Retried>) -> Result<()> {
        for (at, Retried { journal, offset, history }) in retried {
            let source = self.sources.iter().position(|source| *source.journal == **journal);
            let source = source.filter(|source| *offset < self.sources.get(*source).low());
            let letter = self.find_letter(*at)?;
            let (Some(source), Some(letter)) = (source, letter) else { continue };
            let Letter { time, ref key, letter: ref said, .. } = letter;
            let Some((codec, payload)) = self.payload_of(&letter, Offset(*offset))? else {
                tracing::error!(
                    model = self.model,
                    journal = &**journal,
                    offset,
                    "a dead letter that was retried is too large to be kept, and its journal has dropped the event"
                );
                continue;
            };
            let (key, topic, payload) = (key.as_deref(), &*said.topic, &*payload);
            let heard = Heard { journal, topic, key, time, codec, payload };
            let history = history.unwrap_or_default();
            let place = Place { source, offset: *offset, history, time, topic };
            if let Again::Breaks(reason) = self.take_again(place, &heard, Some(*at))? {
                self.give_up(&heard, Offset(*offset), history, &reason)?;
            }
        }
        Ok(())
    }

    /// What was said, as the letter or the publisher has it.
    fn payload_of(&self, letter: &Letter, offset: Offset) -> Result<Option<(Codec, Vec<u8>)>> {
        if let Some(kept) = letter.payload() {
            return Ok(Some(kept));
        }
        let folder = self.core.folders.state.join(&letter.letter.journal);
        let Some(mut reader) = Reader::open(&folder, Start::Offset(offset), Level::Committed)? else {
            return Ok(None);
        };
        let journal = reader.position().journal;
        let Some(Item::Record(record)) = reader.next()? else { return Ok(None) };
        let is_it = record.offset == offset && letter.is_about(&record, journal);
        Ok(is_it.then(|| (record.codec, record.payload.to_vec())))
    }

    pub(super) fn cannot_rebuild(&self, journal: &str, gap: Gap) -> Error {
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

/// Which letter a record was, if it was one and was delivered once more. What is known of that of another record with
/// its offset is forgotten, for that one is gone.
fn take_retried(
    retried: &mut BTreeMap<u64, Retried>,
    journal: &str,
    offset: u64,
    history: History,
) -> Option<u64> {
    if retried.is_empty() {
        return None;
    }
    let mut found = None;
    retried.retain(|letter, input| {
        let is_here = *input.journal == *journal && input.offset == offset;
        if is_here && input.history.is_none_or(|of| of == history) {
            found = Some(*letter);
        }
        !is_here
    });
    found
}
