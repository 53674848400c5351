//! A model after a restart, or after a journal that it hears has lost what was heard: its state is made again from the
//! snapshot and the journals, and nothing is said twice.
//!
//! What was said and follows from nothing that is there any more is taken back, if it is not final. So there is one way
//! for all that can happen in between: whoever dies, and whenever, finds the same.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use journal::{Item, Level, Offset, Reader, Record, Start};

use super::fold::Fold;
use super::isolate::Broken;
use super::model::{Heard, Input, Model, Output};
use super::order::Derivation;
use super::outbox;
use super::passed::{Passed, Retried, history_of};
use super::recall::{Recall, Recalled};
use super::records::{Diverged, Retract, Said};
use super::reorder::Reorder;
use super::replay::{Pace, Replay, Since};
use super::run::Change;
use super::running::Running;
use super::snapshot::{self, Header, KeptLetter, Snapshot};
use super::sources::Sources;
use super::speak::write_undo;
use super::time::EventTime;
use crate::error::{Error, Result};
use crate::event::Event as _;
use crate::guarded::guarded;
use crate::subscribe::DeadLetter;

/// How one conclusion is taken back.
struct Undone {
    key: Option<Vec<u8>>,
    turn: u64,
    compensation: Option<Compensation>,
}

/// Topic and payload.
type Compensation = (Box<str>, Vec<u8>);

/// The event that compensates for what was said, and its topic, if there is one.
///
/// # Errors
/// In words: nobody can tell.
fn read_compensation<O: Output>(said: &Heard<'_>) -> Result<Option<Compensation>, String> {
    let output = guarded(|| O::read(said)).unwrap_or_else(Err)?;
    let mut payload = Vec::new();
    let topic = write_undo(&output, &mut payload)?;
    Ok(topic.map(|topic| (topic.into(), payload)))
}

/// What came of an attempt to rebuild.
enum Rebuilt {
    Whole,
    /// The process is to stop.
    Stopped,
    /// The model broke over some inputs, whose letters are to be said.
    Broken,
    /// There was no room for all that it has to say, and there may be now.
    Cramped,
}

impl<M: Model> Running<M>
where
    M::Input: Input,
{
    /// Goes back to where the process was: its own journal tells what was said, what was final and what was late; the
    /// inputs' journals are read again as far as they were acknowledged. `false` if the process is to stop.
    ///
    /// What the model breaks over now is parked, and it begins again without: it was acknowledged, so nobody else would
    /// park it, and each start would break over it. As the own journal tells what is parked, each start finds the same.
    pub(super) async fn rebuild(&mut self, since: Since<'_>) -> Result<bool> {
        loop {
            self.broken = Broken::default();
            match self.try_rebuild(since).await? {
                Rebuilt::Whole => return Ok(true),
                Rebuilt::Stopped => return Ok(false),
                Rebuilt::Cramped => {
                    self.empty();
                    continue;
                }
                Rebuilt::Broken => self.parked_again = true,
            }
            match self.publish().await {
                Ok(()) => {}
                Err(Error::Journal(journal::Error::Full { .. })) if self.core.is_stopping() => {
                    return Ok(false);
                }
                // The letters are said next time, or wait for room then.
                Err(Error::Journal(journal::Error::Full { .. })) => {
                    self.own.has_tried();
                    self.outbox.clear();
                }
                Err(error) => return Err(error),
            }
            self.empty();
        }
    }

    async fn try_rebuild(&mut self, since: Since<'_>) -> Result<Rebuilt> {
        self.own.claim(&self.core, &self.model)?;
        let (header, bases, mut recall) = match self.read_snapshot() {
            Some(Snapshot { header, bases, recall }) => (Some(header), bases, recall),
            None => (None, Vec::new(), Recall::default()),
        };
        self.recall_own(header.as_ref(), &mut recall).await?;
        let before = header.as_ref().map_or(EventTime::MIN, |header| header.settled);
        let settled = recall.settled().unwrap_or(before).max(before);
        let kept = header.iter().flat_map(|header| &header.letters).filter_map(KeptLetter::to_letter);
        self.letters = kept.map(|letter| (letter.at.0, letter)).collect();
        let mut passed = recall.take_passed();
        let mut retried = passed.take_retried();
        let earlier = passed.take_unknown();
        let earlier = header.iter().flat_map(|header| &header.retried).chain(&earlier);
        self.add_retried(earlier, &passed, &mut retried)?;
        self.retried.clear();
        let Some(replays) = self.find_replays(header.as_ref(), since).await? else {
            return Ok(Rebuilt::Stopped);
        };
        self.find_absent(&replays, header.as_ref(), &retried)?;
        let diverged: Vec<Diverged> = replays
            .iter()
            .filter_map(|replay| Some(Diverged { settled, ..replay.diverged()? }))
            .filter(|diverged| !recall.has_said(diverged))
            .collect();
        self.fold.restore(before, bases, recall);
        // All of them, before the first is heard: time goes as fast as the slowest.
        self.add_silent_sources()?;
        self.add_missing_sources()?;
        let unheard: Vec<_> = replays.iter().filter_map(Replay::unheard).collect();
        for replay in replays {
            self.replay(replay, &passed, &mut retried).await?;
        }
        self.replay_letters(&retried)?;
        if !self.broken.is_empty() {
            return Ok(Rebuilt::Broken);
        }
        self.sources.advance();
        self.report(diverged)?;
        // What is irrevocable is said from then on.
        let closed = outbox::nears(&self.core, &self.model).map_or(settled, |at| settled.max(at));
        let gone = self.find_gone(&unheard, &passed, closed).await?;
        self.retract_unfounded(&gone, closed).await?;
        if let Err(error) = self.resume(settled).await {
            return self.deal_with(error);
        }
        if !self.broken.is_empty() {
            return Ok(Rebuilt::Broken);
        }
        if header.is_none() || self.own.is_used_up(&self.core, Instant::now()) {
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
        if !self.isolating {
            self.tell_all();
        }
        Ok(Rebuilt::Whole)
    }

    /// What has become of a rebuild, given what it has failed with at its end.
    #[cold]
    fn deal_with(&mut self, error: Error) -> Result<Rebuilt> {
        if matches!(error, Error::Journal(journal::Error::Full { .. })) {
            self.outbox.clear();
            // A stop is no failure, and the next start says the same.
            if self.core.is_stopping() {
                return Ok(Rebuilt::Stopped);
            }
            self.own.has_tried();
            return Ok(Rebuilt::Cramped);
        }
        if self.blame(&error)? { Ok(Rebuilt::Broken) } else { Err(error) }
    }

    /// Forgets all that was heard; returns it.
    fn empty(&mut self) -> Fold<M> {
        self.window = Reorder::new(self.options.wait);
        // Their cursors are claimed again.
        self.sources = Sources::default();
        self.replaying = true;
        std::mem::replace(&mut self.fold, Fold::new(&self.model, self.options.fold.clone()))
    }

    /// Begins again, while it runs, because a journal has lost what was heard of it, or is back. Everything that was
    /// heard is acknowledged. `false` if the process is to stop.
    pub(super) async fn begin_again(&mut self, since: Since<'_>) -> Result<bool> {
        let before = self.empty();
        if !self.rebuild(since).await? {
            return Ok(false);
        }
        if let Some(watch) = &mut self.watch {
            let gone = before.states().filter(|(key, _)| self.fold.state(key).is_none());
            gone.for_each(|(key, _)| watch(Change::Over { key }));
        }
        Ok(true)
    }

    /// The snapshot, if it is of use.
    fn read_snapshot(&self) -> Option<Snapshot<M>> {
        let path = self.snapshot_path();
        let snapshot = snapshot::read::<M>(&path, &self.model).unwrap_or_else(|reason| {
            tracing::warn!(path = %path.display(), reason, "the snapshot is of no use: all inputs are read again");
            None
        });
        snapshot.filter(|snapshot| snapshot.header.is_of(&self.core.outlet.watch.marks()))
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

    /// Dead letters that are older than the snapshot, and were delivered once more.
    fn add_retried<'a>(
        &self,
        earlier: impl Iterator<Item = &'a u64>,
        passed: &Passed,
        retried: &mut BTreeMap<u64, Retried>,
    ) -> Result<()> {
        for letter in earlier {
            let Some(found) = self.find_letter(*letter)? else { continue };
            let DeadLetter { journal, offset, identity, epoch, .. } = found.letter;
            let history = history_of(identity, epoch);
            // It turned out late, or is a dead letter again.
            if passed.knows(&journal, offset) {
                continue;
            }
            retried.insert(*letter, Retried { journal: journal.into(), offset, history });
        }
        Ok(())
    }

    /// Says which inputs are gone.
    fn report(&mut self, diverged: Vec<Diverged>) -> Result<()> {
        for diverged in diverged {
            let Diverged { journal, from, to, settled, .. } = &diverged;
            tracing::error!(
                model = self.model,
                journal,
                from,
                to,
                %settled,
                "inputs are gone: what followed from them is taken back, unless it is final"
            );
            self.outbox.add_json(Diverged::TOPIC, &diverged, None)?;
        }
        Ok(())
    }

    /// Takes back what follows from nothing that is there.
    async fn retract_unfounded(&mut self, gone: &HashSet<Derivation>, settled: EventTime) -> Result<()> {
        let unfounded = self.fold.take_unfounded(gone, settled);
        if unfounded.is_empty() {
            return Ok(());
        }
        tracing::warn!(
            model = self.model,
            conclusions = unfounded.len(),
            "conclusions are taken back: the inputs that they follow from are gone"
        );
        let mut undone = self.read_unfounded(&unfounded).await?;
        for (id, recalled) in unfounded {
            let undone = undone.remove(&id);
            if undone.as_ref().is_none_or(|undone| undone.key.is_none()) {
                tracing::warn!(model = self.model, %id, "nobody can tell how to compensate for a conclusion");
            }
            self.retract(id, recalled, undone)?;
        }
        Ok(())
    }

    fn retract(&mut self, id: Derivation, recalled: Recalled, undone: Option<Undone>) -> Result<()> {
        let Recalled { revision, at, topic, .. } = recalled;
        let Undone { key, turn, compensation } =
            undone.unwrap_or(Undone { key: None, turn: 0, compensation: None });
        let retract = Retract { id, revision, at, topic: topic.into() };
        let encode = |topic: &str, reason: String| Error::Encode { topic: topic.to_owned(), reason };
        let payload =
            serde_json::to_vec(&retract).map_err(|error| encode(Retract::TOPIC, error.to_string()))?;
        self.outbox.add_bytes(Retract::TOPIC, key.as_deref(), &payload);
        let Some((topic, mut payload)) = compensation else { return Ok(()) };
        let topic = M::Output::TOPICS.iter().find(|known| ***known == *topic);
        let Some(topic) = topic else { return Ok(()) };
        let said = Said { id, revision, at, turn, since: None, compensates: true };
        match said.append_to(&mut payload, 0) {
            Ok(()) => self.outbox.add_bytes(topic, key.as_deref(), &payload),
            Err(reason) => {
                tracing::error!(%id, topic, reason, "what compensates for a conclusion cannot be said: it is only retracted");
            }
        }
        Ok(())
    }

    /// How each is taken back: the snapshot tells, or the record by which it was asserted.
    async fn read_unfounded(
        &self,
        unfounded: &[(Derivation, Recalled)],
    ) -> Result<HashMap<Derivation, Undone>> {
        let mut undone = HashMap::new();
        let mut records = BTreeMap::new();
        for (id, recalled) in unfounded {
            if let Some(undo) = &recalled.undo {
                let compensation = undo.compensation.as_ref();
                let compensation =
                    compensation.map(|(topic, payload)| (topic.clone(), payload.get().as_bytes().to_vec()));
                let key = STANDARD.decode(&undo.key).ok();
                undone.insert(*id, Undone { key, turn: undo.turn, compensation });
            } else if let Some(record) = recalled.record {
                records.insert(record, *id);
            }
        }
        let Some((first, _)) = records.first_key_value() else { return Ok(undone) };
        let folder = self.core.folders.instance(&self.core.instance);
        let Some(mut reader) = Reader::open(&folder, Start::Offset(Offset(*first)), Level::Committed)? else {
            return Ok(undone);
        };
        let mut pace = Pace::default();
        while !records.is_empty()
            && let Some(item) = reader.next()?
        {
            pace.step().await;
            let Item::Record(record) = item else { continue };
            let Some(id) = records.remove(&record.offset.0) else { continue };
            let turn = Said::of(record.payload).ok().flatten().map_or(0, |said| said.turn);
            let Record { topic, key, time, codec, payload, .. } = record;
            let (journal, payload) = (self.core.instance.as_str(), &*Said::strip(payload));
            let heard = Heard { journal, topic, key, time, codec, payload };
            let compensation = read_compensation::<M::Output>(&heard)
                .inspect_err(|reason| tracing::warn!(%id, reason, "how to compensate for an own conclusion cannot be told"))
                .unwrap_or_default();
            undone.insert(id, Undone { key: record.key.map(<[u8]>::to_vec), turn, compensation });
        }
        Ok(undone)
    }
}
