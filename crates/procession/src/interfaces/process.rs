//! `io.procession.Process`: one process and its state.

use serde::{Deserialize, Serialize};

use crate::calls::{NoError, NoReply, Request};
use crate::death::Death;

/// The interface's name.
pub const NAME: &str = "io.procession.Process";
/// The interface in Varlink's language.
pub const DESCRIPTION: &str = include_str!("io.procession.Process.varlink");

/// Asks for everything about the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetStatus {}

/// Asks whether the process does its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetHealth {}

/// Asks the process to finish what it has in hand and to exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {}

impl Request for GetStatus {
    const METHOD: &'static str = "io.procession.Process.Status";
    const IDEMPOTENT: bool = true;
    type Reply = Status;
    type Error = NoError;
}

impl Request for GetHealth {
    const METHOD: &'static str = "io.procession.Process.Health";
    const IDEMPOTENT: bool = true;
    type Reply = Health;
    type Error = NoError;
}

impl Request for Stop {
    const METHOD: &'static str = "io.procession.Process.Stop";
    const IDEMPOTENT: bool = true;
    type Reply = NoReply;
    type Error = NoError;
}

/// Everything about a process. Times are RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The program's name.
    pub name: String,
    /// The running copy's name.
    pub instance: String,
    /// The program's version.
    pub version: String,
    /// Process id, in the process's own PID namespace.
    pub pid: u32,
    /// How far it is in its life.
    pub state: State,
    /// When it was started.
    pub started: String,
    /// Milliseconds since then.
    pub uptime_ms: u64,
    /// Where its journal lies.
    pub state_folder: String,
    /// The journal's newest epoch.
    pub epoch: u32,
    /// The end of what can be read.
    pub committed: u64,
    /// The end of what is safe from power loss.
    pub durable: u64,
    /// The beginning of what is kept.
    pub trimmed: u64,
    /// What keeps it from its work, oldest first; of many some.
    #[serde(default)]
    pub waiting: Vec<Wait>,
    /// That the life before this one ended by a failure.
    #[serde(default)]
    pub last_death: Option<Death>,
    /// What it hears.
    pub subscriptions: Vec<Subscription>,
}

/// How far a process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is being set up.
    Starting,
    /// It does its work.
    Ready,
    /// It finishes what it has in hand.
    Stopping,
    /// Something that a later version says.
    #[serde(other)]
    Other,
}

/// What a process hears of one journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// The subscription.
    pub name: String,
    /// The journal's instance.
    pub journal: String,
    /// The offset before which everything is done.
    pub acknowledged: u64,
    /// The journal's end, as last seen.
    pub committed: u64,
    /// Deliveries that it has parked in this life.
    pub parked: u64,
}

/// A condition under which a process can't do its work, though it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// Why, in one line.
    pub reason: String,
    /// Since when: RFC 3339.
    pub since: String,
}

/// How a process does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// It is set up.
    pub ready: bool,
    /// It does its work.
    pub healthy: bool,
    /// Why it doesn't.
    #[serde(default)]
    pub reason: Option<String>,
    /// If nothing is broken in the process itself, what keeps it from its work: a restart would not help.
    #[serde(default)]
    pub waiting: Vec<Wait>,
    /// Milliseconds since it was started.
    #[serde(default)]
    pub uptime_ms: u64,
    /// Events that it has parked in this life, as dead letters.
    #[serde(default)]
    pub parked: u64,
    /// How many dead letters nobody has decided about yet, also those of earlier lives; `None` until those are counted.
    #[serde(default)]
    pub open_letters: Option<u64>,
    /// That the life before this one ended by a failure.
    #[serde(default)]
    pub last_death: Option<Death>,
}
