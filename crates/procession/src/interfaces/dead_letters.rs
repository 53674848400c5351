//! `io.procession.DeadLetters`: events that a process could not deal with, and what is to become of them.

use serde::{Deserialize, Serialize};

use crate::calls::{NoReply, Request};

/// The interface's name.
pub const NAME: &str = "io.procession.DeadLetters";
/// The interface in Varlink's language.
pub const DESCRIPTION: &str = include_str!("io.procession.DeadLetters.varlink");

/// Asks which keys are parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetParked {}

/// Has the event of one letter delivered once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Where the letter lies.
    pub offset: u64,
}

/// Has the events of all open letters delivered once more, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryAll {
    /// Only those of this subscription.
    #[serde(default)]
    pub subscription: Option<String>,
}

/// Gives a letter up for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drop {
    /// Where the letter lies.
    pub offset: u64,
}

/// Has the letters of a parked key delivered once more, in order, and lets its events come again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The subscription.
    pub subscription: String,
    /// The key, as [`GetParked`] has it.
    pub key: String,
    /// Whether the letters are given up instead.
    #[serde(default)]
    pub drop: Option<bool>,
}

impl Request for GetParked {
    const METHOD: &'static str = "io.procession.DeadLetters.Parked";
    const IDEMPOTENT: bool = true;
    type Reply = Parked;
    type Error = LetterError;
}

impl Request for Retry {
    const METHOD: &'static str = "io.procession.DeadLetters.Retry";
    type Reply = NoReply;
    type Error = LetterError;
}

impl Request for RetryAll {
    const METHOD: &'static str = "io.procession.DeadLetters.RetryAll";
    type Reply = Retried;
    type Error = LetterError;
}

impl Request for Drop {
    const METHOD: &'static str = "io.procession.DeadLetters.Drop";
    type Reply = NoReply;
    type Error = LetterError;
}

impl Request for Release {
    const METHOD: &'static str = "io.procession.DeadLetters.Release";
    type Reply = Released;
    type Error = LetterError;
}

/// The subscriptions that have parked keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// With their keys.
    pub parked: Vec<ParkedKeys>,
}

/// A subscription and its keys that are parked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedKeys {
    /// The subscription.
    pub subscription: String,
    /// The keys as text.
    pub keys: Vec<String>,
}

/// What became of letters that were to be delivered once more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retried {
    /// How many were delivered.
    pub letters: u64,
    /// Those that were not.
    pub failed: Vec<NotRetried>,
}

/// A letter that could not be delivered once more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotRetried {
    /// Where it lies.
    pub letter: u64,
    /// Why not.
    pub reason: String,
}

/// A key is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// How many letters it had.
    pub letters: u64,
}

/// Why nothing was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", content = "parameters")]
#[non_exhaustive]
pub enum LetterError {
    /// There is no open letter at this offset.
    #[error("there is no open dead letter at {offset}")]
    NoLetter {
        /// What was asked for.
        offset: u64,
    },
    /// The letter's key is parked.
    #[error("key {key:?} of {subscription} is parked: release the key")]
    KeyParked {
        /// The subscription.
        subscription: String,
        /// The key as text.
        key: String,
    },
    /// No such key of this subscription is parked.
    #[error("no key {key:?} of {subscription} is parked")]
    NotParked {
        /// The subscription.
        subscription: String,
        /// The key as text.
        key: String,
    },
    /// The process does not read this subscription now.
    #[error("the process does not read {subscription} now")]
    NotReading {
        /// The subscription.
        subscription: String,
    },
    /// It could not be done.
    #[error("it could not be done: {reason}")]
    Failed {
        /// What stands in the way.
        reason: String,
    },
}

impl LetterError {
    pub(crate) fn failed(reason: &impl std::fmt::Display) -> Self {
        Self::Failed { reason: reason.to_string() }
    }
}
