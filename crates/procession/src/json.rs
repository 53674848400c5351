//! Records as JSON: for the command line, and for those who read a journal through the socket.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use journal::{Codec, Gap, Record, Time};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

/// A record as JSON object.
#[derive(Debug, Serialize, Deserialize)]
pub struct JsonRecord<'a> {
    journal: Cow<'a, str>,
    offset: u64,
    epoch: u32,
    time: String,
    topic: Cow<'a, str>,
    key: Option<String>,
    cause: Option<JsonCause<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    codec: Option<Cow<'static, str>>,
    payload: Cow<'a, RawValue>,
    /// Bytes of a payload that is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    omitted: Option<usize>,
}

/// The record that led to another.
#[derive(Debug, Serialize, Deserialize)]
struct JsonCause<'a> {
    journal: Cow<'a, str>,
    offset: u64,
}

/// A gap as JSON object; `to` is the first offset after it.
#[derive(Debug, Serialize, Deserialize)]
pub struct JsonGap<'a> {
    journal: Cow<'a, str>,
    from: u64,
    to: u64,
    reason: String,
}

impl<'a> JsonRecord<'a> {
    /// Time in RFC 3339 with nanoseconds; the payload as it was said if it is JSON, in base64 otherwise, and
    /// then with the name of its codec.
    #[must_use]
    pub fn new(journal: &'a str, record: &Record<'a>) -> Self {
        Self {
            journal: journal.into(),
            offset: record.offset.0,
            epoch: record.epoch.0,
            time: time(record.time),
            topic: record.topic.into(),
            key: record.key.map(key),
            cause: record
                .cause
                .map(|cause| JsonCause { journal: cause.journal.into(), offset: cause.offset.0 }),
            codec: (record.codec != Codec::Json).then(|| codec_name(record.codec).into()),
            payload: payload(record.codec, record.payload),
            omitted: None,
        }
    }

    /// As [`Self::new`], but the payload is null, and its size is said instead.
    pub(crate) fn without_payload(journal: &'a str, record: &Record<'a>) -> Self {
        let bytes = record.payload.len();
        let empty = Record { codec: Codec::Json, payload: b"null", ..*record };
        Self {
            codec: (record.codec != Codec::Json).then(|| codec_name(record.codec).into()),
            omitted: Some(bytes),
            ..Self::new(journal, &empty)
        }
    }
}

impl<'a> JsonGap<'a> {
    /// Names the journal that the gap is in.
    #[must_use]
    pub fn new(journal: &'a str, gap: &Gap) -> Self {
        Self { journal: journal.into(), from: gap.from.0, to: gap.to.0, reason: gap.reason.to_string() }
    }
}

/// A time in RFC 3339, UTC, with nanoseconds.
#[must_use]
pub fn time(time: Time) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(time.0)) {
        Ok(timestamp) => format!("{timestamp:.9}"),
        Err(_) => format!("{} ns", time.0),
    }
}

/// A key as text; what is not UTF-8 in it is replaced.
pub(crate) fn key(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The name of a codec: `raw`, `json`, `bincode`.
#[must_use]
pub const fn codec_name(codec: Codec) -> &'static str {
    match codec {
        Codec::Raw => "raw",
        Codec::Json => "json",
        Codec::Bincode => "bincode",
    }
}

/// A payload as JSON value: as it was said if it is JSON, in base64 otherwise.
pub(crate) fn payload(codec: Codec, bytes: &[u8]) -> Cow<'_, RawValue> {
    if codec == Codec::Json
        && let Ok(value) = serde_json::from_slice::<&RawValue>(bytes)
        // One record is one line, also where somebody publishes indented JSON.
        && !value.get().contains('\n')
    {
        return Cow::Borrowed(value);
    }
    if codec == Codec::Json
        && let Ok(value) = serde_json::from_slice::<serde_json::Value>(bytes)
        && let Ok(value) = to_raw_value(&value)
    {
        return Cow::Owned(value);
    }
    let text = STANDARD.encode(bytes);
    Cow::Owned(to_raw_value(&text).expect("text is JSON"))
}
