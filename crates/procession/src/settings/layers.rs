//! The layers: each is read, checked against the schema, and kept with the origin of its values.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;

use clap::ArgMatches;
use config::{FileFormat, Format, Value, ValueKind};
use serde::de::DeserializeOwned;

use super::check::{Finding, check, nearest};
use super::error::{ConfigurationError, Origin, Problem};
use super::flags::leaves;
use super::merge::merge;
use super::schema::{Field, Kind, Known};
use super::{Loaded, ProcessSettings, Settings, text};
use crate::folders::Folders;

pub(super) type Table = config::Map<String, Value>;

const SHARED_FILE: &str = "procession.toml";
const PROCESS_TABLE: &str = "process";

/// Whose settings a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Own,
    Process,
}

/// What has been read so far, lowest layer first.
pub(super) struct Layers<'a> {
    known: &'a Known,
    name: &'a str,
    own: Vec<Table>,
    process: Vec<Table>,
    origins: Vec<Origin>,
    problems: Vec<Problem>,
}

/// A key or a process name as it is written in an environment variable.
pub(super) fn variable_part(name: &str) -> String {
    name.replace(['-', '.'], "_").to_ascii_uppercase()
}

impl<'a> Layers<'a> {
    pub(super) fn new(known: &'a Known, name: &'a str) -> Layers<'a> {
        let (own, process, origins, problems) = Default::default();
        Layers { known, name, own, process, origins, problems }
    }

    pub(super) fn add_defaults<S: Settings>(&mut self) {
        self.own.push(defaults::<S>());
        self.process.push(defaults::<ProcessSettings>());
    }

    pub(super) fn add_files(&mut self, folders: &Folders) {
        let shared = Origin::File(folders.config.join(SHARED_FILE));
        if let Some(mut file) = self.read_file(&shared) {
            for (section, table) in [(Section::Process, PROCESS_TABLE), (Section::Own, self.name)] {
                if let Some(value) = file.remove(table) {
                    self.add_table(&shared, section, &format!("{table}."), value);
                }
            }
            self.refuse_stray_values(&shared, &file);
        }
        let private = Origin::File(folders.config.join(format!("{}.toml", self.name)));
        if let Some(mut file) = self.read_file(&private) {
            if let Some(value) = file.remove(PROCESS_TABLE) {
                self.add_table(&private, Section::Process, "process.", value);
            }
            let own = Value::new(None, ValueKind::Table(file));
            self.add_table(&private, Section::Own, "", own);
        }
    }

    fn read_file(&mut self, origin: &Origin) -> Option<Table> {
        let Origin::File(path) = origin else { return None };
        let read = match std::fs::read(path) {
            Ok(bytes) => parse(bytes, origin),
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => Err(format!("can't be read: {error}")),
        };
        match read {
            Ok(table) => Some(table),
            Err(message) => {
                self.problems.push(Problem::new(Some(origin.clone()), "", message));
                None
            }
        }
    }

    /// The shared file has a table per process and nothing else on its top level.
    fn refuse_stray_values(&mut self, origin: &Origin, file: &Table) {
        let stray = |(_, value): &(&String, &Value)| !matches!(value.kind, ValueKind::Table(_));
        let mut keys: Vec<&String> = file.iter().filter(stray).map(|(key, _)| key).collect();
        keys.sort_unstable();
        for key in keys {
            let message = format!(
                "settings belong in a table: [process] or one named after a process, such as [{}]",
                self.name
            );
            self.problems.push(Problem::new(Some(origin.clone()), key, message));
        }
    }

    fn add_table(&mut self, origin: &Origin, section: Section, prefix: &str, value: Value) {
        let ValueKind::Table(table) = value.kind else {
            let key = prefix.trim_end_matches('.');
            self.problems.push(Problem::new(Some(origin.clone()), key, "expected a table"));
            return;
        };
        self.add_layer(origin, section, prefix, table);
    }

    fn add_layer(&mut self, origin: &Origin, section: Section, prefix: &str, table: Table) {
        for Finding { key, message } in check(self.fields(section), &table, prefix) {
            self.problems.push(Problem::new(Some(origin.clone()), &key, message));
        }
        self.origins.push(origin.clone());
        match section {
            Section::Own => self.own.push(table),
            Section::Process => self.process.push(table),
        }
    }

    fn fields(&self, section: Section) -> &'a [Field] {
        match section {
            Section::Own => &self.known.own,
            Section::Process => &self.known.process,
        }
    }

    pub(super) fn add_environment(&mut self, environment: impl Iterator<Item = (OsString, OsString)>) {
        let ours = environment.filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            name.starts_with("PROCESSION_").then_some((name, value))
        });
        let mut ours: Vec<(String, OsString)> = ours.collect();
        ours.sort_unstable();
        let own = format!("PROCESSION_{}_", variable_part(self.name));
        for (name, value) in ours {
            for (section, prefix) in [(Section::Process, "PROCESSION_PROCESS_"), (Section::Own, &own)] {
                if let Some(rest) = name.strip_prefix(prefix) {
                    self.add_variable(section, &name, rest, value.clone());
                }
            }
        }
    }

    /// `rest` is the name behind `PROCESSION_NAME_`; one of ours goes on with another underscore.
    fn add_variable(&mut self, section: Section, name: &str, rest: &str, value: OsString) {
        let origin = Origin::Variable(name.to_owned());
        let fields = self.fields(section);
        let Some(key) = rest.strip_prefix('_') else {
            if fields.iter().any(|field| variable_part(&field.key) == rest) {
                let start = &name[..name.len() - rest.len()];
                let message = format!("two underscores separate name and key: {start}_{rest}");
                self.problems.push(Problem::new(Some(origin), "", message));
            }
            return;
        };
        let segments: Vec<&str> = key.split("__").collect();
        let mut path = Vec::new();
        let read = locate(fields, &segments, &mut path).and_then(|kind| {
            let text = value.into_string().map_err(|_| "is not valid UTF-8".to_owned())?;
            text::read(kind, &text, &origin.to_string())
        });
        self.add_text(origin, section, &path, read);
    }

    pub(super) fn add_flags(&mut self, matches: &ArgMatches) {
        for section in [Section::Process, Section::Own] {
            for leaf in leaves(self.fields(section)) {
                let flag = leaf.flag();
                let Some(values) = matches.get_many::<String>(&flag) else { continue };
                let origin = Origin::Flag(format!("--{flag}"));
                let text = values.cloned().collect::<Vec<_>>().join(",");
                let read = text::read(&leaf.field.kind, &text, &origin.to_string());
                let path: Vec<String> = leaf.path.iter().map(|part| (*part).to_owned()).collect();
                self.add_text(origin, section, &path, read);
            }
        }
    }

    fn add_text(&mut self, origin: Origin, section: Section, path: &[String], read: Result<Value, String>) {
        match read {
            Ok(value) => {
                let table = nest(path, value);
                self.add_layer(&origin, section, "", table);
            }
            Err(message) => {
                self.problems.push(Problem::new(Some(origin), &path.join("."), message));
            }
        }
    }

    pub(super) fn merge<S: DeserializeOwned>(mut self) -> Result<Loaded<S>, ConfigurationError> {
        if !self.problems.is_empty() {
            return Err(ConfigurationError::new(self.problems));
        }
        let own = merge(std::mem::take(&mut self.own));
        let process = merge(std::mem::take(&mut self.process));
        match (own, process) {
            (Ok(own), Ok(process)) => Ok(Loaded { own, process }),
            (own, process) => {
                let own = own.err().map(|fault| (Section::Own, fault));
                let process = process.err().map(|fault| (Section::Process, fault));
                let faults = own.into_iter().chain(process);
                let problems = faults.map(|(section, fault)| {
                    let found = |origin: &&Origin| Some(origin.to_string()) == fault.origin;
                    let origin = self.origins.iter().find(found).cloned();
                    let key = self.full_key(section, origin.as_ref(), &fault.key);
                    Problem::new(origin, &key, fault.message)
                });
                Err(ConfigurationError::new(problems.collect()))
            }
        }
    }

    /// The key as it is written at its origin.
    fn full_key(&self, section: Section, origin: Option<&Origin>, key: &str) -> String {
        let shared = |path: &PathBuf| path.file_name().is_some_and(|name| name == SHARED_FILE);
        let shared = matches!(origin, Some(Origin::File(path)) if shared(path));
        let table = match section {
            Section::Process => PROCESS_TABLE,
            Section::Own if shared => self.name,
            Section::Own => return key.to_owned(),
        };
        if key.is_empty() { table.to_owned() } else { format!("{table}.{key}") }
    }
}

fn defaults<S: Settings>() -> Table {
    let json = serde_json::to_value(S::default()).expect("settings serialise to JSON");
    match text::from_json(&json, None).kind {
        ValueKind::Table(table) => table,
        _ => Table::new(),
    }
}

fn parse(bytes: Vec<u8>, origin: &Origin) -> Result<Table, String> {
    let text =
        String::from_utf8(bytes).map_err(|error| format!("is not valid UTF-8: {}", error.utf8_error()))?;
    let parsed = FileFormat::Toml.parse(Some(&origin.to_string()), &text);
    parsed.map_err(|error| error.to_string().trim_end().to_owned())
}

/// Finds the setting that the parts of a variable's name mean; `path` receives its keys.
fn locate<'f>(fields: &'f [Field], segments: &[&str], path: &mut Vec<String>) -> Result<&'f Kind, String> {
    let (first, rest) = segments.split_first().expect("split yields at least one part");
    let Some(field) = fields.iter().find(|field| variable_part(&field.key) == **first) else {
        let known: Vec<String> = fields.iter().map(|field| variable_part(&field.key)).collect();
        let known = || known.iter().map(String::as_str);
        return Err(match nearest(first, known()) {
            Some(name) => format!("unknown key {first}; did you mean {name}?"),
            None => {
                format!("unknown key {first}; known are {}", known().collect::<Vec<_>>().join(", "))
            }
        });
    };
    path.push(field.key.clone());
    match (&field.kind, rest) {
        (kind, []) => Ok(kind),
        (Kind::Table(inner), rest) => locate(inner, rest, path),
        (Kind::Map(values), [key]) => {
            path.push((*key).to_owned());
            Ok(values)
        }
        _ => Err(format!("{first} has no keys of its own")),
    }
}

fn nest(path: &[String], value: Value) -> Table {
    let (last, tables) = path.split_last().expect("a setting has a key");
    let innermost = Table::from_iter([(last.clone(), value)]);
    tables.iter().rev().fold(innermost, |table, key| {
        Table::from_iter([(key.clone(), Value::new(None, ValueKind::Table(table)))])
    })
}
