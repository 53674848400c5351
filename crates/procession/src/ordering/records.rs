//! The records by which models talk: see `docs/ordering-records.md`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::order::Derivation;
use super::time::EventTime;
use crate::event::Event;

/// The member of a JSON object that says which conclusion it is.
const MEMBER: &str = "\"_said\"";

/// What an assert, or a compensation, says about itself: the member `_said` of its payload.
///
/// A listener may declare it in its own event type: `#[serde(rename = "_said")] said: Option<Said>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Member", into = "Member")]
pub struct Said {
    /// Which conclusion is asserted, or compensated for. With the revision, an idempotency key.
    pub id: Derivation,
    /// The how-many-th time that it is asserted.
    pub revision: u32,
    /// When it happened.
    pub at: EventTime,
    /// Orders conclusions of one journal and event time.
    pub turn: u64,
    /// When the input happened that it follows from, if that was earlier.
    pub since: Option<EventTime>,
    /// It undoes the conclusion, for listeners that do not follow retracts. Models ignore it.
    pub compensates: bool,
}

#[derive(Serialize, Deserialize)]
struct Member {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Derivation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compensates: Option<Derivation>,
    revision: u32,
    #[serde(default)]
    at: EventTime,
    #[serde(default)]
    turn: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<EventTime>,
}

impl From<Member> for Said {
    fn from(member: Member) -> Self {
        let Member { id, compensates, revision, at, turn, since } = member;
        let named = compensates.or(id).unwrap_or_default();
        Self { id: named, revision, at, turn, since, compensates: compensates.is_some() }
    }
}

impl From<Said> for Member {
    fn from(said: Said) -> Self {
        let Said { id, revision, at, turn, since, compensates } = said;
        let (id, compensates) = if compensates { (None, Some(id)) } else { (Some(id), None) };
        Self { id, compensates, revision, at, turn, since }
    }
}

#[derive(Deserialize)]
struct Object {
    #[serde(rename = "_said")]
    said: Option<Said>,
}

impl Said {
    /// What a payload says about itself; `None` for plain events.
    ///
    /// # Errors
    /// In words: it has the member, but not as it should be.
    pub fn of(payload: &[u8]) -> Result<Option<Self>, String> {
        if !contains(payload, MEMBER.as_bytes()) {
            return Ok(None);
        }
        match serde_json::from_slice::<Object>(payload) {
            Ok(Object { said: Some(said) }) if said.id == Derivation::NONE || said.revision == 0 => {
                Err("`_said` needs an id that is not 0, and a revision from 1".to_owned())
            }
            Ok(Object { said }) => Ok(said),
            Err(error) => Err(format!("`_said` is not as it should be: {error}")),
        }
    }

    /// Adds the member to the JSON object that `payload` ends with, which begins at `start`.
    ///
    /// # Errors
    /// In words: it is no object.
    pub(super) fn append_to(&self, payload: &mut Vec<u8>, start: usize) -> Result<(), String> {
        let object = &payload[start..];
        if object.first() != Some(&b'{') || object.last() != Some(&b'}') {
            return Err("what a model says must be a JSON object".to_owned());
        }
        let empty = object.len() == 2;
        payload.pop();
        payload.extend_from_slice(if empty { b"\"_said\":{" } else { b",\"_said\":{" });
        self.write(payload);
        payload.extend_from_slice(b"}}");
        Ok(())
    }

    /// By hand: it comes with every output, and takes as long as the model itself otherwise.
    fn write(&self, payload: &mut Vec<u8>) {
        let Self { id, revision, at, turn, since, compensates } = self;
        payload.extend_from_slice(if *compensates { b"\"compensates\":\"" } else { b"\"id\":\"" });
        for byte in id.0.to_be_bytes() {
            payload.extend([byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
        }
        payload.extend_from_slice(b"\",\"revision\":");
        write_number(payload, i128::from(*revision));
        payload.extend_from_slice(b",\"at\":\"");
        write_number(payload, i128::from(at.0));
        payload.extend_from_slice(b"\",\"turn\":");
        write_number(payload, i128::from(*turn));
        if let Some(since) = since {
            payload.extend_from_slice(b",\"since\":\"");
            write_number(payload, i128::from(since.0));
            payload.push(b'"');
        }
    }

    /// The payload as it was before [`Self::append_to`].
    pub(super) fn strip(payload: &[u8]) -> Cow<'_, [u8]> {
        for (mark, keep) in [(&b",\"_said\":{"[..], 0), (&b"{\"_said\":{"[..], 1)] {
            let found = payload.windows(mark.len()).rposition(|window| window == mark);
            if let Some(at) = found {
                return [&payload[..at + keep], b"}"].concat().into();
            }
        }
        payload.into()
    }
}

fn write_number(payload: &mut Vec<u8>, number: i128) {
    let (mut digits, mut place) = ([0; 20], 20);
    let mut rest = u64::try_from(number.unsigned_abs()).expect("it is one of 64 bits");
    loop {
        place -= 1;
        digits[place] = b"0123456789"[usize::try_from(rest % 10).unwrap_or_default()];
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        payload.push(b'-');
    }
    payload.extend_from_slice(&digits[place..]);
}

/// Whether a short text is in there, looked for from the end, where [`Said::append_to`] puts it.
fn contains(payload: &[u8], text: &[u8]) -> bool {
    payload.windows(text.len()).rev().any(|window| window[1] == b'_' && window == text)
}

/// One assert does not hold any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retract {
    /// Which conclusion.
    pub id: Derivation,
    /// Which assert of it.
    pub revision: u32,
    /// The assert's event time.
    pub at: EventTime,
    /// The assert's topic.
    pub topic: String,
}

impl Event for Retract {
    const TOPIC: &'static str = "_retract";
}

/// Nothing with an earlier event time will be asserted or retracted any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Final {
    /// The frontier.
    pub at: EventTime,
}

impl Event for Final {
    const TOPIC: &'static str = "_final";
}

/// A source promises that it will say nothing with an earlier event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The bound.
    pub at: EventTime,
}

impl Event for Heartbeat {
    const TOPIC: &'static str = "_heartbeat";
}

/// An input came after it was final, and was not taken into account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Late {
    /// The journal it is in.
    pub journal: String,
    /// Its offset there.
    pub offset: u64,
    /// Its topic.
    pub topic: String,
    /// Its event time.
    pub at: EventTime,
    /// The model's final by then.
    #[serde(rename = "final")]
    pub settled: EventTime,
    /// Which journal of that name, in hexadecimal, and of which epoch: should the journal lose it, another record may
    /// have its offset. Unknown in records of older programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// See `identity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
}

impl Event for Late {
    const TOPIC: &'static str = "_late";
}

/// Inputs that were heard are gone: their journal has lost them, or is another one. What followed from them and was
/// not final is retracted; what was final stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diverged {
    /// The journal.
    pub journal: String,
    /// The first offset that is gone, or is another record by now.
    pub from: u64,
    /// The end of what had been heard.
    pub to: u64,
    /// The epoch of the last record that had been heard.
    pub epoch: u32,
    /// The model's final by then.
    #[serde(rename = "final")]
    pub settled: EventTime,
}

impl Event for Diverged {
    const TOPIC: &'static str = "_diverged";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said() -> Said {
        Said { id: Derivation(7), revision: 2, at: EventTime(9), turn: 4, since: None, compensates: false }
    }

    #[test]
    fn the_member_goes_in_and_out() {
        for plain in [r#"{"a":1}"#, "{}", r#"{"a":{"_said":{"x":1}},"b":"}"}"#] {
            let far = Said { at: EventTime::MIN, turn: u64::MAX, revision: u32::MAX, ..said() };
            let since = Said { since: Some(EventTime(8)), ..said() };
            for said in
                [said(), since, Said { compensates: true, ..said() }, far, Said { at: EventTime::MAX, ..far }]
            {
                let mut payload = b"before".to_vec();
                payload.extend_from_slice(plain.as_bytes());
                said.append_to(&mut payload, 6).unwrap();
                let payload = &payload[6..];
                assert_eq!(Said::of(payload), Ok(Some(said)), "{plain}");
                assert_eq!(&*Said::strip(payload), plain.as_bytes());
            }
        }
    }

    #[test]
    fn it_looks_as_the_page_says() {
        let mut payload = br#"{"grams":740}"#.to_vec();
        said().append_to(&mut payload, 0).unwrap();
        let expected = r#"{"grams":740,"_said":{"id":"00000000000000000000000000000007","revision":2,"at":"9","turn":4}}"#;
        assert_eq!(String::from_utf8_lossy(&payload), expected);
    }

    #[test]
    fn what_is_no_object_says_nothing_about_itself() {
        for bad in ["[]", "1", "\"x\"", ""] {
            assert!(said().append_to(&mut bad.as_bytes().to_vec(), 0).is_err(), "{bad}");
        }
        assert_eq!(Said::of(br#"{"a":1}"#), Ok(None));
        assert_eq!(Said::of(br#"{"a":"_said"}"#), Ok(None));
        for bad in [r#"{"_said":1}"#, r#"{"_said":{"revision":1}}"#, r#"{"_said":{"id":"x","revision":1}}"#] {
            assert!(Said::of(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
