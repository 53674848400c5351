//! What came of each input: one line for each output, with what was said of it and what is true by now.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::to_raw_value;

use super::effect::Effect;
use super::hash::Hash;
use super::model::{Output, Outputs};
use super::recall::{Recalled, Undo};
use super::time::EventTime;
use crate::guarded::guarded;

/// One output of one input. Which one is its place among the input's lines.
#[derive(Debug)]
pub(super) struct Line<O> {
    /// How often it was asserted.
    pub(super) revision: u32,
    /// Hash of what is asserted; 0: nothing is.
    pub(super) said: u64,
    /// Hash of what the fold gives; 0: nothing.
    pub(super) now: u64,
    /// The event time of `value`.
    pub(super) at: EventTime,
    /// What the fold gives.
    pub(super) value: Option<O>,
    /// What is asserted, where that is not `value`.
    pub(super) was: Option<Box<Was<O>>>,
    /// `value` as JSON, if it was encoded since the last time that something was said.
    text: Text,
}

/// The lines of one input, most often none or one. A thin pointer: most inputs lead to nothing.
#[derive(Debug)]
pub(super) struct Lines<O>(Option<Box<Page<O>>>);

#[derive(Debug)]
struct Page<O> {
    first: Line<O>,
    more: Vec<Line<O>>,
}

impl<O> Lines<O> {
    pub(super) const NONE: Self = Self(None);

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |page| 1 + page.more.len())
    }

    pub(super) fn push(&mut self, line: Line<O>) {
        match &mut self.0 {
            None => self.0 = Some(Box::new(Page { first: line, more: Vec::new() })),
            Some(page) => page.more.push(line),
        }
    }

    #[inline]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Line<O>> {
        self.0.iter().flat_map(|page| std::iter::once(&page.first).chain(&page.more))
    }

    #[inline]
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Line<O>> {
        self.0.iter_mut().flat_map(|page| std::iter::once(&mut page.first).chain(&mut page.more))
    }

    #[inline]
    pub(super) fn get_mut(&mut self, ordinal: usize) -> Option<&mut Line<O>> {
        let page = self.0.as_mut()?;
        if ordinal == 0 { Some(&mut page.first) } else { page.more.get_mut(ordinal - 1) }
    }

    /// Something of them, whatever it is.
    #[inline]
    pub(super) fn look(&self) -> u64 {
        self.0.as_ref().map_or(0, |page| page.first.now)
    }

    /// Whether an output waits to be final.
    #[inline]
    pub(super) fn are_waiting(&self) -> bool {
        self.iter().any(|line| line.said == 0 && line.now != 0)
    }
}

/// An assert that does not hold any more.
#[derive(Debug)]
pub(super) struct Was<O> {
    pub(super) at: EventTime,
    pub(super) topic: Box<str>,
    /// Unknown for what was said before a restart.
    pub(super) value: Option<O>,
}

/// A place among all texts that were ever encoded; default: none.
#[derive(Debug, Clone, Copy, Default)]
struct Text {
    start: u64,
    length: usize,
}

/// Where outputs are collected and encoded; shared by all keys.
#[derive(Debug)]
pub(super) struct Press<O> {
    pub(super) out: Outputs<O>,
    texts: Vec<u8>,
    /// Where `texts` starts among all texts: what lies before was forgotten.
    start: u64,
    /// Largest output that may wait to be final, once a rebuild is over.
    pub(super) waiting_bytes_max: Option<usize>,
    /// The first output that could not be encoded.
    error: Option<(&'static str, String)>,
}

impl<O: Output> Press<O> {
    pub(super) const fn new() -> Self {
        Self { out: Outputs::new(), texts: Vec::new(), start: 1, waiting_bytes_max: None, error: None }
    }

    /// Forgets all texts.
    pub(super) fn clear(&mut self) {
        self.start += self.texts.len() as u64 + 1;
        self.texts.clear();
    }

    pub(super) fn take_error(&mut self) -> Option<(&'static str, String)> {
        self.error.take()
    }

    fn encode(&mut self, value: &O) -> Text {
        let start = self.texts.len();
        if let Err(error) = serde_json::to_writer(&mut self.texts, value) {
            self.texts.truncate(start);
            self.error.get_or_insert((value.topic(), error.to_string()));
        }
        Text { start: self.start + start as u64, length: self.texts.len() - start }
    }

    fn text(&self, text: Text) -> Option<&[u8]> {
        let start = usize::try_from(text.start.checked_sub(self.start)?).ok()?;
        self.texts.get(start..start + text.length)
    }

    /// What waits to be final and cannot be said then is the fault of the input that it follows from, which is known now.
    #[cold]
    fn weigh(&mut self, value: &O, length: usize, start: usize) {
        let Some(limit) = self.waiting_bytes_max.filter(|_| self.error.is_none()) else { return };
        if value.effect() != Effect::Irrevocable {
            return;
        }
        let reason = if self.texts.get(start) == Some(&b'{') {
            too_large_to_wait(length, limit)
        } else {
            NO_OBJECT.to_owned()
        };
        self.error = Some((value.topic(), reason));
    }

    /// Why an output that waits to be final could not be said then; `None` if it could.
    #[cold]
    pub(super) fn find_fault(&mut self, value: &O, bytes_max: usize) -> Option<String> {
        let fault = guarded(|| {
            if value.effect() != Effect::Irrevocable {
                return None;
            }
            match self.measure(value) {
                Ok(length) => (length > bytes_max).then(|| too_large_to_wait(length, bytes_max)),
                Err(reason) => Some(reason),
            }
        });
        fault.unwrap_or_else(Some).map(|reason| format!("{} cannot be said: {reason}", value.topic()))
    }

    /// How many bytes an output has.
    ///
    /// # Errors
    /// In words: it cannot be encoded as a JSON object.
    fn measure(&mut self, value: &O) -> Result<usize, String> {
        let start = self.texts.len();
        let written = serde_json::to_writer(&mut self.texts, value);
        let (length, first) = (self.texts.len() - start, self.texts.get(start).copied());
        self.texts.truncate(start);
        match written {
            Err(error) => Err(error.to_string()),
            Ok(()) if first != Some(b'{') => Err(NO_OBJECT.to_owned()),
            Ok(()) => Ok(length),
        }
    }

    /// Writes a value that no line holds, for a compensation.
    pub(super) fn write(&mut self, value: &O, payload: &mut Vec<u8>) {
        let start = self.texts.len();
        self.encode(value);
        payload.extend_from_slice(&self.texts[start..]);
        self.texts.truncate(start);
    }

    /// Encodes what the model has said because of an input, for nothing but to see whether that can be done.
    ///
    /// # Errors
    /// In words: it cannot.
    #[cold]
    pub(super) fn try_out(&mut self) -> Result<(), String> {
        for (value, _) in std::mem::take(&mut self.out.said) {
            self.measure(&value)
                .map_err(|reason| format!("{} cannot be encoded: {reason}", value.topic()))?;
        }
        Ok(())
    }

    /// Takes what the model has said because of an input at `at` into the input's lines.
    #[inline]
    pub(super) fn print(&mut self, at: EventTime, lines: &mut Lines<O>) {
        let count = self.out.said.len();
        if count == 0 && lines.is_empty() {
            return;
        }
        let mut outputs = std::mem::take(&mut self.out.said);
        for (ordinal, (value, delay)) in outputs.drain(..).enumerate() {
            let at = if delay.is_zero() { at } else { at.plus(delay) };
            let start = self.texts.len();
            let text = self.encode(&value);
            if self.waiting_bytes_max.is_some_and(|most| text.length > most)
                || self.texts.get(start) != Some(&b'{')
            {
                self.weigh(&value, text.length, start);
            }
            let hash = hash_of(value.topic(), at, &self.texts[start..]);
            match lines.get_mut(ordinal) {
                Some(line) => line.put(value, at, hash, text),
                None => lines.push(Line {
                    revision: 0,
                    said: 0,
                    now: hash,
                    at,
                    value: Some(value),
                    was: None,
                    text,
                }),
            }
        }
        for line in lines.iter_mut().skip(count) {
            line.clear();
        }
        // Keeps its room.
        self.out.said = outputs;
    }
}

const NO_OBJECT: &str = "what a model says must be a JSON object";

fn too_large_to_wait(bytes: usize, limit: usize) -> String {
    format!("it has {bytes} bytes, and must wait to be final: the limit of this journal is {limit} bytes")
}

/// What makes two outputs the same.
#[inline]
pub(super) fn hash_of(topic: &str, at: EventTime, payload: &[u8]) -> u64 {
    Hash::new().word(at.0.cast_unsigned()).bytes(topic.as_bytes()).bytes(payload).short()
}

impl<O: Output> Line<O> {
    /// What is known of it from the time before a restart.
    pub(super) fn recalled(recalled: Recalled) -> Self {
        let Recalled { revision, said, at, topic, .. } = recalled;
        let was = (said != 0).then(|| Box::new(Was { at, topic, value: None }));
        Self { revision, said, now: 0, at, value: None, was, text: Text::default() }
    }

    /// What a restart needs to know of it, when it follows from an input of this key, event time and turn.
    pub(super) fn to_recalled(&self, key: &[u8], input_at: EventTime, turn: u64) -> Recalled {
        let Self { revision, said, at, .. } = *self;
        let topic = self.value.as_ref().map_or("", |value| value.topic());
        let since = (at != input_at).then_some(input_at);
        let undo = (said != 0).then(|| {
            let compensation = guarded(|| {
                let undo = self.value.as_ref()?.compensation()?;
                Some((undo.topic().into(), to_raw_value(&undo).ok()?))
            });
            let compensation = compensation.unwrap_or_else(|reason| {
                tracing::warn!(
                    topic,
                    reason,
                    "nobody will be able to tell how to compensate for a conclusion"
                );
                None
            });
            Box::new(Undo { key: STANDARD.encode(key), turn, compensation })
        });
        Recalled { revision, said, at, topic: topic.into(), since, undo, record: None }
    }

    /// A place for an output that was not said before a restart, before one that was.
    pub(super) fn blank() -> Self {
        Self {
            revision: 0,
            said: 0,
            now: 0,
            at: EventTime::MIN,
            value: None,
            was: None,
            text: Text::default(),
        }
    }

    #[inline]
    fn put(&mut self, value: O, at: EventTime, hash: u64, text: Text) {
        if self.said == hash {
            self.was = None;
        } else {
            self.keep_what_was_said();
        }
        self.now = hash;
        self.at = at;
        self.text = text;
        self.value = Some(value);
    }

    /// The fold does not give it any more.
    pub(super) fn clear(&mut self) {
        self.keep_what_was_said();
        self.now = 0;
        self.value = None;
    }

    fn keep_what_was_said(&mut self) {
        if self.said != 0
            && self.said == self.now
            && let Some(value) = self.value.take()
        {
            let topic = value.topic().into();
            self.was = Some(Box::new(Was { at: self.at, topic, value: Some(value) }));
        }
    }

    /// Appends the payload.
    pub(super) fn write(&self, press: &mut Press<O>, payload: &mut Vec<u8>) {
        if let Some(text) = press.text(self.text) {
            payload.extend_from_slice(text);
        } else if let Some(value) = &self.value {
            press.write(value, payload);
        }
    }
}
