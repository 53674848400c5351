//! Value types of the framework's settings that have a written form of their own.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// When the journal is written through to the disk: `never`, `every 1s`, `always`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Left to the kernel: survives the death of any process, not a power loss.
    Never,
    /// At this interval, if there was anything new.
    Every(Duration),
    /// Before publishing returns.
    Always,
}

impl fmt::Display for Sync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sync::Never => f.write_str("never"),
            Sync::Every(interval) => write!(f, "every {}", humantime::format_duration(*interval)),
            Sync::Always => f.write_str("always"),
        }
    }
}

impl FromStr for Sync {
    type Err = String;

    fn from_str(text: &str) -> Result<Sync, String> {
        let refused = |why: &str| {
            format!(
                "expected \"never\", \"always\" or \"every DURATION\" such as \"every 1s\", \
                 found {text:?}{why}"
            )
        };
        match text {
            "never" => return Ok(Sync::Never),
            "always" => return Ok(Sync::Always),
            _ => {}
        }
        let interval = text.strip_prefix("every ").ok_or_else(|| refused(""))?;
        match humantime::parse_duration(interval.trim()) {
            Ok(Duration::ZERO) => Err(refused(" (an interval of nothing is \"always\")")),
            Ok(interval) => Ok(Sync::Every(interval)),
            Err(error) => Err(refused(&format!(" ({error})"))),
        }
    }
}

/// A number of bytes: an integer, or text such as `64 MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

const BINARY_UNITS: [(&str, u64); 4] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
const DECIMAL_UNITS: [(&str, u64); 5] =
    [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000), ("B", 1)];

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(_, factor): &&(&str, u64)| self.0 >= *factor && self.0.is_multiple_of(*factor);
        match BINARY_UNITS.iter().find(whole) {
            Some((unit, factor)) => write!(f, "{} {unit}", self.0 / factor),
            None => write!(f, "{} B", self.0),
        }
    }
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Bytes, String> {
        let refused =
            || format!("expected a number of bytes such as 4096, \"64 MiB\" or \"1 GB\", found {text:?}");
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| refused())?;
        let unit = unit.trim_start();
        let mut units = BINARY_UNITS.iter().chain(&DECIMAL_UNITS);
        let factor = match unit {
            "" => 1,
            unit => units.find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(refused)?.1,
        };
        number.checked_mul(factor).map(Bytes).ok_or_else(refused)
    }
}

/// Whom a right is given to: a user, or the members of a group, written with an `@`: `alice`, `1001`, `@men`, `@100`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grantee {
    /// A user.
    User(NameOrNumber),
    /// Whoever is in a group.
    Group(NameOrNumber),
}

/// A user or a group of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameOrNumber {
    /// Its number.
    Number(u32),
    /// Its name, as in `/etc/passwd` or `/etc/group`.
    Name(String),
}

impl NameOrNumber {
    /// The number, found by `look_up` if this is a name. None for a name that isn't there.
    pub(crate) fn number(&self, look_up: impl FnOnce(&str) -> Option<u32>) -> Option<u32> {
        match self {
            NameOrNumber::Number(number) => Some(*number),
            NameOrNumber::Name(name) => look_up(name),
        }
    }
}

impl fmt::Display for NameOrNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameOrNumber::Number(number) => write!(f, "{number}"),
            NameOrNumber::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Grantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Grantee::User(user) => user.fmt(f),
            Grantee::Group(group) => write!(f, "@{group}"),
        }
    }
}

impl FromStr for Grantee {
    type Err = String;

    fn from_str(text: &str) -> Result<Grantee, String> {
        let text = text.trim();
        let (name, kind): (_, fn(NameOrNumber) -> Grantee) = match text.strip_prefix('@') {
            Some(group) => (group, Grantee::Group),
            None => (text, Grantee::User),
        };
        match name.parse() {
            Ok(number) => Ok(kind(NameOrNumber::Number(number))),
            Err(_) if name.is_empty() || name.contains([':', '@', ' ']) => {
                Err(format!("expected a user such as \"alice\" or a group such as \"@men\", found {text:?}"))
            }
            Err(_) => Ok(kind(NameOrNumber::Name(name.to_owned()))),
        }
    }
}

/// serde for a type with a written form: text in, text out, and whole numbers where `$integer` says
/// how they are meant.
macro_rules! written {
    ($type:ident, $schema:expr $(, $integer:expr)?) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                struct Written;
                impl Visitor<'_> for Written {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("the written form of ", stringify!($type)))
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                    $(
                        fn visit_u64<E: de::Error>(self, number: u64) -> Result<$type, E> {
                            $integer(number).map_err(E::custom)
                        }
                        fn visit_i64<E: de::Error>(self, number: i64) -> Result<$type, E> {
                            let number = u64::try_from(number).map_err(E::custom)?;
                            self.visit_u64(number)
                        }
                    )?
                }
                deserializer.deserialize_any(Written)
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

written!(Sync, json_schema!({"type": "string"}));
written!(Bytes, json_schema!({"type": ["string", "integer"], "minimum": 0}), |number| {
    Ok::<_, String>(Bytes(number))
});
written!(Grantee, json_schema!({"type": ["string", "integer"], "minimum": 0}), |number| {
    let user = u32::try_from(number).map(NameOrNumber::Number);
    user.map(Grantee::User).map_err(|_| format!("there is no user {number}"))
});

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sync_reads_what_it_writes() {
        for text in ["never", "always", "every 1s", "every 200ms"] {
            assert_eq!(text.parse::<Sync>().unwrap().to_string(), text);
        }
        assert_eq!("every 1s".parse(), Ok(Sync::Every(Duration::from_secs(1))));
    }

    #[test]
    fn sync_says_what_it_expects() {
        for text in ["evry 1s", "every", "every x", "every 1", "every 0s", "", "Never"] {
            let error = text.parse::<Sync>().unwrap_err();
            assert!(error.contains("\"every 1s\"") && error.contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn bytes_read_integers_and_units() {
        let cases = [
            ("4096", 4096),
            ("64 MiB", 64 << 20),
            ("64mib", 64 << 20),
            ("1 GB", 1_000_000_000),
            ("3 kB", 3000),
            ("7 B", 7),
            ("0", 0),
        ];
        for (text, bytes) in cases {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["", "MiB", "1.5 GiB", "-1", "1 XB", "99999999 TiB", "1 MiB x"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
        assert_eq!(serde_json::from_value::<Bytes>(json!(17)).unwrap(), Bytes(17));
        assert!(serde_json::from_value::<Bytes>(json!(-17)).is_err());
    }

    #[test]
    fn bytes_are_written_so_that_they_read_the_same() {
        for bytes in [0, 1, 1023, 1024, 1025, 64 << 20, 5 << 30, u64::MAX] {
            assert_eq!(Bytes(bytes).to_string().parse(), Ok(Bytes(bytes)));
        }
        assert_eq!(Bytes(64 << 20).to_string(), "64 MiB");
    }

    #[test]
    fn users_and_groups_by_name_and_number() {
        use NameOrNumber::{Name, Number};
        for (text, grantee) in [
            ("991", Grantee::User(Number(991))),
            ("hive", Grantee::User(Name("hive".into()))),
            ("@7", Grantee::Group(Number(7))),
            ("@men", Grantee::Group(Name("men".into()))),
        ] {
            assert_eq!(text.parse(), Ok(grantee.clone()));
            assert_eq!(grantee.to_string(), text);
        }
        for text in ["", "@", "a:b", "@@men", "two words"] {
            assert!(text.parse::<Grantee>().is_err(), "{text:?}");
        }
        assert_eq!(serde_json::from_value::<Grantee>(json!(7)).unwrap(), Grantee::User(Number(7)));
        assert!(serde_json::from_value::<Grantee>(json!(1_u64 << 40)).is_err());
    }
}
