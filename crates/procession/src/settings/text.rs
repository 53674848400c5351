//! Values written as plain text: in an environment variable or after a flag.

use config::ValueKind;
use serde_json::Value as Json;

use super::schema::{Kind, Scalar};

/// Reads `text` as a value of `kind`, each part with `origin` attached: lists are comma separated,
/// maps `KEY=VALUE` pairs, and what has more structure than that is JSON.
///
/// # Errors
/// Says what was expected.
pub(super) fn read(kind: &Kind, text: &str, origin: &str) -> Result<config::Value, String> {
    let value = match kind {
        Kind::Scalar(scalar) => read_scalar(scalar, text)?,
        Kind::List(element) if matches!(**element, Kind::Scalar(_)) => {
            let parts = parts(text).map(|part| read(element, part, origin));
            ValueKind::Array(parts.collect::<Result<_, _>>()?)
        }
        Kind::Map(value) if matches!(**value, Kind::Scalar(_)) => {
            let pairs = parts(text).map(|part| read_pair(value, part, origin));
            ValueKind::Table(pairs.collect::<Result<_, _>>()?)
        }
        Kind::Table(_) => {
            return Err("is a table: set its keys one by one".to_owned());
        }
        Kind::List(_) | Kind::Map(_) => {
            let json = serde_json::from_str(text)
                .map_err(|error| format!("expected {} as JSON: {error}", kind.expected()))?;
            return Ok(from_json(&json, Some(origin)));
        }
        Kind::Any => {
            let json = serde_json::from_str(text).unwrap_or_else(|_| Json::from(text));
            return Ok(from_json(&json, Some(origin)));
        }
    };
    Ok(config::Value::new(Some(&origin.to_owned()), value))
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn read_pair(kind: &Kind, part: &str, origin: &str) -> Result<(String, config::Value), String> {
    let (key, value) = part
        .split_once('=')
        .ok_or_else(|| format!("expected KEY=VALUE pairs separated by commas, found {part:?}"))?;
    Ok((key.trim().to_owned(), read(kind, value.trim(), origin)?))
}

/// The narrowest scalar that the setting allows and the text is: an integer where one is allowed and
/// the text parses as one, text otherwise.
fn read_scalar(scalar: &Scalar, text: &str) -> Result<ValueKind, String> {
    if scalar.null && text.is_empty() {
        return Ok(ValueKind::Nil);
    }
    let typed = [
        scalar.boolean.then(|| text.parse().ok().map(ValueKind::Boolean)),
        scalar.integer.then(|| read_integer(text)),
        scalar.number.then(|| text.parse().ok().map(ValueKind::Float)),
    ];
    if let Some(value) = typed.into_iter().flatten().flatten().next() {
        return Ok(value);
    }
    if scalar.text || scalar.choices.iter().any(|choice| choice == text) {
        return Ok(ValueKind::String(text.to_owned()));
    }
    let expected = Kind::Scalar(scalar.clone()).expected();
    Err(format!("expected {expected}, found {text:?}"))
}

fn read_integer(text: &str) -> Option<ValueKind> {
    let signed = text.parse().ok().map(ValueKind::I64);
    signed.or_else(|| text.parse().ok().map(ValueKind::U64))
}

/// The same value in the terms of crate `config`.
pub(super) fn from_json(json: &Json, origin: Option<&str>) -> config::Value {
    let kind = match json {
        Json::Null => ValueKind::Nil,
        Json::Bool(value) => ValueKind::Boolean(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => ValueKind::I64(integer),
            (None, Some(integer)) => ValueKind::U64(integer),
            (None, None) => ValueKind::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => ValueKind::String(text.clone()),
        Json::Array(values) => {
            ValueKind::Array(values.iter().map(|value| from_json(value, origin)).collect())
        }
        Json::Object(fields) => ValueKind::Table(
            fields.iter().map(|(key, value)| (key.clone(), from_json(value, origin))).collect(),
        ),
    };
    config::Value::new(origin.map(str::to_owned).as_ref(), kind)
}

/// A default as it would be written after a flag; `None` where there is nothing worth showing.
pub(super) fn write(json: &Json) -> Option<String> {
    match json {
        Json::Null => None,
        Json::String(text) if text.is_empty() => None,
        Json::String(text) => Some(text.clone()),
        Json::Bool(_) | Json::Number(_) => Some(json.to_string()),
        Json::Array(values) => join(values.iter().map(write)),
        Json::Object(fields) => {
            let pair = |(key, value)| write(value).map(|value| format!("{key}={value}"));
            join(fields.iter().map(pair))
        }
    }
}

fn join(parts: impl Iterator<Item = Option<String>>) -> Option<String> {
    let parts: Vec<String> = parts.flatten().collect();
    (!parts.is_empty()).then(|| parts.join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scalar(change: impl FnOnce(&mut Scalar)) -> Kind {
        let mut scalar = Scalar::default();
        change(&mut scalar);
        Kind::Scalar(scalar)
    }

    fn kind_of(kind: &Kind, text: &str) -> Result<ValueKind, String> {
        read(kind, text, "here").map(|value| {
            assert_eq!(value.origin(), Some("here"));
            value.kind
        })
    }

    #[test]
    fn an_integer_where_one_is_allowed_text_otherwise() {
        let start = scalar(|s| (s.integer, s.choices) = (true, vec!["head".into()]));
        assert_eq!(kind_of(&start, "17"), Ok(ValueKind::I64(17)));
        assert_eq!(kind_of(&start, "head"), Ok(ValueKind::String("head".into())));
        let error = kind_of(&start, "haed").unwrap_err();
        assert_eq!(error, r#"expected "head" or an integer, found "haed""#);

        let text = scalar(|s| s.text = true);
        assert_eq!(kind_of(&text, "17"), Ok(ValueKind::String("17".into())));
        let size = scalar(|s| (s.text, s.integer) = (true, true));
        assert_eq!(kind_of(&size, "17"), Ok(ValueKind::I64(17)));
        assert_eq!(kind_of(&size, "17 KiB"), Ok(ValueKind::String("17 KiB".into())));
        let big = u64::MAX.to_string();
        assert_eq!(kind_of(&size, &big), Ok(ValueKind::U64(u64::MAX)));
    }

    #[test]
    fn numbers_and_booleans_are_strict() {
        let number = scalar(|s| s.number = true);
        assert_eq!(kind_of(&number, "2.5"), Ok(ValueKind::Float(2.5)));
        assert_eq!(kind_of(&number, "2"), Ok(ValueKind::Float(2.0)));
        assert!(kind_of(&number, "x").is_err());
        let boolean = scalar(|s| s.boolean = true);
        assert_eq!(kind_of(&boolean, "true"), Ok(ValueKind::Boolean(true)));
        assert!(kind_of(&boolean, "yes").is_err());
        assert!(kind_of(&scalar(|s| s.integer = true), "2.5").is_err());
    }

    #[test]
    fn nothing_unsets_what_is_optional() {
        let optional = scalar(|s| (s.text, s.null) = (true, true));
        assert_eq!(kind_of(&optional, ""), Ok(ValueKind::Nil));
        let text = scalar(|s| s.text = true);
        assert_eq!(kind_of(&text, ""), Ok(ValueKind::String(String::new())));
    }

    #[test]
    fn lists_by_commas_maps_by_pairs() {
        let text = scalar(|s| s.text = true);
        let list = Kind::List(Box::new(text));
        let value = read(&list, "http://a:1, http://b:2,", "here").unwrap();
        let urls: Vec<String> = value.try_deserialize().unwrap();
        assert_eq!(urls, ["http://a:1", "http://b:2"]);
        assert_eq!(kind_of(&list, ""), Ok(ValueKind::Array(vec![])));

        let map = Kind::Map(Box::new(scalar(|s| s.integer = true)));
        let value = read(&map, "HIVE=1000,HBD=5", "here").unwrap();
        let pairs: std::collections::BTreeMap<String, u64> = value.try_deserialize().unwrap();
        assert_eq!(pairs, [("HBD".to_owned(), 5), ("HIVE".to_owned(), 1000)].into());
        assert!(kind_of(&map, "HIVE").unwrap_err().contains("KEY=VALUE"));
        assert!(kind_of(&map, "HIVE=x").unwrap_err().contains("an integer"));
    }

    #[test]
    fn deeper_structure_is_json() {
        let list = Kind::List(Box::new(Kind::Any));
        let value = read(&list, r#"[{"a": 1}]"#, "here").unwrap();
        assert_eq!(value.try_deserialize::<Json>().unwrap(), json!([{"a": 1}]));
        assert!(kind_of(&list, "a,b").unwrap_err().contains("as JSON"));
        assert_eq!(kind_of(&Kind::Any, "plain"), Ok(ValueKind::String("plain".into())));
        assert!(kind_of(&Kind::Table(vec![]), "x").unwrap_err().contains("one by one"));
    }

    #[test]
    fn defaults_are_written_as_they_would_be_given() {
        assert_eq!(write(&json!(["a", "b"])).as_deref(), Some("a,b"));
        assert_eq!(write(&json!({"HBD": 5})).as_deref(), Some("HBD=5"));
        assert_eq!(write(&json!("3s")).as_deref(), Some("3s"));
        assert_eq!(write(&json!([])), None);
        assert_eq!(write(&json!(null)), None);
    }
}
