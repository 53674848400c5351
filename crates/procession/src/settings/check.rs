//! Checks one layer against the schema: unknown keys, wrong types.

use config::{Value, ValueKind};

use super::schema::{Field, Kind, Scalar};

type Table = config::Map<String, Value>;

/// One finding: the key below the table that was checked, and what is wrong.
pub(super) struct Finding {
    pub(super) key: String,
    pub(super) message: String,
}

/// Everything in `table` that `fields` don't allow, in the order of the keys. `prefix` is the path
/// of the table, with a dot at its end unless it is empty.
pub(super) fn check(fields: &[Field], table: &Table, prefix: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (key, value) in sorted(table) {
        let path = format!("{prefix}{key}");
        match fields.iter().find(|field| field.key == *key) {
            None => findings.push(Finding { message: unknown(key, fields), key: path }),
            Some(field) => check_value(field, &field.kind, value, &path, &mut findings),
        }
    }
    findings
}

fn sorted(table: &Table) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    entries
}

fn check_value(field: &Field, kind: &Kind, value: &Value, path: &str, out: &mut Vec<Finding>) {
    match (kind, &value.kind) {
        (Kind::Any, _) => {}
        (Kind::Table(fields), ValueKind::Table(table)) => {
            out.extend(check(fields, table, &format!("{path}.")));
        }
        (Kind::Map(inner), ValueKind::Table(table)) => {
            for (key, value) in sorted(table) {
                check_value(field, inner, value, &format!("{path}.{key}"), out);
            }
        }
        (Kind::List(inner), ValueKind::Array(values)) => {
            for (index, value) in values.iter().enumerate() {
                check_value(field, inner, value, &format!("{path}[{index}]"), out);
            }
        }
        (Kind::Scalar(scalar), value) if allows(scalar, value) => {}
        (_, found) => {
            // The field's example fits the field as a whole, not its elements.
            let whole = std::ptr::eq(kind, &field.kind);
            let expected = if whole { field.expected() } else { kind.expected() };
            let message = format!("expected {expected}, found {}{}", describe(found), near(kind, found));
            out.push(Finding { key: path.to_owned(), message });
        }
    }
}

fn allows(scalar: &Scalar, value: &ValueKind) -> bool {
    match value {
        ValueKind::Nil => scalar.null,
        ValueKind::Boolean(_) => scalar.boolean,
        ValueKind::I64(_) | ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => {
            scalar.integer || scalar.number
        }
        ValueKind::Float(_) => scalar.number,
        ValueKind::String(text) => scalar.text || scalar.choices.contains(text),
        ValueKind::Table(_) | ValueKind::Array(_) => false,
    }
}

fn describe(value: &ValueKind) -> String {
    match value {
        ValueKind::Nil => "nothing".to_owned(),
        ValueKind::Boolean(value) => format!("{value}"),
        ValueKind::I64(_) | ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => {
            format!("the integer {value}")
        }
        ValueKind::Float(value) => format!("the number {value}"),
        ValueKind::String(text) => format!("the string {text:?}"),
        ValueKind::Table(_) => "a table".to_owned(),
        ValueKind::Array(_) => "a list".to_owned(),
    }
}

fn near(kind: &Kind, found: &ValueKind) -> String {
    match (kind, found) {
        (Kind::Scalar(scalar), ValueKind::String(text)) => {
            let nearest = nearest(text, scalar.choices.iter().map(String::as_str));
            nearest.map_or_else(String::new, |choice| format!("; did you mean {choice:?}?"))
        }
        _ => String::new(),
    }
}

fn unknown(key: &str, fields: &[Field]) -> String {
    let known = || fields.iter().map(|field| field.key.as_str());
    match nearest(key, known()) {
        Some(name) => format!("unknown key; did you mean `{name}`?"),
        None if fields.is_empty() => "unknown key; there are no settings here".to_owned(),
        None => format!("unknown key; known are {}", known().collect::<Vec<_>>().join(", ")),
    }
}

/// The known word that differs from `word` in at most a third of its letters.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |name: &'a str| (strsim::damerau_levenshtein(word, name), name);
    let (distance, name) = known.map(distance).min_by_key(|(distance, _)| *distance)?;
    (distance <= (name.chars().count() / 3).max(1)).then_some(name)
}
