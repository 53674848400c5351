//! `io.procession.Journal`: a process's journal, for those who can't map its files.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::calls::Request;
use crate::json::{JsonGap, JsonRecord};

/// The interface's name.
pub const NAME: &str = "io.procession.Journal";
/// The interface in Varlink's language.
pub const DESCRIPTION: &str = include_str!("io.procession.Journal.varlink");

/// So many topics may be chosen: whoever wants more takes all, and chooses itself.
pub const TOPICS_MAX: usize = 1024;

/// Asks for the marks, and for what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetInfo {}

/// Waits until the journal has more than `after` records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitPast {
    /// An offset: the end of what the caller knows.
    pub after: u64,
    /// Also answered as soon as the journal is at another epoch than this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    /// Whether only records count that are safe from power loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durable: Option<bool>,
}

/// Asks for records and gaps in order: to be called with `more`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// The first offset; none: the journal's beginning.
    #[serde(default)]
    pub from: Option<u64>,
    /// Only these, at most [`TOPICS_MAX`]; none, or with `*`: all but the hidden ones.
    #[serde(default, deserialize_with = "few")]
    pub topics: Option<Vec<String>>,
    /// Whether to go on and wait for further records at the end.
    #[serde(default)]
    pub follow: Option<bool>,
    /// At most so many records.
    #[serde(default)]
    pub count: Option<u64>,
}

impl Request for GetInfo {
    const METHOD: &'static str = "io.procession.Journal.Info";
    const IDEMPOTENT: bool = true;
    type Reply = Info;
    type Error = JournalError;
}

impl Request for WaitPast {
    const METHOD: &'static str = "io.procession.Journal.Wait";
    const IDEMPOTENT: bool = true;
    type Reply = Moved;
    type Error = JournalError;
}

impl Request for Read {
    const METHOD: &'static str = "io.procession.Journal.Read";
    const IDEMPOTENT: bool = true;
    type Reply = ReadItem<'static>;
    type Error = JournalError;
}

/// A journal's marks, and what is kept of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// The journal's instance.
    pub journal: String,
    /// Tells one journal from another that was later made in its place.
    pub id: String,
    /// The newest epoch.
    pub epoch: u32,
    /// The end of what can be read.
    pub committed: u64,
    /// The end of what is safe from power loss.
    pub durable: u64,
    /// The beginning of what is kept.
    pub trimmed: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Its topics.
    pub topics: Vec<Topic>,
}

/// A topic, and how many of its records are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// The topic.
    pub name: String,
    /// How many.
    pub records: u64,
}

/// How far a journal has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The end of what can be read, or of what is safe from power loss if that was asked for.
    pub committed: u64,
    /// The newest epoch.
    pub epoch: u32,
}

/// A record or a gap; neither of them in the last reply.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReadItem<'a> {
    /// A record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<JsonRecord<'a>>,
    /// Offsets that can't be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<JsonGap<'a>>,
    /// Where to go on.
    pub next: u64,
}

/// Why nothing can be said of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", content = "parameters")]
#[non_exhaustive]
pub enum JournalError {
    /// The offset lies beyond the journal's end.
    #[error("offset {offset} lies beyond the journal's end, {committed}")]
    BeyondEnd {
        /// What was asked for.
        offset: u64,
        /// The journal's end.
        committed: u64,
    },
    /// The journal can't be read at the moment.
    #[error("the journal can't be read: {reason}")]
    Unreadable {
        /// What stands in the way.
        reason: String,
    },
}

impl JournalError {
    pub(crate) fn unreadable(reason: &impl fmt::Display) -> Self {
        Self::Unreadable { reason: reason.to_string() }
    }
}

/// A list of which no more is taken in than may be.
fn few<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Vec<T>>, D::Error> {
    struct Few<T>(Vec<T>);
    struct List<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
        type Value = Few<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {TOPICS_MAX} topics")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Few<T>, A::Error> {
            let mut few = Vec::new();
            while let Some(one) = list.next_element()? {
                if few.len() >= TOPICS_MAX {
                    return Err(A::Error::invalid_length(TOPICS_MAX + 1, &self));
                }
                few.push(one);
            }
            Ok(Few(few))
        }
    }
    impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_seq(List(PhantomData))
        }
    }
    Ok(Option::<Few<T>>::deserialize(deserializer)?.map(|Few(few)| few))
}
