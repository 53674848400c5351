//! JSON kept as it was written. A recorded operation is served value for value, so what isn't looked
//! at stays text ([`Raw`]), and an object keeps the order of its keys ([`Fields`]).

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

/// Any JSON value, verbatim.
pub(crate) type Raw = Box<RawValue>;

/// A JSON object: its keys in their order, its values verbatim.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields(Vec<(String, Raw)>);

impl Fields {
    pub(crate) fn parse(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.0.iter().map(|(key, value)| (key.as_str(), &**value))
    }

    pub(crate) fn get(&self, key: &str) -> Option<&RawValue> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The field as a string; `None` where it is absent or something else.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        self.get(key).and_then(text)
    }

    /// The field as a block number; `None` where it is absent or something else.
    pub(crate) fn number(&self, key: &str) -> Option<u32> {
        self.get(key).and_then(|value| serde_json::from_str(value.get()).ok())
    }

    /// Sets a field in its place, or adds it at the end.
    pub(crate) fn set(&mut self, key: &str, value: Raw) {
        match self.0.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }

    pub(crate) fn set_if_absent(&mut self, key: &str, value: impl FnOnce() -> Raw) {
        if self.get(key).is_none() {
            self.0.push((key.to_owned(), value()));
        }
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<Raw> {
        let index = self.0.iter().position(|(name, _)| name == key)?;
        Some(self.0.remove(index).1)
    }
}

impl FromIterator<(String, Raw)> for Fields {
    fn from_iter<I: IntoIterator<Item = (String, Raw)>>(fields: I) -> Self {
        Self(fields.into_iter().collect())
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(entry) = map.next_entry::<String, Raw>()? {
                    fields.push(entry);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// What kind of value a JSON text is, told by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Object,
    Array,
    String,
    Other,
}

pub(crate) fn shape(value: &RawValue) -> Shape {
    match value.get().as_bytes().first() {
        Some(b'{') => Shape::Object,
        Some(b'[') => Shape::Array,
        Some(b'"') => Shape::String,
        _ => Shape::Other,
    }
}

/// Our own value as JSON.
pub(crate) fn raw(value: &(impl Serialize + ?Sized)) -> Raw {
    serde_json::value::to_raw_value(value).expect("our own values have string keys and finite numbers")
}

/// The string that a JSON value is, if it is one.
pub(crate) fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// The elements that a JSON value has, if it is an array.
pub(crate) fn items(value: &RawValue) -> Option<Vec<Raw>> {
    serde_json::from_str(value.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_numbers_and_escapes_survive() {
        let text = r#"{"z":18446744073709551616,"a":1.50,"k":"\u00e9\/x","z2":[{"b":1,"a":2}]}"#;
        let fields = Fields::parse(text).unwrap();
        assert_eq!(raw(&fields).get(), text);
        assert_eq!(fields.text("k").as_deref(), Some("é/x"));
        assert_eq!(fields.text("a"), None);
    }

    #[test]
    fn set_keeps_the_place() {
        let mut fields = Fields::parse(r#"{"a":1,"b":2}"#).unwrap();
        fields.set("a", raw(&7));
        fields.set("c", raw("x"));
        assert_eq!(fields.remove("b").unwrap().get(), "2");
        assert_eq!(raw(&fields).get(), r#"{"a":7,"c":"x"}"#);
    }
}
