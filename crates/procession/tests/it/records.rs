//! What instances have said, as their journals have it.

use journal::{Item, Level, Reader, Record, Start, Time};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::sample::Home;

/// A record, as far as tests look at it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Said {
    pub(crate) offset: u64,
    pub(crate) time: Time,
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) cause: Option<(String, u64)>,
}

impl Said {
    pub(crate) fn of(record: &Record<'_>) -> Self {
        Self {
            offset: record.offset.0,
            time: record.time,
            topic: record.topic.to_owned(),
            payload: record.payload.to_vec(),
            cause: record.cause.map(|cause| (cause.journal.to_owned(), cause.offset.0)),
        }
    }

    /// What was said, of a topic in JSON.
    pub(crate) fn decode<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.payload).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        self.decode()
    }
}

/// The beginning of an instance's journal. None if there is none.
pub(crate) fn open(home: &Home, instance: &str) -> Option<Reader> {
    Reader::open(&home.instance(instance), Start::Beginning, Level::Committed).unwrap()
}

/// All that a reader has to give by now, without a gap.
pub(crate) fn read_on(reader: &mut Reader) -> Vec<Said> {
    let mut said = Vec::new();
    while let Some(item) = reader.next().unwrap() {
        let Item::Record(record) = item else { panic!("{item:?}") };
        said.push(Said::of(&record));
    }
    said
}

/// Everything that an instance has said and its journal has kept.
pub(crate) fn all(home: &Home, instance: &str) -> Vec<Said> {
    open(home, instance).map_or_else(Vec::new, |mut reader| read_on(&mut reader))
}

/// The records of one topic.
pub(crate) fn of_topic(home: &Home, instance: &str, topic: &str) -> Vec<Said> {
    all(home, instance).into_iter().filter(|said| said.topic == topic).collect()
}

/// Where the records of one topic lie.
pub(crate) fn offsets(home: &Home, instance: &str, topic: &str) -> Vec<u64> {
    of_topic(home, instance, topic).into_iter().map(|said| said.offset).collect()
}

/// What an instance has said under a topic, in JSON.
pub(crate) fn said_by(home: &Home, instance: &str, topic: &str) -> Vec<Value> {
    of_topic(home, instance, topic).iter().map(Said::json).collect()
}
