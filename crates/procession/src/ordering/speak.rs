//! What is to be published, because what was said is not what is true.

use std::sync::Arc;

use super::effect::Effect;
use super::hash::Hash;
use super::ledger::{Line, Press, Was};
use super::model::{Model, Output};
use super::order::Derivation;
use super::records::{Retract, Said};
use super::slots::{Journals, Slot, SlotNumber, Slots};
use super::timeline::{Cause, Timeline};
use crate::event::Event as _;
use crate::guarded::guarded;

/// What kind of record it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    /// A conclusion.
    Assert,
    /// The end of one.
    Retract,
    /// The domain event that undoes one.
    Compensation,
}

/// Something to be published.
#[derive(Debug, Clone, Copy)]
pub struct Saying<'a> {
    /// What kind of record it is.
    pub speech: Speech,
    /// The model's key.
    pub key: &'a [u8],
    /// The record's topic.
    pub topic: &'static str,
    /// What it says about itself, or about what it takes back.
    pub said: Said,
    /// Journal and offset of the record that led to it.
    pub cause: (&'a Arc<str>, u64),
    /// A JSON object.
    pub payload: &'a [u8],
}

/// Something could not be said: the model's output cannot be encoded as a JSON object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the model's output {topic:?} cannot be encoded: {reason}")]
pub struct Unsayable {
    /// The output's topic.
    pub topic: String,
    /// Why.
    pub reason: String,
}

/// Compares the lines of a key's ledger with what was said of them.
pub(super) struct Speaker<'a, I, O> {
    pub(super) revisions_max: u32,
    pub(super) slots: &'a mut Slots<I, O>,
    pub(super) press: &'a mut Press<O>,
    /// Room for a payload.
    pub(super) payload: &'a mut Vec<u8>,
}

/// What the records that belong to one input have in common.
#[derive(Clone, Copy)]
struct Place<'a> {
    key: &'a [u8],
    cause: (&'a Arc<str>, u64),
    turn: u64,
}

impl<I, O: Output> Speaker<'_, I, O> {
    /// Says what is new in a key: first what does not hold any more, the newest first, then what does, the oldest
    /// first.
    pub(super) fn speak<M: Model<Input = I, Output = O>>(
        &mut self,
        timeline: &mut Timeline<M>,
        say: &mut impl FnMut(Saying<'_>),
    ) -> Result<(), Unsayable> {
        let Timeline { key, hash, slots: numbers, cause, unsaid, .. } = timeline;
        let cause = cause.take();
        for number in numbers.range(*unsaid..).rev() {
            let slot = &self.slots[*number];
            if slot.lines.iter().any(|line| line.said != 0 && line.said != line.now) {
                self.take_back_lines(*number, (key, *hash), cause.as_deref(), say);
            }
        }
        for number in numbers.range(*unsaid..) {
            let slot = &mut self.slots[*number];
            let fresh = std::mem::take(&mut slot.fresh);
            if slot.lines.are_waiting() {
                let cause = cause.as_deref().filter(|_| !fresh);
                self.assert(*number, (key, *hash), cause, false, say)?;
            }
        }
        *unsaid = numbers.len();
        Ok(())
    }

    /// Says what has waited for the first `count` inputs to be final.
    pub(super) fn release<M: Model<Input = I, Output = O>>(
        &mut self,
        timeline: &Timeline<M>,
        count: usize,
        say: &mut impl FnMut(Saying<'_>),
    ) -> Result<(), Unsayable> {
        for number in timeline.slots.range(..count) {
            if self.slots[*number].lines.are_waiting() {
                self.assert(*number, (&timeline.key, timeline.hash), None, true, say)?;
            }
        }
        Ok(())
    }

    fn assert(
        &mut self,
        number: SlotNumber,
        (key, hash): (&[u8], Hash),
        cause: Option<&Cause>,
        settled: bool,
        say: &mut impl FnMut(Saying<'_>),
    ) -> Result<(), Unsayable> {
        let (slot, journals) = self.slots.with_journals(number);
        let id = journals.derive(slot, hash);
        let cause = cause_of(cause, slot, journals);
        let (turn, input_at) = (slot.turn, slot.at);
        for (ordinal, line) in slot.lines.iter_mut().enumerate() {
            let Some(value) = line.value.as_ref().filter(|_| line.said == 0) else { continue };
            if !settled && value.effect() == Effect::Irrevocable {
                continue;
            }
            let (id, topic) = (id.nth(to_ordinal(ordinal)), value.topic());
            if line.revision >= self.revisions_max {
                tracing::error!(%id, topic, revision = line.revision, "a conclusion was revised too often: it is not asserted any more");
                continue;
            }
            line.revision += 1;
            line.said = line.now;
            let since = (line.at != input_at).then_some(input_at);
            let said = Said { id, revision: line.revision, at: line.at, turn, since, compensates: false };
            self.payload.clear();
            line.write(self.press, self.payload);
            said.append_to(self.payload, 0).map_err(|reason| unsayable(topic, reason))?;
            say(Saying { speech: Speech::Assert, key, topic, said, cause, payload: self.payload });
        }
        Ok(())
    }

    #[cold]
    fn take_back_lines(
        &mut self,
        number: SlotNumber,
        (key, hash): (&[u8], Hash),
        cause: Option<&Cause>,
        say: &mut impl FnMut(Saying<'_>),
    ) {
        let (slot, journals) = self.slots.with_journals(number);
        let id = journals.derive(slot, hash);
        let place = Place { key, cause: cause_of(cause, slot, journals), turn: slot.turn };
        for ordinal in (0..slot.lines.len()).rev() {
            let line = slot.lines.get_mut(ordinal).expect("it is one of them");
            if line.said != 0 && line.said != line.now {
                take_back(place, id.nth(to_ordinal(ordinal)), line, self.payload, say);
            }
        }
    }
}

/// Says what takes a line back. The retract is always said: that a conclusion cannot be compensated for is no fault of the
/// input that ends it.
fn take_back<O: Output>(
    place: Place<'_>,
    id: Derivation,
    line: &mut Line<O>,
    payload: &mut Vec<u8>,
    say: &mut impl FnMut(Saying<'_>),
) {
    let Place { key, cause, turn } = place;
    let was = line.was.take().expect("what was said and is not true is kept");
    let Was { at, topic, value } = *was;
    line.said = 0;
    let said = Said { id, revision: line.revision, at, turn, since: None, compensates: false };
    if value.as_ref().is_some_and(|value| value.effect() == Effect::IrrevocableAtOnce) {
        tracing::warn!(%id, %topic, "an irrevocable conclusion that was not awaited to be final is retracted");
    }
    let retract = Retract { id, revision: line.revision, at, topic: topic.clone().into() };
    payload.clear();
    serde_json::to_writer(&mut *payload, &retract).expect("a retract can be encoded");
    let saying = Saying { speech: Speech::Retract, key, topic: Retract::TOPIC, said, cause, payload };
    say(saying);
    let said = Said { compensates: true, ..said };
    payload.clear();
    let written = value.map(|value| {
        let undo = write_undo(&value, payload)?;
        undo.map(|topic| said.append_to(payload, 0).map(|()| topic)).transpose()
    });
    match written {
        None | Some(Ok(None)) => {}
        Some(Ok(Some(topic))) => {
            say(Saying { speech: Speech::Compensation, key, topic, said, cause, payload });
        }
        Some(Err(reason)) => {
            tracing::error!(%id, %topic, reason, "what compensates for a conclusion cannot be said: it is only retracted");
        }
    }
}

/// Appends the event that undoes a conclusion; returns its topic, if there is one.
///
/// # Errors
/// In words: it cannot be encoded, or the model's code panics.
pub(super) fn write_undo<O: Output>(
    value: &O,
    payload: &mut Vec<u8>,
) -> Result<Option<&'static str>, String> {
    let written = guarded(|| {
        let Some(undo) = value.compensation() else { return Ok(None) };
        serde_json::to_writer(payload, &undo).map_err(|error| error.to_string())?;
        Ok(Some(undo.topic()))
    });
    written.unwrap_or_else(Err)
}

fn cause_of<'a, I, O>(
    cause: Option<&'a Cause>,
    slot: &Slot<I, O>,
    journals: &'a Journals,
) -> (&'a Arc<str>, u64) {
    cause.map_or_else(|| (journals.name(slot.journal), slot.offset()), |cause| (&cause.journal, cause.offset))
}

fn unsayable(topic: &str, reason: String) -> Unsayable {
    Unsayable { topic: topic.to_owned(), reason }
}

pub(super) fn to_ordinal(index: usize) -> u16 {
    u16::try_from(index).expect("an input has at most 65,536 outputs")
}
