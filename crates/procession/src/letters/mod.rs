//! Dead letters: those that nobody has decided about, and the ways to decide.
//!
//! A letter is a record of the process's own journal, topic `_dead-letter`. What becomes of it is another, topic
//! `_dead-letter-settled`, in one batch with whatever the application says when it deals with the event after all.

mod counting;
mod desk;
mod register;
mod service;
mod settling;

pub(crate) use self::counting::{count_earlier, settle_owed};
pub(crate) use self::desk::{Desk, Order, Refusal, What};
pub(crate) use self::register::Register;
pub(crate) use self::service::LettersService;
pub(crate) use self::settling::{History, Settling};

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use journal::{Codec, Entry, Item, Level, Offset, Reader, Record, Start, Time};
use serde::{Deserialize, Serialize};

use crate::aside::Gone;
use crate::codec;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::subscribe::{self, DeadLetter};

/// Longest key of a letter, in bytes: longer ones are known by what is made of them.
const KEY_BYTES_MAX: usize = 256;
/// A letter takes at most this part of a segment, which also has to hold what every segment begins with.
const SHARE: u64 = 4;

/// Largest letter, in bytes, of a process whose journal has segments of this size.
pub(crate) fn bytes_max(segment_bytes: u64) -> usize {
    usize::try_from(segment_bytes / SHARE).unwrap_or(usize::MAX)
}

/// A key as letters and parked keys have it: they must find room in the smallest segment.
pub(crate) fn short_key(key: &[u8]) -> Cow<'_, [u8]> {
    if key.len() <= KEY_BYTES_MAX {
        return Cow::Borrowed(key);
    }
    let fold = |seed: u64| {
        key.iter().fold(seed, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
    };
    // Of all that are long, two of one short form are parked together: nothing is lost by that.
    let (first, second) = (fold(0xcbf2_9ce4_8422_2325), fold(key.len() as u64).rotate_left(32));
    Cow::Owned(format!("long-key-{first:016x}{second:016x}").into_bytes())
}

/// What has become of a letter.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Settled {
    /// Its offset in the same journal.
    pub(crate) letter: u64,
    pub(crate) outcome: Outcome,
}

impl Settled {
    /// What is said of a letter.
    pub(crate) fn encode(letter: Offset, outcome: Outcome) -> Result<Vec<u8>> {
        let mut payload = Vec::new();
        codec::encode(Self::CODEC, &Self { letter: letter.0, outcome }, &mut payload)
            .map_err(|reason| Error::Encode { topic: Self::TOPIC.to_owned(), reason })?;
        Ok(payload)
    }

    /// The record that says it.
    pub(crate) const fn entry(payload: &[u8]) -> Entry<'_> {
        Entry { topic: Self::TOPIC, key: None, cause: None, codec: Self::CODEC, payload }
    }
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
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    /// Where it lies in the process's journal.
    pub(crate) at: Offset,
    pub(crate) time: Time,
    pub(crate) key: Option<Box<[u8]>>,
    pub(crate) letter: DeadLetter,
}

impl Letter {
    /// Whether it is about this record of a journal with this identity.
    pub(crate) fn is_about(&self, record: &Record<'_>, journal: u64) -> bool {
        let DeadLetter { topic, identity, epoch, .. } = &self.letter;
        record.topic == topic
            && record.key.map(short_key).as_deref() == self.key.as_deref()
            && identity.as_ref().is_none_or(|identity| *identity == subscribe::identity(journal))
            && epoch.is_none_or(|epoch| epoch == record.epoch.0)
    }

    /// What tells its event from another at the same offset.
    pub(crate) fn history(&self) -> History {
        (self.letter.identity.clone(), self.letter.epoch)
    }

    /// The bytes that were said, and in which codec. None if the letter does not have them.
    pub(crate) fn payload(&self) -> Option<(Codec, Vec<u8>)> {
        if self.letter.payload_kept.is_some() {
            return None;
        }
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
        Some(of_codec.unwrap_or_else(|| (Codec::Json, json.as_bytes().to_vec())))
    }
}

/// Goes through the journal of the instance in `folder` from `start` on: what `take` makes of each letter is added to
/// `open`, and goes when the letter is settled. Returns where the journal ends, or how far it came until nobody waited
/// for it any more.
pub(crate) fn scan<T>(
    folder: &Path,
    start: Start,
    open: &mut BTreeMap<Offset, T>,
    gone: &Gone,
    take: impl Fn(Letter) -> Option<T>,
) -> Result<Offset> {
    let Some(mut reader) = Reader::open(folder, start, Level::Committed)? else {
        return Ok(Offset::ZERO);
    };
    while !gone.is_true()
        && let Some(item) = reader.next()?
    {
        let Item::Record(record) = item else { continue };
        if record.topic == DeadLetter::TOPIC
            && let Ok(letter) = serde_json::from_slice(record.payload)
        {
            let (at, time) = (record.offset, record.time);
            let letter = Letter { at, time, key: record.key.map(Into::into), letter };
            if let Some(taken) = take(letter) {
                open.insert(at, taken);
            }
        } else if record.topic == Settled::TOPIC
            && let Ok(settled) = serde_json::from_slice::<Settled>(record.payload)
        {
            open.remove(&Offset(settled.letter));
        }
    }
    Ok(reader.position().next)
}

/// Where the open letters of a parked key lie.
#[derive(Debug, Default)]
pub(crate) struct Found {
    letters: BTreeMap<Offset, ()>,
    /// The journal was read up to here.
    end: Offset,
}

impl Found {
    /// Letters that one look through the journal has found, up to its end then.
    fn new(letters: impl IntoIterator<Item = Offset>, end: Offset) -> Self {
        Self { letters: letters.into_iter().map(|at| (at, ())).collect(), end }
    }

    /// Looks through what was said since, for letters of a subscription and a key as letters have it.
    pub(crate) fn go_on(&mut self, folder: &Path, gone: &Gone, subscription: &str, key: &[u8]) -> Result<()> {
        self.end = scan(folder, Start::Offset(self.end), &mut self.letters, gone, |letter| {
            (letter.letter.subscription == subscription && letter.key.as_deref() == Some(key)).then_some(())
        })?;
        Ok(())
    }

    pub(crate) fn into_letters(self) -> VecDeque<Offset> {
        self.letters.into_keys().collect()
    }
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
