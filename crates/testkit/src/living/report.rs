//! What was done to the source, and what came of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What the source loses in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// Nothing: it is killed.
    None,
    /// What was not durable, with the power; its listeners live on.
    Power,
    /// The same; they come back before it does.
    PowerOfAll,
    /// All: its folder is removed.
    All,
    /// What it had said since a copy was made, which is put back.
    SinceCopy,
}

/// What happened.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Gives the same losses again.
    pub seed: u64,
    /// Rounds of each kind.
    pub rounds: BTreeMap<Loss, u64>,
    /// Words that listeners heard.
    pub heard: u64,
    /// Words that they were told to forget.
    pub forgotten: u64,
    /// Those of them that were there all the same, and were heard once more.
    pub again: u64,
    /// How long it took.
    pub time: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, rounds, heard, forgotten, again, time } = self;
        let all: u64 = rounds.values().sum();
        writeln!(f, "{all} rounds in {time:.1?}, seed {seed}: {rounds:?}")?;
        write!(f, "{heard} words heard, {forgotten} forgotten, {again} of these heard once more")
    }
}
