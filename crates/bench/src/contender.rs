//! What competes: the trait that every contender has, and what it promises.

use std::borrow::Cow;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::work::{Measured, Task, Work};

/// What a contender promises about a message that it took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Promises {
    /// How it was set up here.
    pub(crate) settings: Cow<'static, str>,
    /// No message is lost while all processes live, however slow a reader is.
    pub(crate) lossless: bool,
    /// A reader that was away gets what was said meanwhile.
    pub(crate) replays: bool,
    /// It is on a disk: it outlives every process, and power loss within the stated policy.
    pub(crate) durable: bool,
}

/// Why a contender can't take part.
#[derive(Debug, Clone)]
pub(crate) struct Missing(pub(crate) String);

/// Where it may put its files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// A folder on a disk, for a run's own new folder.
    pub(crate) parent: &'a Path,
    /// Where the programs of this workspace are.
    pub(crate) programs: &'a Path,
}

/// One way of getting messages from a process to others.
pub(crate) trait Contender {
    fn name(&self) -> &'static str;

    fn promises(&self) -> Promises;

    /// Its version if it can run here.
    fn version(&self, place: &Place<'_>) -> Result<String, Missing>;

    /// Whether it has such a thing at all.
    fn offers(&self, work: Work) -> bool;

    /// Does the task once, in processes of its own.
    ///
    /// # Errors
    /// It did not run to its end. That messages are missing is no error but a result.
    fn run(&self, task: &Task, place: &Place<'_>) -> anyhow::Result<Measured>;
}
