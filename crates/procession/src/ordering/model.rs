//! What an application writes: inputs, outputs, and the fold between them.

use std::borrow::Cow;
use std::time::Duration;

use journal::{Codec, Time};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::effect::Effect;
use super::time::EventTime;
use crate::codec;
use crate::event::Event;

/// A deterministic fold over the inputs of one key, in the order of event time.
///
/// `apply` must depend on nothing but the model and the input: the clock, chance and answers to questions are inputs, too.
/// It is called again, on a copy of an earlier state, when an input comes late.
pub trait Model: Clone + Default + Serialize + DeserializeOwned {
    /// What it hears.
    type Input;
    /// What it says.
    type Output: Output;

    /// Takes an input in, and says what follows from it.
    fn apply(&mut self, at: EventTime, input: &Self::Input, out: &mut Outputs<Self::Output>);

    /// Nothing will come of this key any more: it may be forgotten once all of its inputs are final. An input that
    /// comes later begins with a new model.
    fn is_over(&self) -> bool {
        false
    }
}

/// A record in the hands of [`Input::take`].
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    /// The journal that it was said in.
    pub journal: &'a str,
    /// Its topic there.
    pub topic: &'a str,
    /// Its key, if it has one.
    pub key: Option<&'a [u8]>,
    /// When it was said.
    pub time: Time,
    /// How the payload is encoded.
    pub codec: Codec,
    /// The payload.
    pub payload: &'a [u8],
}

impl Heard<'_> {
    /// Reads the payload.
    ///
    /// # Errors
    /// In words.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, String> {
        codec::decode(self.codec, self.payload)
    }
}

/// What a model hears: one type for all of its topics.
pub trait Input: Sized {
    /// Takes it out of a record, by its topic.
    ///
    /// # Errors
    /// In words: the record goes to the dead-letter topic.
    fn take(heard: &Heard<'_>) -> Result<Self, String>;

    /// The key that it is about: each has a model of its own.
    fn key(&self) -> Cow<'_, [u8]>;

    /// When it happened; without it, when it was said. How far it may lie ahead of that is the model's to say:
    /// [`super::RunModel::ahead_max`].
    fn at(&self) -> Option<EventTime> {
        None
    }
}

/// What a model says. An enum of several events is one, too, if it is `#[serde(untagged)]`.
pub trait Output: Compensate + Serialize {
    /// All topics that it may have.
    const TOPICS: &'static [&'static str];

    /// The topic of this one.
    fn topic(&self) -> &'static str;

    /// Reads one that was said, by its topic. Should the input that it followed from be lost with the power of the machine,
    /// nothing else can tell how it is to be compensated.
    ///
    /// # Errors
    /// In words.
    fn read(said: &Heard<'_>) -> Result<Self, String>;
}

impl<E: Event + Compensate> Output for E {
    const TOPICS: &'static [&'static str] = &[E::TOPIC];

    fn topic(&self) -> &'static str {
        E::TOPIC
    }

    fn read(said: &Heard<'_>) -> Result<Self, String> {
        said.decode()
    }
}

/// How a domain event is undone.
pub trait Compensate: Sized {
    /// The event that undoes this one, for listeners that do not follow retracts: `ItemAdded` → `ItemRemoved`.
    fn compensation(&self) -> Option<Self> {
        None
    }

    /// Whether it can be taken back at all.
    fn effect(&self) -> Effect {
        Effect::Pure
    }
}

/// Takes what a model says because of one input.
#[derive(Debug)]
pub struct Outputs<O> {
    pub(super) said: Vec<(O, Duration)>,
}

impl<O> Outputs<O> {
    pub(super) const fn new() -> Self {
        Self { said: Vec::new() }
    }

    /// Says something, with the event time of the input.
    pub fn say(&mut self, output: O) {
        self.say_after(Duration::ZERO, output);
    }

    /// Says something that happens so long after the input.
    ///
    /// # Panics
    /// If one input leads to more than 65,536 outputs.
    pub fn say_after(&mut self, delay: Duration, output: O) {
        assert!(self.said.len() <= usize::from(u16::MAX), "one input leads to more than 65,536 outputs");
        self.said.push((output, delay));
    }
}
