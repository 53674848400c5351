//! What came of each input: one line for each output, with what was said of it and what is true by now.

use super::hash::Hash;
use super::model::{Output, Outputs};
use super::recall::Recalled;
use super::time::EventTime;

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

/// An assert that does not hold any more.
#[derive(Debug)]
pub(super) struct Was<O> {
    pub(super) at: EventTime,
    pub(super) topic: Box<str>,
    /// Unknown for what was said before a restart.
    pub(super) value: Option<O>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Text {
    generation: u64,
    start: usize,
    end: usize,
}

/// Where outputs are collected and encoded; shared by all keys.
#[derive(Debug)]
pub(super) struct Press<O> {
    pub(super) out: Outputs<O>,
    texts: Vec<u8>,
    generation: u64,
    /// The first output that could not be encoded.
    error: Option<(&'static str, String)>,
}

impl<O: Output> Press<O> {
    pub(super) const fn new() -> Self {
        Self { out: Outputs::new(), texts: Vec::new(), generation: 1, error: None }
    }

    /// Forgets all texts.
    pub(super) fn clear(&mut self) {
        self.texts.clear();
        self.generation += 1;
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
        Text { generation: self.generation, start, end: self.texts.len() }
    }

    /// Writes a value that no line holds, for a compensation.
    pub(super) fn write(&mut self, value: &O, payload: &mut Vec<u8>) {
        let Text { start, end, .. } = self.encode(value);
        payload.extend_from_slice(&self.texts[start..end]);
        self.texts.truncate(start);
    }

    /// Takes what the model has said because of an input at `at` into the input's lines.
    #[inline]
    pub(super) fn print(&mut self, at: EventTime, lines: &mut Vec<Line<O>>) {
        let mut outputs = std::mem::take(&mut self.out.said);
        let count = outputs.len();
        for (ordinal, (value, delay)) in outputs.drain(..).enumerate() {
            let at = if delay.is_zero() { at } else { at.plus(delay) };
            let text = self.encode(&value);
            let hash = hash_of(value.topic(), at, &self.texts[text.start..text.end]);
            if ordinal == lines.len() {
                lines.push(Line { revision: 0, said: 0, now: 0, at, value: None, was: None, text });
            }
            lines[ordinal].put(value, at, hash, text);
        }
        for line in lines.iter_mut().skip(count) {
            line.clear();
        }
        // Keeps its room.
        self.out.said = outputs;
    }
}

/// What makes two outputs the same.
#[inline]
pub(super) fn hash_of(topic: &str, at: EventTime, payload: &[u8]) -> u64 {
    Hash::new().word(at.0.cast_unsigned()).bytes(topic.as_bytes()).bytes(payload).short()
}

impl<O: Output> Line<O> {
    /// What is known of it from the time before a restart.
    pub(super) fn recalled(recalled: Recalled) -> Self {
        let Recalled { revision, said, at, topic } = recalled;
        let was = (said != 0).then(|| Box::new(Was { at, topic, value: None }));
        Self { revision, said, now: 0, at, value: None, was, text: Text::default() }
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
        if self.text.generation == press.generation {
            payload.extend_from_slice(&press.texts[self.text.start..self.text.end]);
        } else if let Some(value) = &self.value {
            press.write(value, payload);
        }
    }
}
