//! What a record says about conclusions: asserted, taken back, compensated, final (docs/ordering-records.md).

use std::fmt;

use procession::Record;
use procession::json::time;
use procession::{Codec, Time};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Digits of an id that are shown to people, from its beginning and its end.
const DIGITS: usize = 6;

/// An event time: microseconds since the Unix epoch, as a decimal string.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct EventTime(String);

impl EventTime {
    pub(crate) fn microseconds(&self) -> Option<i64> {
        self.0.parse().ok()
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.microseconds().and_then(|at| u64::try_from(at).ok()?.checked_mul(1000)) {
            // Whole microseconds.
            Some(nanoseconds) => f.write_str(&time(Time(nanoseconds)).replace("000Z", "Z")),
            None => f.write_str(&crate::text::escape(&self.0)),
        }
    }
}

/// One saying of a conclusion.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub(crate) struct Saying {
    pub(crate) id: String,
    pub(crate) revision: u64,
}

/// The first and last digits of the id, and the revision.
impl fmt::Display for Saying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits: Vec<char> = self.id.chars().collect();
        let id: String = match digits.as_slice() {
            few if few.len() <= 2 * DIGITS => few.iter().collect(),
            all => all[..DIGITS].iter().chain(&['…']).chain(&all[all.len() - DIGITS..]).collect(),
        };
        write!(f, "{} r{}", crate::text::escape(&id), self.revision)
    }
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    Assert { saying: Saying, at: EventTime },
    Retract { saying: Saying, at: EventTime, topic: String },
    Compensation { saying: Saying, at: EventTime },
    Final { at: EventTime },
    Heartbeat { at: EventTime },
    Late { journal: String, offset: u64, topic: String, at: EventTime, is_final: EventTime },
    Diverged { journal: String, from: u64, to: u64 },
}

#[derive(Deserialize)]
struct Member {
    id: Option<String>,
    compensates: Option<String>,
    revision: u64,
    at: EventTime,
}

#[derive(Deserialize)]
struct Retract {
    id: String,
    revision: u64,
    at: EventTime,
    topic: String,
}

#[derive(Deserialize)]
struct At {
    at: EventTime,
}

#[derive(Deserialize)]
struct Late {
    journal: String,
    offset: u64,
    topic: String,
    at: EventTime,
    #[serde(rename = "final")]
    is_final: EventTime,
}

#[derive(Deserialize)]
struct Diverged {
    journal: String,
    from: u64,
    to: u64,
}

impl Said {
    /// Reads it off a record; `None` for an event that nobody takes back, and for what makes no sense.
    pub(crate) fn of(record: &Record<'_>) -> Option<Self> {
        if record.codec != Codec::Json {
            return None;
        }
        match record.topic {
            "_retract" => {
                let Retract { id, revision, at, topic } = serde_json::from_slice(record.payload).ok()?;
                Some(Self::Retract { saying: Saying { id, revision }, at, topic })
            }
            "_final" => serde_json::from_slice(record.payload).ok().map(|At { at }| Self::Final { at }),
            "_heartbeat" => {
                serde_json::from_slice(record.payload).ok().map(|At { at }| Self::Heartbeat { at })
            }
            "_late" => {
                let Late { journal, offset, topic, at, is_final } =
                    serde_json::from_slice(record.payload).ok()?;
                Some(Self::Late { journal, offset, topic, at, is_final })
            }
            "_diverged" => {
                let Diverged { journal, from, to } = serde_json::from_slice(record.payload).ok()?;
                Some(Self::Diverged { journal, from, to })
            }
            _ => Self::of_member(record.payload),
        }
    }

    fn of_member(payload: &[u8]) -> Option<Self> {
        // Most events have none, and need not be read for that.
        if !std::str::from_utf8(payload).ok()?.contains(r#""_said""#) {
            return None;
        }
        let mut event: Map<String, Value> = serde_json::from_slice(payload).ok()?;
        let Member { id, compensates, revision, at } = serde_json::from_value(event.remove("_said")?).ok()?;
        match (id, compensates) {
            (_, Some(id)) => Some(Self::Compensation { saying: Saying { id, revision }, at }),
            (Some(id), None) => Some(Self::Assert { saying: Saying { id, revision }, at }),
            (None, None) => None,
        }
    }

    /// The conclusion that it is about.
    pub(crate) const fn saying(&self) -> Option<&Saying> {
        match self {
            Self::Assert { saying, .. }
            | Self::Retract { saying, .. }
            | Self::Compensation { saying, .. } => Some(saying),
            Self::Final { .. } | Self::Heartbeat { .. } | Self::Late { .. } | Self::Diverged { .. } => None,
        }
    }
}

/// In words, for the end of a line or the whole of it.
impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Assert { saying, at } => write!(f, "assert {saying} at {at}"),
            Self::Retract { saying, at, topic } => {
                write!(f, "retract {saying}: {} at {at} does not hold", crate::text::escape(topic))
            }
            Self::Compensation { saying, at } => write!(f, "compensates {saying} at {at}"),
            Self::Final { at } => write!(f, "final: nothing before {at} changes any more"),
            Self::Heartbeat { at } => write!(f, "heartbeat: nothing before {at} follows"),
            Self::Late { journal, offset, topic, at, is_final } => {
                let (journal, topic) = (crate::text::escape(journal), crate::text::escape(topic));
                write!(f, "late: {journal}/{topic} {offset} at {at}, when all before {is_final} was final")
            }
            Self::Diverged { journal, from, to } => {
                let journal = crate::text::escape(journal);
                write!(
                    f,
                    "diverged: {journal} has lost what it had said from {from} to {}",
                    to.saturating_sub(1)
                )
            }
        }
    }
}

/// A payload without what [`Said`] tells of it.
pub(crate) fn plain_payload(payload: &[u8]) -> Option<String> {
    let mut event: Map<String, Value> = serde_json::from_slice(payload).ok()?;
    event.remove("_said")?;
    serde_json::to_string(&event).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conclusion_is_told_from_what_compensates_it() {
        let of = |json: &str| Said::of_member(json.as_bytes());
        let assert =
            of(r#"{"a":1,"_said":{"id":"5d0a000000000001","revision":2,"at":"1767225600000000","turn":8}}"#);
        assert_eq!(assert.unwrap().to_string(), "assert 5d0a00…000001 r2 at 2026-01-01T00:00:00.000000Z");
        let other = of(r#"{"_said":{"compensates":"ab","revision":1,"at":"1"}}"#).unwrap();
        assert_eq!(other.to_string(), "compensates ab r1 at 1970-01-01T00:00:00.000001Z");
        assert_eq!(of(r#"{"text":"\"_said\""}"#), None);
        assert_eq!(of(r#"{"_said":3}"#), None);
    }
}
