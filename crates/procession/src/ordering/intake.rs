//! What a record that is heard means for a model.

use std::time::Duration;

use journal::{Codec, KEY_BYTES_MAX};

use super::model::{Heard, Input};
use super::records::{Final, Heartbeat, Retract, Said};
use super::time::EventTime;
use crate::event::Event as _;
use crate::subscribe::Selector;

/// Topics by which sources say more than events.
const HIDDEN: [&str; 3] = [Retract::TOPIC, Final::TOPIC, Heartbeat::TOPIC];

/// Which topics of which processes are inputs.
#[derive(Debug)]
pub(super) struct Selection {
    selectors: Vec<Selector>,
    patterns: Vec<String>,
    own: String,
    /// How much later than it was recorded something may have happened.
    ahead_max: Option<Duration>,
}

impl Selection {
    /// # Errors
    /// In words: which pattern is none.
    pub(super) fn new(patterns: Vec<String>, own: &str) -> Result<Self, String> {
        if patterns.is_empty() {
            return Err("it hears nothing: name its inputs with `.hear([\"process/topic\"])`".to_owned());
        }
        let parse = |pattern: &String| Selector::parse(pattern, None);
        let selectors = patterns.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { selectors, patterns, own: own.to_owned(), ahead_max: None })
    }

    /// The same, where nothing happens more than `ahead_max` after it was recorded.
    pub(super) fn with_ahead_max(self, ahead_max: Option<Duration>) -> Self {
        Self { ahead_max, ..self }
    }

    /// `at`, unless that is too far ahead of when it was recorded. What is said to happen later is not believed: until
    /// then its journal would be kept for it, and a heartbeat would make all that comes too late.
    #[inline]
    fn check(&self, at: EventTime, heard: &Heard<'_>) -> Result<EventTime, String> {
        let Some(ahead_max) = self.ahead_max else { return Ok(at) };
        let recorded = EventTime::from(heard.time);
        if at > recorded.plus(ahead_max) { Err(too_far_ahead(at, recorded, ahead_max)) } else { Ok(at) }
    }

    /// Whether records of a topic in a journal are inputs.
    pub(super) fn takes(&self, journal: &str, topic: &str) -> bool {
        self.selectors
            .iter()
            .any(|selector| selector.takes_topic(topic) && selector.takes_instance(journal, &self.own))
    }

    /// Whether there may be inputs in a journal.
    pub(super) fn hears(&self, journal: &str) -> bool {
        self.selectors.iter().any(|selector| selector.takes_instance(journal, &self.own))
    }

    /// Whether a journal is meant by its process's name, and not only by `*`.
    pub(super) fn names(&self, journal: &str) -> bool {
        self.selectors
            .iter()
            .any(|selector| selector.process().is_some() && selector.takes_instance(journal, &self.own))
    }

    /// Processes that are meant by name.
    pub(super) fn processes(&self) -> Vec<String> {
        self.selectors.iter().filter_map(|selector| selector.process()).map(str::to_owned).collect()
    }

    /// Whether a journal is that of a process, or of an instance of it.
    pub(super) fn means(&self, process: &str, journal: &str) -> bool {
        self.selectors.iter().any(|selector| {
            selector.process() == Some(process) && selector.takes_instance(journal, &self.own)
        })
    }

    /// What is to be subscribed to: the inputs, and what their processes say about them.
    pub(super) fn patterns(&self) -> Vec<String> {
        let mut patterns = self.patterns.clone();
        for pattern in &self.patterns {
            let process = pattern.split_once('/').map_or(pattern.as_str(), |(process, _)| process);
            patterns.extend(HIDDEN.map(|topic| format!("{process}/{topic}")));
        }
        patterns.sort();
        patterns.dedup();
        patterns
    }

    /// The inputs, as they were named.
    pub(super) fn inputs(&self) -> &[String] {
        &self.patterns
    }
}

/// A record, as a model takes it.
#[derive(Debug)]
pub(super) enum Word<I> {
    /// Something happened.
    Event { key: Box<[u8]>, at: EventTime, input: I },
    /// A model concludes something.
    Assert { key: Box<[u8]>, said: Said, input: I },
    /// A model takes something back.
    Retract(Retract),
    /// A model will not change anything earlier.
    Final(EventTime),
    /// A source will not say anything earlier.
    Heartbeat(EventTime),
    /// For listeners that are no models.
    Compensation,
    /// Not meant.
    Nothing,
}

impl<I> Word<I> {
    /// The key of an input.
    pub(super) const fn key(&self) -> Option<&[u8]> {
        match self {
            Self::Event { key, .. } | Self::Assert { key, .. } => Some(key),
            _ => None,
        }
    }

    /// The event time of an input.
    pub(super) const fn at(&self) -> Option<EventTime> {
        match self {
            Self::Event { at, .. } => Some(*at),
            Self::Assert { said, .. } => Some(said.at),
            Self::Retract(retract) => Some(retract.at),
            Self::Final(_) | Self::Heartbeat(_) | Self::Compensation | Self::Nothing => None,
        }
    }
}

/// Reads a record.
///
/// # Errors
/// In words: it is not as it should be.
pub(super) fn read<I: Input>(selection: &Selection, heard: &Heard<'_>) -> Result<Word<I>, String> {
    Ok(match heard.topic {
        Final::TOPIC => Word::Final(heard.decode::<Final>()?.at),
        Heartbeat::TOPIC => Word::Heartbeat(selection.check(heard.decode::<Heartbeat>()?.at, heard)?),
        Retract::TOPIC => {
            let retract: Retract = heard.decode()?;
            if selection.takes(heard.journal, &retract.topic) {
                Word::Retract(retract)
            } else {
                Word::Nothing
            }
        }
        topic if !selection.takes(heard.journal, topic) => Word::Nothing,
        _ => read_input(selection, heard)?,
    })
}

fn read_input<I: Input>(selection: &Selection, heard: &Heard<'_>) -> Result<Word<I>, String> {
    let said = if heard.codec == Codec::Json { Said::of(heard.payload)? } else { None };
    if said.is_some_and(|said| said.compensates) {
        return Ok(Word::Compensation);
    }
    let input = I::take(heard)?;
    let key: Box<[u8]> = input.key().into();
    if key.len() > KEY_BYTES_MAX {
        return Err(format!("its key has {} bytes; at most {KEY_BYTES_MAX} are allowed", key.len()));
    }
    Ok(match said {
        Some(said) => Word::Assert { key, said, input },
        None => {
            let at = match input.at() {
                Some(at) => selection.check(at, heard)?,
                None => heard.time.into(),
            };
            Word::Event { key, at, input }
        }
    })
}

#[cold]
fn too_far_ahead(at: EventTime, recorded: EventTime, ahead_max: Duration) -> String {
    format!("its event time, {at}, is more than {ahead_max:?} after it was recorded, {recorded}")
}
