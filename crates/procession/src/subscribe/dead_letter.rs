//! Events that nobody could deal with.

use journal::Codec;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::record::OwnedRecord;
use crate::event::Event;
use crate::json;

/// An event that failed too often, or cannot be decoded: kept in the subscriber's own journal, with the
/// event as its cause.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Name of the subscription.
    pub subscription: String,
    /// The journal that the event is in.
    pub journal: String,
    /// Its offset there.
    pub offset: u64,
    /// Its topic.
    pub topic: String,
    /// Its key, if it has one.
    pub key: Option<String>,
    /// How often it was delivered.
    pub attempts: u32,
    /// Why it was given up.
    pub reason: String,
    /// The name of the payload's codec, unless it is JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<String>,
    /// The payload: JSON as it was, anything else in base64.
    pub payload: Box<RawValue>,
}

impl Event for DeadLetter {
    const TOPIC: &'static str = "_dead-letter";
    const CODEC: Codec = Codec::Json;
}

impl DeadLetter {
    pub(super) fn new(
        subscription: &str,
        journal: &str,
        record: &OwnedRecord,
        attempts: u32,
        reason: String,
    ) -> Self {
        Self {
            subscription: subscription.to_owned(),
            journal: journal.to_owned(),
            offset: record.offset.0,
            topic: record.origin.topic.to_string(),
            key: record.key.as_deref().map(json::key),
            attempts,
            reason,
            codec: (record.codec != Codec::Json).then(|| json::codec_name(record.codec).to_owned()),
            payload: json::payload(record.codec, &record.payload).into_owned(),
        }
    }
}
