//! What a model has said before it was restarted, as its own journal tells.

use std::collections::{HashMap, HashSet};

use journal::Record;
use serde::{Deserialize, Serialize};

use super::ledger::hash_of;
use super::order::Derivation;
use super::records::{Final, Late, Retract, Said};
use super::time::EventTime;
use crate::event::Event as _;
use crate::subscribe::DeadLetter;

/// What is known of one conclusion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recalled {
    pub(super) revision: u32,
    /// Hash of what is asserted; 0: nothing is.
    pub(super) said: u64,
    pub(super) at: EventTime,
    pub(super) topic: Box<str>,
}

/// What a model has said, read from its journal record by record.
#[derive(Debug, Default)]
pub struct Recall {
    /// By the id of the input's first output, for an input asks for all of its outputs at once.
    lines: HashMap<Derivation, Vec<(u16, Recalled)>>,
    settled: Option<EventTime>,
    passed: Passed,
}

/// Inputs that were not taken into account: late ones, and dead letters.
#[derive(Debug, Default)]
pub(super) struct Passed(HashSet<(Box<str>, u64)>);

impl Passed {
    pub(super) fn contains(&self, journal: &str, offset: u64) -> bool {
        !self.0.is_empty() && self.0.contains(&(journal.into(), offset))
    }
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
                let Late { journal, offset, .. } = serde_json::from_slice(payload).map_err(decode)?;
                self.passed.0.insert((journal.into(), offset));
            }
            DeadLetter::TOPIC => {
                if let Some(cause) = record.cause {
                    self.passed.0.insert((cause.journal.into(), cause.offset.0));
                }
            }
            topic if topic.starts_with('_') => {}
            topic => self.note_assert(topic, payload)?,
        }
        Ok(())
    }

    fn note_assert(&mut self, topic: &str, payload: &[u8]) -> Result<(), String> {
        let Some(said) = Said::of(payload)?.filter(|said| !said.compensates) else { return Ok(()) };
        let hash = hash_of(topic, said.at, &Said::strip(payload));
        let revision = said.revision;
        self.insert(said.id, Recalled { revision, said: hash, at: said.at, topic: topic.into() });
        Ok(())
    }

    fn note_retract(&mut self, retract: &Retract) {
        let Retract { id, revision, at, ref topic } = *retract;
        self.insert(id, Recalled { revision, said: 0, at, topic: topic.as_str().into() });
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

    /// Whether an input was not taken into account, because it was late or nobody could deal with it.
    #[must_use]
    pub fn has_passed(&self, journal: &str, offset: u64) -> bool {
        self.passed.contains(journal, offset)
    }

    pub(super) fn take_passed(&mut self) -> Passed {
        std::mem::take(&mut self.passed)
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// What was said because of the input whose first output has this id, by ordinal.
    pub(super) fn take(&mut self, id: Derivation) -> Vec<(u16, Recalled)> {
        self.lines.remove(&id).unwrap_or_default()
    }

    /// Forgets what is settled.
    pub(super) fn settle(&mut self, settled: EventTime) {
        self.lines.retain(|_, lines| lines.iter().any(|(_, line)| line.at >= settled));
    }
}
