//! The chain as one request sees it: at a moment, through the faults that it meets.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::block::{self, Block, ZERO_ID};
use crate::chain::{self, Branch, Chain};
use crate::faults::Effects;
use crate::generator::Generator;
use crate::json;
use crate::recording::merkle_root;

/// Hive's; the wrong chain's is Steem's.
const CHAIN_ID: &str = "beeab0de00000000000000000000000000000000000000000000000000000000";
const WRONG_CHAIN_ID: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A chain slot, for what is behind in time where the blocks of a recording come all at once.
const SLOT: Duration = Duration::from_secs(3);

pub(crate) struct View<'a> {
    chain: &'a Chain,
    /// Positions, as everywhere here; numbers only come in and go out.
    head: u32,
    irreversible: u32,
    /// The newest block that get_block knows.
    readable: u32,
    moment: Timestamp,
    branches: Vec<Branch>,
    wrong_chain: Option<Generator>,
    truncated_block: bool,
    pub(crate) has_range: bool,
}

impl<'a> View<'a> {
    /// `held` are the forks for good.
    pub(crate) fn new(chain: &'a Chain, held: &[Branch], effects: &Effects, now: Timestamp) -> Self {
        let mut moment = effects.stall.map_or(now, |stall| stall.since.min(now));
        let heights = chain.heights(moment);
        let (mut head, mut irreversible) = (heights.head, heights.irreversible);
        if let Some(block) = effects.stall.and_then(|stall| stall.block) {
            let stalled = chain.position_up_to(block).max(1);
            if stalled < head {
                head = stalled;
                irreversible = irreversible.min(head.saturating_sub(chain.lag()));
            }
        }
        if effects.behind > 0 {
            let slots = chain.interval().max(SLOT).saturating_mul(effects.behind);
            moment = SignedDuration::try_from(slots)
                .ok()
                .and_then(|age| moment.checked_sub(age).ok())
                .unwrap_or(moment);
            head = head.saturating_sub(effects.behind).max(1);
            irreversible = irreversible.saturating_sub(effects.behind);
        }
        for branch in &effects.branches {
            irreversible = irreversible.min(branch.from - 1);
        }
        Self {
            chain,
            head,
            irreversible,
            readable: head.saturating_sub(effects.lag),
            moment,
            branches: held.iter().chain(&effects.branches).copied().collect(),
            wrong_chain: effects.wrong_chain.then(|| Generator::new(!chain.seed())),
            truncated_block: effects.truncated_block,
            has_range: !effects.no_range,
        }
    }

    pub(crate) fn head_number(&self) -> u32 {
        self.chain.number(self.head)
    }

    pub(crate) fn irreversible_number(&self) -> u32 {
        self.chain.number(self.irreversible)
    }

    pub(crate) fn head_id(&self) -> String {
        match &self.wrong_chain {
            Some(wrong) => block::block_id(self.head_number(), wrong.tail(self.head_number())),
            None => self.chain.id(self.head, &self.branches),
        }
    }

    pub(crate) fn head_witness(&self) -> String {
        self.chain.block(self.head, &self.branches).witness()
    }

    /// `time` of the global properties.
    pub(crate) fn head_time(&self) -> String {
        self.chain.head_time(self.head, self.moment)
    }

    pub(crate) fn chain_id(&self) -> &'static str {
        if self.wrong_chain.is_some() { WRONG_CHAIN_ID } else { CHAIN_ID }
    }

    pub(crate) fn is_irreversible(&self, number: u32) -> bool {
        number <= self.irreversible_number()
    }

    /// The block with this number, if get_block knows one.
    pub(crate) fn block(&self, number: u32) -> Option<Block> {
        let position = self.chain.position(number).filter(|position| *position <= self.readable)?;
        let mut block = self.chain.block(position, &self.branches);
        if let Some(wrong) = &self.wrong_chain {
            block = wrong_block(wrong, &block);
        }
        if self.truncated_block && !block.transactions.is_empty() {
            truncate(&mut block);
        }
        Some(block)
    }

    /// The blocks from a number on, at most `count`; what is absent is left out.
    pub(crate) fn range(&self, start: u32, count: u32) -> Vec<Block> {
        let numbers = start..=start.saturating_add(count.saturating_sub(1)).min(self.head_number());
        if count == 0 { Vec::new() } else { numbers.filter_map(|number| self.block(number)).collect() }
    }
}

/// What another chain has at this height.
fn wrong_block(wrong: &Generator, right: &Block) -> Block {
    let number = right.number;
    let at = chain::time_of(&right.timestamp()).unwrap_or(Timestamp::UNIX_EPOCH);
    let made = wrong.block(number, at);
    let previous = match number {
        1 => ZERO_ID.to_owned(),
        _ => block::block_id(number - 1, wrong.tail(number - 1)),
    };
    let id = block::block_id(number, wrong.tail(number));
    Block {
        number,
        id,
        previous,
        header: made.header,
        transactions: made.transactions,
        virtuals: made.virtuals,
    }
}

/// The transactions are gone, the merkle root tells that there were some.
fn truncate(block: &mut Block) {
    if block.header.text("transaction_merkle_root").is_none_or(|root| root == ZERO_ID) {
        block.header.set("transaction_merkle_root", json::raw(&merkle_root(1, false)));
    }
    block.transactions.clear();
    block.virtuals.clear();
}
