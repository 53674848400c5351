//! Events that nobody could deal with.

use journal::{Codec, Epoch, Offset, PAYLOAD_BYTES_MAX};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::event::Event;
use crate::json;

/// Longer reasons are cut, in bytes: a decoder may repeat the whole of a payload in its own.
const REASON_BYTES_MAX: usize = 1 << 10;
/// The same of a letter that is short of room.
const SHORT_BYTES_MAX: usize = 128;

/// An event that failed too often, or cannot be decoded: kept in the subscriber's own journal, with the
/// event as its cause.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Name of the subscription.
    pub subscription: String,
    /// The journal that the event is in.
    pub journal: String,
    /// Which journal of that name, in hexadecimal: one that is begun anew is another. Unknown in letters of older
    /// programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The publisher's epoch; unknown in letters of older programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    /// Its offset there.
    pub offset: u64,
    /// Its topic.
    pub topic: String,
    /// Its key, if it has one; the beginning of it, if it is long.
    pub key: Option<String>,
    /// How often it was delivered.
    pub attempts: u32,
    /// Why it was given up.
    pub reason: String,
    /// The name of the payload's codec, unless it is JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<String>,
    /// Who keeps the payload if the letter does not: it would have been too large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_kept: Option<PayloadKept>,
    /// The payload: JSON as it was, anything else in base64; null if it is kept elsewhere.
    pub payload: Box<RawValue>,
}

/// Who keeps the payload of a dead letter that does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PayloadKept {
    /// The publisher's journal alone, for as long as it keeps the event at all.
    ByPublisher,
}

impl Event for DeadLetter {
    const TOPIC: &'static str = "_dead-letter";
    const CODEC: Codec = Codec::Json;
}

/// The event that a letter is about.
#[derive(Debug)]
pub(crate) struct Parked<'a> {
    pub(crate) subscription: &'a str,
    pub(crate) journal: &'a str,
    pub(crate) identity: u64,
    pub(crate) epoch: Epoch,
    pub(crate) offset: Offset,
    pub(crate) topic: &'a str,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) codec: Codec,
    pub(crate) payload: &'a [u8],
}

impl DeadLetter {
    /// A letter with the event's payload if it is no larger than `bytes_max` then, and with the event's place alone if it
    /// is: that one always finds room.
    pub(crate) fn new(parked: &Parked<'_>, attempts: u32, reason: &str, bytes_max: usize) -> Self {
        let null = || RawValue::NULL.to_owned();
        let letter = Self {
            subscription: parked.subscription.to_owned(),
            journal: parked.journal.to_owned(),
            identity: Some(identity(parked.identity)),
            epoch: Some(parked.epoch.0),
            offset: parked.offset.0,
            topic: parked.topic.to_owned(),
            key: parked.key.map(json::key),
            attempts,
            reason: cut(reason, REASON_BYTES_MAX),
            codec: (parked.codec != Codec::Json).then(|| json::codec_name(parked.codec).to_owned()),
            payload_kept: None,
            payload: null(),
        };
        // Encoding makes it no smaller.
        if parked.payload.len() < bytes_max {
            let payload = json::payload(parked.codec, parked.payload).into_owned();
            let whole = Self { payload, ..letter };
            let bytes = serde_json::to_vec(&whole).map_or(usize::MAX, |bytes| bytes.len());
            if bytes <= bytes_max.min(PAYLOAD_BYTES_MAX) {
                return whole;
            }
            return whole.by_place();
        }
        letter.by_place()
    }

    fn by_place(self) -> Self {
        Self {
            key: self.key.map(|key| cut(&key, SHORT_BYTES_MAX)),
            reason: cut(&self.reason, SHORT_BYTES_MAX),
            payload_kept: Some(PayloadKept::ByPublisher),
            payload: RawValue::NULL.to_owned(),
            ..self
        }
    }
}

/// An identity as letters carry it.
pub(crate) fn identity(journal: u64) -> String {
    format!("{journal:016x}")
}

/// At most so many bytes of a text, and a sign that there was more.
fn cut(text: &str, bytes_max: usize) -> String {
    let end = text.floor_char_boundary(bytes_max);
    if end < text.len() { format!("{}…", &text[..end]) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_no_larger_than_it_may_be_whatever_it_is_about() {
        let (key, names) = ([1; 65_534], "n".repeat(120));
        for bytes in [0, 1000, 3000, 100_000] {
            let parked = Parked {
                subscription: &names,
                journal: &names,
                identity: u64::MAX,
                epoch: Epoch(u32::MAX),
                offset: Offset(1 << 55),
                topic: &names,
                key: Some(&key),
                codec: Codec::Bincode,
                payload: &vec![1; bytes],
            };
            let letter = DeadLetter::new(&parked, u32::MAX, &"\u{1}".repeat(5000), 4096);
            let encoded = serde_json::to_vec(&letter).unwrap();
            assert!(encoded.len() < 4096, "{} bytes for {bytes}", encoded.len());
            assert_eq!(letter.payload_kept, Some(PayloadKept::ByPublisher), "the key alone is too large");
            let small = Parked { key: None, ..parked };
            let letter = DeadLetter::new(&small, 1, "told so", 4096);
            assert_eq!(letter.payload_kept.is_none(), bytes < 2900, "{bytes}");
        }
    }
}
