//! Merging the layers with crate `config`, and finding where a value that was refused came from.

use config::{Config, ConfigError, Source, Value, ValueKind};
use serde::de::DeserializeOwned;

use super::layers::Table;

/// Why the merged value doesn't fit the type.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) key: String,
    pub(super) message: String,
    pub(super) origin: Option<String>,
}

#[derive(Debug, Clone)]
struct Layer(Table);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Table, ConfigError> {
        Ok(self.0.clone())
    }
}

/// Merges the layers, the last one on top.
pub(super) fn merge<T: DeserializeOwned>(layers: Vec<Table>) -> Result<T, Fault> {
    let mut builder = Config::builder();
    for layer in layers {
        builder = builder.add_source(Layer(layer));
    }
    let merged = builder.build().map_err(|error| fault(error, &Value::default()))?;
    let values = merged.cache.clone();
    merged.try_deserialize().map_err(|error| fault(error, &values))
}

fn fault(error: ConfigError, values: &Value) -> Fault {
    let (key, message) = split(error);
    let origin = find(values, &key).and_then(Value::origin).map(str::to_owned);
    Fault { key, message, origin }
}

/// The crate puts key and message into one text; apart they are more useful.
fn split(error: ConfigError) -> (String, String) {
    match error {
        ConfigError::NotFound(key) => (key, "is missing".to_owned()),
        ConfigError::Type { unexpected, expected, key, .. } => {
            (key.unwrap_or_default(), format!("expected {expected}, found {unexpected}"))
        }
        ConfigError::At { error, key, .. } => {
            let (inner, message) = split(*error);
            (key.unwrap_or(inner), message)
        }
        ConfigError::Message(message) => (String::new(), message),
        other => (String::new(), other.to_string()),
    }
}

/// The value at a path such as `journal.sync` or `nodes[2]`; the nearest one above it that is there.
fn find<'v>(values: &'v Value, key: &str) -> Option<&'v Value> {
    let mut found = values;
    for part in key.split(['.', '[']) {
        let inner = match &found.kind {
            ValueKind::Table(table) => table.get(part),
            ValueKind::Array(list) => {
                part.trim_end_matches(']').parse().ok().and_then(|index: usize| list.get(index))
            }
            _ => None,
        };
        let Some(inner) = inner else { break };
        found = inner;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::settings::text::from_json;
    use crate::settings::{Bytes, Sync};

    #[derive(Debug, PartialEq, Deserialize)]
    struct Sample {
        sizes: Vec<Bytes>,
        inner: Inner,
        perhaps: Option<Inner>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        sync: Sync,
        port: u16,
    }

    fn layer(origin: &str, json: &Json) -> Table {
        match from_json(json, Some(origin)).kind {
            ValueKind::Table(table) => table,
            other => panic!("a table, not {other}"),
        }
    }

    fn fault_of(above: &Json) -> Fault {
        let below = json!({"sizes": [1], "inner": {"sync": "never", "port": 1}, "perhaps": null});
        merge::<Sample>(vec![layer("below", &below), layer("above", above)]).unwrap_err()
    }

    #[test]
    fn what_only_the_type_can_judge_is_traced_to_its_layer() {
        let fault = fault_of(&json!({"inner": {"sync": "evry 1s"}}));
        assert_eq!((fault.key.as_str(), fault.origin.as_deref()), ("inner.sync", Some("above")));
        assert!(fault.message.contains("found \"evry 1s\""), "{}", fault.message);

        let fault = fault_of(&json!({"sizes": [7, "1 XB"]}));
        assert_eq!((fault.key.as_str(), fault.origin.as_deref()), ("sizes[1]", Some("above")));

        let fault = fault_of(&json!({"inner": {"port": 70000}}));
        assert_eq!((fault.key.as_str(), fault.origin.as_deref()), ("inner.port", Some("above")));
        assert!(fault.message.contains("16 bit") && fault.message.contains("70000"), "{}", fault.message);
    }

    #[test]
    fn what_is_missing_is_named() {
        let fault = fault_of(&json!({"perhaps": {"port": 1}}));
        assert_eq!((fault.key.as_str(), fault.message.as_str()), ("perhaps.sync", "is missing"));
    }

    #[test]
    fn nothing_on_top_unsets() {
        let below = json!({"sizes": [], "inner": {"sync": "never", "port": 1}, "perhaps": {"sync": "never", "port": 1}});
        let merged: Sample =
            merge(vec![layer("below", &below), layer("above", &json!({"perhaps": null}))]).unwrap();
        assert_eq!(merged.perhaps, None);
    }
}
