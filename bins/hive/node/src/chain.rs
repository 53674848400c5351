//! The chain that is served: a recording's blocks or the generator's, at their pace, with their links,
//! and with what forks have made of them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::block::{self, Block, Transaction, ZERO_ID};
use crate::draw;
use crate::generator::Generator;
use crate::json;
use crate::pace::{Heights, Pace, chain_time};
use crate::recording::{Recording, merkle_root};
use crate::settings::Settings;

/// Part of a generated chain's identity: raise it when what is generated changes, so that a node
/// doesn't serve other blocks than before under numbers that it has served already.
const GENERATION: u32 = 1;

/// What must outlive the process, so that a node which was killed serves the same blocks again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// What the blocks come from and how fast: with another, a new chain begins.
    identity: String,
    /// When block 1 was produced, RFC 3339.
    genesis: String,
    /// Forks for good, oldest first.
    pub(crate) branches: Vec<Branch>,
}

/// A fork: blocks from here on have other ids, and up to there other content too. Positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Branch {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) salt: u64,
}

#[derive(Debug)]
pub(crate) struct Chain {
    source: Source,
    pace: Pace,
    seed: u64,
}

#[derive(Debug)]
enum Source {
    Recording(Recording),
    Generator(Generator),
}

impl Chain {
    /// Opens what the settings name; the chain goes on from what was kept, if it is the same chain.
    pub(crate) fn open(settings: &Settings, kept: Option<Kept>, now: Timestamp) -> Result<(Self, Kept)> {
        let source = match &settings.recording {
            Some(path) => Source::Recording(Recording::open(path, settings.as_recorded)?),
            None => {
                ensure!(!settings.as_recorded, "as-recorded needs a recording");
                ensure!(
                    !settings.block_interval.is_zero(),
                    "block-interval 0s (all blocks at once) needs a recording: a generated chain has no end"
                );
                Source::Generator(Generator::new(settings.seed))
            }
        };
        let identity = source.identity(settings);
        let kept = match kept {
            Some(kept) if kept.identity == identity => kept,
            earlier => {
                if let Some(earlier) = earlier {
                    tracing::warn!(
                        was = earlier.identity,
                        is = identity,
                        "a different chain: it begins anew"
                    );
                }
                // Whole seconds, since that is what a block's time has.
                let genesis = Timestamp::from_second(now.as_second()).context("the clock is out of range")?;
                Kept { identity, genesis: genesis.to_string(), branches: Vec::new() }
            }
        };
        let genesis = kept.genesis.parse().context("the kept time of the first block")?;
        let length = source.length();
        let pace =
            Pace { genesis, interval: settings.block_interval, lag: settings.irreversible_lag, length };
        Ok((Self { source, pace, seed: settings.seed }, kept))
    }

    pub(crate) fn heights(&self, at: Timestamp) -> Heights {
        self.pace.heights(at)
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    pub(crate) fn interval(&self) -> Duration {
        self.pace.interval
    }

    /// By how many blocks irreversibility trails; none where all blocks are there at once.
    pub(crate) fn lag(&self) -> u32 {
        if self.pace.interval.is_zero() { 0 } else { self.pace.lag }
    }

    pub(crate) fn genesis(&self) -> Timestamp {
        self.pace.genesis
    }

    pub(crate) fn length(&self) -> Option<u32> {
        self.pace.length
    }

    /// `recording` or `generator`.
    pub(crate) fn source_name(&self) -> &'static str {
        match self.source {
            Source::Recording(_) => "recording",
            Source::Generator(_) => "generator",
        }
    }

    /// The number of the block at a position; 0 for position 0.
    pub(crate) fn number(&self, position: u32) -> u32 {
        match &self.source {
            Source::Recording(recording) if position > 0 => recording.number(position),
            _ => position,
        }
    }

    /// Where the newest block not above this number is; 0 if there is none.
    pub(crate) fn position_up_to(&self, number: u32) -> u32 {
        match &self.source {
            Source::Recording(recording) => recording.position_up_to(number),
            Source::Generator(_) => number,
        }
    }

    pub(crate) fn position(&self, number: u32) -> Option<u32> {
        let position = self.position_up_to(number);
        (position > 0 && self.number(position) == number).then_some(position)
    }

    /// The id of the block at a position; zeros for position 0.
    pub(crate) fn id(&self, position: u32, branches: &[Branch]) -> String {
        if position == 0 {
            return ZERO_ID.to_owned();
        }
        let number = self.number(position);
        let tail = match &self.source {
            Source::Recording(recording) => recording.tail(position),
            Source::Generator(generator) => generator.tail(number),
        };
        let salts = branches.iter().filter(|branch| branch.from <= position).map(|branch| branch.salt);
        let tail = salts.fold(tail, |tail, salt| draw::tail(draw::digest(&tail.to_be_bytes()), salt));
        block::block_id(number, tail)
    }

    /// The block at a position, which must be one of the chain's.
    pub(crate) fn block(&self, position: u32, branches: &[Branch]) -> Block {
        let mut block = self.original(position, branches);
        let newest = branches.iter().rev().find(|branch| (branch.from..=branch.to).contains(&position));
        if let Some(branch) = newest {
            self.replace_content(&mut block, position, *branch);
        }
        block
    }

    /// The time that global properties tell at a moment: the head block's where blocks are stamped as
    /// they are made, or as they were recorded. A recording that is played has old stamps, but must
    /// not look like a node that stands still, so there it is the moment itself.
    pub(crate) fn head_time(&self, head: u32, moment: Timestamp) -> String {
        match &self.source {
            Source::Recording(recording) if !recording.as_recorded() => chain_time(moment),
            Source::Recording(_) => self.block(head, &[]).timestamp(),
            Source::Generator(_) => chain_time(self.pace.time_of(head)),
        }
    }

    fn original(&self, position: u32, branches: &[Branch]) -> Block {
        let number = self.number(position);
        let id = self.id(position, branches);
        let linked = self.id(position - 1, branches);
        match &self.source {
            Source::Recording(recording) => {
                let recorded = recording.block(position);
                let rewritten =
                    !recording.as_recorded() || branches.iter().any(|branch| branch.from < position);
                let adjacent = self.number(position - 1) == number - 1;
                let previous = match recorded.previous {
                    Some(previous) if !(rewritten && adjacent) => previous,
                    None if !adjacent => block::block_id(number - 1, draw::tail(self.seed, number.into())),
                    _ => linked,
                };
                let (header, transactions) = (recorded.header, recorded.transactions);
                Block { number, id, previous, header, transactions, virtuals: Vec::new() }
            }
            Source::Generator(generator) => {
                let made = generator.block(number, self.pace.time_of(position));
                let (header, transactions, virtuals) = (made.header, made.transactions, made.virtuals);
                Block { number, id, previous: linked, header, transactions, virtuals }
            }
        }
    }

    /// What a fork leaves of a block: of its transactions about half stay, a quarter come a block
    /// later (within the fork), a quarter are gone; and there is one that wasn't there before.
    fn replace_content(&self, block: &mut Block, position: u32, branch: Branch) {
        let fate =
            |transaction: &Transaction| draw::mix(draw::digest(transaction.id.as_bytes()) ^ branch.salt) % 4;
        let moves = |transaction: &Transaction, at: u32| fate(transaction) == 1 && at < branch.to;
        let mut transactions = Vec::new();
        if position > branch.from {
            let before = self.original(position - 1, &[]).transactions;
            transactions.extend(before.into_iter().filter(|t| moves(t, position - 1)));
        }
        let stays = |t: &Transaction| fate(t) != 0 && !moves(t, position);
        transactions.extend(std::mem::take(&mut block.transactions).into_iter().filter(stays));
        let at = time_of(&block.timestamp()).unwrap_or(self.pace.genesis);
        let stray = Generator::new(self.seed ^ branch.salt).block(block.number, at);
        transactions.extend(stray.transactions.into_iter().take(1));
        block.transactions = transactions;
        block.virtuals.clear();
        let root = merkle_root(draw::tail(branch.salt, position.into()), block.transactions.is_empty());
        block.header.set("transaction_merkle_root", json::raw(&root));
    }
}

impl Source {
    fn length(&self) -> Option<u32> {
        match self {
            Self::Recording(recording) => Some(recording.length()),
            Self::Generator(_) => None,
        }
    }

    fn identity(&self, settings: &Settings) -> String {
        let interval = humantime::format_duration(settings.block_interval);
        match self {
            Self::Recording(recording) => {
                format!("recording {:016x}, a block each {interval}", recording.digest())
            }
            Self::Generator(_) => {
                format!("generator {GENERATION}, seed {}, a block each {interval}", settings.seed)
            }
        }
    }
}

/// The moment that a block's stamp means.
pub(crate) fn time_of(stamp: &str) -> Option<Timestamp> {
    let civil: DateTime = stamp.parse().ok()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests;
