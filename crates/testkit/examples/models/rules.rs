//! What the chain of models does, and what must come of it: shared by the processes and the test that kills them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use procession::Event;
use procession::ordering::{Compensate, EventTime, Heard, Input, Model, Outputs};
use serde::{Deserialize, Serialize};

/// Event time of the first event. Events are a second apart.
const BEGIN: EventTime = EventTime(1_700_000_000_000_000);
/// By how many places an event may be out of order.
const JITTER: u64 = 50;
/// What models must wait for, therefore.
pub(crate) const LATENESS: Duration = Duration::from_secs(JITTER + 2);
/// Keys of each model.
const KEYS: u64 = 17;

/// A number that looks random and is the same every time.
fn mix(seed: u64, number: u64) -> u64 {
    let mut value = seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for _ in 0..3 {
        value = (value ^ (value >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    value ^ (value >> 32)
}

/// Event `number` of a source. No two events happen at the same time.
pub(crate) fn note(seed: u64, source: u64, number: u64) -> Note {
    let jitter = mix(seed, number * 2 + source) % JITTER;
    let place = number + JITTER - jitter;
    let at = BEGIN.plus(Duration::from_millis(place * 1000 + number % 100 * 4 + source));
    Note { at, value: mix(seed ^ 0xff, number * 2 + source) % 1000 }
}

/// When every source has said `count` events, and everything is final.
pub(crate) fn end(count: u64) -> EventTime {
    BEGIN.plus(Duration::from_secs(count + 10 * JITTER))
}

/// What is said, by sources and by models.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) at: EventTime,
    pub(crate) value: u64,
}

impl Event for Note {
    const TOPIC: &'static str = "note";
}

impl Compensate for Note {}

/// A note that is heard.
#[derive(Debug, Clone)]
pub(crate) struct Heeded(Note);

impl Input for Heeded {
    fn take(heard: &Heard<'_>) -> Result<Self, String> {
        heard.decode().map(Self)
    }

    fn key(&self) -> Cow<'_, [u8]> {
        key(&self.0).into()
    }

    fn at(&self) -> Option<EventTime> {
        Some(self.0.at)
    }
}

fn key(note: &Note) -> Vec<u8> {
    (note.value % KEYS).to_string().into_bytes()
}

/// Mixes what it hears into its state, and says up to two things about it. The order of its inputs matters to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mixer<const LEVEL: u32> {
    state: u64,
}

impl<const LEVEL: u32> Mixer<LEVEL> {
    fn say(&mut self, note: &Note) -> Vec<(Duration, u64)> {
        self.state = mix(self.state, note.value) % 10_000;
        // Other levels have other delays, so that no two conclusions happen at the same time.
        let delay = Duration::from_micros(16_u64.pow(LEVEL));
        (0..self.state % 3)
            .map(|nth| (delay * if nth > 0 { 2 } else { 1 }, (self.state + nth) % 1000))
            .collect()
    }
}

impl<const LEVEL: u32> Model for Mixer<LEVEL> {
    type Input = Heeded;
    type Output = Note;

    fn apply(&mut self, at: EventTime, Heeded(note): &Heeded, out: &mut Outputs<Note>) {
        for (delay, value) in self.say(note) {
            out.say_after(delay, Note { at: at.plus(delay), value });
        }
    }
}

/// What one run in order gives.
pub(crate) fn in_order<const LEVEL: u32>(mut notes: Vec<Note>) -> Vec<Note> {
    notes.sort();
    let mut mixers = BTreeMap::<Vec<u8>, Mixer<LEVEL>>::new();
    let mut said = Vec::new();
    for note in &notes {
        for (delay, value) in mixers.entry(key(note)).or_default().say(note) {
            said.push(Note { at: note.at.plus(delay), value });
        }
    }
    said.sort();
    said
}
