//! What a model has said before it was restarted, as its own journal tells.

use std::collections::{BTreeMap, HashMap, HashSet};

use journal::Record;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::ledger::hash_of;
use super::order::Derivation;
use super::passed::{Passed, history_of};
use super::records::{Diverged, Final, Late, Retract, Said};
use super::time::EventTime;
use crate::event::Event as _;
use crate::letters::{Outcome, Settled};
use crate::subscribe::DeadLetter;

/// What is known of one conclusion.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Recalled {
    pub(super) revision: u32,
    /// Hash of what is asserted; 0: nothing is.
    pub(super) said: u64,
    pub(super) at: EventTime,
    pub(super) topic: Box<str>,
    /// When the input happened that it follows from, if that was earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<EventTime>,
    /// How to take it back if its input is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) undo: Option<Box<Undo>>,
    /// Where it was asserted in the model's own journal, if that was after the snapshot.
    #[serde(skip)]
    pub(super) record: Option<u64>,
}

/// What taking a conclusion back takes, when nobody knows any more what it followed from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Undo {
    /// The model's key, in base64.
    pub(super) key: String,
    pub(super) turn: u64,
    /// Topic and payload of the event that compensates for it, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) compensation: Option<(Box<str>, Box<RawValue>)>,
}

impl Recalled {
    /// Whether it may be taken back: its input is not final, so it was never one that waits for final.
    fn may_go(&self, settled: EventTime) -> bool {
        self.said != 0 && self.since.unwrap_or(self.at) >= settled
    }
}

/// What a model has said, read from its journal record by record.
#[derive(Debug, Default)]
pub struct Recall {
    /// By the id of the input's first output, for an input asks for all of its outputs at once.
    lines: HashMap<Derivation, Vec<(u16, Recalled)>>,
    settled: Option<EventTime>,
    passed: Passed,
    /// The last that was said of each journal.
    diverged: BTreeMap<String, Diverged>,
}

impl Recall {
    /// Takes one record of the model's own journal in; they must come in their order.
    ///
    /// # Errors
    /// In words: the record is not as it should be.
    pub fn note(&mut self, record: &Record<'_>) -> Result<(), String> {
        let Record { topic, payload, .. } = *record;
        let decode = |error: serde_json::Error| format!("{topic}: {error}");
        match topic {
            Retract::TOPIC => {
                let retract: Retract = serde_json::from_slice(payload).map_err(decode)?;
                self.note_retract(&retract);
            }
            Final::TOPIC => {
                let Final { at } = serde_json::from_slice(payload).map_err(decode)?;
                self.settled = self.settled.max(Some(at));
            }
            Late::TOPIC => {
                let Late { journal, offset, identity, epoch, .. } =
                    serde_json::from_slice(payload).map_err(decode)?;
                self.passed.add_late(&journal, offset, history_of(identity, epoch));
            }
            Diverged::TOPIC => {
                let diverged: Diverged = serde_json::from_slice(payload).map_err(decode)?;
                self.diverged.insert(diverged.journal.clone(), diverged);
            }
            DeadLetter::TOPIC => self.note_letter(record),
            Settled::TOPIC => {
                let Settled { letter, outcome } = serde_json::from_slice(payload).map_err(decode)?;
                if outcome == Outcome::Retried {
                    self.passed.retry(letter);
                }
            }
            topic if topic.starts_with('_') => {}
            _ => self.note_assert(record)?,
        }
        Ok(())
    }

    fn note_letter(&mut self, record: &Record<'_>) {
        #[derive(Default, Deserialize)]
        struct Said {
            identity: Option<String>,
            epoch: Option<u32>,
        }
        if let Some(cause) = record.cause {
            let Said { identity, epoch } = serde_json::from_slice(record.payload).unwrap_or_default();
            let history = history_of(identity, epoch);
            self.passed.add_letter(cause.journal, cause.offset.0, history, record.offset.0);
        }
    }

    fn note_assert(&mut self, record: &Record<'_>) -> Result<(), String> {
        let Record { offset, topic, payload, .. } = *record;
        let Some(said) = Said::of(payload)?.filter(|said| !said.compensates) else { return Ok(()) };
        let Said { id, revision, at, since, .. } = said;
        let (said, topic) = (hash_of(topic, at, &Said::strip(payload)), topic.into());
        let record = Some(offset.0);
        self.insert(id, Recalled { revision, said, at, topic, since, undo: None, record });
        Ok(())
    }

    fn note_retract(&mut self, retract: &Retract) {
        let Retract { id, revision, at, ref topic } = *retract;
        let topic = topic.as_str().into();
        self.insert(id, Recalled { revision, said: 0, at, topic, since: None, undo: None, record: None });
    }

    /// Later records take the place of earlier ones.
    pub(super) fn insert(&mut self, id: Derivation, recalled: Recalled) {
        #[expect(clippy::cast_possible_truncation, reason = "the low 16 bits are the ordinal")]
        let ordinal = id.0 as u16;
        let lines = self.lines.entry(id.nth(0)).or_default();
        match lines.binary_search_by_key(&ordinal, |line| line.0) {
            Ok(found) => lines[found].1 = recalled,
            Err(place) => lines.insert(place, (ordinal, recalled)),
        }
    }

    /// The last final; `None` if there was none.
    #[must_use]
    pub fn settled(&self) -> Option<EventTime> {
        self.settled
    }

    pub(super) fn take_passed(&mut self) -> Passed {
        std::mem::take(&mut self.passed)
    }

    /// Whether just this was said before.
    pub(super) fn has_said(&self, diverged: &Diverged) -> bool {
        let Diverged { journal, from, to, epoch, .. } = diverged;
        let known = self.diverged.get(journal);
        known.is_some_and(|known| (known.from, known.to, known.epoch) == (*from, *to, *epoch))
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// What was said because of the input whose first output has this id, by ordinal.
    pub(super) fn take(&mut self, id: Derivation) -> Vec<(u16, Recalled)> {
        self.lines.remove(&id).unwrap_or_default()
    }

    /// What is left because no input has asked for it.
    pub(super) fn rest(&self) -> impl Iterator<Item = (Derivation, &Recalled)> {
        self.lines
            .iter()
            .flat_map(|(id, lines)| lines.iter().map(|(ordinal, recalled)| (id.nth(*ordinal), recalled)))
    }

    /// The inputs that have not asked for what is asserted because of them and not final, by their first outputs.
    pub(super) fn unasked(&self, settled: EventTime) -> HashSet<Derivation> {
        let may_go = |lines: &[(u16, Recalled)]| lines.iter().any(|(_, recalled)| recalled.may_go(settled));
        self.lines.iter().filter(|(_, lines)| may_go(lines)).map(|(id, _)| *id).collect()
    }

    /// What is asserted because of `inputs`, and not final: it follows from nothing that is there, and does not count as
    /// asserted from here on. The newest comes first.
    pub(super) fn take_unfounded(
        &mut self,
        inputs: &HashSet<Derivation>,
        settled: EventTime,
    ) -> Vec<(Derivation, Recalled)> {
        let mut unfounded = Vec::new();
        for (id, lines) in self.lines.iter_mut().filter(|(id, _)| inputs.contains(id)) {
            for (ordinal, recalled) in lines.iter_mut().filter(|(_, recalled)| recalled.may_go(settled)) {
                unfounded.push((id.nth(*ordinal), recalled.clone()));
                recalled.said = 0;
            }
        }
        unfounded.sort_by_key(|(id, recalled)| std::cmp::Reverse((recalled.at, id.0)));
        unfounded
    }

    /// Forgets what is settled.
    pub(super) fn settle(&mut self, settled: EventTime) {
        self.lines.retain(|_, lines| lines.iter().any(|(_, line)| line.at >= settled));
    }
}
