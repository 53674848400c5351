//! Dead letters: those that nobody has decided about, and the ways to decide.
//!
//! A letter is a record of the process's own journal, topic `_dead-letter`. What becomes of it is another, topic
//! `_dead-letter-settled`, in one batch with whatever the application says when it deals with the event after all.

mod desk;
mod service;
mod settling;

pub(crate) use self::desk::{Desk, Order, Refusal, What};
pub(crate) use self::service::LettersService;
pub(crate) use self::settling::Settling;

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use journal::{Codec, Item, Level, Offset, Reader, Start, Time};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::event::Event;
use crate::subscribe::DeadLetter;

/// What has become of a letter.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Settled {
    /// Its offset in the same journal.
    pub(crate) letter: u64,
    pub(crate) outcome: Outcome,
}

/// How a letter was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// The application has dealt with the event.
    Retried,
    /// It was given up.
    Dropped,
}

impl Event for Settled {
    const TOPIC: &'static str = "_dead-letter-settled";
}

/// A letter that nobody has decided about.
#[derive(Debug)]
pub(crate) struct Letter {
    /// Where it lies in the process's journal.
    pub(crate) at: Offset,
    pub(crate) time: Time,
    pub(crate) key: Option<Box<[u8]>>,
    pub(crate) letter: DeadLetter,
}

impl Letter {
    /// The bytes that were said, and in which codec.
    pub(crate) fn payload(&self) -> (Codec, Vec<u8>) {
        let json = self.letter.payload.get();
        let bytes = |codec| {
            let text: String = serde_json::from_str(json).ok()?;
            Some((codec, STANDARD.decode(text).ok()?))
        };
        let of_codec = match self.letter.codec.as_deref() {
            Some("raw") => bytes(Codec::Raw),
            Some("bincode") => bytes(Codec::Bincode),
            _ => None,
        };
        of_codec.unwrap_or_else(|| (Codec::Json, json.as_bytes().to_vec()))
    }
}

/// The open letters from `start` on in the journal of the instance in `folder`, oldest first, and where it ends.
pub(crate) fn open(
    folder: &Path,
    start: Start,
    wanted: impl Fn(&Letter) -> bool,
) -> Result<(Vec<Letter>, Offset)> {
    let mut letters = BTreeMap::new();
    let Some(mut reader) = Reader::open(folder, start, Level::Committed)? else {
        return Ok((Vec::new(), Offset::ZERO));
    };
    while let Some(item) = reader.next()? {
        let Item::Record(record) = item else { continue };
        if record.topic == DeadLetter::TOPIC
            && let Ok(letter) = serde_json::from_slice(record.payload)
        {
            let (at, time) = (record.offset, record.time);
            let letter = Letter { at, time, key: record.key.map(Into::into), letter };
            if wanted(&letter) {
                letters.insert(at.0, letter);
            }
        } else if record.topic == Settled::TOPIC
            && let Ok(settled) = serde_json::from_slice::<Settled>(record.payload)
        {
            letters.remove(&settled.letter);
        }
    }
    Ok((letters.into_values().collect(), reader.position().next))
}

/// The letter at an offset, open or not.
pub(crate) fn find(folder: &Path, at: Offset) -> Result<Option<Letter>> {
    let Some(mut reader) = Reader::open(folder, Start::Offset(at), Level::Committed)? else {
        return Ok(None);
    };
    let Some(Item::Record(record)) = reader.next()? else { return Ok(None) };
    if record.offset != at || record.topic != DeadLetter::TOPIC {
        return Ok(None);
    }
    let letter = serde_json::from_slice(record.payload).ok();
    Ok(letter.map(|letter| Letter { at, time: record.time, key: record.key.map(Into::into), letter }))
}
