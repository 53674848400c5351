//! An operation as the chain applied it: the envelope, its names and its lossless reading.

use std::borrow::Cow;

use procession::Event;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::actor;
use super::view::OperationView;

/// The longest topic that [`topic_of`] makes, in bytes. The chain's longest name has 44.
const TOPIC_BYTES_MAX: usize = 64;

/// The suffix of every type's name in the newer API form.
const SUFFIX: &str = "_operation";

/// Topics of the broadcaster that aren't operations.
const RESERVED: [&str; 2] = [super::Retract::TOPIC, super::NoVirtualOperations::TOPIC];

/// An operation of a block, with its place in the chain.
///
/// `V` is what `op.value` is read as: [`RawValue`] for the text itself, or a view such as
/// [`CommentOperation`](super::CommentOperation).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Applied<V> {
    /// The block's number, from 1.
    pub block: u32,
    /// 40 hexadecimal digits; 40 zeros for a virtual operation of the block itself; empty when the node
    /// told no ids.
    pub trx_id: String,
    /// The transaction's index in its block; `u32::MAX` for a virtual operation of the block itself.
    pub trx_in_block: u32,
    /// The operation's index in its transaction.
    pub op_in_trx: u32,
    /// Made by the chain itself rather than said by an account.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub virtual_op: bool,
    /// The block's time, UTC, as the chain writes it: `2018-03-02T07:04:36`.
    pub timestamp: String,
    /// What was done.
    pub op: Operation<V>,
}

/// An operation of any type, its value untouched.
pub type AppliedOperation = Applied<Box<RawValue>>;

impl<V> Applied<V> {
    /// What the operation says, without its place.
    pub fn value(&self) -> &V {
        &self.op.value
    }
}

impl<V: OperationView> Event for Applied<V> {
    const TOPIC: &'static str = V::TOPIC;

    fn key(&self) -> Option<Cow<'_, [u8]>> {
        self.op.value.actor().map(|account| Cow::Borrowed(account.as_bytes()))
    }
}

/// A type's name and the data of one operation of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Operation<V = Box<RawValue>> {
    /// The type's name as the newer API gives it: `comment_operation`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The data; its fields depend on the type, and on the API form that the node answered in.
    pub value: V,
}

impl Operation {
    /// Reads one entry of a transaction's `operations`, in either form: `{"type":"vote_operation","value":{…}}`
    /// or the older `["vote",{…}]`, whose name gets the suffix of the newer form.
    ///
    /// Never fails, because one odd operation must not hold up a chain: what is neither form arrives whole,
    /// as the value of type `unknown_operation`.
    pub fn read(served: Box<RawValue>) -> Self {
        let text = served.get();
        let read = if text.starts_with('[') { from_pair(text) } else { from_object(text) };
        read.unwrap_or_else(|| Operation { kind: format!("unknown{SUFFIX}"), value: served })
    }

    /// The topic that this operation is said under.
    pub fn topic(&self) -> Cow<'_, str> {
        topic_of(&self.kind)
    }

    /// The account that acts, if the type is known to have one: the voter, the author, the sender, …
    pub fn actor(&self) -> Option<String> {
        actor::of(name_of(&self.kind), &self.value)
    }
}

fn from_pair(text: &str) -> Option<Operation> {
    let (name, value): (String, Box<RawValue>) = serde_json::from_str(text).ok()?;
    let kind = if name.ends_with(SUFFIX) { name } else { name + SUFFIX };
    Some(Operation { kind, value })
}

fn from_object(text: &str) -> Option<Operation> {
    // Refuses extra fields: they would be lost, so such an operation is kept whole instead.
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Exact {
        r#type: String,
        value: Box<RawValue>,
    }
    let Exact { r#type: kind, value } = serde_json::from_str(text).ok()?;
    Some(Operation { kind, value })
}

/// A type's name without its suffix.
fn name_of(kind: &str) -> &str {
    kind.strip_suffix(SUFFIX).unwrap_or(kind)
}

/// The topic of a type: its name without `_operation`.
///
/// A topic is made of `a-z`, `0-9`, `_` and `-`, and one that begins with `_` would be hidden. A name that
/// doesn't fit (none on the chain today) is lowered, every other byte becomes `-`, it is cut to 64 bytes, and
/// it gets the prefix `x-`, so that it can't be taken for a type whose name does fit. The payload keeps the
/// name as it was.
pub fn topic_of(kind: &str) -> Cow<'_, str> {
    let name = name_of(kind);
    if fits(name) {
        return Cow::Borrowed(name);
    }
    let clean = name.bytes().take(TOPIC_BYTES_MAX - 2).map(|byte| {
        let lower = byte.to_ascii_lowercase();
        if is_topic_byte(lower) { char::from(lower) } else { '-' }
    });
    Cow::Owned("x-".chars().chain(clean).collect())
}

fn fits(name: &str) -> bool {
    (1..=TOPIC_BYTES_MAX).contains(&name.len())
        && name.bytes().all(is_topic_byte)
        && !name.starts_with(['_', '-'])
        && !name.starts_with("x-")
        && !RESERVED.contains(&name)
}

fn is_topic_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Operation {
        Operation::read(RawValue::from_string(text.to_owned()).unwrap())
    }

    #[test]
    fn both_forms_give_the_same_operation_and_keep_the_value_as_text() {
        let value = r#"{"voter":"ann", "weight":10000,"big":123456789012345678901234567890,"odd":"\ud800"}"#;
        for form in [
            format!(r#"["vote",{value}]"#),
            format!(r#"["vote_operation",{value}]"#),
            format!(r#"{{"type":"vote_operation","value":{value}}}"#),
            format!(r#"{{"value":{value},"type":"vote_operation"}}"#),
        ] {
            let operation = read(&form);
            assert_eq!(operation.kind, "vote_operation", "{form}");
            assert_eq!(operation.value.get(), value, "{form}");
            assert_eq!(operation.topic(), "vote", "{form}");
        }
    }

    #[test]
    fn an_odd_operation_arrives_whole() {
        for odd in [
            r#"[7,{"a":1}]"#,
            r#"["vote"]"#,
            r#"["vote",{},3]"#,
            "5",
            "null",
            r#"{"value":1}"#,
            "{}",
            "[]",
            r#"{"type":"vote_operation","value":{},"extra":1}"#,
        ] {
            let operation = read(odd);
            assert_eq!(operation.kind, "unknown_operation", "{odd}");
            assert_eq!(operation.value.get(), odd);
            assert_eq!(operation.topic(), "unknown");
            assert_eq!(operation.actor(), None);
        }
    }

    #[test]
    fn topics_are_always_legal_and_never_collide_with_a_clean_name() {
        for (kind, topic) in [
            ("custom_json_operation", "custom_json"),
            ("vote", "vote"),
            ("brand_new_thing_operation", "brand_new_thing"),
            ("_operation", "x-"),
            ("", "x-"),
            ("_hidden_operation", "x-_hidden"),
            ("Vote_operation", "x-vote"),
            ("vo te/é_operation", "x-vo-te---"),
            ("x-vote_operation", "x-x-vote"),
            ("retract_operation", "x-retract"),
        ] {
            assert_eq!(topic_of(kind), topic, "{kind}");
        }
        assert_eq!(topic_of(&"a".repeat(500)).len(), TOPIC_BYTES_MAX);
        assert_eq!(topic_of(&"é".repeat(500)).len(), TOPIC_BYTES_MAX);
    }

    #[test]
    fn the_payload_has_exactly_the_documented_fields() {
        let applied = Applied {
            block: 7,
            trx_id: "ab".repeat(20),
            trx_in_block: 1,
            op_in_trx: 2,
            virtual_op: false,
            timestamp: "2018-03-02T07:04:36".to_owned(),
            op: read(r#"["vote",{"b":1,"a":"é"}]"#),
        };
        let id = "ab".repeat(20);
        assert_eq!(
            serde_json::to_string(&applied).unwrap(),
            format!(
                r#"{{"block":7,"trx_id":"{id}","trx_in_block":1,"op_in_trx":2,"timestamp":"2018-03-02T07:04:36","op":{{"type":"vote_operation","value":{{"b":1,"a":"é"}}}}}}"#
            )
        );
        let made = serde_json::to_string(&Applied { virtual_op: true, ..applied }).unwrap();
        assert!(made.contains(r#""op_in_trx":2,"virtual_op":true,"timestamp""#), "{made}");
    }
}
