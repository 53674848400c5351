//! What is done to the chain, and what came of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::audit::Tally;

/// What a round does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL some microseconds after the process has said something.
    AfterRecord,
    /// SIGKILL some microseconds after its folder has changed: a segment was prepared, begun, or dropped.
    AfterFile,
    /// SIGKILL whatever it is doing, often while it starts.
    Anytime,
    /// SIGSTOP, the others go on or are killed, then SIGCONT or SIGKILL.
    Stop,
    /// SIGKILL to several at once.
    Storm,
    /// It kills itself at a point of the journal's code.
    Aimed,
}

/// A point of the journal's code at which a process is to die.
#[derive(Debug, Clone)]
pub struct Aim {
    /// Which of the chain's instances.
    pub victim: usize,
    /// As the crate `journal` names it.
    pub point: String,
    /// When it comes by for the how-many-th time.
    pub count: u64,
}

/// What happened, and what was found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Gives the same faults again.
    pub seed: u64,
    /// Faults of each kind.
    pub rounds: BTreeMap<Fault, u64>,
    /// SIGKILLs, those included that processes sent themselves.
    pub kills: u64,
    /// Kills of processes that had spoken since their start.
    pub kills_of_speakers: u64,
    /// For each point of the journal's code: deaths there, and attempts.
    pub points: BTreeMap<String, (u64, u64)>,
    /// How often everything had passed the chain.
    pub settled: u64,
    /// Warnings that the processes logged, and how often.
    pub warnings: BTreeMap<String, u64>,
    /// What the journals hold.
    pub tally: Tally,
    /// How long it took.
    pub time: Duration,
}

impl Report {
    /// Faults of all kinds.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.rounds.values().sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, rounds, kills, kills_of_speakers, settled, tally, time, .. } = self;
        let all = self.rounds();
        writeln!(f, "{all} rounds in {time:.1?}, seed {seed}: {rounds:?}")?;
        writeln!(
            f,
            "{kills} kills, {kills_of_speakers} of them of processes that had spoken since their start"
        )?;
        write!(f, "settled {settled} times; {tally:?}")?;
        for (point, (hit, tried)) in &self.points {
            write!(f, "\n  {point}: {hit} deaths in {tried} attempts")?;
        }
        for (warning, count) in &self.warnings {
            write!(f, "\n  warned {count} times: {warning}")?;
        }
        Ok(())
    }
}
