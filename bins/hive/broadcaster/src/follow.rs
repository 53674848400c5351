//! The loop that follows the chain: block after block, whatever single nodes do.
//!
//! Every block is said once, in order, and continues the one before it: its `previous` is that one's id. A
//! node whose block doesn't is on another fork (where blocks that we have said can still be replaced), or on
//! another chain.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use contracts::hive::AppliedOperation;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::block::Block;
use crate::doubt::Doubt;
use crate::history::{self, Look};
use crate::pool::Pool;
use crate::position::{Position, Told};
use crate::range::RangeSize;
use crate::rpc::HttpError;
use crate::settings::{Mode, Settings, Start};
use crate::trouble::Trouble;

/// One step along the chain.
#[derive(Debug)]
pub(crate) struct Advance {
    pub(crate) block: Block,
    pub(crate) virtual_operations: Vec<AppliedOperation>,
    /// So many nodes gave no virtual operation of it, and none gave one.
    pub(crate) unconfirmed_by: Option<u32>,
    /// The blocks that a fork has replaced, ascending; this block takes the first one's number.
    pub(crate) replaced: Vec<Told>,
    /// Where we are once this step has been said.
    pub(crate) position: Position,
}

/// Follows the chain from a position.
pub(crate) struct Follow {
    pool: Pool,
    mode: Mode,
    start: Start,
    poll_interval: Duration,
    virtual_operations: bool,
    skip_absent: bool,
    position: Option<Position>,
    /// Where the journal ends, and so where the next block's operations will begin, or later.
    journal_end: u64,
    /// Blocks of the current node that have been fetched but not taken yet.
    ahead: VecDeque<Block>,
    range: RangeSize,
    hole: Hole,
    doubt: Doubt,
    why: watch::Sender<String>,
}

/// A number that perhaps no node has a block for.
#[derive(Default)]
struct Hole {
    number: u32,
    /// The nodes that don't have it, by index, each with the first number after it that it may have.
    nodes: BTreeMap<usize, u32>,
    /// Where to go on, once all nodes have said so.
    skip_to: u32,
}

impl Follow {
    /// Follows the chain after `position`, or from the set start, with a journal that ends at `journal_end`.
    pub(crate) fn new(
        settings: &Settings,
        position: Option<Position>,
        journal_end: u64,
    ) -> Result<Self, HttpError> {
        Ok(Follow {
            pool: Pool::new(settings)?,
            mode: settings.mode,
            start: settings.start,
            poll_interval: settings.poll_interval,
            virtual_operations: settings.virtual_operations,
            skip_absent: settings.skip_absent,
            position,
            journal_end,
            ahead: VecDeque::new(),
            range: RangeSize::new(settings.range_blocks),
            hole: Hole::default(),
            doubt: Doubt::new(settings.stall_timeout),
            why: watch::Sender::new("no node has answered yet".to_owned()),
        })
    }

    /// Why there is no step, in words: as it was found when one was last tried.
    pub(crate) fn why(&self) -> watch::Receiver<String> {
        self.why.subscribe()
    }

    /// The next step. Waits for as long as it takes; may be dropped at any time.
    pub(crate) async fn next(&mut self) -> Advance {
        loop {
            self.pool.ready().await;
            match self.attempt().await {
                Ok(Some(advance)) => {
                    self.pool.current().succeeded();
                    return advance;
                }
                Ok(None) => {}
                Err(trouble) => {
                    self.ahead.clear();
                    self.pool.failed(&trouble);
                    self.why.send_replace(self.pool.complaint());
                }
            }
        }
    }

    /// Notes that a step has been said, and where the journal ends now.
    pub(crate) fn said(&mut self, position: Position, journal_end: u64) {
        self.position = Some(position);
        self.journal_end = journal_end;
        self.pool.progressed();
    }

    /// Tries to get one step further with the current node; none if there is nothing new yet.
    async fn attempt(&mut self) -> Result<Option<Advance>, Trouble> {
        // A step that was dropped half-way has taken its block along.
        let wanted = self.wanted();
        if self.ahead.front().is_some_and(|block| wanted != Some(block.number)) {
            self.ahead.clear();
        }
        let asked = self.ahead.is_empty() && self.fetch().await?;
        match self.ahead.pop_front() {
            Some(block) => self.take(block).await.map(Some),
            // We are past a hole, or a piece of it.
            None if asked => Ok(None),
            None => self.wait_for_news().await,
        }
    }

    /// The number of the next block; none as long as we are to begin at a head that we don't know.
    fn wanted(&mut self) -> Option<u32> {
        let next = match (&self.position, self.start) {
            (Some(position), _) => position.last().block.saturating_add(1),
            (None, Start::First) => 1,
            (None, Start::Block(number)) => number,
            (None, Start::Head) => {
                let number = self.pool.current().head()?.target(self.mode).max(1);
                tracing::info!(block = number, "beginning at the head");
                self.start = Start::Block(number);
                number
            }
        };
        Some(next.max(self.hole.skip_to))
    }

    /// Fetches the next blocks, if the node is known to be past them; whether it is.
    async fn fetch(&mut self) -> Result<bool, Trouble> {
        let Some(wanted) = self.wanted() else { return Ok(false) };
        let node = self.pool.current();
        let missing = match node.head().map(|head| head.target(self.mode)) {
            Some(target) if target >= wanted => target - wanted + 1,
            _ => return Ok(false),
        };
        let count = self.range.count().min(missing);
        let begun = Instant::now();
        let range = match count {
            1 => None,
            _ => node.source.range(wanted, count).await.inspect_err(|_| self.range.failed())?,
        };
        let (blocks, asked) = match range {
            Some(blocks) => (blocks, count),
            None => (node.source.block(wanted).await?.into_iter().collect(), 1),
        };
        self.range.took(begun.elapsed());
        match blocks.first().map(|first| first.number) {
            Some(first) if first == wanted => {
                // What lies beyond a hole waits until the hole is asked for.
                let whole = (wanted..).zip(blocks).take_while(|(number, block)| block.number == *number);
                self.ahead.extend(whole.map(|(_, block)| block));
            }
            Some(next) => self.absent(wanted, next)?,
            None => {
                self.look_again(wanted).await?;
                self.absent(wanted, wanted.saturating_add(asked))?;
            }
        }
        Ok(true)
    }

    /// Looks again for a block of which one answer shows no trace, nor one of any later block, if it could be passed over
    /// for that: it fails if the block is there. Of several servers behind one name, one may lag.
    async fn look_again(&mut self, number: u32) -> Result<(), Trouble> {
        let times = if self.skip_absent { history::looks() } else { 0 };
        for _ in 0..times {
            if self.pool.current().source.block(number).await?.is_some() {
                let what = format!("block {number} is there, and then isn't");
                return Err(Trouble::Inconsistent { what });
            }
        }
        Ok(())
    }

    /// The current node doesn't have the blocks from `number` to before `next`, though it is past them.
    fn absent(&mut self, number: u32, next: u32) -> Result<(), Trouble> {
        if self.hole.number != number {
            self.hole = Hole { number, nodes: BTreeMap::new(), skip_to: self.hole.skip_to };
        }
        self.hole.nodes.insert(self.pool.index(), next);
        let irreversible = self.pool.current().head().map_or(0, |head| head.irreversible);
        let everywhere = self.hole.nodes.len() == self.pool.count();
        if !(self.skip_absent && number <= irreversible && everywhere) {
            return Err(Trouble::Absent { number });
        }
        let next = self.hole.nodes.values().copied().min().unwrap_or(next);
        self.hole.skip_to = next.min(irreversible.saturating_add(1));
        Ok(())
    }

    /// Takes a block as the next one, or as the beginning of another fork.
    async fn take(&mut self, block: Block) -> Result<Advance, Trouble> {
        let Some(parent) = self.position.as_ref().map(Position::last) else {
            return self.advance(block, Vec::new()).await;
        };
        if block.number == self.hole.skip_to {
            tracing::warn!(
                after = parent.block,
                to = block.number,
                "passed over numbers that no node has a block for"
            );
            return self.advance(block, Vec::new()).await;
        }
        assert_eq!(parent.block + 1, block.number, "no number is passed over but by `skip_absent`");
        if continues(parent, &block) {
            self.advance(block, Vec::new()).await
        } else {
            self.ahead.clear();
            self.fork(block).await
        }
    }

    async fn advance(&mut self, block: Block, replaced: Vec<Told>) -> Result<Advance, Trouble> {
        let irreversible = self.pool.current().head().map_or(0, |head| head.irreversible);
        let (mut virtual_operations, mut unconfirmed_by) = (Vec::new(), None);
        if self.virtual_operations {
            (virtual_operations, unconfirmed_by) = self.virtual_of(&block, irreversible).await?;
        }
        let position = Position::after(self.position.as_ref(), &block, irreversible, self.journal_end);
        Ok(Advance { block, virtual_operations, unconfirmed_by, replaced, position })
    }

    /// The virtual operations of a block; or how many nodes say that it has none, once that is believed.
    async fn virtual_of(
        &mut self,
        block: &Block,
        irreversible: u32,
    ) -> Result<(Vec<AppliedOperation>, Option<u32>), Trouble> {
        let number = block.number;
        let is_final = number <= irreversible;
        let closer = (is_final && !self.doubt.is_blank()).then_some(irreversible);
        let (operations, looks) = self.look_everywhere(block, closer).await?;
        if !operations.is_empty() {
            self.doubt.end();
            return Ok((operations, None));
        }
        let nodes = self.pool.count();
        if !(is_final && self.doubt.is_over(number, &looks, nodes)) {
            let sure = if is_final { self.doubt.nodes() } else { 0 };
            return Err(Trouble::NoVirtual { number, sure, nodes });
        }
        let (nodes, again) = self.doubt.believe();
        if !again {
            tracing::warn!(
                block = number,
                nodes,
                "no node gives a virtual operation: said without, and marked"
            );
        }
        Ok((Vec::new(), Some(nodes)))
    }

    /// The virtual operations of a block from the first node that gives any, the current one first; or what each node
    /// that answers shows, by index. They are looked at closer if `irreversible` is given.
    async fn look_everywhere(
        &mut self,
        block: &Block,
        irreversible: Option<u32>,
    ) -> Result<(Vec<AppliedOperation>, Vec<(usize, Look)>), Trouble> {
        let given = history::given(&mut self.pool.current().source, block, self.mode).await?;
        if !given.is_empty() {
            return Ok((given, Vec::new()));
        }
        let (given, mut looks) = self.pool.virtual_elsewhere(block, irreversible).await;
        if !given.is_empty() {
            return Ok((given, Vec::new()));
        }
        let source = &mut self.pool.current().source;
        match history::look_closer(source, block, irreversible, self.mode).await? {
            Look::Given(given) => Ok((given, Vec::new())),
            look => {
                looks.push((self.pool.index(), look));
                Ok((Vec::new(), looks))
            }
        }
    }

    /// Finds where the fork that `child` is on left the blocks that we have said: walks back with the current
    /// node until it agrees. The step that comes of it replaces what it doesn't agree with.
    async fn fork(&mut self, mut child: Block) -> Result<Advance, Trouble> {
        let seen = child.number;
        let Some(position) = self.position.clone() else { return Err(Trouble::WrongChain { number: seen }) };
        // At most as many turns as there are reversible blocks.
        loop {
            let parent = child.number.checked_sub(1).and_then(|number| position.told(number));
            let Some(parent) = parent else { return Err(Trouble::WrongChain { number: seen }) };
            if continues(parent, &child) {
                break;
            }
            // The oldest remembered one is irreversible (or too deep): no fork replaces that.
            if position.reversible().iter().all(|told| told.block != parent.block) {
                return Err(Trouble::WrongChain { number: seen });
            }
            let ours = parent.id.clone();
            let number = parent.block;
            let Some(block) = self.pool.current().source.block(number).await? else {
                return Err(Trouble::Absent { number });
            };
            if block.id == ours || block.id != child.previous {
                let what =
                    format!("block {} doesn't continue the block {number} that it gives", child.number);
                return Err(Trouble::Inconsistent { what });
            }
            child = block;
        }
        let replaced: Vec<Told> =
            position.reversible().iter().filter(|told| told.block >= child.number).cloned().collect();
        tracing::warn!(from = child.number, blocks = replaced.len(), "a fork replaces blocks");
        self.advance(child, replaced).await
    }

    /// Asks the node for its head, when it is time to. A step may come of it at once: the node that we follow
    /// can have replaced the block that we have said last.
    async fn wait_for_news(&mut self) -> Result<Option<Advance>, Trouble> {
        let node = self.pool.current();
        sleep_until(node.due(self.poll_interval)).await;
        let head = node.source.head().await?;
        let target = head.target(self.mode);
        node.said(head.clone());
        if let Some(wanted) = self.wanted().filter(|wanted| *wanted > target) {
            self.pool.current().succeeded();
            self.why.send_replace(self.no_news(target, wanted));
        }
        let last = self.position.as_ref().map(Position::last);
        let replaced = last.is_some_and(|last| {
            last.block == head.number && last.id.as_ref().is_some_and(|id| *id != head.id)
        });
        let reversible = self.position.as_ref().is_some_and(|position| !position.reversible().is_empty());
        if replaced && reversible {
            let block = self.pool.current().source.block(head.number).await?;
            // Otherwise the block comes from a cache, and later anew.
            if let Some(block) = block.filter(|block| block.id.as_ref() == Some(&head.id)) {
                return self.fork(block).await.map(Some);
            }
        }
        self.pool.check_standstill().await;
        Ok(None)
    }
}

impl Follow {
    /// What there is to say of a node that answers, and has nothing for us.
    fn no_news(&self, target: u32, wanted: u32) -> String {
        let node = self.pool.name();
        let said = self.position.as_ref().map(|position| position.last().block);
        let what = match said {
            None => format!("{node} is at block {target}, and {wanted} is the first one wanted"),
            Some(said) if target < said => format!(
                "{node} is at block {target}, behind {said}, which has been said: it has fallen behind, or its chain \
                 was begun anew"
            ),
            Some(said) => format!("{node} has no block after {said}"),
        };
        match self.pool.complaint() {
            others if others.is_empty() => what,
            others => format!("{what}; {others}"),
        }
    }
}

/// Whether `child` is known to follow `parent`, or isn't known not to: the oldest nodes don't tell ids.
fn continues(parent: &Told, child: &Block) -> bool {
    match (&parent.id, &child.previous) {
        (Some(parent), Some(previous)) => parent == previous,
        _ => true,
    }
}

#[cfg(test)]
mod tests;
