//! What can be set, and what can't be meant.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use reqwest::Url;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// More nodes than this are a mistake.
const NODES_MAX: usize = 32;

/// hived answers at most this many blocks at a time.
const RANGE_BLOCKS_MAX: u32 = 1000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// URLs of the nodes, in order of preference: one is followed at a time, the next one when it fails.
    #[schemars(with = "Vec<String>")]
    pub(crate) nodes: Nodes,
    /// Where to begin when nothing has been said yet: `first`, `head`, or a block's number.
    pub(crate) start: Start,
    /// `irreversible`: only blocks that can't be replaced any more. `head`: at once; what a fork replaces is
    /// retracted.
    pub(crate) mode: Mode,
    /// How long one request may take; a range of blocks may take four times as long.
    #[serde(with = "time")]
    #[schemars(with = "String")]
    pub(crate) request_timeout: Duration,
    /// How long no block may come before the other nodes are asked, and this process says that it waits.
    #[serde(with = "time")]
    #[schemars(with = "String")]
    pub(crate) stall_timeout: Duration,
    /// How often to ask for news after catching up.
    #[serde(with = "time")]
    #[schemars(with = "String")]
    pub(crate) poll_interval: Duration,
    /// The longest that a failing node is left alone (shorter after its first failures).
    #[serde(with = "time")]
    #[schemars(with = "String")]
    pub(crate) backoff_max: Duration,
    /// At most this many blocks per request when catching up.
    #[serde(deserialize_with = "range_blocks")]
    pub(crate) range_blocks: u32,
    /// Also publish virtual operations (rewards, fills, …), one more request per block. A block for which no node gives
    /// any is waited for, unless one answer has some of blocks before and after it, or all nodes answer so for
    /// `stall_timeout` and the history of none is only behind. It is then said without, with a `no-virtual-operations`
    /// behind it. A node that can't be asked may know some: one that is gone for good has to leave `nodes`.
    pub(crate) virtual_operations: bool,
    /// Pass over numbers that no node has a block for. A chain has no such holes, recordings can; without this
    /// the broadcaster waits for the block.
    pub(crate) skip_absent: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let nodes = [
            "https://api.hive.blog",
            "https://api.openhive.network",
            "https://api.deathwing.me",
            "https://techcoderx.com",
        ];
        Settings {
            nodes: nodes.map(str::to_owned).to_vec().try_into().expect("these are URLs"),
            start: Start::Head,
            mode: Mode::Irreversible,
            request_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(10),
            poll_interval: Duration::from_secs(1),
            backoff_max: Duration::from_secs(15),
            range_blocks: 100,
            virtual_operations: false,
            skip_absent: false,
        }
    }
}

/// A time of more than 0, as humantime writes it.
mod time {
    use super::{Deserializer, Duration, Error};

    pub(super) use humantime_serde::serialize;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let time: Duration = humantime_serde::deserialize(deserializer)?;
        if time.is_zero() { Err(Error::custom("expected a time of more than 0")) } else { Ok(time) }
    }
}

fn range_blocks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let count = u32::deserialize(deserializer)?;
    if (1..=RANGE_BLOCKS_MAX).contains(&count) {
        Ok(count)
    } else {
        Err(D::Error::custom(format_args!("expected a number from 1 to {RANGE_BLOCKS_MAX}, found {count}")))
    }
}

/// At least one URL, none twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub(crate) struct Nodes(Vec<Url>);

impl Nodes {
    pub(crate) fn urls(&self) -> &[Url] {
        &self.0
    }
}

impl TryFrom<Vec<String>> for Nodes {
    type Error = String;

    fn try_from(texts: Vec<String>) -> Result<Self, String> {
        let mut urls = Vec::new();
        for text in &texts {
            let url =
                Url::parse(text.trim()).map_err(|error| format!("{text:?} is no URL of a node: {error}"))?;
            if !(matches!(url.scheme(), "http" | "https") && url.has_host()) {
                return Err(format!("{text:?} is no URL of a node: it must begin with http:// or https://"));
            }
            if urls.contains(&url) {
                return Err(format!("{url} is there twice"));
            }
            urls.push(url);
        }
        match urls.len() {
            0 => Err("at least one URL of a node is needed".to_owned()),
            1..=NODES_MAX => Ok(Nodes(urls)),
            more => Err(format!("{more} nodes are too many: at most {NODES_MAX}")),
        }
    }
}

impl From<Nodes> for Vec<String> {
    fn from(nodes: Nodes) -> Self {
        nodes.0.into_iter().map(String::from).collect()
    }
}

/// Which blocks are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    Irreversible,
    Head,
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    First,
    Head,
    Block(u32),
}

impl fmt::Display for Start {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Start::First => to.write_str("first"),
            Start::Head => to.write_str("head"),
            Start::Block(number) => write!(to, "{number}"),
        }
    }
}

impl Serialize for Start {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Start::Block(number) => serializer.serialize_u32(*number),
            name => serializer.collect_str(name),
        }
    }
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StartForm)
    }
}

struct StartForm;

impl Visitor<'_> for StartForm {
    type Value = Start;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("`first`, `head`, or the number of a block, from 1")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Start, E> {
        match text {
            "first" => Ok(Start::First),
            "head" => Ok(Start::Head),
            number => match number.parse() {
                Ok(number) => self.visit_u64(number),
                Err(_) => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
            },
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Start, E> {
        match u32::try_from(number) {
            Ok(number @ 1..) => Ok(Start::Block(number)),
            _ => Err(E::invalid_value(serde::de::Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Start, E> {
        let error = || E::invalid_value(serde::de::Unexpected::Signed(number), &self);
        u64::try_from(number).map_err(|_| error()).and_then(|number| self.visit_u64(number))
    }
}

impl JsonSchema for Start {
    fn schema_name() -> Cow<'static, str> {
        "Start".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{ "enum": ["first", "head"] }, { "type": "integer", "minimum": 1 }]
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_start_is_a_word_or_a_number_in_either_form() {
        let read = |value: serde_json::Value| serde_json::from_value::<Start>(value);
        for (value, start) in [
            (json!("first"), Start::First),
            (json!("head"), Start::Head),
            (json!(7), Start::Block(7)),
            (json!("7"), Start::Block(7)),
        ] {
            assert_eq!(read(value).unwrap(), start);
        }
        for bad in
            [json!("last"), json!(0), json!("0"), json!(-1), json!(1_u64 << 40), json!(1.5), json!(null)]
        {
            let error = read(bad.clone()).unwrap_err().to_string();
            assert!(error.contains("the number of a block"), "{bad}: {error}");
        }
    }

    #[test]
    fn the_defaults_hold_and_survive_a_round_trip() {
        let settings = Settings::default();
        assert_eq!(settings.nodes.urls().len(), 4);
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings);
    }

    #[track_caller]
    fn check_nodes_refused(nodes: &[&str], reason: &str) {
        let error = serde_json::from_value::<Nodes>(json!(nodes)).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        check_nodes_refused(&[], "at least one URL");
        check_nodes_refused(&["localhost:8090"], "must begin with http://");
        check_nodes_refused(&["not a url"], "no URL of a node");
        check_nodes_refused(&["http://a", "http://a/"], "twice");
        let many: Vec<String> = (0..33).map(|index| format!("http://a{index}")).collect();
        check_nodes_refused(&many.iter().map(String::as_str).collect::<Vec<_>>(), "at most 32");
        let check = |settings: Value| serde_json::from_value::<Settings>(settings).unwrap_err().to_string();
        assert!(check(json!({"range_blocks": 1001})).contains("from 1 to 1000"));
        assert!(check(json!({"range_blocks": 0})).contains("from 1 to 1000"));
        assert!(check(json!({"poll_interval": "0s"})).contains("more than 0"));
    }
}
