//! What one node's history shows around a block for which it gives no virtual operation.
//!
//! A history can lag behind the blocks, begin later than they do, or be several histories behind one name that take
//! turns. So that some later block is known says nothing of this one, unless one and the same answer shows both.

use contracts::hive::AppliedOperation;
use rand::RngExt as _;

use crate::block::Block;
use crate::operations::{blocks_of, has_virtual, read_virtual};
use crate::settings::Mode;
use crate::source::Source;
use crate::trouble::Trouble;

/// So many blocks from one without virtual operations others are looked at: the neighbour, and those of about an hour, a
/// day and a month.
const APART: [u32; 4] = [1, 1_200, 28_800, 864_000];

/// How many blocks before and after it are asked for in one answer with it: the neighbours alone, as a block of a busy
/// chain can have hundreds of operations; more of them on a chain where some is rare.
const WINDOWS: [(u32, u32); 3] = [(1, 1), (1, 30), (30, 30)];

/// What a node shows of a block.
#[derive(Debug)]
pub(crate) enum Look {
    /// After all, these.
    Given(Vec<AppliedOperation>),
    /// It has some, which the node doesn't give when asked for this block alone.
    Withheld,
    /// It has none: one answer has some of blocks before and after it, and none of it.
    Proven,
    /// None, though some of a later block.
    Passed,
    /// None, though some of an earlier block and of no later one.
    Behind,
    /// None of any block.
    Blank,
}

impl Look {
    /// Whether the node gives none, and isn't known to give some once its history has moved on.
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Look::Proven | Look::Passed | Look::Blank)
    }
}

/// How often to look again for what a node doesn't give. Servers behind one name that take turns are all met by asking
/// in a row, and by not asking in step with them.
pub(crate) fn looks() -> u32 {
    rand::rng().random_range(2..=3)
}

/// The virtual operations that a node gives of a block.
pub(crate) async fn given(
    source: &mut Source,
    block: &Block,
    mode: Mode,
) -> Result<Vec<AppliedOperation>, Trouble> {
    let answer = source.operations(block.number, mode).await?;
    read_virtual(answer.result(), block).map_err(|what| Trouble::Inconsistent { what })
}

/// Looks at a node that has given none: closer if `irreversible` is given, the last block that is so.
pub(crate) async fn look_closer(
    source: &mut Source,
    block: &Block,
    irreversible: Option<u32>,
    mode: Mode,
) -> Result<Look, Trouble> {
    let Some(irreversible) = irreversible else { return Ok(Look::Blank) };
    for _ in 0..looks() {
        let operations = given(source, block, mode).await?;
        if !operations.is_empty() {
            return Ok(Look::Given(operations));
        }
    }
    let number = block.number;
    if let Some(look) = look_around(source, number, mode).await {
        return Ok(look);
    }
    let later = APART.iter().filter_map(|apart| number.checked_add(*apart));
    for later in later.filter(|later| *later < irreversible).chain([irreversible]) {
        if later > number && has_virtual(source.operations(later, mode).await?.result()) {
            return Ok(Look::Passed);
        }
    }
    for earlier in APART.iter().filter_map(|apart| number.checked_sub(*apart)).filter(|at| *at > 0) {
        if has_virtual(source.operations(earlier, mode).await?.result()) {
            return Ok(Look::Behind);
        }
    }
    Ok(Look::Blank)
}

/// What single answers show of a block and of those around it; nothing where the node can't give such answers.
async fn look_around(source: &mut Source, number: u32, mode: Mode) -> Option<Look> {
    let mut look = None;
    for (before, after) in WINDOWS {
        let first = number.saturating_sub(before).max(1);
        let end = number.saturating_add(after).saturating_add(1);
        // Without a usable answer nothing is proven, and nothing refuted.
        let answer = source.virtual_operations(first..end, mode).await.ok()??;
        let blocks = blocks_of(answer.result()).ok()?;
        let is_earlier = blocks.iter().any(|at| *at < number);
        let is_later = blocks.iter().any(|at| *at > number);
        if blocks.contains(&number) {
            return Some(Look::Withheld);
        }
        if is_earlier && is_later {
            return Some(Look::Proven);
        }
        if is_later {
            look = Some(Look::Passed);
        } else if after > 1 {
            break;
        }
    }
    look
}
