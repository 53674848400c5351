//! Layered configuration: an application's own settings and the framework's, from five layers.
//!
//! Later layers win, key by key (tables and maps are merged, lists are replaced):
//!
//! 1. defaults in code ([`Default`] of the settings type);
//! 2. `procession.toml`, shared by all processes: table `[process]` for the framework's settings
//!    ([`ProcessSettings`]) and one table per process name for its own;
//! 3. `NAME.toml`: own settings on the top level, optionally a table `[process]`;
//! 4. environment: `PROCESSION_NAME__KEY` and `PROCESSION_PROCESS__TABLE__KEY`, upper case, `-` and
//!    `.` in names and keys as `_`, lists comma separated, maps as `A=1,B=2`;
//! 5. flags of `run`: `--key`, `--table-key`, and for the framework's `--journal-sync never`.
//!
//! Every layer is checked against the type's JSON schema before they are merged, so that an unknown
//! key or a wrong type is an error that names the file (or variable, or flag) and the key. What only
//! the type itself can judge (`sync = "evry 1s"`) is found when the merged value is deserialised,
//! and its origin is looked up then. The crate `config` does the merging and carries the origins;
//! its own conversions are lenient (`"yes"` is 1, 2.5 is 3) and its errors name no origin, hence the
//! check.

mod check;
mod error;
mod faults;
mod flags;
mod layers;
mod merge;
mod process;
mod schema;
mod text;
mod units;

use std::ffi::OsString;

use clap::ArgMatches;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use self::error::{ConfigurationError, Origin, Problem};
pub use self::faults::FaultSettings;
pub use self::process::{
    CallSettings, JournalSettings, LogFilter, LogFormat, LogSettings, ProcessSettings, SocketSettings,
    SubscriptionSettings, WhenFull,
};
pub use self::units::{Bytes, Grantee, NameOrNumber, Sync};

pub(crate) use self::flags::arguments;
pub(crate) use self::schema::Known;

use self::layers::Layers;
use crate::folders::Folders;

/// A type whose fields are a program's settings: each becomes a key in `NAME.toml`, a variable
/// `PROCESSION_NAME__KEY` and a flag `--key` of `run`; its doc comment is the flag's help, its value
/// in [`Default`] the default.
///
/// Implemented for every type that has the traits; write `#[serde(default)]` above the struct.
/// Durations are best written `#[serde(with = "humantime_serde")]` with
/// `#[schemars(with = "String")]`. A value that needs more than its type to be right is best given a
/// type of its own with `#[serde(try_from = "String")]`: its error then names file and key.
pub trait Settings:
    Serialize + DeserializeOwned + Default + JsonSchema + Send + std::marker::Sync + 'static
{
}

impl<T> Settings for T where
    T: Serialize + DeserializeOwned + Default + JsonSchema + Send + std::marker::Sync + 'static
{
}

/// For programs without settings of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoSettings {}

/// The settings in force: all layers merged.
#[derive(Debug, Clone)]
pub struct Loaded<S> {
    /// The application's own.
    pub own: S,
    /// The framework's.
    pub process: ProcessSettings,
}

/// Loads the settings of the process called `name` without flags: for tools and tests. Programs get
/// theirs from [`crate::Program`].
///
/// # Errors
/// Everything that is wrong in the files and the environment, each with its origin.
pub fn load<S: Settings>(name: &str, folders: &Folders) -> Result<Loaded<S>, ConfigurationError> {
    load_layers(&Known::of::<S>(), name, folders, std::env::vars_os(), None)
}

/// Like [`load`], out of an environment that is given.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub fn load_from<S: Settings>(
    name: &str,
    folders: &Folders,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Loaded<S>, ConfigurationError> {
    load_layers(&Known::of::<S>(), name, folders, environment, None)
}

pub(crate) fn load_layers<S: Settings>(
    known: &Known,
    name: &str,
    folders: &Folders,
    environment: impl Iterator<Item = (OsString, OsString)>,
    flags: Option<&ArgMatches>,
) -> Result<Loaded<S>, ConfigurationError> {
    let mut layers = Layers::new(known, name);
    layers.add_defaults::<S>();
    layers.add_files(folders);
    layers.add_environment(environment);
    if let Some(matches) = flags {
        layers.add_flags(matches);
    }
    layers.merge()
}
