//! Settings out of files and variables.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Debug;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use procession::folders::Folders;
use procession::settings::{Bytes, ProcessSettings, load_from};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::empty_folder;

/// A setting of each shape.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Sample {
    text: String,
    port: u16,
    number: i64,
    ratio: f64,
    on: bool,
    size: Option<Bytes>,
    perhaps: Option<u32>,
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pause: Duration,
    nodes: Vec<String>,
    rates: BTreeMap<String, u32>,
    choice: Choice,
    inner: Inner,
    several: Vec<Inner>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Choice {
    #[default]
    First,
    TheOther,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Inner {
    a: u8,
    b: Option<String>,
}

/// What an input holds: the shared file, the process's own, then variables, NUL between them.
struct Parts<'a> {
    shared: &'a [u8],
    own: &'a [u8],
    variables: Vec<(OsString, OsString)>,
}

impl<'a> Parts<'a> {
    fn new(data: &'a [u8]) -> Self {
        let mut parts = data.split(|byte| *byte == 0);
        let (shared, own) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let variables = parts.filter(|part| !part.is_empty()).map(|part| {
            let equals = part.iter().position(|byte| *byte == b'=').unwrap_or(part.len());
            let (name, value) = (&part[..equals], part.get(equals + 1..).unwrap_or_default());
            let name = [b"PROCESSION_", name].concat();
            (OsString::from_vec(name), OsString::from_vec(value.to_vec()))
        });
        Self { shared, own, variables: variables.collect() }
    }
}

/// Settings load or each fault is told; the same ones give the same; what was loaded, written down, loads as itself.
pub fn settings(data: &[u8]) {
    let home = empty_folder("settings");
    let folders = Folders {
        state: home.clone(),
        runtime: home.clone(),
        config: home.clone(),
        credentials: home.clone(),
    };
    let parts = Parts::new(data);
    let write = |shared: &[u8], own: &[u8]| {
        fs::write(home.join("procession.toml"), shared).expect("there is room");
        fs::write(home.join("bot.toml"), own).expect("there is room");
    };
    write(parts.shared, parts.own);
    let load = |variables: &[(OsString, OsString)]| {
        load_from::<Sample>("bot", &folders, variables.iter().cloned()).map_err(|error| error.to_string())
    };
    let first = load(&parts.variables);
    assert_eq!(text(&first), text(&load(&parts.variables)));
    let loaded = match first {
        Ok(loaded) => loaded,
        Err(error) => return assert!(!error.trim().is_empty()),
    };
    // TOML has no numbers beyond 63 bits.
    let (Ok(own), Ok(process)) =
        (toml::to_string(&loaded.own), toml::to_string(&Shared { process: &loaded.process }))
    else {
        return;
    };
    write(process.as_bytes(), own.as_bytes());
    let again =
        load(&[]).unwrap_or_else(|error| panic!("what was loaded is refused: {error}\n{own}\n{process}"));
    assert_eq!(text(&again.own), text(&loaded.own));
    assert_eq!(text(&again.process), text(&loaded.process));
}

#[derive(Serialize)]
struct Shared<'a> {
    process: &'a ProcessSettings,
}

/// Not by `==`: NaN is itself here.
fn text(value: &impl Debug) -> String {
    format!("{value:?}")
}
