//! Says one step along the chain: the operations of a block, in order, as one atomic batch with the position.
//!
//! A batch holds 65,535 records; blocks, of at most 2 MB, have had some hundred operations.

use std::ops::Range;
use std::time::Duration;

use contracts::hive::{Applied, NoVirtualOperations, Operation};
use procession::{Error, Item, Message, Offset, Process, Result, Start};
use tokio::time::sleep;

use crate::follow::Advance;
use crate::position::CHECKPOINT;
use crate::retraction::Retraction;
use crate::settings::Settings;

/// How often a full disk is tried again.
const FULL_RETRY: Duration = Duration::from_secs(1);

/// Where the journal ends.
pub(crate) fn journal_end(process: &Process<Settings>) -> Result<u64> {
    Ok(process.read_own(Start::End)?.position().next.0)
}

/// Says the step, once, and returns where the journal ends then. Waits while there is no room.
pub(crate) async fn say(process: &Process<Settings>, advance: &Advance) -> Result<u64> {
    let mut waiting = false;
    loop {
        match commit(process, advance) {
            Err(Error::Journal(journal::Error::Full { path, reason })) => {
                if !waiting {
                    tracing::error!(path = %path.display(), reason, "no room: waiting for some");
                    waiting = true;
                }
                sleep(FULL_RETRY).await;
            }
            Err(error) => return Err(error),
            Ok(offsets) => {
                if waiting {
                    tracing::info!("there is room again");
                }
                return Ok(offsets.end.0);
            }
        }
    }
}

fn commit(process: &Process<Settings>, advance: &Advance) -> Result<Range<Offset>> {
    let mut batch = process.batch();
    for retract in retraction(process, advance)?.events() {
        batch.add(&retract)?;
    }
    for message in messages(advance)? {
        batch.add_message(message)?;
    }
    if let Some(unconfirmed) = unconfirmed(advance) {
        batch.add(&unconfirmed)?;
    }
    batch.checkpoint(CHECKPOINT, &advance.position)?;
    batch.commit()
}

/// What was said of the blocks that this step replaces.
fn retraction(process: &Process<Settings>, advance: &Advance) -> Result<Retraction> {
    let mut retraction = Retraction::of(&advance.replaced);
    let Some(first) = advance.replaced.iter().map(|told| told.from).min() else { return Ok(retraction) };
    let mut own = process.read_own(Start::Offset(Offset(first)))?;
    while let Some(item) = own.next()? {
        match item {
            Item::Record(record) => retraction.hear(record.offset.0, record.topic, record.payload),
            Item::Gap(gap) => {
                let (from, to, reason) = (gap.from.0, gap.to.0, gap.reason);
                tracing::error!(from, to, %reason, "what was said there can't be retracted");
            }
        }
    }
    Ok(retraction)
}

/// That the block is said without virtual operations for want of an answer.
fn unconfirmed(Advance { block, unconfirmed_by, .. }: &Advance) -> Option<NoVirtualOperations> {
    Some(NoVirtualOperations {
        block: block.number,
        block_id: block.id.clone().unwrap_or_default(),
        timestamp: block.timestamp.clone(),
        nodes: (*unconfirmed_by)?,
    })
}

/// The block's operations in order, then what the chain itself did in it.
fn messages(advance: &Advance) -> Result<Vec<Message<'_>>> {
    let block = &advance.block;
    let mut messages = Vec::new();
    for (trx_in_block, transaction) in (0..).zip(&block.transactions) {
        for (op_in_trx, operation) in (0..).zip(&transaction.operations) {
            let applied = Applied {
                block: block.number,
                trx_id: transaction.id.clone(),
                trx_in_block,
                op_in_trx,
                virtual_op: false,
                timestamp: block.timestamp.clone(),
                op: Operation { kind: operation.kind.clone(), value: &operation.value },
            };
            messages.push(message(operation, &applied)?);
        }
    }
    for applied in &advance.virtual_operations {
        messages.push(message(&applied.op, applied)?);
    }
    Ok(messages)
}

fn message<'a, V: serde::Serialize>(operation: &'a Operation, applied: &Applied<V>) -> Result<Message<'a>> {
    let message = Message::json(operation.topic(), applied)?;
    Ok(match operation.actor() {
        Some(actor) => message.key(actor.into_bytes()),
        None => message,
    })
}
