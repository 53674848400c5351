//! Typed views of the commonest operations, for subscribers.
//!
//! A view holds the fields that programs use, read tolerantly; fields that it doesn't name are passed over.
//! Re-publishing a view is therefore not lossless: name the cause instead.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::asset::Amount;
use super::operation::Applied;
use super::text::lossy;

/// What `op.value` of one topic is read as.
pub trait OperationView: Serialize + DeserializeOwned {
    /// The type's name without `_operation`, which is the topic.
    const TOPIC: &'static str;

    /// The account that acts.
    fn actor(&self) -> Option<&str>;
}

/// A post, a reply, or an edit of either.
pub type Comment = Applied<CommentOperation>;

/// A vote on a post or a reply.
pub type Vote = Applied<VoteOperation>;

/// A transfer of liquid money from one account to another.
pub type Transfer = Applied<TransferOperation>;

/// A message of an application on the chain.
pub type CustomJson = Applied<CustomJsonOperation>;

/// The data of a [`Comment`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommentOperation {
    /// Whom it replies to; empty for a top-level post.
    #[serde(default, deserialize_with = "lossy")]
    pub parent_author: String,
    /// What it replies to; for a top-level post its category.
    #[serde(default, deserialize_with = "lossy")]
    pub parent_permlink: String,
    /// Who wrote it.
    #[serde(deserialize_with = "lossy")]
    pub author: String,
    /// Its name, unique among its author's.
    #[serde(deserialize_with = "lossy")]
    pub permlink: String,
    /// Its title, usually empty for a reply.
    #[serde(default, deserialize_with = "lossy")]
    pub title: String,
    /// Its text; in an edit possibly a patch to the text before (it begins with `@@ `).
    #[serde(default, deserialize_with = "lossy")]
    pub body: String,
    /// JSON as text, not always valid, may be empty.
    #[serde(default, deserialize_with = "lossy")]
    pub json_metadata: String,
}

impl OperationView for CommentOperation {
    const TOPIC: &'static str = "comment";

    fn actor(&self) -> Option<&str> {
        named(&self.author)
    }
}

impl Comment {
    /// Whether this is a post of its own rather than a reply. An edit of a post is one as well: the chain
    /// doesn't tell them apart.
    pub fn is_top_level_post(&self) -> bool {
        self.op.value.parent_author.is_empty()
    }
}

/// The data of a [`Vote`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteOperation {
    /// Who votes.
    #[serde(deserialize_with = "lossy")]
    pub voter: String,
    /// Whose post.
    #[serde(deserialize_with = "lossy")]
    pub author: String,
    /// Which post.
    #[serde(deserialize_with = "lossy")]
    pub permlink: String,
    /// From -10,000 (all against) to 10,000 (all for), in 1/100 %.
    #[serde(deserialize_with = "integer")]
    pub weight: i64,
}

impl OperationView for VoteOperation {
    const TOPIC: &'static str = "vote";

    fn actor(&self) -> Option<&str> {
        named(&self.voter)
    }
}

/// The data of a [`Transfer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferOperation {
    /// Who pays.
    #[serde(deserialize_with = "lossy")]
    pub from: String,
    /// Who is paid.
    #[serde(deserialize_with = "lossy")]
    pub to: String,
    /// How much of what.
    pub amount: Amount,
    /// A note, which may be empty, or encrypted (it begins with `#`).
    #[serde(default, deserialize_with = "lossy")]
    pub memo: String,
}

impl OperationView for TransferOperation {
    const TOPIC: &'static str = "transfer";

    fn actor(&self) -> Option<&str> {
        named(&self.from)
    }
}

/// The data of a [`CustomJson`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomJsonOperation {
    /// Accounts that signed with their active keys.
    #[serde(default)]
    pub required_auths: Vec<String>,
    /// Accounts that signed with their posting keys.
    #[serde(default)]
    pub required_posting_auths: Vec<String>,
    /// The application's name for this kind of message; may be empty.
    #[serde(default, deserialize_with = "lossy")]
    pub id: String,
    /// JSON as text, not always valid, may be empty.
    #[serde(default, deserialize_with = "lossy")]
    pub json: String,
}

impl OperationView for CustomJsonOperation {
    const TOPIC: &'static str = "custom_json";

    fn actor(&self) -> Option<&str> {
        self.required_posting_auths.iter().chain(&self.required_auths).find_map(|account| named(account))
    }
}

fn named(account: &str) -> Option<&str> {
    (!account.is_empty()).then_some(account)
}

/// For `#[serde(deserialize_with)]`: a 64-bit integer, which nodes write as a number or, where a double can't
/// hold it, as a string.
pub(crate) fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    deserializer.deserialize_any(Integer)
}

struct Integer;

impl Visitor<'_> for Integer {
    type Value = i64;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a 64-bit integer, as a number or as a string")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<i64, E> {
        Ok(number)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<i64, E> {
        i64::try_from(number).map_err(E::custom)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<i64, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use procession::Event;

    use super::*;

    fn payload(kind: &str, value: &str) -> String {
        format!(
            r#"{{"block":1,"trx_id":"","trx_in_block":0,"op_in_trx":0,"timestamp":"2016-03-24T16:05:00","op":{{"type":"{kind}_operation","value":{value}}}}}"#
        )
    }

    #[test]
    fn views_read_the_payload_of_their_topic() {
        let post: Comment = serde_json::from_str(&payload(
            "comment",
            r#"{"parent_author":"","author":"ann","permlink":"p","body":"\udc00","new_field":[1]}"#,
        ))
        .unwrap();
        assert!(post.is_top_level_post());
        assert_eq!(post.key().as_deref(), Some(&b"ann"[..]));
        assert_eq!(post.value().title, "");

        let transfer: Transfer = serde_json::from_str(&payload(
            "transfer",
            r#"{"from":"ann","to":"bob","amount":"1.000 STEEM","memo":""}"#,
        ))
        .unwrap();
        assert_eq!(transfer.value().amount.to_string(), "1.000 HIVE");

        let vote: Vote = serde_json::from_str(&payload(
            "vote",
            r#"{"voter":"ann","author":"b","permlink":"p","weight":"-10000"}"#,
        ))
        .unwrap();
        assert_eq!(vote.value().weight, -10_000);

        let message: CustomJson =
            serde_json::from_str(&payload("custom_json", r#"{"required_auths":["ann"],"id":"","json":"x"}"#))
                .unwrap();
        assert_eq!(message.key().as_deref(), Some(&b"ann"[..]));
    }
}
