//! What a settings type knows: its keys, their kinds, help and defaults, read off its JSON schema.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::{ProcessSettings, Settings, flags};

/// All keys that a program's configuration may have.
#[derive(Debug)]
pub(crate) struct Known {
    /// The application's own.
    pub(super) own: Vec<Field>,
    /// The framework's.
    pub(super) process: Vec<Field>,
}

/// One key of a table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub(super) key: String,
    /// The doc comment, whole.
    pub(super) help: String,
    pub(super) kind: Kind,
    pub(super) default: Value,
}

/// What a value may be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Scalar(Scalar),
    List(Box<Kind>),
    /// A struct: these keys and no others.
    Table(Vec<Field>),
    /// Keys of the user's choice, values of one kind.
    Map(Box<Kind>),
    /// A shape that this module doesn't follow (an enum with data, say): serde judges it.
    Any,
}

/// The scalars that one value may be; several where the type is an enum over them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Scalar {
    pub(super) boolean: bool,
    pub(super) integer: bool,
    pub(super) number: bool,
    pub(super) text: bool,
    pub(super) choices: Vec<String>,
    pub(super) null: bool,
}

impl Known {
    /// Reads the schemas of `S` and of [`ProcessSettings`].
    ///
    /// # Panics
    /// When `S` isn't a struct, has a field `process`, or two settings would share a flag: mistakes
    /// in the program that its first start shows.
    pub(crate) fn of<S: Settings>() -> Known {
        let known = Known { own: fields_of::<S>(), process: fields_of::<ProcessSettings>() };
        let reserved = known.own.iter().any(|field| field.key == "process");
        assert!(!reserved, "a setting can't be called `process`: that table is the framework's");
        flags::assert_distinct(&known);
        known
    }
}

fn fields_of<S: Settings>() -> Vec<Field> {
    let inline = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    let schema = inline.into_generator().into_root_schema_for::<S>();
    let default = serde_json::to_value(S::default()).expect("settings serialise to JSON");
    match kind(schema.as_value(), &default) {
        Kind::Table(fields) => fields,
        _ => panic!("settings must be a struct with named fields"),
    }
}

fn kind(schema: &Value, default: &Value) -> Kind {
    let Some(schema) = schema.as_object() else {
        return Kind::Any;
    };
    if let Some(variants) = array(schema, "oneOf").or_else(|| array(schema, "anyOf")) {
        return union(variants.iter().map(|variant| kind(variant, default)).collect());
    }
    if let Some([only]) = array(schema, "allOf").map(Vec::as_slice) {
        return kind(only, default);
    }
    if let Some(choices) = array(schema, "enum") {
        return choice(choices);
    }
    if let Some(constant) = schema.get("const") {
        return choice(std::slice::from_ref(constant));
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let compound: Vec<&str> = types.iter().copied().filter(|name| *name != "null").collect();
    match compound.as_slice() {
        ["object"] => object(schema, default),
        ["array"] => Kind::List(Box::new(schema.get("items").map_or(Kind::Any, |s| kind(s, &Value::Null)))),
        names if names.contains(&"object") || names.contains(&"array") => Kind::Any,
        [] if types.is_empty() => Kind::Any,
        _ => Kind::Scalar(scalar(&types)),
    }
}

fn array<'a>(schema: &'a Map<String, Value>, key: &str) -> Option<&'a Vec<Value>> {
    schema.get(key).and_then(Value::as_array)
}

fn object(schema: &Map<String, Value>, default: &Value) -> Kind {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let field = |(key, schema): (&String, &Value)| field(key, schema, default);
        return Kind::Table(properties.iter().map(field).collect());
    }
    match schema.get("additionalProperties") {
        Some(Value::Bool(false)) => Kind::Table(Vec::new()),
        Some(values) => Kind::Map(Box::new(kind(values, &Value::Null))),
        // `struct Nothing {}` has neither; a map always says what its values are.
        None => Kind::Table(Vec::new()),
    }
}

fn field(key: &str, schema: &Value, defaults: &Value) -> Field {
    let default = defaults.get(key).cloned().unwrap_or_default();
    let help = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    Field { key: key.to_owned(), help: help.to_owned(), kind: kind(schema, &default), default }
}

fn choice(values: &[Value]) -> Kind {
    let mut scalar = Scalar::default();
    for value in values {
        match value {
            Value::String(text) => scalar.choices.push(text.clone()),
            Value::Null => scalar.null = true,
            Value::Bool(_) => scalar.boolean = true,
            Value::Number(_) => scalar.integer = true,
            Value::Array(_) | Value::Object(_) => return Kind::Any,
        }
    }
    Kind::Scalar(scalar)
}

fn scalar(types: &[&str]) -> Scalar {
    let has = |name| types.contains(&name);
    Scalar {
        boolean: has("boolean"),
        integer: has("integer"),
        number: has("number"),
        text: has("string"),
        choices: Vec::new(),
        null: has("null"),
    }
}

/// `Option<T>` is the union of T and null; an enum is the union of its variants.
fn union(kinds: Vec<Kind>) -> Kind {
    let mut all = Scalar::default();
    let mut others = Vec::new();
    for kind in kinds {
        match kind {
            Kind::Scalar(one) => all.join(one),
            other => others.push(other),
        }
    }
    match others.pop() {
        None => Kind::Scalar(all),
        Some(only) if others.is_empty() && all.is_only_null() => only,
        Some(_) => Kind::Any,
    }
}

impl Scalar {
    fn join(&mut self, other: Scalar) {
        self.boolean |= other.boolean;
        self.integer |= other.integer;
        self.number |= other.number;
        self.text |= other.text;
        self.null |= other.null;
        self.choices.extend(other.choices);
    }

    fn is_only_null(&self) -> bool {
        *self == Scalar { null: self.null, ..Scalar::default() }
    }

    /// Whether only true and false are allowed.
    pub(super) fn is_boolean(&self) -> bool {
        *self == Scalar { boolean: true, ..Scalar::default() }
    }

    /// Whether only words of a fixed list are allowed.
    pub(super) fn is_choice(&self) -> bool {
        *self == Scalar { choices: self.choices.clone(), ..Scalar::default() }
    }
}

impl Field {
    /// What a value of this field must be, in words; the default serves as an example.
    pub(super) fn expected(&self) -> String {
        let words = self.kind.expected();
        match (&self.kind, self.default.as_str()) {
            (Kind::Scalar(scalar), Some(example)) if scalar.text && !example.is_empty() => {
                format!("{words} such as {example:?}")
            }
            _ => words,
        }
    }
}

impl Kind {
    /// What a value must be, in words: `an integer`.
    pub(super) fn expected(&self) -> String {
        match self {
            Kind::Scalar(scalar) => scalar.expected(),
            Kind::List(element) => format!("a list, each {}", element.expected()),
            Kind::Map(value) => format!("a table, each value {}", value.expected()),
            Kind::Table(_) => "a table".to_owned(),
            Kind::Any => "a value".to_owned(),
        }
    }
}

impl Scalar {
    fn expected(&self) -> String {
        let mut words: Vec<String> = self.choices.iter().map(|c| format!("{c:?}")).collect();
        let kinds = [
            (self.boolean, "true or false"),
            (self.integer && !self.number, "an integer"),
            (self.number, "a number"),
            (self.text, "a string"),
        ];
        words.extend(kinds.iter().filter(|(allowed, _)| *allowed).map(|(_, w)| (*w).to_owned()));
        match words.split_last() {
            None => "nothing".to_owned(),
            Some((last, [])) => last.clone(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;

    #[derive(Default, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case")]
    enum Mode {
        /// Only what can't be undone.
        #[default]
        Irreversible,
        /// Everything at once.
        Head,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(untagged)]
    enum Start {
        Named(Mode),
        Block(u64),
    }

    #[derive(Default, Serialize, Deserialize, JsonSchema)]
    struct Inner {
        /// How deep.
        depth: u32,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    enum Data {
        Shaped { x: u8 },
        Bare(u8),
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Sample {
        /// Tried in order.
        ///
        /// More about it.
        nodes: Vec<String>,
        #[serde(with = "humantime_serde")]
        #[schemars(with = "String")]
        pause: Duration,
        mode: Mode,
        perhaps: Option<Mode>,
        start: Start,
        inner: Inner,
        maybe_inner: Option<Inner>,
        thresholds: BTreeMap<String, f64>,
        limit: Option<u64>,
        quiet: bool,
        data: Option<Data>,
    }

    impl Default for Sample {
        fn default() -> Sample {
            Sample {
                nodes: vec!["a".into()],
                pause: Duration::from_secs(3),
                mode: Mode::Irreversible,
                perhaps: None,
                start: Start::Block(7),
                inner: Inner { depth: 4 },
                maybe_inner: None,
                thresholds: BTreeMap::new(),
                limit: None,
                quiet: false,
                data: None,
            }
        }
    }

    fn sample(key: &str) -> Field {
        let fields = fields_of::<Sample>();
        fields.into_iter().find(|field| field.key == key).unwrap()
    }

    #[test]
    fn kinds_follow_the_types() {
        let expected = |key: &str| sample(key).expected();
        assert_eq!(expected("nodes"), "a list, each a string");
        assert_eq!(expected("pause"), "a string such as \"3s\"");
        assert_eq!(expected("mode"), "\"irreversible\" or \"head\"");
        assert_eq!(expected("perhaps"), expected("mode"));
        assert_eq!(expected("start"), "\"irreversible\", \"head\" or an integer");
        assert_eq!(expected("thresholds"), "a table, each value a number");
        assert_eq!(expected("limit"), "an integer");
        assert_eq!(expected("quiet"), "true or false");
        assert_eq!(sample("data").kind, Kind::Any);
    }

    #[test]
    fn help_is_the_doc_comment_and_defaults_come_from_the_code() {
        let nodes = sample("nodes");
        assert_eq!(nodes.help, "Tried in order.\n\nMore about it.");
        assert_eq!(nodes.default, json!(["a"]));
        let Kind::Table(inner) = sample("inner").kind else { panic!("a table") };
        assert_eq!((inner[0].help.as_str(), &inner[0].default), ("How deep.", &json!(4)));
        assert!(matches!(sample("maybe_inner").kind, Kind::Table(_)));
    }

    #[test]
    #[should_panic(expected = "`process`")]
    fn a_setting_called_process_is_a_mistake_in_the_program() {
        #[derive(Default, Serialize, Deserialize, JsonSchema)]
        struct Clash {
            process: u8,
        }
        Known::of::<Clash>();
    }

    #[test]
    #[should_panic(expected = "--log-level")]
    fn two_settings_with_one_flag_are_a_mistake_in_the_program() {
        #[derive(Default, Serialize, Deserialize, JsonSchema)]
        struct Clash {
            log_level: u8,
        }
        Known::of::<Clash>();
    }
}
